; Closes the file descriptor in one slot, and continues. r7: the value. Jumps to `next_slot` if the slot is empty, and to
; `closed` after the last slot.

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
    if r1 == 0 goto next_slot
    *(u32 *)(r2 +0) = 0
    call bpf_sys_close
