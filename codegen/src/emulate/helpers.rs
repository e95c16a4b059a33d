//! How many arguments each kernel helper takes.

/// By helper number, from the declarations in linux/bpf.h (Linux 7.3.4). The list is closed: since 2023 the kernel adds
/// kernel functions instead of helpers. `bpf_trace_printk` and the like count as five.
const ARGUMENTS: [u8; 212] = [
    5, 2, 4, 2, 3, 0, 5, 0, 0, 5, 5, 5, 3, 3, 0, 0, 2, 1, 3, 1, 4, 4, 2, 2, 1, 5, 4, 3, 5, 3, 3, 3, 2, 3, 1, 0, 3, 2,
    3, 2, 2, 1, 0, 3, 2, 3, 1, 1, 2, 5, 4, 3, 4, 4, 2, 4, 3, 5, 2, 2, 4, 2, 2, 4, 3, 2, 5, 4, 5, 4, 4, 4, 4, 4, 4, 3,
    4, 1, 4, 1, 0, 2, 4, 2, 5, 5, 1, 3, 2, 2, 4, 4, 3, 1, 1, 1, 1, 1, 1, 5, 5, 4, 3, 3, 3, 4, 4, 4, 2, 1, 5, 5, 3, 3,
    3, 3, 2, 1, 0, 4, 4, 5, 1, 1, 3, 0, 5, 3, 1, 2, 4, 3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 4, 4, 4, 3, 4, 2, 3, 3, 5, 4, 1,
    4, 2, 1, 2, 4, 2, 0, 2, 0, 3, 1, 5, 4, 5, 3, 4, 1, 3, 2, 3, 1, 1, 1, 1, 3, 4, 1, 4, 5, 4, 3, 3, 2, 1, 0, 1, 1, 4,
    4, 5, 3, 3, 2, 3, 1, 4, 4, 2, 2, 5, 5, 3, 3, 3, 2, 2, 0, 4, 4, 2,
];

/// How many of r1 to r5 a call of this helper reads; 5 for a number that is not known.
pub(super) fn arguments(helper: i32) -> u8 {
    usize::try_from(helper).ok().and_then(|helper| ARGUMENTS.get(helper)).copied().unwrap_or(5)
}

/// `bpf_get_smp_processor_id`.
pub(super) const GET_SMP_PROCESSOR_ID: i32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_helpers() {
        // bpf_map_lookup_elem, bpf_get_smp_processor_id, bpf_tail_call, bpf_loop.
        assert_eq!([1, 8, 12, 181, 100_000].map(arguments), [2, 0, 3, 4, 5]);
    }
}
