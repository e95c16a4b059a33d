; Executes one step. r7: the value. r8, r9: the addresses at offsets `at` and `arg` of the step. Jumps to `next` if there
; can be another step, to `finished` after the last one, and to `failed` with a negative error number in r0. `failed` follows.

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
    if r9 == r7 goto next
    if w0 == 0 goto zero
    *(u32 *)(r9 +0) = r0
    goto next

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
    if r3 == 0 goto next
    r1 = *(u32 *)(r9 +4)
    r8 += r3
    *(u32 *)(r8 +0) = r1
    goto next

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
    goto next

find_type:
    r3 = r1
    r1 = r8
    r4 = 0
    call bpf_btf_find_by_name_kind
    *(u32 *)(r7 +RESULT) = r0
    if w0 s< 0 goto error
    *(u32 *)(r8 +0) = r0
    r0 >>= 32
    if r0 == 0 goto next
    *(u32 *)(r9 +0) = r0
    goto next

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
    goto next

jump_if_equal:
    r1 = *(u32 *)(r8 +0)
    if r1 != r3 goto next
    goto jump

jump_if_not_equal:
    r1 = *(u32 *)(r8 +0)
    if r1 == r3 goto next
jump:
    r1 = *(u32 *)(r7 +ON_ERROR)
    *(u32 *)(r7 +NEXT) = r1
    goto next

close:
    r1 = *(u32 *)(r9 +0)
    if r1 == 0 goto next
    *(u32 *)(r9 +0) = 0
    call bpf_sys_close
    goto next

; A step whose jump has no distance has its own offset in ON_ERROR.
error:
    r1 = *(u32 *)(r7 +ON_ERROR)
    r2 = *(u32 *)(r7 +NEXT)
    if r1 < r2 goto failed
    *(u32 *)(r7 +NEXT) = r1
    goto next

fail:
    r0 = r3
    r0 = -r0
