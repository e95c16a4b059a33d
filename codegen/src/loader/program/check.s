; Compares the hash of map 0 with the hash that the signer computed. From Linux 6.18 to 7.2, a signature does not include
; maps; the kernel stores the hash of a map's contents (`sha` of `struct bpf_map`) when a process requests it.
;
; The instructions of the loader program follow. r1, the context, is kept.

    r2 = map_idx[0] ll
    r3 = *(u64 *)(r2 +0)
    r4 = HASH0 ll
    if r3 != r4 goto rejected
    r3 = *(u64 *)(r2 +8)
    r4 = HASH1 ll
    if r3 != r4 goto rejected
    r3 = *(u64 *)(r2 +16)
    r4 = HASH2 ll
    if r3 != r4 goto rejected
    r3 = *(u64 *)(r2 +24)
    r4 = HASH3 ll
    if r3 == r4 goto program
rejected:
    r0 = REJECTED
    exit
program:
