; Replaces the offset in one pointer by an address, and continues. r7: the value. Jumps to `pointed` after the last pointer,
; and to `misplaced` if the pointer is not in the table.

    r1 = *(u32 *)(r7 +POINTERS)
    if r1 == 0 goto pointed
    if r1 > LIMIT goto misplaced
    r1 &= -8
    r2 = r7
    r2 += r1
    r1 = *(u64 *)(r2 +0)
    ; The upper half is the offset of the next pointer.
    r3 = r1
    r3 >>= 32
    *(u32 *)(r7 +POINTERS) = r3
    w1 = w1
    r3 = *(u64 *)(r7 +ADDRESS)
    r1 += r3
    *(u64 *)(r2 +0) = r1
