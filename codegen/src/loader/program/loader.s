; The loader program: executes the step table in the value of map 0. The format is in runtime/abi/src/loader.rs.
;
; r6: the context. r7: the value. r8, r9: the addresses at offsets `at` and `arg` of the current step.
;
; The kernel verifies each loop once for all iterations, because no register except r6 and r7 has a value from the
; previous iteration: the position is in the value. An offset is compared with LIMIT, the size of the value minus its
; tail, before it is added to r7, and no operation accesses more bytes than the tail has.

    r6 = r1
    r7 = map_idx[0] value +0 ll

    ; The table is executed once: steps and pointers are overwritten.
    r1 = *(u64 *)(r7 +ADDRESS)
    if r1 != 0 goto rejected
    *(u64 *)(r7 +ADDRESS) = r7

    r1 = *(u64 *)(r6 +0)
    *(u64 *)(r7 +HOST) = r1
    r1 = *(u64 *)(r6 +8)
    *(u64 *)(r7 +LOG_BUFFER) = r1
    r1 = *(u64 *)(r6 +16)
    *(u64 *)(r7 +LOG_LEVEL) = r1
    r1 = *(u32 *)(r6 +24)
    *(u32 *)(r7 +LOG_STEP) = r1

; Replaces offsets by addresses. Each pointer has the offset of the next one in its upper half.
    r1 = *(u32 *)(r7 +POINTERS)
pointer:
    may_goto interrupted
    if r1 == 0 goto step
    if r1 > LIMIT goto invalid
    r1 &= -8
    r2 = r7
    r2 += r1
    r1 = *(u64 *)(r2 +0)
    w3 = w1
    r4 = *(u64 *)(r7 +ADDRESS)
    r3 += r4
    *(u64 *)(r2 +0) = r3
    r1 >>= 32
    goto pointer

step:
    may_goto interrupted
    r1 = *(u32 *)(r7 +NEXT)
    r2 = *(u32 *)(r7 +END)
    if r1 >= r2 goto finished
    if r1 > LIMIT goto invalid
    r2 = r1
    r2 += STEP_SIZE
    *(u32 *)(r7 +NEXT) = r2
    r5 = r1
    r5 &= -8
    r5 += r7
    r2 = *(u16 *)(r5 +2)
    r2 <<= STEP_SHIFT
    r1 += r2
    *(u32 *)(r7 +ON_ERROR) = r1
    r8 = *(u32 *)(r5 +4)
    if r8 > LIMIT goto invalid
    r8 &= -4
    r8 += r7
    r9 = *(u32 *)(r5 +12)
    if r9 > LIMIT goto invalid
    r9 &= -4
    r9 += r7
    r1 = *(u8 *)(r5 +1)
    r3 = *(u32 *)(r5 +8)
    r4 = *(u8 *)(r5 +0)
    if r4 == COPY goto copy
    if r4 == JUMP_IF_EQUAL goto jump_if_equal
    if r4 == JUMP_IF_NOT_EQUAL goto jump_if_not_equal
    if r4 == CLOSE goto close
    if r4 == FAIL goto fail
    r2 = r3
    r2 &= REQUEST_MASK
    r2 += 1
    if r4 == REQUEST goto request
    if r4 == FIND_TYPE goto find_type
    if r4 == FIND_SYMBOL goto find_symbol
    if r4 == COPY_FROM_HOST goto copy_from_host
invalid:
    r0 = -EINVAL
    goto failed

request:
    r3 = r2
    r2 = r8
    call bpf_sys_bpf
    *(u32 *)(r7 +RESULT) = r0
    if w0 s< 0 goto error
    ; Without a slot, `arg` is 0.
    if r9 == r7 goto step
    if w0 == 0 goto zero
    *(u32 *)(r9 +0) = r0
    goto step

; An empty slot is 0, and in many fields of requests 0 means that there is no file descriptor.
zero:
    r1 = 0
    call bpf_sys_close
    r0 = -EBADF
    goto failed

copy:
    r1 = *(u32 *)(r9 +0)
    *(u32 *)(r8 +0) = r1
    r3 &= 12
    if r3 == 0 goto step
    r1 = *(u32 *)(r9 +4)
    r8 += r3
    *(u32 *)(r8 +0) = r1
    goto step

copy_from_host:
    r2 = r3
    r2 &= COPY_MASK
    r2 += 1
    r3 = *(u64 *)(r7 +HOST)
    r4 = *(u32 *)(r5 +12)
    r3 += r4
    r1 = r8
    call bpf_copy_from_user
    *(u32 *)(r7 +RESULT) = r0
    if w0 s< 0 goto error
    goto step

find_type:
    r3 = r1
    r1 = r8
    r4 = 0
    call bpf_btf_find_by_name_kind
    *(u32 *)(r7 +RESULT) = r0
    if w0 s< 0 goto error
    *(u32 *)(r8 +0) = r0
    r0 >>= 32
    if r0 == 0 goto step
    *(u32 *)(r9 +0) = r0
    goto step

find_symbol:
    r1 = r8
    r3 = 0
    r4 = r7
    r4 += SYMBOL
    call bpf_kallsyms_lookup_name
    *(u32 *)(r7 +RESULT) = r0
    if w0 s< 0 goto error
    r1 = *(u64 *)(r7 +SYMBOL)
    *(u32 *)(r8 +0) = r1
    r1 >>= 32
    *(u32 *)(r8 +4) = r1
    goto step

jump_if_equal:
    r1 = *(u32 *)(r8 +0)
    if r1 != r3 goto step
    goto jump

jump_if_not_equal:
    r1 = *(u32 *)(r8 +0)
    if r1 == r3 goto step
jump:
    r1 = *(u32 *)(r7 +ON_ERROR)
    *(u32 *)(r7 +NEXT) = r1
    goto step

close:
    r1 = *(u32 *)(r9 +0)
    if r1 == 0 goto step
    *(u32 *)(r9 +0) = 0
    call bpf_sys_close
    goto step

; A step whose jump has no distance has its own offset in ON_ERROR.
error:
    r1 = *(u32 *)(r7 +ON_ERROR)
    r2 = *(u32 *)(r7 +NEXT)
    if r1 < r2 goto failed
    *(u32 *)(r7 +NEXT) = r1
    goto step

fail:
    r0 = r3
    r0 = -r0

; r0: the negative error number.
failed:
    *(u32 *)(r6 +CONTEXT_ERROR) = r0
    r1 = *(u32 *)(r7 +NEXT)
    r1 += -STEP_SIZE
    *(u32 *)(r6 +CONTEXT_STEP) = r1
    *(u32 *)(r7 +NEXT) = HEADER_SIZE
slot:
    may_goto interrupted
    r1 = *(u32 *)(r7 +NEXT)
    r2 = *(u32 *)(r7 +SLOTS_END)
    if r1 >= r2 goto closed
    if r1 > LIMIT goto closed
    r2 = r1
    r2 += SLOT_SIZE
    *(u32 *)(r7 +NEXT) = r2
    r1 &= -4
    r2 = r7
    r2 += r1
    r1 = *(u32 *)(r2 +0)
    if r1 == 0 goto slot
    *(u32 *)(r2 +0) = 0
    call bpf_sys_close
    goto slot

closed:
    r0 = FAILED
    exit
finished:
    r0 = FINISHED
    exit
interrupted:
    r0 = INTERRUPTED
    exit
rejected:
    r0 = REJECTED
    exit
