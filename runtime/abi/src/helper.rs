//! The requirements of calls of kernel helpers: the number of arguments, the first version, and whether a helper
//! requires a GPL-compatible license.
//!
//! To use a helper's number as the immediate of a call elsewhere, add a constant here.

use crate::uapi::{AttachType, Helper, ProgramType};

/// `bpf_probe_read`.
pub const PROBE_READ: i32 = immediate(Helper::PROBE_READ);
/// `bpf_get_smp_processor_id`.
pub const GET_SMP_PROCESSOR_ID: i32 = immediate(Helper::GET_SMP_PROCESSOR_ID);
/// `bpf_get_stackid`, which perf event programs may call under any license.
pub const GET_STACKID: i32 = immediate(Helper::GET_STACKID);
/// `bpf_probe_read_str`.
pub const PROBE_READ_STR: i32 = immediate(Helper::PROBE_READ_STR);
/// `bpf_probe_read_user`.
pub const PROBE_READ_USER: i32 = immediate(Helper::PROBE_READ_USER);
/// `bpf_probe_read_kernel`.
pub const PROBE_READ_KERNEL: i32 = immediate(Helper::PROBE_READ_KERNEL);
/// `bpf_probe_read_user_str`.
pub const PROBE_READ_USER_STR: i32 = immediate(Helper::PROBE_READ_USER_STR);
/// `bpf_probe_read_kernel_str`.
pub const PROBE_READ_KERNEL_STR: i32 = immediate(Helper::PROBE_READ_KERNEL_STR);
/// `bpf_get_func_ip`, which some probe programs may call under any license.
pub const GET_FUNC_IP: i32 = immediate(Helper::GET_FUNC_IP);
/// `bpf_get_attach_cookie`.
pub const GET_ATTACH_COOKIE: i32 = immediate(Helper::GET_ATTACH_COOKIE);

/// Returns the immediate of a call of the helper.
#[must_use]
pub const fn immediate(helper: Helper) -> i32 {
    i32::from_ne_bytes(helper.0.to_ne_bytes())
}

/// The number of arguments by helper number, from the declarations in linux/bpf.h (Linux 7.3.4). The list is complete:
/// since 2023 new functions are kfuncs instead of helpers. Variadic helpers such as `bpf_trace_printk` count as five.
const ARGUMENTS: [u8; 212] = [
    5, 2, 4, 2, 3, 0, 5, 0, 0, 5, 5, 5, 3, 3, 0, 0, 2, 1, 3, 1, 4, 4, 2, 2, 1, 5, 4, 3, 5, 3, 3, 3, 2, 3, 1, 0, 3, 2,
    3, 2, 2, 1, 0, 3, 2, 3, 1, 1, 2, 5, 4, 3, 4, 4, 2, 4, 3, 5, 2, 2, 4, 2, 2, 4, 3, 2, 5, 4, 5, 4, 4, 4, 4, 4, 4, 3,
    4, 1, 4, 1, 0, 2, 4, 2, 5, 5, 1, 3, 2, 2, 4, 4, 3, 1, 1, 1, 1, 1, 1, 5, 5, 4, 3, 3, 3, 4, 4, 4, 2, 1, 5, 5, 3, 3,
    3, 3, 2, 1, 0, 4, 4, 5, 1, 1, 3, 0, 5, 3, 1, 2, 4, 3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 4, 4, 4, 3, 4, 2, 3, 3, 5, 4, 1,
    4, 2, 1, 2, 4, 2, 0, 2, 0, 3, 1, 5, 4, 5, 3, 4, 1, 3, 2, 3, 1, 1, 1, 1, 3, 4, 1, 4, 5, 4, 3, 3, 2, 1, 0, 1, 1, 4,
    4, 5, 3, 3, 2, 3, 1, 4, 4, 2, 2, 5, 5, 3, 3, 3, 2, 2, 0, 4, 4, 2,
];

/// Returns how many of the registers r1 to r5 a call of this helper reads; 5 for an unknown helper.
#[must_use]
pub fn arguments(helper: i32) -> u8 {
    usize::try_from(helper).ok().and_then(|helper| ARGUMENTS.get(helper)).copied().unwrap_or(5)
}

/// Returns the name of the helper that a call with this immediate calls; `None` for an unknown helper.
///
/// ```
/// assert_eq!(skelgen_abi::helper::name(1), Some("bpf_map_lookup_elem"));
/// ```
#[must_use]
pub fn name(immediate: i32) -> Option<&'static str> {
    Helper(u32::try_from(immediate).ok()?).name()
}

/// The last helper of each Linux version that added some, by number. Numbers are given in the order in which helpers are
/// added. From `__BPF_FUNC_MAPPER` of linux/bpf.h in these versions.
const LAST: [(i32, (u16, u16)); 42] = [
    (3, (3, 19)),
    (11, (4, 1)),
    (16, (4, 2)),
    (22, (4, 3)),
    (25, (4, 4)),
    (26, (4, 5)),
    (30, (4, 6)),
    (36, (4, 8)),
    (41, (4, 9)),
    (44, (4, 10)),
    (45, (4, 11)),
    (47, (4, 12)),
    (50, (4, 13)),
    (53, (4, 14)),
    (57, (4, 15)),
    (59, (4, 16)),
    (64, (4, 17)),
    (80, (4, 18)),
    (83, (4, 19)),
    (90, (4, 20)),
    (92, (5, 0)),
    (98, (5, 1)),
    (108, (5, 2)),
    (110, (5, 3)),
    (115, (5, 5)),
    (118, (5, 6)),
    (124, (5, 7)),
    (135, (5, 8)),
    (141, (5, 9)),
    (155, (5, 10)),
    (162, (5, 11)),
    (163, (5, 12)),
    (165, (5, 13)),
    (168, (5, 14)),
    (175, (5, 15)),
    (179, (5, 16)),
    (185, (5, 17)),
    (193, (5, 18)),
    (203, (5, 19)),
    (207, (6, 0)),
    (209, (6, 1)),
    (211, (6, 2)),
];

/// Returns the first upstream Linux version that has a helper; `None` for an unknown helper.
///
/// ```
/// use skelgen_abi::helper::since;
/// // bpf_ringbuf_output and bpf_loop.
/// assert_eq!([130, 181].map(since), [Some((5, 8)), Some((5, 17))]);
/// ```
#[must_use]
pub fn since(helper: i32) -> Option<(u16, u16)> {
    usize::try_from(helper)
        .ok()
        .filter(|number| *number < ARGUMENTS.len())
        .and_then(|_| LAST.into_iter().find(|(last, _)| helper <= *last))
        .map(|(_, version)| version)
}

/// The helpers that require a GPL-compatible license, by number: those of Linux 7.3.4 whose `struct bpf_func_proto`
/// sets `gpl_only`.
const GPL_ONLY: [Helper; 44] = [
    Helper::PROBE_READ,
    Helper::TRACE_PRINTK,
    Helper::PERF_EVENT_READ,
    Helper::PERF_EVENT_OUTPUT,
    Helper::GET_STACKID,
    Helper::GET_CURRENT_TASK,
    Helper::PROBE_WRITE_USER,
    Helper::PROBE_READ_STR,
    Helper::PERF_EVENT_READ_VALUE,
    Helper::PERF_PROG_READ_VALUE,
    Helper::OVERRIDE_RETURN,
    Helper::GET_STACK,
    Helper::FIB_LOOKUP,
    Helper::RC_REPEAT,
    Helper::RC_KEYDOWN,
    Helper::RC_POINTER_REL,
    Helper::TCP_CHECK_SYNCOOKIE,
    Helper::TCP_GEN_SYNCOOKIE,
    Helper::SKB_OUTPUT,
    Helper::PROBE_READ_USER,
    Helper::PROBE_READ_KERNEL,
    Helper::PROBE_READ_USER_STR,
    Helper::PROBE_READ_KERNEL_STR,
    Helper::READ_BRANCH_RECORDS,
    Helper::XDP_OUTPUT,
    Helper::SEQ_PRINTF,
    Helper::SEQ_WRITE,
    Helper::SEQ_PRINTF_BTF,
    Helper::GET_CURRENT_TASK_BTF,
    Helper::CHECK_MTU,
    Helper::SNPRINTF,
    Helper::TIMER_INIT,
    Helper::TIMER_SET_CALLBACK,
    Helper::TIMER_START,
    Helper::TIMER_CANCEL,
    Helper::GET_FUNC_IP,
    Helper::TASK_PT_REGS,
    Helper::GET_BRANCH_SNAPSHOT,
    Helper::TRACE_VPRINTK,
    Helper::COPY_FROM_USER_TASK,
    Helper::TCP_RAW_GEN_SYNCOOKIE_IPV4,
    Helper::TCP_RAW_GEN_SYNCOOKIE_IPV6,
    Helper::TCP_RAW_CHECK_SYNCOOKIE_IPV4,
    Helper::TCP_RAW_CHECK_SYNCOOKIE_IPV6,
];

/// Returns the helper's name if it requires a GPL-compatible license in programs of this type.
#[must_use]
pub fn gpl_only(helper: i32, program_type: ProgramType, attach_type: AttachType) -> Option<&'static str> {
    let of_many = [
        AttachType::TRACE_KPROBE_MULTI,
        AttachType::TRACE_KPROBE_SESSION,
        AttachType::TRACE_UPROBE_MULTI,
        AttachType::TRACE_UPROBE_SESSION,
    ];
    match helper {
        GET_STACKID if program_type == ProgramType::PERF_EVENT => None,
        GET_FUNC_IP if of_many.contains(&attach_type) => None,
        _ => {
            let helper = Helper(u32::try_from(helper).ok()?);
            GPL_ONLY.binary_search(&helper).ok().and_then(|_| helper.name())
        }
    }
}

/// Returns whether a license is GPL-compatible (`license_is_gpl_compatible` of `linux/license.h`, Linux 7.3.4).
#[must_use]
pub fn is_gpl(license: &str) -> bool {
    ["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"].contains(&license)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_helpers() {
        // bpf_map_lookup_elem, bpf_get_smp_processor_id, bpf_tail_call, bpf_loop.
        assert_eq!([1, 8, 12, 181, 100_000].map(arguments), [2, 0, 3, 4, 5]);
    }

    #[test]
    fn every_helper_has_a_version() {
        assert!(LAST.is_sorted_by(|(a, old), (b, new)| a < b && old < new));
        assert!((0..212).all(|helper| since(helper).is_some()));
        // bpf_map_lookup_elem, bpf_probe_read_kernel, bpf_ringbuf_output, bpf_task_storage_get, bpf_timer_init.
        assert_eq!(
            [1, 113, 130, 156, 169, 212].map(since),
            [Some((3, 19)), Some((5, 5)), Some((5, 8)), Some((5, 11)), Some((5, 15)), None]
        );
    }

    #[test]
    fn gpl_only_helpers() {
        assert!(GPL_ONLY.is_sorted());
        let (tracing, perf) = (ProgramType::TRACING, ProgramType::PERF_EVENT);
        let name = |helper, of| gpl_only(helper, of, AttachType(0));
        assert_eq!(
            [1, 6, 27].map(|helper| name(helper, tracing)),
            [None, Some("bpf_trace_printk"), Some("bpf_get_stackid")]
        );
        assert_eq!(name(27, perf), None);
        assert_eq!(gpl_only(173, ProgramType::KPROBE, AttachType::TRACE_KPROBE_MULTI), None);
        assert!(is_gpl("Dual MIT/GPL") && !is_gpl("MIT") && !is_gpl(""));
    }
}
