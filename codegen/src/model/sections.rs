//! The table of program sections: what the name of a section says about the programs in it.
//!
//! Data from libbpf 1.8's section names as Linux 7.3.4 documents them (Documentation/bpf/libbpf/program_types.rst). To add a
//! kind: one line in [`TABLE`]. A name matches a line if it equals the line's prefix, or, where the line takes a target,
//! if it continues with `/` and the target.

use skelgen_runtime::uapi::{AttachType as A, ProgramType as P, prog_flags};

use super::{Attach, Target, TargetKind};

/// What a section's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SectionMeaning {
    /// The type of its programs.
    pub(super) program_type: P,
    /// Where they attach, as the kernel must know at load.
    pub(super) expected_attach_type: A,
    /// Flags of their load.
    pub(super) flags: u32,
    /// The kernel type they are loaded for.
    pub(super) target: Option<Target>,
    /// How they attach.
    pub(super) attach: Attach,
    /// Whether they are loaded unless the user says otherwise.
    pub(super) autoload: bool,
}

/// What the name of a program section says, or `None` if it is not one.
#[must_use]
pub(super) fn meaning(name: &str) -> Option<SectionMeaning> {
    let (name, autoload) = name.strip_prefix('?').map_or((name, true), |name| (name, false));
    let (row, rest) = TABLE.iter().find_map(|row| row.matches(name).map(|rest| (row, rest)))?;
    let rest = rest.filter(|rest| !rest.is_empty());
    Some(SectionMeaning {
        program_type: row.program_type,
        expected_attach_type: row.attach_type,
        flags: row.flags,
        target: row.form.target(rest),
        attach: row.form.attach(rest),
        autoload,
    })
}

/// What is said by the name of a section that nobody knows: the user has to give the type of its programs.
#[must_use]
pub(super) fn of_no_type(name: &str) -> SectionMeaning {
    SectionMeaning {
        program_type: P::UNSPEC,
        expected_attach_type: NONE,
        flags: 0,
        target: None,
        attach: Attach::Needs("its type, which the section does not say: give it with `set_type` before loading"),
        autoload: !name.starts_with('?'),
    }
}

struct Row {
    prefix: &'static str,
    program_type: P,
    attach_type: A,
    flags: u32,
    form: Form,
}

impl Row {
    /// The part after the slash, if `name` is of this row.
    fn matches<'a>(&self, name: &'a str) -> Option<Option<&'a str>> {
        let rest = name.strip_prefix(self.prefix)?;
        if rest.is_empty() {
            return Some(None);
        }
        let target = rest.strip_prefix('/')?;
        (!matches!(self.form, Form::Needs(_))).then_some(Some(target))
    }
}

/// What follows a section's prefix, and what becomes of it.
#[derive(Clone, Copy)]
enum Form {
    /// Nothing may follow; the user gives what is named here when attaching.
    Needs(&'static str),
    /// It is never attached, but runs in the way that is named here; what follows is only for people.
    Never(&'static str),
    /// A target may follow that attaching needs and skelgen does not attach by itself.
    Given(&'static str),
    /// A raw tracepoint.
    RawTracepoint,
    /// A tracepoint of the kernel's BTF.
    BtfTracepoint,
    /// A kernel function of the kernel's BTF.
    Function,
    /// A function of another program, which the user chooses before the load; what follows is only for people.
    Replace,
    /// A security hook.
    Lsm,
    /// A security hook of a cgroup.
    LsmCgroup,
    /// An iterator.
    Iter,
    /// A tracepoint: category and name.
    Tracepoint,
    /// A kernel function, and perhaps an offset.
    Kprobe { at_return: bool },
}

impl Form {
    fn target(self, rest: Option<&str>) -> Option<Target> {
        let rest = rest?;
        let (name, kind) = match self {
            Self::BtfTracepoint => (prefixed("btf_trace_", rest), TargetKind::Typedef),
            Self::Function => (rest.to_owned(), TargetKind::Function),
            Self::Lsm | Self::LsmCgroup => (prefixed("bpf_lsm_", rest), TargetKind::Function),
            Self::Iter => (prefixed("bpf_iter_", rest), TargetKind::Function),
            Self::Needs(_)
            | Self::Never(_)
            | Self::Replace
            | Self::Given(_)
            | Self::RawTracepoint
            | Self::Tracepoint
            | Self::Kprobe { .. } => {
                return None;
            }
        };
        Some(Target { name, kind })
    }

    fn attach(self, rest: Option<&str>) -> Attach {
        match (self, rest) {
            (Self::Needs(what) | Self::Given(what), _) => Attach::Needs(what),
            (Self::Never(how), _) => Attach::Never(how),
            (Self::Replace, _) => Attach::Tracing,
            (Self::RawTracepoint, Some(name)) => Attach::RawTracepoint(name.to_owned()),
            (Self::RawTracepoint, None) => Attach::Needs("the name of a raw tracepoint"),
            (Self::BtfTracepoint | Self::Function | Self::Lsm, Some(_)) => Attach::Tracing,
            (Self::BtfTracepoint, None) => Attach::Needs("the name of a tracepoint before it is loaded"),
            (Self::Function, None) => Attach::Needs("the name of a kernel function before it is loaded"),
            (Self::Lsm, None) => Attach::Needs("the name of a security hook before it is loaded"),
            (Self::LsmCgroup, _) => Attach::Needs("a cgroup"),
            (Self::Iter, Some(_)) => Attach::Iter,
            (Self::Iter, None) => Attach::Needs("the name of an iterator before it is loaded"),
            (Self::Tracepoint, Some(rest)) => match rest.split_once('/') {
                Some((category, name)) => Attach::Tracepoint { category: category.to_owned(), name: name.to_owned() },
                None => Attach::Needs("a tracepoint's category and name"),
            },
            (Self::Tracepoint, None) => Attach::Needs("a tracepoint's category and name"),
            (Self::Kprobe { at_return }, Some(rest)) => kprobe(rest, at_return),
            (Self::Kprobe { .. }, None) => Attach::Needs("the name of a kernel function"),
        }
    }
}

/// `module:name` keeps its module in front of the prefixed name.
fn prefixed(prefix: &str, rest: &str) -> String {
    match rest.split_once(':') {
        Some((module, name)) => format!("{module}:{prefix}{name}"),
        None => format!("{prefix}{rest}"),
    }
}

/// `function`, `function+offset`; the offset in decimal or hexadecimal bytes.
fn kprobe(rest: &str, at_return: bool) -> Attach {
    let (function, offset) = rest.split_once('+').unwrap_or((rest, "0"));
    let offset = match offset.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => offset.parse(),
    };
    match offset {
        Ok(offset) => Attach::Kprobe { function: function.to_owned(), offset, at_return },
        Err(_) => Attach::Needs("a kernel function with an offset that is a number"),
    }
}

const fn row(prefix: &'static str, program_type: P, attach_type: A, flags: u32, form: Form) -> Row {
    Row { prefix, program_type, attach_type, flags, form }
}

const NONE: A = A(0);
const SLEEP: u32 = prog_flags::SLEEPABLE;
const FRAGS: u32 = prog_flags::XDP_HAS_FRAGS;
const INTERFACE: Form = Form::Needs("a network interface");
const CGROUP: Form = Form::Needs("a cgroup");
const MAP: Form = Form::Needs("a socket map");
const ROUTE: Form = Form::Needs("a route, given by netlink");
const BINARY: Form = Form::Given("a program file and a place in it");
const PATTERN: Form = Form::Given("the kernel functions that the pattern means");
const IN_TABLE: Form = Form::Never("as part of its table of functions");
const KPROBE: Form = Form::Kprobe { at_return: false };
const KRETPROBE: Form = Form::Kprobe { at_return: true };

/// Every kind of program section. The order does not matter: a row matches a whole name or a whole part before a slash.
static TABLE: &[Row] = &[
    row("socket", P::SOCKET_FILTER, NONE, 0, Form::Needs("a socket")),
    row("sk_reuseport/migrate", P::SK_REUSEPORT, A::SK_REUSEPORT_SELECT_OR_MIGRATE, 0, Form::Needs("a socket")),
    row("sk_reuseport", P::SK_REUSEPORT, A::SK_REUSEPORT_SELECT, 0, Form::Needs("a socket")),
    row("kprobe", P::KPROBE, NONE, 0, KPROBE),
    row("kretprobe", P::KPROBE, NONE, 0, KRETPROBE),
    row("uprobe", P::KPROBE, NONE, 0, BINARY),
    row("uprobe.s", P::KPROBE, NONE, SLEEP, BINARY),
    row("uretprobe", P::KPROBE, NONE, 0, BINARY),
    row("uretprobe.s", P::KPROBE, NONE, SLEEP, BINARY),
    row("kprobe.multi", P::KPROBE, A::TRACE_KPROBE_MULTI, 0, PATTERN),
    row("kretprobe.multi", P::KPROBE, A::TRACE_KPROBE_MULTI, 0, PATTERN),
    row("kprobe.session", P::KPROBE, A::TRACE_KPROBE_SESSION, 0, PATTERN),
    row("uprobe.multi", P::KPROBE, A::TRACE_UPROBE_MULTI, 0, BINARY),
    row("uretprobe.multi", P::KPROBE, A::TRACE_UPROBE_MULTI, 0, BINARY),
    row("uprobe.session", P::KPROBE, A::TRACE_UPROBE_SESSION, 0, BINARY),
    row("uprobe.multi.s", P::KPROBE, A::TRACE_UPROBE_MULTI, SLEEP, BINARY),
    row("uretprobe.multi.s", P::KPROBE, A::TRACE_UPROBE_MULTI, SLEEP, BINARY),
    row("uprobe.session.s", P::KPROBE, A::TRACE_UPROBE_SESSION, SLEEP, BINARY),
    row("ksyscall", P::KPROBE, NONE, 0, Form::Given("the kernel's function for the system call")),
    row("kretsyscall", P::KPROBE, NONE, 0, Form::Given("the kernel's function for the system call")),
    row("usdt", P::KPROBE, NONE, 0, BINARY),
    row("usdt.s", P::KPROBE, NONE, SLEEP, BINARY),
    row("tc/ingress", P::SCHED_CLS, A::TCX_INGRESS, 0, INTERFACE),
    row("tc/egress", P::SCHED_CLS, A::TCX_EGRESS, 0, INTERFACE),
    row("tcx/ingress", P::SCHED_CLS, A::TCX_INGRESS, 0, INTERFACE),
    row("tcx/egress", P::SCHED_CLS, A::TCX_EGRESS, 0, INTERFACE),
    row("tc", P::SCHED_CLS, NONE, 0, INTERFACE),
    row("classifier", P::SCHED_CLS, NONE, 0, INTERFACE),
    row("action", P::SCHED_ACT, NONE, 0, INTERFACE),
    row("netkit/primary", P::SCHED_CLS, A::NETKIT_PRIMARY, 0, INTERFACE),
    row("netkit/peer", P::SCHED_CLS, A::NETKIT_PEER, 0, INTERFACE),
    row("tracepoint", P::TRACEPOINT, NONE, 0, Form::Tracepoint),
    row("tp", P::TRACEPOINT, NONE, 0, Form::Tracepoint),
    row("tracepoint.s", P::TRACEPOINT, NONE, SLEEP, Form::Tracepoint),
    row("tp.s", P::TRACEPOINT, NONE, SLEEP, Form::Tracepoint),
    row("raw_tracepoint", P::RAW_TRACEPOINT, NONE, 0, Form::RawTracepoint),
    row("raw_tp", P::RAW_TRACEPOINT, NONE, 0, Form::RawTracepoint),
    row("raw_tracepoint.s", P::RAW_TRACEPOINT, NONE, SLEEP, Form::RawTracepoint),
    row("raw_tp.s", P::RAW_TRACEPOINT, NONE, SLEEP, Form::RawTracepoint),
    row("raw_tracepoint.w", P::RAW_TRACEPOINT_WRITABLE, NONE, 0, Form::RawTracepoint),
    row("raw_tp.w", P::RAW_TRACEPOINT_WRITABLE, NONE, 0, Form::RawTracepoint),
    row("tp_btf", P::TRACING, A::TRACE_RAW_TP, 0, Form::BtfTracepoint),
    row("tp_btf.s", P::TRACING, A::TRACE_RAW_TP, SLEEP, Form::BtfTracepoint),
    row("fentry", P::TRACING, A::TRACE_FENTRY, 0, Form::Function),
    row("fentry.s", P::TRACING, A::TRACE_FENTRY, SLEEP, Form::Function),
    row("fexit", P::TRACING, A::TRACE_FEXIT, 0, Form::Function),
    row("fexit.s", P::TRACING, A::TRACE_FEXIT, SLEEP, Form::Function),
    row("fmod_ret", P::TRACING, A::MODIFY_RETURN, 0, Form::Function),
    row("fmod_ret.s", P::TRACING, A::MODIFY_RETURN, SLEEP, Form::Function),
    row("fsession", P::TRACING, A::TRACE_FSESSION, 0, Form::Function),
    row("fsession.s", P::TRACING, A::TRACE_FSESSION, SLEEP, Form::Function),
    row("fentry.multi", P::TRACING, A::TRACE_FENTRY_MULTI, 0, PATTERN),
    row("fentry.multi.s", P::TRACING, A::TRACE_FENTRY_MULTI, SLEEP, PATTERN),
    row("fexit.multi", P::TRACING, A::TRACE_FEXIT_MULTI, 0, PATTERN),
    row("fexit.multi.s", P::TRACING, A::TRACE_FEXIT_MULTI, SLEEP, PATTERN),
    row("fsession.multi", P::TRACING, A::TRACE_FSESSION_MULTI, 0, PATTERN),
    row("fsession.multi.s", P::TRACING, A::TRACE_FSESSION_MULTI, SLEEP, PATTERN),
    row("freplace", P::EXT, NONE, 0, Form::Replace),
    row("struct_ops", P::STRUCT_OPS, NONE, 0, IN_TABLE),
    row("struct_ops.s", P::STRUCT_OPS, NONE, SLEEP, IN_TABLE),
    row("lsm", P::LSM, A::LSM_MAC, 0, Form::Lsm),
    row("lsm.s", P::LSM, A::LSM_MAC, SLEEP, Form::Lsm),
    row("lsm_cgroup", P::LSM, A::LSM_CGROUP, 0, Form::LsmCgroup),
    row("iter", P::TRACING, A::TRACE_ITER, 0, Form::Iter),
    row("iter.s", P::TRACING, A::TRACE_ITER, SLEEP, Form::Iter),
    row("syscall", P::SYSCALL, NONE, SLEEP, Form::Never("by `test_run`")),
    row("xdp.frags/devmap", P::XDP, A::XDP_DEVMAP, FRAGS, Form::Needs("a device map")),
    row("xdp/devmap", P::XDP, A::XDP_DEVMAP, 0, Form::Needs("a device map")),
    row("xdp.frags/cpumap", P::XDP, A::XDP_CPUMAP, FRAGS, Form::Needs("a CPU map")),
    row("xdp/cpumap", P::XDP, A::XDP_CPUMAP, 0, Form::Needs("a CPU map")),
    row("xdp.frags", P::XDP, A::XDP, FRAGS, INTERFACE),
    row("xdp", P::XDP, A::XDP, 0, INTERFACE),
    row("perf_event", P::PERF_EVENT, NONE, 0, Form::Needs("a perf event")),
    row("lwt_in", P::LWT_IN, NONE, 0, ROUTE),
    row("lwt_out", P::LWT_OUT, NONE, 0, ROUTE),
    row("lwt_xmit", P::LWT_XMIT, NONE, 0, ROUTE),
    row("lwt_seg6local", P::LWT_SEG6LOCAL, NONE, 0, ROUTE),
    row("sockops", P::SOCK_OPS, A::CGROUP_SOCK_OPS, 0, CGROUP),
    row("sk_skb/stream_parser", P::SK_SKB, A::SK_SKB_STREAM_PARSER, 0, MAP),
    row("sk_skb/stream_verdict", P::SK_SKB, A::SK_SKB_STREAM_VERDICT, 0, MAP),
    row("sk_skb/verdict", P::SK_SKB, A::SK_SKB_VERDICT, 0, MAP),
    row("sk_skb", P::SK_SKB, NONE, 0, MAP),
    row("sk_msg", P::SK_MSG, A::SK_MSG_VERDICT, 0, MAP),
    row("lirc_mode2", P::LIRC_MODE2, A::LIRC_MODE2, 0, Form::Needs("an infrared device")),
    row("flow_dissector", P::FLOW_DISSECTOR, A::FLOW_DISSECTOR, 0, Form::Needs("a network namespace")),
    row("cgroup_skb/ingress", P::CGROUP_SKB, A::CGROUP_INET_INGRESS, 0, CGROUP),
    row("cgroup_skb/egress", P::CGROUP_SKB, A::CGROUP_INET_EGRESS, 0, CGROUP),
    row("cgroup/skb", P::CGROUP_SKB, NONE, 0, CGROUP),
    row("cgroup/sock_create", P::CGROUP_SOCK, A::CGROUP_INET_SOCK_CREATE, 0, CGROUP),
    row("cgroup/sock_release", P::CGROUP_SOCK, A::CGROUP_INET_SOCK_RELEASE, 0, CGROUP),
    row("cgroup/sock", P::CGROUP_SOCK, A::CGROUP_INET_SOCK_CREATE, 0, CGROUP),
    row("cgroup/post_bind4", P::CGROUP_SOCK, A::CGROUP_INET4_POST_BIND, 0, CGROUP),
    row("cgroup/post_bind6", P::CGROUP_SOCK, A::CGROUP_INET6_POST_BIND, 0, CGROUP),
    row("cgroup/bind4", P::CGROUP_SOCK_ADDR, A::CGROUP_INET4_BIND, 0, CGROUP),
    row("cgroup/bind6", P::CGROUP_SOCK_ADDR, A::CGROUP_INET6_BIND, 0, CGROUP),
    row("cgroup/connect4", P::CGROUP_SOCK_ADDR, A::CGROUP_INET4_CONNECT, 0, CGROUP),
    row("cgroup/connect6", P::CGROUP_SOCK_ADDR, A::CGROUP_INET6_CONNECT, 0, CGROUP),
    row("cgroup/connect_unix", P::CGROUP_SOCK_ADDR, A::CGROUP_UNIX_CONNECT, 0, CGROUP),
    row("cgroup/sendmsg4", P::CGROUP_SOCK_ADDR, A::CGROUP_UDP4_SENDMSG, 0, CGROUP),
    row("cgroup/sendmsg6", P::CGROUP_SOCK_ADDR, A::CGROUP_UDP6_SENDMSG, 0, CGROUP),
    row("cgroup/sendmsg_unix", P::CGROUP_SOCK_ADDR, A::CGROUP_UNIX_SENDMSG, 0, CGROUP),
    row("cgroup/recvmsg4", P::CGROUP_SOCK_ADDR, A::CGROUP_UDP4_RECVMSG, 0, CGROUP),
    row("cgroup/recvmsg6", P::CGROUP_SOCK_ADDR, A::CGROUP_UDP6_RECVMSG, 0, CGROUP),
    row("cgroup/recvmsg_unix", P::CGROUP_SOCK_ADDR, A::CGROUP_UNIX_RECVMSG, 0, CGROUP),
    row("cgroup/getpeername4", P::CGROUP_SOCK_ADDR, A::CGROUP_INET4_GETPEERNAME, 0, CGROUP),
    row("cgroup/getpeername6", P::CGROUP_SOCK_ADDR, A::CGROUP_INET6_GETPEERNAME, 0, CGROUP),
    row("cgroup/getpeername_unix", P::CGROUP_SOCK_ADDR, A::CGROUP_UNIX_GETPEERNAME, 0, CGROUP),
    row("cgroup/getsockname4", P::CGROUP_SOCK_ADDR, A::CGROUP_INET4_GETSOCKNAME, 0, CGROUP),
    row("cgroup/getsockname6", P::CGROUP_SOCK_ADDR, A::CGROUP_INET6_GETSOCKNAME, 0, CGROUP),
    row("cgroup/getsockname_unix", P::CGROUP_SOCK_ADDR, A::CGROUP_UNIX_GETSOCKNAME, 0, CGROUP),
    row("cgroup/sysctl", P::CGROUP_SYSCTL, A::CGROUP_SYSCTL, 0, CGROUP),
    row("cgroup/getsockopt", P::CGROUP_SOCKOPT, A::CGROUP_GETSOCKOPT, 0, CGROUP),
    row("cgroup/setsockopt", P::CGROUP_SOCKOPT, A::CGROUP_SETSOCKOPT, 0, CGROUP),
    row("cgroup/dev", P::CGROUP_DEVICE, A::CGROUP_DEVICE, 0, CGROUP),
    row("sk_lookup", P::SK_LOOKUP, A::SK_LOOKUP, 0, Form::Needs("a network namespace")),
    row("netfilter", P::NETFILTER, A::NETFILTER, 0, Form::Needs("a netfilter hook")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_kinds() {
        let exit = meaning("fexit/do_unlinkat").unwrap();
        assert_eq!((exit.program_type, exit.expected_attach_type), (P::TRACING, A::TRACE_FEXIT));
        assert_eq!(exit.target.unwrap().name, "do_unlinkat");
        assert_eq!(meaning("tp_btf/sched_switch").unwrap().target.unwrap().name, "btf_trace_sched_switch");
        assert_eq!(meaning("iter/task").unwrap().attach, Attach::Iter);
        assert!(!meaning("?raw_tp/sys_enter").unwrap().autoload);
        assert_eq!(meaning("raw_tp").unwrap().attach, Attach::Needs("the name of a raw tracepoint"));
        assert_eq!(meaning("xdp.frags").unwrap().flags, FRAGS);
        assert_eq!(meaning("xdp/foo"), None);
        assert_eq!(meaning("fentryx/foo"), None);
        assert_eq!(
            meaning("kprobe/f+0x10").unwrap().attach,
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
}
