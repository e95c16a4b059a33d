//! Detaching programs that were attached without links (`BPF_PROG_DETACH`), by this process or by another.
//!
//! XDP programs and filters of classic traffic control are attached by netlink: see `xdp.rs` and `tc_attached.rs`.

use std::os::fd::AsFd;

use super::{IntoCgroup, IntoInterface};
use crate::cgroup;
use crate::error::{Errno, Error, LinuxVersion, Result, Step, Subject};
use crate::kernel::causes;
use crate::sys::link as sys;
use crate::uapi::AttachType;

/// Detaches a program that is attached without a link to a cgroup, regardless of who attached it: after
/// [`Link::leak`](super::Link::leak) of an attachment [without a link](crate::Program::attach_cgroup_without_link), or
/// by another process. [`Attached::to_cgroup`](super::Attached::to_cgroup) lists the programs.
///
/// ```no_run
/// use skelgen_runtime::link::detach_from_cgroup;
/// use skelgen_runtime::uapi::AttachType;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// detach_from_cgroup("/sys/fs/cgroup/my.service", AttachType::CGROUP_INET_EGRESS, program.fd()?)?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the path or file is not a cgroup v2, or the program is not attached to it without a link.
pub fn detach_from_cgroup(cgroup: impl IntoCgroup, attach_type: AttachType, program: impl AsFd) -> Result<()> {
    let directory = cgroup.into_cgroup().map_err(|error| error.within("cannot detach a program"))?;
    let directory = directory.as_fd();
    sys::detach(program.as_fd(), directory, attach_type).map_err(|errno| {
        let error = refused(attach_type, cgroup::label(directory), errno);
        if errno.raw() == libc::EBADF { cgroup::explain(error, directory) } else { error }
    })
}

/// Detaches a program that another process attached without a link to a network interface (tcx, netkit; Linux 6.6).
/// This crate always uses links here. [`Attached::to_interface`](super::Attached::to_interface) lists the programs. For
/// XDP see [`detach_xdp`](super::detach_xdp), for classic traffic control [`detach_tc`](super::detach_tc).
///
/// ```no_run
/// use skelgen_runtime::link::{TcDirection, detach_from_interface};
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// detach_from_interface("eth0", TcDirection::Ingress.attach_type(), program.fd()?)?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the interface does not exist, or the program is not attached to it without a link.
pub fn detach_from_interface(interface: impl IntoInterface, attach_type: AttachType, program: impl AsFd) -> Result<()> {
    let interface = interface.into_interface().map_err(|error| error.within("cannot detach a program"))?;
    sys::detach_from_interface(program.as_fd(), interface.index(), attach_type).map_err(|errno| {
        let error = refused(attach_type, interface.label(), errno).about(Subject::Interface(interface.index()));
        match errno.raw() {
            libc::EINVAL if !interface.is_missing() => causes::since(
                error,
                LinuxVersion::new(6, 6),
                "detaching from a network interface needs Linux 6.6 and an attach type of tcx or netkit",
            ),
            _ => interface.explain(error, &errno.into()),
        }
    })
}

/// Detaches a program that is attached without a link to a network namespace (`flow_dissector`), a sockmap or sockhash,
/// or an infrared receiver, regardless of who attached it. [`Attached::to`](super::Attached::to) lists the programs.
///
/// ```no_run
/// # use skelgen_runtime::{Program, Result, map::SockMap};
/// use skelgen_runtime::link::detach_from;
/// use skelgen_runtime::uapi::AttachType;
/// # fn f(program: &Program, map: &SockMap) -> Result<()> {
/// detach_from(map, AttachType::SK_MSG_VERDICT, program.fd()?)?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the target is none of these, or the program is not attached to it without a link.
pub fn detach_from(target: impl AsFd, attach_type: AttachType, program: impl AsFd) -> Result<()> {
    sys::detach(program.as_fd(), target.as_fd(), attach_type)
        .map_err(|errno| refused(attach_type, "a file descriptor", errno))
}

fn refused(attach_type: AttachType, target: impl std::fmt::Display, errno: Errno) -> Error {
    let of = attach_type.name().unwrap_or("unknown");
    let error = Error::refused(format_args!("cannot detach a program of attach type {of} from {target}"), errno);
    let error = error.during(Step::Detach);
    match errno.raw() {
        libc::ENOENT => error
            .note("the program is not attached to the target without a link; to detach a link, call `Link::detach`"),
        _ => error,
    }
}
