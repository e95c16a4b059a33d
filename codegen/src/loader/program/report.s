; Reports the failed step. r0: the negative error number. r6: the context. r7: the value. The slots are next.

    *(u32 *)(r6 +CONTEXT_ERROR) = r0
    r1 = *(u32 *)(r7 +NEXT)
    r1 += -STEP_SIZE
    *(u32 *)(r6 +CONTEXT_STEP) = r1
    *(u32 *)(r7 +NEXT) = HEADER_SIZE
