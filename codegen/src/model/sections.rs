//! The table of program sections: the program type and attach target that a section name determines.
//!
//! The data are libbpf 1.8's section names, as Linux 7.3.4 documents them (Documentation/bpf/libbpf/program_types.rst).
//! To add a section name, add one line to [`TABLE`]. A name matches a line if it equals the line's prefix, or if the
//! line allows a target and the name continues with `/` and the target.

use skelgen_abi::plan::{Attach, Program, Symbol, TargetKind};
use skelgen_abi::uapi::{AttachType as A, ProgramType as P, prog_flags};

use crate::similar::{distance, nearest};

/// The meaning of a section name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SectionMeaning {
    /// The row of a program in the section, without name and functions.
    pub(super) def: Program,
    /// The type or function in the kernel's BTF for which programs of the section are loaded (`attach_btf_id`).
    pub(super) target: Option<Symbol>,
}

/// Returns the meaning of a program section's name, or `None` if it is unknown.
#[must_use]
pub(super) fn meaning(section: &str) -> Option<SectionMeaning> {
    let (name, autoload) = section.strip_prefix('?').map_or((section, true), |name| (name, false));
    let (row, rest) = TABLE.iter().find_map(|row| row.matches(name).map(|rest| (row, rest)))?;
    let rest = rest.filter(|rest| !rest.is_empty());
    let def = Program {
        section: section.to_owned().into(),
        expected_attach_type: row.attach_type,
        flags: row.flags,
        autoload,
        since: row.since,
        ..Program::new("", "", row.program_type, row.form.attach(rest), &[])
    };
    Some(SectionMeaning { def, target: row.form.target(rest) })
}

/// Returns the meaning of an unknown section name: the user must set the program type.
#[must_use]
pub(super) fn unknown(section: &str) -> SectionMeaning {
    let attach =
        Attach::Needs("a program type, because its section name does not set one; call `set_type` before the load");
    let def = Program {
        section: section.to_owned().into(),
        autoload: !section.starts_with('?'),
        ..Program::new("", "", P::UNSPEC, attach, &[])
    };
    SectionMeaning { def, target: None }
}

/// Returns the known prefix that is most similar to an unknown name (`raw_tp` for `raw_tpp/sys_enter`); `None` if no
/// prefix is similar enough.
pub(super) fn similar(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix('?').unwrap_or(name);
    let distance = |row: &Row| {
        let parts = row.prefix.split('/').count();
        let end = name.match_indices('/').nth(parts - 1).map_or(name.len(), |(at, _)| at);
        let whole = distance(name, row.prefix);
        whole.min(distance(&name[..end], row.prefix))
    };
    nearest(TABLE.iter().map(|row| (distance(row), row.prefix)))
}

struct Row {
    /// The first Linux that loads such programs. The kernel tests (`sections_*`) verify versions from 5.10 on; earlier
    /// versions are from the history of the kernel's documentation.
    since: (u16, u16),
    prefix: &'static str,
    program_type: P,
    attach_type: A,
    flags: u32,
    form: Form,
}

impl Row {
    /// Returns the part after the slash, if `name` matches this row.
    fn matches<'a>(&self, name: &'a str) -> Option<Option<&'a str>> {
        let rest = name.strip_prefix(self.prefix)?;
        if rest.is_empty() {
            return Some(None);
        }
        let target = rest.strip_prefix('/')?;
        (!matches!(self.form, Form::Needs(_))).then_some(Some(target))
    }
}

/// How programs of a section attach, and what the section name may contain after the prefix. Generator and runtime
/// parse attach targets with [`TargetKind::parse`].
#[derive(Clone, Copy)]
enum Form {
    /// The prefix must be the whole name. Attaching requires an argument, which this text names.
    Needs(&'static str),
    /// The programs cannot be attached. The text states how they run instead; a name after the prefix has no meaning.
    Never(&'static str),
    /// The programs replace a function of another program, which the user sets before the load. A name after the prefix
    /// has no meaning.
    Replace,
    /// The programs attach to an LSM hook of a cgroup.
    LsmCgroup,
    /// The programs attach to a target, which may follow the prefix.
    Target(TargetKind),
}

impl Form {
    fn target(self, rest: Option<&str>) -> Option<Symbol> {
        let target = match self {
            Self::Target(target) => target,
            Self::LsmCgroup => TargetKind::Lsm,
            Self::Needs(_) | Self::Never(_) | Self::Replace => return None,
        };
        let (name, kind) = target.kernel_type(rest?).ok()??;
        Some(Symbol { name: name.into(), ..Symbol::new("", kind) })
    }

    fn attach(self, rest: Option<&str>) -> Attach {
        match self {
            Self::Needs(what) => Attach::Needs(what),
            Self::Never(how) => Attach::Never(how),
            Self::Replace => Attach::Tracing,
            Self::LsmCgroup => Attach::Needs("a cgroup"),
            Self::Target(target) => match rest.map(|rest| target.parse(rest)) {
                Some(Ok(target)) => target.map(|&name| name.to_owned().into()),
                // The user may set another target before the load. Otherwise, attaching reports that the target in the
                // section is missing or not valid.
                None | Some(Err(_)) => Attach::Target(target),
            },
        }
    }
}

const fn row(since: (u16, u16), prefix: &'static str, program_type: P, attach_type: A, flags: u32, form: Form) -> Row {
    Row { since, prefix, program_type, attach_type, flags, form }
}

const NONE: A = A(0);
const SLEEP: u32 = prog_flags::SLEEPABLE;
const FRAGS: u32 = prog_flags::XDP_HAS_FRAGS;
const INTERFACE: Form = Form::Needs("a network interface");
const CGROUP: Form = Form::Needs("a cgroup");
const MAP: Form = Form::Needs("a socket map");
const ROUTE: Form = Form::Needs("a route, configured with netlink");
const IN_STRUCT_OPS: Form = Form::Never("as part of its struct_ops map");
const KPROBE: Form = Form::Target(TargetKind::Kprobe { at_return: false });
const KRETPROBE: Form = Form::Target(TargetKind::Kprobe { at_return: true });
const KPROBES: Form = Form::Target(TargetKind::KprobeMulti { at_return: false });
const KRETPROBES: Form = Form::Target(TargetKind::KprobeMulti { at_return: true });
const KSYSCALL: Form = Form::Target(TargetKind::Ksyscall { at_return: false });
const KRETSYSCALL: Form = Form::Target(TargetKind::Ksyscall { at_return: true });
const UPROBE: Form = Form::Target(TargetKind::Uprobe { at_return: false });
const URETPROBE: Form = Form::Target(TargetKind::Uprobe { at_return: true });
const UPROBES: Form = Form::Target(TargetKind::UprobeMulti { at_return: false });
const URETPROBES: Form = Form::Target(TargetKind::UprobeMulti { at_return: true });
const USDT: Form = Form::Target(TargetKind::Usdt);
const TRACEPOINT: Form = Form::Target(TargetKind::Tracepoint);
const RAW_TRACEPOINT: Form = Form::Target(TargetKind::RawTracepoint);
const BTF_TRACEPOINT: Form = Form::Target(TargetKind::BtfTracepoint);
const FUNCTION: Form = Form::Target(TargetKind::Function);
const FUNCTIONS: Form = Form::Target(TargetKind::TracingMulti);
const LSM: Form = Form::Target(TargetKind::Lsm);
const ITER: Form = Form::Target(TargetKind::Iter);

/// All program sections. The order of rows does not matter: a row matches a whole name, or the part before a slash.
static TABLE: &[Row] = &[
    row((3, 19), "socket", P::SOCKET_FILTER, NONE, 0, Form::Needs("a socket")),
    row(
        (5, 14),
        "sk_reuseport/migrate",
        P::SK_REUSEPORT,
        A::SK_REUSEPORT_SELECT_OR_MIGRATE,
        0,
        Form::Needs("a socket"),
    ),
    row((4, 19), "sk_reuseport", P::SK_REUSEPORT, A::SK_REUSEPORT_SELECT, 0, Form::Needs("a socket")),
    row((4, 1), "kprobe", P::KPROBE, NONE, 0, KPROBE),
    row((4, 1), "kretprobe", P::KPROBE, NONE, 0, KRETPROBE),
    row((4, 1), "uprobe", P::KPROBE, NONE, 0, UPROBE),
    row((6, 0), "uprobe.s", P::KPROBE, NONE, SLEEP, UPROBE),
    row((4, 1), "uretprobe", P::KPROBE, NONE, 0, URETPROBE),
    row((6, 0), "uretprobe.s", P::KPROBE, NONE, SLEEP, URETPROBE),
    row((5, 18), "kprobe.multi", P::KPROBE, A::TRACE_KPROBE_MULTI, 0, KPROBES),
    row((5, 18), "kretprobe.multi", P::KPROBE, A::TRACE_KPROBE_MULTI, 0, KRETPROBES),
    row((6, 10), "kprobe.session", P::KPROBE, A::TRACE_KPROBE_SESSION, 0, KPROBES),
    row((6, 6), "uprobe.multi", P::KPROBE, A::TRACE_UPROBE_MULTI, 0, UPROBES),
    row((6, 6), "uretprobe.multi", P::KPROBE, A::TRACE_UPROBE_MULTI, 0, URETPROBES),
    row((6, 13), "uprobe.session", P::KPROBE, A::TRACE_UPROBE_SESSION, 0, UPROBES),
    row((6, 6), "uprobe.multi.s", P::KPROBE, A::TRACE_UPROBE_MULTI, SLEEP, UPROBES),
    row((6, 6), "uretprobe.multi.s", P::KPROBE, A::TRACE_UPROBE_MULTI, SLEEP, URETPROBES),
    row((6, 13), "uprobe.session.s", P::KPROBE, A::TRACE_UPROBE_SESSION, SLEEP, UPROBES),
    row((4, 1), "ksyscall", P::KPROBE, NONE, 0, KSYSCALL),
    row((4, 1), "kretsyscall", P::KPROBE, NONE, 0, KRETSYSCALL),
    row((4, 1), "usdt", P::KPROBE, NONE, 0, USDT),
    row((6, 0), "usdt.s", P::KPROBE, NONE, SLEEP, USDT),
    row((6, 6), "tc/ingress", P::SCHED_CLS, A::TCX_INGRESS, 0, INTERFACE),
    row((6, 6), "tc/egress", P::SCHED_CLS, A::TCX_EGRESS, 0, INTERFACE),
    row((6, 6), "tcx/ingress", P::SCHED_CLS, A::TCX_INGRESS, 0, INTERFACE),
    row((6, 6), "tcx/egress", P::SCHED_CLS, A::TCX_EGRESS, 0, INTERFACE),
    row((4, 1), "tc", P::SCHED_CLS, NONE, 0, INTERFACE),
    row((4, 1), "classifier", P::SCHED_CLS, NONE, 0, INTERFACE),
    row((4, 1), "action", P::SCHED_ACT, NONE, 0, INTERFACE),
    row((6, 7), "netkit/primary", P::SCHED_CLS, A::NETKIT_PRIMARY, 0, INTERFACE),
    row((6, 7), "netkit/peer", P::SCHED_CLS, A::NETKIT_PEER, 0, INTERFACE),
    row((4, 7), "tracepoint", P::TRACEPOINT, NONE, 0, TRACEPOINT),
    row((4, 7), "tp", P::TRACEPOINT, NONE, 0, TRACEPOINT),
    row((7, 1), "tracepoint.s", P::TRACEPOINT, NONE, SLEEP, TRACEPOINT),
    row((7, 1), "tp.s", P::TRACEPOINT, NONE, SLEEP, TRACEPOINT),
    row((4, 17), "raw_tracepoint", P::RAW_TRACEPOINT, NONE, 0, RAW_TRACEPOINT),
    row((4, 17), "raw_tp", P::RAW_TRACEPOINT, NONE, 0, RAW_TRACEPOINT),
    row((7, 1), "raw_tracepoint.s", P::RAW_TRACEPOINT, NONE, SLEEP, RAW_TRACEPOINT),
    row((7, 1), "raw_tp.s", P::RAW_TRACEPOINT, NONE, SLEEP, RAW_TRACEPOINT),
    row((5, 2), "raw_tracepoint.w", P::RAW_TRACEPOINT_WRITABLE, NONE, 0, RAW_TRACEPOINT),
    row((5, 2), "raw_tp.w", P::RAW_TRACEPOINT_WRITABLE, NONE, 0, RAW_TRACEPOINT),
    row((5, 5), "tp_btf", P::TRACING, A::TRACE_RAW_TP, 0, BTF_TRACEPOINT),
    row((7, 1), "tp_btf.s", P::TRACING, A::TRACE_RAW_TP, SLEEP, BTF_TRACEPOINT),
    row((5, 5), "fentry", P::TRACING, A::TRACE_FENTRY, 0, FUNCTION),
    row((5, 10), "fentry.s", P::TRACING, A::TRACE_FENTRY, SLEEP, FUNCTION),
    row((5, 5), "fexit", P::TRACING, A::TRACE_FEXIT, 0, FUNCTION),
    row((5, 10), "fexit.s", P::TRACING, A::TRACE_FEXIT, SLEEP, FUNCTION),
    row((5, 7), "fmod_ret", P::TRACING, A::MODIFY_RETURN, 0, FUNCTION),
    row((5, 10), "fmod_ret.s", P::TRACING, A::MODIFY_RETURN, SLEEP, FUNCTION),
    row((7, 0), "fsession", P::TRACING, A::TRACE_FSESSION, 0, FUNCTION),
    row((7, 0), "fsession.s", P::TRACING, A::TRACE_FSESSION, SLEEP, FUNCTION),
    row((7, 2), "fentry.multi", P::TRACING, A::TRACE_FENTRY_MULTI, 0, FUNCTIONS),
    row((7, 2), "fentry.multi.s", P::TRACING, A::TRACE_FENTRY_MULTI, SLEEP, FUNCTIONS),
    row((7, 2), "fexit.multi", P::TRACING, A::TRACE_FEXIT_MULTI, 0, FUNCTIONS),
    row((7, 2), "fexit.multi.s", P::TRACING, A::TRACE_FEXIT_MULTI, SLEEP, FUNCTIONS),
    row((7, 2), "fsession.multi", P::TRACING, A::TRACE_FSESSION_MULTI, 0, FUNCTIONS),
    row((7, 2), "fsession.multi.s", P::TRACING, A::TRACE_FSESSION_MULTI, SLEEP, FUNCTIONS),
    row((5, 6), "freplace", P::EXT, NONE, 0, Form::Replace),
    row((5, 6), "struct_ops", P::STRUCT_OPS, NONE, 0, IN_STRUCT_OPS),
    row((6, 3), "struct_ops.s", P::STRUCT_OPS, NONE, SLEEP, IN_STRUCT_OPS),
    row((5, 7), "lsm", P::LSM, A::LSM_MAC, 0, LSM),
    row((5, 10), "lsm.s", P::LSM, A::LSM_MAC, SLEEP, LSM),
    row((6, 0), "lsm_cgroup", P::LSM, A::LSM_CGROUP, 0, Form::LsmCgroup),
    row((5, 8), "iter", P::TRACING, A::TRACE_ITER, 0, ITER),
    row((5, 18), "iter.s", P::TRACING, A::TRACE_ITER, SLEEP, ITER),
    row((5, 14), "syscall", P::SYSCALL, NONE, SLEEP, Form::Never("with `test_run`")),
    row((5, 18), "xdp.frags/devmap", P::XDP, A::XDP_DEVMAP, FRAGS, Form::Needs("a device map")),
    row((5, 8), "xdp/devmap", P::XDP, A::XDP_DEVMAP, 0, Form::Needs("a device map")),
    row((5, 18), "xdp.frags/cpumap", P::XDP, A::XDP_CPUMAP, FRAGS, Form::Needs("a CPU map")),
    row((5, 9), "xdp/cpumap", P::XDP, A::XDP_CPUMAP, 0, Form::Needs("a CPU map")),
    row((5, 18), "xdp.frags", P::XDP, A::XDP, FRAGS, INTERFACE),
    row((4, 8), "xdp", P::XDP, A::XDP, 0, INTERFACE),
    row((4, 9), "perf_event", P::PERF_EVENT, NONE, 0, Form::Needs("a perf event")),
    row((4, 10), "lwt_in", P::LWT_IN, NONE, 0, ROUTE),
    row((4, 10), "lwt_out", P::LWT_OUT, NONE, 0, ROUTE),
    row((4, 10), "lwt_xmit", P::LWT_XMIT, NONE, 0, ROUTE),
    row((4, 18), "lwt_seg6local", P::LWT_SEG6LOCAL, NONE, 0, ROUTE),
    row((4, 13), "sockops", P::SOCK_OPS, A::CGROUP_SOCK_OPS, 0, CGROUP),
    row((4, 14), "sk_skb/stream_parser", P::SK_SKB, A::SK_SKB_STREAM_PARSER, 0, MAP),
    row((4, 14), "sk_skb/stream_verdict", P::SK_SKB, A::SK_SKB_STREAM_VERDICT, 0, MAP),
    row((5, 13), "sk_skb/verdict", P::SK_SKB, A::SK_SKB_VERDICT, 0, MAP),
    row((4, 14), "sk_skb", P::SK_SKB, NONE, 0, MAP),
    row((4, 17), "sk_msg", P::SK_MSG, A::SK_MSG_VERDICT, 0, MAP),
    row((4, 18), "lirc_mode2", P::LIRC_MODE2, A::LIRC_MODE2, 0, Form::Needs("an infrared device")),
    row((4, 20), "flow_dissector", P::FLOW_DISSECTOR, A::FLOW_DISSECTOR, 0, Form::Needs("a network namespace")),
    row((4, 10), "cgroup_skb/ingress", P::CGROUP_SKB, A::CGROUP_INET_INGRESS, 0, CGROUP),
    row((4, 10), "cgroup_skb/egress", P::CGROUP_SKB, A::CGROUP_INET_EGRESS, 0, CGROUP),
    row((4, 10), "cgroup/skb", P::CGROUP_SKB, NONE, 0, CGROUP),
    row((4, 10), "cgroup/sock_create", P::CGROUP_SOCK, A::CGROUP_INET_SOCK_CREATE, 0, CGROUP),
    row((5, 9), "cgroup/sock_release", P::CGROUP_SOCK, A::CGROUP_INET_SOCK_RELEASE, 0, CGROUP),
    row((4, 10), "cgroup/sock", P::CGROUP_SOCK, A::CGROUP_INET_SOCK_CREATE, 0, CGROUP),
    row((4, 17), "cgroup/post_bind4", P::CGROUP_SOCK, A::CGROUP_INET4_POST_BIND, 0, CGROUP),
    row((4, 17), "cgroup/post_bind6", P::CGROUP_SOCK, A::CGROUP_INET6_POST_BIND, 0, CGROUP),
    row((4, 17), "cgroup/bind4", P::CGROUP_SOCK_ADDR, A::CGROUP_INET4_BIND, 0, CGROUP),
    row((4, 17), "cgroup/bind6", P::CGROUP_SOCK_ADDR, A::CGROUP_INET6_BIND, 0, CGROUP),
    row((4, 17), "cgroup/connect4", P::CGROUP_SOCK_ADDR, A::CGROUP_INET4_CONNECT, 0, CGROUP),
    row((4, 17), "cgroup/connect6", P::CGROUP_SOCK_ADDR, A::CGROUP_INET6_CONNECT, 0, CGROUP),
    row((6, 7), "cgroup/connect_unix", P::CGROUP_SOCK_ADDR, A::CGROUP_UNIX_CONNECT, 0, CGROUP),
    row((4, 18), "cgroup/sendmsg4", P::CGROUP_SOCK_ADDR, A::CGROUP_UDP4_SENDMSG, 0, CGROUP),
    row((4, 18), "cgroup/sendmsg6", P::CGROUP_SOCK_ADDR, A::CGROUP_UDP6_SENDMSG, 0, CGROUP),
    row((6, 7), "cgroup/sendmsg_unix", P::CGROUP_SOCK_ADDR, A::CGROUP_UNIX_SENDMSG, 0, CGROUP),
    row((5, 2), "cgroup/recvmsg4", P::CGROUP_SOCK_ADDR, A::CGROUP_UDP4_RECVMSG, 0, CGROUP),
    row((5, 2), "cgroup/recvmsg6", P::CGROUP_SOCK_ADDR, A::CGROUP_UDP6_RECVMSG, 0, CGROUP),
    row((6, 7), "cgroup/recvmsg_unix", P::CGROUP_SOCK_ADDR, A::CGROUP_UNIX_RECVMSG, 0, CGROUP),
    row((5, 8), "cgroup/getpeername4", P::CGROUP_SOCK_ADDR, A::CGROUP_INET4_GETPEERNAME, 0, CGROUP),
    row((5, 8), "cgroup/getpeername6", P::CGROUP_SOCK_ADDR, A::CGROUP_INET6_GETPEERNAME, 0, CGROUP),
    row((6, 7), "cgroup/getpeername_unix", P::CGROUP_SOCK_ADDR, A::CGROUP_UNIX_GETPEERNAME, 0, CGROUP),
    row((5, 8), "cgroup/getsockname4", P::CGROUP_SOCK_ADDR, A::CGROUP_INET4_GETSOCKNAME, 0, CGROUP),
    row((5, 8), "cgroup/getsockname6", P::CGROUP_SOCK_ADDR, A::CGROUP_INET6_GETSOCKNAME, 0, CGROUP),
    row((6, 7), "cgroup/getsockname_unix", P::CGROUP_SOCK_ADDR, A::CGROUP_UNIX_GETSOCKNAME, 0, CGROUP),
    row((5, 2), "cgroup/sysctl", P::CGROUP_SYSCTL, A::CGROUP_SYSCTL, 0, CGROUP),
    row((5, 3), "cgroup/getsockopt", P::CGROUP_SOCKOPT, A::CGROUP_GETSOCKOPT, 0, CGROUP),
    row((5, 3), "cgroup/setsockopt", P::CGROUP_SOCKOPT, A::CGROUP_SETSOCKOPT, 0, CGROUP),
    row((4, 15), "cgroup/dev", P::CGROUP_DEVICE, A::CGROUP_DEVICE, 0, CGROUP),
    row((5, 9), "sk_lookup", P::SK_LOOKUP, A::SK_LOOKUP, 0, Form::Needs("a network namespace")),
    row((6, 4), "netfilter", P::NETFILTER, A::NETFILTER, 0, Form::Needs("a netfilter hook")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_names_determine_programs() {
        let exit = meaning("fexit/do_unlinkat").unwrap();
        assert_eq!((exit.def.program_type, exit.def.expected_attach_type), (P::TRACING, A::TRACE_FEXIT));
        assert_eq!(exit.target.unwrap().name, "do_unlinkat");
        assert_eq!(meaning("tp_btf/sched_switch").unwrap().target.unwrap().name, "btf_trace_sched_switch");
        assert_eq!(meaning("iter/task").unwrap().def.attach, Attach::Iter);
        assert!(!meaning("?raw_tp/sys_enter").unwrap().def.autoload);
        assert_eq!(meaning("raw_tp").unwrap().def.attach, Attach::Target(TargetKind::RawTracepoint));
        assert_eq!(meaning("xdp.frags").unwrap().def.flags, FRAGS);
        assert_eq!(meaning("xdp/foo"), None);
        assert_eq!(meaning("fentryx/foo"), None);
        assert_eq!(
            meaning("uretprobe.s//bin/a:f").unwrap().def.attach,
            Attach::Uprobe { path: "/bin/a".into(), function: "f".into(), offset: 0, at_return: true }
        );
        assert_eq!(
            meaning("uprobe//bin/a").unwrap().def.attach,
            Attach::Target(TargetKind::Uprobe { at_return: false })
        );
        assert_eq!(meaning("kprobe/f+x").unwrap().def.attach, Attach::Target(TargetKind::Kprobe { at_return: false }));
        assert_eq!(meaning("iter/bpf_map_elem").unwrap().def.attach.needs(), Some("a map (use `attach_iter`)"));
        assert_eq!(
            meaning("kprobe.session/a*").unwrap().def.attach,
            Attach::KprobeMulti { pattern: "a*".into(), at_return: false }
        );
        assert_eq!(
            meaning("kprobe/f+0x10").unwrap().def.attach,
            Attach::Kprobe { function: "f".into(), offset: 16, at_return: false }
        );
    }

    #[test]
    fn no_row_shadows_another() {
        for (index, row) in TABLE.iter().enumerate() {
            let first = TABLE.iter().position(|other| other.matches(row.prefix).is_some());
            assert_eq!(first, Some(index), "{}", row.prefix);
        }
    }

    #[test]
    fn similar_names_are_found() {
        let names = ["raw_tpp/sys_enter", "kporbe/do_unlinkat", "?tracepont/a/b", "xdpp", "cgroup/conect4", "xdp/foo"];
        let known = ["raw_tp", "kprobe", "tracepoint", "xdp", "cgroup/connect4", "xdp"];
        assert_eq!(names.map(similar), known.map(Some));
        assert_eq!(["prog", "my_functions", "", "/", "entry_point/x"].map(similar), [None; 5]);
    }
}
