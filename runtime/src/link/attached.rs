//! The programs that are attached to a target with several programs.

use std::os::fd::{AsFd, AsRawFd};

use crate::error::{Error, LinuxVersion, Result, Step, Subject};
use crate::kernel::causes;
use crate::sys::link as sys;
use crate::uapi::AttachType;

/// The ids of the programs of an interface, a cgroup, a network namespace or a map of sockets, in the order in which
/// they run.
///
/// ```no_run
/// use skelgen_runtime::link::{Attached, Order, Place, TcDirection};
/// use skelgen_runtime::uapi::AttachType;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// // Attach as the first program, unless the list of programs changes in between.
/// let there = Attached::to_interface(2, AttachType::TCX_INGRESS)?;
/// let place = Place::new(Order::First).expected_revision(there.revision);
/// let link = program.attach_tcx_at(2, TcDirection::Ingress, place)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attached {
    /// The ids of the programs.
    pub programs: Vec<u32>,
    /// The id of the link of each program of an interface, or `None` for a program that is attached without a link.
    pub links: Vec<Option<u32>>,
    /// The number of changes to the list, for [`Place::expected_revision`](super::Place::expected_revision). It is 0 if
    /// the kernel does not count, which as an expected revision means any.
    pub revision: u64,
}

impl Attached {
    /// Returns the programs that are attached to a network interface (tcx and netkit, Linux 6.6).
    ///
    /// # Errors
    /// If the interface does not exist or the kernel rejects the query.
    pub fn to_interface(ifindex: u32, attach_type: AttachType) -> Result<Self> {
        query(i32::from_ne_bytes(ifindex.to_ne_bytes()), attach_type, true).map_err(|errno| {
            let error = Error::refused(format_args!("cannot query the programs of network interface {ifindex}"), errno)
                .during(Step::ReadInfo)
                .about(Subject::Interface(ifindex));
            match errno.raw() {
                libc::EINVAL => causes::since(
                    error,
                    LinuxVersion::new(6, 6),
                    "queries of network interfaces need Linux 6.6 (tcx) or 6.7 (netkit)",
                ),
                libc::ENODEV => error.note("this network namespace has no interface with that index"),
                _ => error,
            }
        })
    }

    /// Returns the programs of this attach type that are attached to a cgroup itself (not to its ancestors), a network
    /// namespace or a map of sockets.
    ///
    /// # Errors
    /// If the target is none of these, or the kernel rejects the query.
    pub fn to(target: impl AsFd, attach_type: AttachType) -> Result<Self> {
        query(target.as_fd().as_raw_fd(), attach_type, false).map_err(|errno| {
            Error::refused(
                format_args!("cannot query the attached programs of type {}", attach_type.name().unwrap_or("unknown")),
                errno,
            )
            .during(Step::ReadInfo)
        })
    }
}

fn query(target: i32, attach_type: AttachType, with_links: bool) -> Result<Attached, crate::Errno> {
    let mut room = 64;
    loop {
        let mut programs = vec![0; room];
        let mut links = vec![0; if with_links { room } else { 0 }];
        match sys::query(target, attach_type, &mut programs, &mut links) {
            Err(errno) if errno.raw() == libc::ENOSPC && room < 1 << 16 => room *= 4,
            Err(errno) => return Err(errno),
            Ok((count, revision)) => {
                programs.truncate(count);
                links.truncate(count);
                let links = links.into_iter().map(super::info::id).collect();
                return Ok(Attached { programs, links, revision });
            }
        }
    }
}
