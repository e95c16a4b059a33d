//! Kernel helpers by number (`enum bpf_func_id` of `linux/bpf.h`): the number of arguments, and whether they require a
//! GPL-compatible license.
//!
//! To use a helper's number elsewhere, add a constant here.

use crate::uapi::{AttachType, ProgramType};

/// `bpf_probe_read`.
pub const PROBE_READ: i32 = 4;
/// `bpf_get_smp_processor_id`.
pub const GET_SMP_PROCESSOR_ID: i32 = 8;
/// `bpf_get_stackid`, which perf event programs may call under any license.
pub const GET_STACKID: i32 = 27;
/// `bpf_probe_read_str`.
pub const PROBE_READ_STR: i32 = 45;
/// `bpf_probe_read_user`.
pub const PROBE_READ_USER: i32 = 112;
/// `bpf_probe_read_kernel`.
pub const PROBE_READ_KERNEL: i32 = 113;
/// `bpf_probe_read_user_str`.
pub const PROBE_READ_USER_STR: i32 = 114;
/// `bpf_probe_read_kernel_str`.
pub const PROBE_READ_KERNEL_STR: i32 = 115;
/// `bpf_get_func_ip`, which some probe programs may call under any license.
pub const GET_FUNC_IP: i32 = 173;
/// `bpf_get_attach_cookie`.
pub const GET_ATTACH_COOKIE: i32 = 174;

/// The number of arguments by helper number, from the declarations in linux/bpf.h (Linux 7.3.4). The list is complete:
/// since 2023 the kernel adds kernel functions instead of helpers. Variadic helpers such as `bpf_trace_printk` count as
/// five.
const ARGUMENTS: [u8; 212] = [
    5, 2, 4, 2, 3, 0, 5, 0, 0, 5, 5, 5, 3, 3, 0, 0, 2, 1, 3, 1, 4, 4, 2, 2, 1, 5, 4, 3, 5, 3, 3, 3, 2, 3, 1, 0, 3, 2,
    3, 2, 2, 1, 0, 3, 2, 3, 1, 1, 2, 5, 4, 3, 4, 4, 2, 4, 3, 5, 2, 2, 4, 2, 2, 4, 3, 2, 5, 4, 5, 4, 4, 4, 4, 4, 4, 3,
    4, 1, 4, 1, 0, 2, 4, 2, 5, 5, 1, 3, 2, 2, 4, 4, 3, 1, 1, 1, 1, 1, 1, 5, 5, 4, 3, 3, 3, 4, 4, 4, 2, 1, 5, 5, 3, 3,
    3, 3, 2, 1, 0, 4, 4, 5, 1, 1, 3, 0, 5, 3, 1, 2, 4, 3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 4, 4, 4, 3, 4, 2, 3, 3, 5, 4, 1,
    4, 2, 1, 2, 4, 2, 0, 2, 0, 3, 1, 5, 4, 5, 3, 4, 1, 3, 2, 3, 1, 1, 1, 1, 3, 4, 1, 4, 5, 4, 3, 3, 2, 1, 0, 1, 1, 4,
    4, 5, 3, 3, 2, 3, 1, 4, 4, 2, 2, 5, 5, 3, 3, 3, 2, 2, 0, 4, 4, 2,
];

/// Returns the number of registers from r1 to r5 that a call of this helper reads; 5 for an unknown helper.
#[must_use]
pub fn arguments(helper: i32) -> u8 {
    usize::try_from(helper).ok().and_then(|helper| ARGUMENTS.get(helper)).copied().unwrap_or(5)
}

/// The helpers that require a GPL-compatible license, by number: those of Linux 7.3.4 whose `struct bpf_func_proto`
/// sets `gpl_only`.
const GPL_ONLY: [(i32, &str); 44] = [
    (4, "bpf_probe_read"),
    (6, "bpf_trace_printk"),
    (22, "bpf_perf_event_read"),
    (25, "bpf_perf_event_output"),
    (27, "bpf_get_stackid"),
    (35, "bpf_get_current_task"),
    (36, "bpf_probe_write_user"),
    (45, "bpf_probe_read_str"),
    (55, "bpf_perf_event_read_value"),
    (56, "bpf_perf_prog_read_value"),
    (58, "bpf_override_return"),
    (67, "bpf_get_stack"),
    (69, "bpf_fib_lookup"),
    (77, "bpf_rc_repeat"),
    (78, "bpf_rc_keydown"),
    (92, "bpf_rc_pointer_rel"),
    (100, "bpf_tcp_check_syncookie"),
    (110, "bpf_tcp_gen_syncookie"),
    (111, "bpf_skb_output"),
    (112, "bpf_probe_read_user"),
    (113, "bpf_probe_read_kernel"),
    (114, "bpf_probe_read_user_str"),
    (115, "bpf_probe_read_kernel_str"),
    (119, "bpf_read_branch_records"),
    (121, "bpf_xdp_output"),
    (126, "bpf_seq_printf"),
    (127, "bpf_seq_write"),
    (150, "bpf_seq_printf_btf"),
    (158, "bpf_get_current_task_btf"),
    (163, "bpf_check_mtu"),
    (165, "bpf_snprintf"),
    (169, "bpf_timer_init"),
    (170, "bpf_timer_set_callback"),
    (171, "bpf_timer_start"),
    (172, "bpf_timer_cancel"),
    (173, "bpf_get_func_ip"),
    (175, "bpf_task_pt_regs"),
    (176, "bpf_get_branch_snapshot"),
    (177, "bpf_trace_vprintk"),
    (191, "bpf_copy_from_user_task"),
    (204, "bpf_tcp_raw_gen_syncookie_ipv4"),
    (205, "bpf_tcp_raw_gen_syncookie_ipv6"),
    (206, "bpf_tcp_raw_check_syncookie_ipv4"),
    (207, "bpf_tcp_raw_check_syncookie_ipv6"),
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
        _ => GPL_ONLY.binary_search_by_key(&helper, |(number, _)| *number).ok().map(|at| GPL_ONLY[at].1),
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
    fn helpers_for_the_gpl_alone() {
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
