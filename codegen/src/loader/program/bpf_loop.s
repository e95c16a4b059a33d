; The loader program for kernels before 6.9, which do not have `may_goto`: the bodies of its loops are functions that
; `bpf_loop` (Linux 5.17) calls. A function returns 0 to continue. LOOPS is more than the table has iterations.

.include enter.s

    r1 = LOOPS
    r2 = code on_pointer ll
    r3 = 0
    r4 = 0
    call bpf_loop
    r0 = -EINVAL
    r1 = *(u32 *)(r7 +POINTERS)
    if r1 != 0 goto report

    r1 = LOOPS
    r2 = code on_step ll
    r3 = 0
    r4 = 0
    call bpf_loop
    r1 = *(u32 *)(r7 +STATE)
    if r1 == FINISHED goto complete
    if r1 != FAILED goto interrupted
    r0 = *(u32 *)(r7 +RESULT)

report:
.include report.s
    r1 = LOOPS
    r2 = code on_slot ll
    r3 = 0
    r4 = 0
    call bpf_loop
    r0 = FAILED
    exit
complete:
    r0 = FINISHED
    exit
interrupted:
    r0 = INTERRUPTED
    exit
rejected:
    r0 = REJECTED
    exit

on_pointer:
    r7 = map_idx[0] value +0 ll
.include pointer.s
    r0 = 0
    exit
pointed:
misplaced:
    r0 = 1
    exit

on_step:
    r7 = map_idx[0] value +0 ll
.include step.s
failed:
    *(u32 *)(r7 +RESULT) = r0
    *(u32 *)(r7 +STATE) = FAILED
    r0 = 1
    exit
finished:
    *(u32 *)(r7 +STATE) = FINISHED
    r0 = 1
    exit
next:
    r0 = 0
    exit

on_slot:
    r7 = map_idx[0] value +0 ll
.include slot.s
next_slot:
    r0 = 0
    exit
closed:
    r0 = 1
    exit
