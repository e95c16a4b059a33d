; The beginning of the loader program. Sets r6 to the context and r7 to the value of map 0, and copies the process's
; pointers to the header. Jumps to `rejected` if the table was executed before, because steps and pointers are overwritten.

    r6 = r1
    r7 = map_idx[0] value +0 ll
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
