//! The probe for attach types.

use std::os::fd::AsFd as _;

use super::maps::has_map_flags;
use super::programs::{NOTHING, attempt, has_program_type, request, target};
use super::{Feature, ask, has_feature};
use crate::error::{Errno, Error, Result};
use crate::kernel::probe;
use crate::sys::link::{self, File, Functions, Places};
use crate::sys::prog::{self, Request};
use crate::uapi::{AttachType, MapFlags, MapType, ProgramType};

/// An index that no network interface has.
const NO_INTERFACE: u32 = u32::MAX >> 1;

/// A name that no function of the kernel has.
const NO_FUNCTION: &std::ffi::CStr = c"skelgen: not a function";

/// Returns whether the running kernel supports this attach type, and the program type that the attach type is for.
///
/// Some attach types stand for a way to attach: [`AttachType::PERF_EVENT`] for links of kprobes, uprobes, tracepoints
/// and perf events (Linux 5.15), [`AttachType::TRACE_KPROBE_MULTI`] for kprobes on many functions (5.18,
/// CONFIG_FPROBE), [`AttachType::TRACE_UPROBE_MULTI`] (6.6), [`AttachType::TRACE_KPROBE_SESSION`] (6.10),
/// [`AttachType::TCX_INGRESS`] (6.6), [`AttachType::NETKIT_PRIMARY`] (6.7, CONFIG_NETKIT), [`AttachType::STRUCT_OPS`]
/// for links of struct_ops maps (6.4).
///
/// Nothing is attached. Each call loads a program or two that do nothing, and closes them.
///
/// # Examples
/// ```no_run
/// use skelgen_runtime::kernel;
/// use skelgen_runtime::uapi::AttachType;
///
/// # fn f(open: &mut impl skelgen_runtime::OpenObject) -> skelgen_runtime::Result<()> {
/// let many = kernel::has_attach_type(AttachType::TRACE_KPROBE_MULTI)?;
/// for program in open.programs_mut() {
///     match program.section().split('/').next() {
///         Some("kprobe.multi") => program.set_autoload(many),
///         Some("kprobe") => program.set_autoload(!many),
///         _ => program,
///     };
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the probe fails, as for [`has_program_type`]; for types of [`ProgramType::TRACING`] also if the kernel's BTF
/// cannot be read. Also for a type that this version of the crate does not support.
pub fn has_attach_type(attach_type: AttachType) -> Result<bool> {
    let (program_type, way) = Way::of(attach_type).ok_or_else(|| {
        Error::invalid(format_args!("attach type {attach_type} is not known to this version of skelgen"))
    })?;
    if !has_program_type(program_type)? {
        return Ok(false);
    }
    let what = format!("has attach type {attach_type}");
    let load = |target| {
        let request = request(program_type, &NOTHING);
        attempt(&Request { expected_attach_type: attach_type, attach_btf_id: target, ..request })
    };
    let open = |_: ()| {
        let request = request(program_type, &NOTHING);
        prog::load(&Request { expected_attach_type: attach_type, ..request }, 0, &mut [])?.result
    };
    match way {
        Way::Type => Ok(true),
        Way::Attach => ask(what, || is_known(link::attach_nothing(attach_type), &[libc::EBADF])),
        Way::Interface => ask(what, || {
            let program = open(())?;
            let result = link::detach_from_interface(program.as_fd(), NO_INTERFACE, attach_type);
            is_known(result, &[libc::ENODEV])
        }),
        Way::Checked => ask(what, || {
            // A kernel without the attach type may accept any attach type.
            let unknown = Request { expected_attach_type: AttachType(u32::MAX), ..request(program_type, &NOTHING) };
            Ok(probe::verdict(&load(0)?.result, &[libc::EINVAL])? && attempt(&unknown)?.result.is_err())
        }),
        Way::Target => {
            let target = target(program_type)?;
            ask(what, || {
                let attempt = load(target)?;
                // If the verifier knows the attach type, it reports why the target is not valid for it.
                if attempt.has_reason() { Ok(true) } else { probe::verdict(&attempt.result, &[libc::EINVAL]) }
            })
        }
        Way::Targets => ask(what, || probe::verdict(&load(0)?.result, &[libc::EINVAL, libc::E2BIG])),
        Way::Map => has_map_flags(MapType::STRUCT_OPS, MapFlags::LINK),
        Way::In(feature) => has_feature(feature),
        Way::Event => ask(what, || {
            let program = open(())?;
            // This file descriptor is a program, not a perf event.
            is_known(link::create_perf(program.as_fd(), program.as_fd(), 0), &[libc::EBADF])
        }),
        Way::Kprobes => ask(what, || {
            let program = open(())?;
            let create = |name| {
                let functions = Functions { names: &[name], addresses: &[], cookies: &[] };
                link::create_kprobe_multi(program.as_fd(), attach_type, &functions, false)
            };
            let no = [libc::EINVAL, libc::E2BIG, libc::EOPNOTSUPP];
            match create(NO_FUNCTION) {
                Err(errno) if errno.raw() == libc::ESRCH => Ok(true),
                // Linux 5.18 returns `EINVAL` also for a function that does not exist.
                Err(errno) if errno.raw() == libc::EINVAL => probe::verdict(&create(c"bpf_fentry_test1"), &no),
                result => probe::verdict(&result, &no),
            }
        }),
        Way::Uprobes => ask(what, || {
            let program = open(())?;
            // A directory cannot have probes.
            let places = Places { file: File::Path(c"/"), offsets: &[0], ref_ctr_offsets: &[], cookies: &[], pid: 0 };
            is_known(link::create_uprobe_multi(program.as_fd(), attach_type, &places, false), &[libc::EBADF])
        }),
    }
}

/// Returns whether the error of a request that cannot succeed shows that the kernel supports the request: `true` for
/// the error numbers in `yes`, `false` for those of a kernel that does not support it.
fn is_known<T>(result: Result<T, Errno>, yes: &[i32]) -> Result<bool, Errno> {
    match result {
        Err(errno) if yes.contains(&errno.raw()) => Ok(true),
        result => probe::verdict(&result, &[libc::EINVAL, libc::E2BIG, libc::EOPNOTSUPP]),
    }
}

/// The request that shows whether the kernel supports an attach type.
#[derive(Clone, Copy)]
enum Way {
    /// Every kernel with the program type has the attach type.
    Type,
    /// An attachment without a target.
    Attach,
    /// An attachment to a network interface that does not exist: a kernel can be built without this kind of interface.
    Interface,
    /// A load, which checks the attach type.
    Checked,
    /// A load for a function of the kernel.
    Target,
    /// A load for many functions, which are set only when the program is attached.
    Targets,
    /// The creation of a map.
    Map,
    /// The probe of this feature, in which the attach type was added.
    In(Feature),
    /// The creation of a link of a perf event.
    Event,
    /// The creation of a link of kprobes.
    Kprobes,
    /// The creation of a link of uprobes.
    Uprobes,
}

impl Way {
    /// Returns the program type of an attach type, and the request that shows whether the kernel supports it.
    fn of(attach_type: AttachType) -> Option<(ProgramType, Self)> {
        use AttachType as A;
        use ProgramType as P;
        Some(match attach_type {
            A::CGROUP_INET_INGRESS | A::CGROUP_INET_EGRESS => (P::CGROUP_SKB, Self::Attach),
            A::CGROUP_INET_SOCK_CREATE
            | A::CGROUP_INET_SOCK_RELEASE
            | A::CGROUP_INET4_POST_BIND
            | A::CGROUP_INET6_POST_BIND => (P::CGROUP_SOCK, Self::Attach),
            A::CGROUP_SOCK_OPS => (P::SOCK_OPS, Self::Attach),
            A::CGROUP_DEVICE => (P::CGROUP_DEVICE, Self::Attach),
            A::CGROUP_INET4_BIND
            | A::CGROUP_INET6_BIND
            | A::CGROUP_INET4_CONNECT
            | A::CGROUP_INET6_CONNECT
            | A::CGROUP_UDP4_SENDMSG
            | A::CGROUP_UDP6_SENDMSG
            | A::CGROUP_UDP4_RECVMSG
            | A::CGROUP_UDP6_RECVMSG
            | A::CGROUP_INET4_GETPEERNAME
            | A::CGROUP_INET6_GETPEERNAME
            | A::CGROUP_INET4_GETSOCKNAME
            | A::CGROUP_INET6_GETSOCKNAME
            | A::CGROUP_UNIX_CONNECT
            | A::CGROUP_UNIX_SENDMSG
            | A::CGROUP_UNIX_RECVMSG
            | A::CGROUP_UNIX_GETPEERNAME
            | A::CGROUP_UNIX_GETSOCKNAME => (P::CGROUP_SOCK_ADDR, Self::Attach),
            A::CGROUP_SYSCTL => (P::CGROUP_SYSCTL, Self::Attach),
            A::CGROUP_GETSOCKOPT | A::CGROUP_SETSOCKOPT => (P::CGROUP_SOCKOPT, Self::Attach),
            A::SK_SKB_STREAM_PARSER | A::SK_SKB_STREAM_VERDICT | A::SK_SKB_VERDICT => (P::SK_SKB, Self::Attach),
            A::SK_MSG_VERDICT => (P::SK_MSG, Self::Attach),
            A::LIRC_MODE2 => (P::LIRC_MODE2, Self::Attach),
            A::FLOW_DISSECTOR => (P::FLOW_DISSECTOR, Self::Attach),
            A::LSM_CGROUP => (P::LSM, Self::Attach),
            A::TCX_INGRESS | A::TCX_EGRESS | A::NETKIT_PRIMARY | A::NETKIT_PEER => (P::SCHED_CLS, Self::Interface),
            A::SK_REUSEPORT_SELECT | A::SK_REUSEPORT_SELECT_OR_MIGRATE => (P::SK_REUSEPORT, Self::Checked),
            A::TRACE_RAW_TP | A::TRACE_FENTRY | A::TRACE_FEXIT | A::MODIFY_RETURN | A::TRACE_FSESSION => {
                (P::TRACING, Self::Target)
            }
            A::TRACE_ITER => (P::TRACING, Self::Attach),
            A::TRACE_FENTRY_MULTI | A::TRACE_FEXIT_MULTI | A::TRACE_FSESSION_MULTI => (P::TRACING, Self::Targets),
            A::LSM_MAC => (P::LSM, Self::Type),
            A::SK_LOOKUP => (P::SK_LOOKUP, Self::Type),
            A::NETFILTER => (P::NETFILTER, Self::Type),
            A::STRUCT_OPS => (P::STRUCT_OPS, Self::Map),
            // Earlier kernels attach XDP programs by netlink, without an attach type.
            A::XDP => (P::XDP, Self::Attach),
            A::XDP_DEVMAP => (P::XDP, Self::In(Feature::DevmapPrograms)),
            A::XDP_CPUMAP => (P::XDP, Self::In(Feature::CpumapPrograms)),
            A::PERF_EVENT => (P::TRACEPOINT, Self::Event),
            A::TRACE_KPROBE_MULTI | A::TRACE_KPROBE_SESSION => (P::KPROBE, Self::Kprobes),
            A::TRACE_UPROBE_MULTI | A::TRACE_UPROBE_SESSION => (P::KPROBE, Self::Uprobes),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_attach_type_has_a_way() {
        for number in (0..200).filter(|&number| AttachType(number).name().is_some()) {
            assert!(Way::of(AttachType(number)).is_some(), "{}", AttachType(number));
        }
        assert!(Way::of(AttachType(100_000)).is_none());
    }
}
