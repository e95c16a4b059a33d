//! Queries which programs are attached to a target that can have several.

use std::os::fd::{AsFd, AsRawFd};

use crate::cgroup::{self, IntoCgroup};
use crate::error::{Errno, Error, LinuxVersion, Result, Step, Subject};
use crate::interface::IntoInterface;
use crate::kernel::causes;
use crate::sys::link as sys;
use crate::uapi::{AttachFlags, AttachType};

/// The ids of the programs of an interface, a cgroup, a network namespace, or a sockmap or sockhash, in the order in which
/// they run.
///
/// ```no_run
/// use skelgen_runtime::link::{Attached, Order, Place, TcDirection};
/// use skelgen_runtime::uapi::AttachType;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// // Attach as the first program, unless the list of programs changes in between.
/// let there = Attached::to_interface("eth0", AttachType::TCX_INGRESS)?;
/// let place = Place::new(Order::First).expected_revision(there.revision);
/// let link = program.attach_tcx_at("eth0", TcDirection::Ingress, place)?;
/// # Ok(())
/// # }
/// ```
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::link::{Attached, Order, Place};
/// use skelgen_runtime::uapi::AttachType;
///
/// let namespace = std::fs::File::open("/proc/self/ns/net").expect("this process has one");
/// println!("{:?}", Attached::to(&namespace, AttachType::SK_LOOKUP)?);
/// let link = program.attach_cgroup_at("/sys/fs/cgroup/user.slice", Place::new(Order::First))?;
/// # drop(link);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attached {
    /// The ids of the programs.
    pub programs: Vec<u32>,
    /// For network interfaces, the id of each program's link, or `None` for a program that is attached without a link;
    /// empty for other targets.
    pub links: Vec<Option<u32>>,
    /// The revision of the list, a number that every change increments, for
    /// [`Place::expected_revision`](super::Place::expected_revision). If the kernel has no revisions, it is 0, which
    /// `expected_revision` accepts as "any".
    pub revision: u64,
    /// The flags with which the programs of a cgroup are attached; empty for other targets.
    pub flags: AttachFlags,
}

impl Attached {
    /// Returns the programs that are attached to a network interface (tcx and netkit, Linux 6.6).
    ///
    /// # Errors
    /// If the interface does not exist or the kernel rejects the query.
    pub fn to_interface(interface: impl IntoInterface, attach_type: AttachType) -> Result<Self> {
        let interface = interface.into_interface().map_err(|error| error.within("cannot query attached programs"))?;
        query(i32::from_ne_bytes(interface.index().to_ne_bytes()), (attach_type, false), true).map_err(|errno| {
            let error = Error::refused(format_args!("cannot query the programs of {}", interface.label()), errno)
                .during(Step::ReadInfo)
                .about(Subject::Interface(interface.index()));
            match errno.raw() {
                libc::EINVAL => causes::since(
                    error,
                    LinuxVersion::new(6, 6),
                    "queries of network interfaces need Linux 6.6 (tcx) or 6.7 (netkit)",
                ),
                libc::ENODEV => interface.missing(error),
                _ => error,
            }
        })
    }

    /// Returns the programs of this attach type that are attached to a cgroup itself, not to its ancestors (Linux 4.15).
    ///
    /// ```no_run
    /// use skelgen_runtime::link::Attached;
    /// use skelgen_runtime::uapi::AttachType;
    /// let own = Attached::to_cgroup("/sys/fs/cgroup/my.service", AttachType::CGROUP_INET_EGRESS)?;
    /// let all = Attached::effective("/sys/fs/cgroup/my.service", AttachType::CGROUP_INET_EGRESS)?;
    /// println!("{} programs, {} with those of ancestors", own.programs.len(), all.programs.len());
    /// # Ok::<(), skelgen_runtime::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the path or file is not a cgroup v2, or the kernel rejects the query.
    pub fn to_cgroup(cgroup: impl IntoCgroup, attach_type: AttachType) -> Result<Self> {
        Self::in_cgroup(cgroup, attach_type, false)
    }

    /// Returns the programs of this attach type that run for the processes of a cgroup, in their order: those of the
    /// cgroup and of its ancestors (Linux 4.15). The result has no flags and no revision.
    ///
    /// # Errors
    /// If the path or file is not a cgroup v2, or the kernel rejects the query.
    pub fn effective(cgroup: impl IntoCgroup, attach_type: AttachType) -> Result<Self> {
        Self::in_cgroup(cgroup, attach_type, true)
    }

    fn in_cgroup(cgroup: impl IntoCgroup, attach_type: AttachType, is_effective: bool) -> Result<Self> {
        let directory = cgroup.into_cgroup().map_err(|error| error.within("cannot query attached programs"))?;
        let directory = directory.as_fd();
        query(directory.as_raw_fd(), (attach_type, is_effective), false).map_err(|errno| {
            let error = refused(attach_type, cgroup::label(directory), errno);
            if errno.raw() == libc::EBADF { cgroup::explain(error, directory) } else { error }
        })
    }

    /// Returns the programs of this attach type that are attached to a network namespace, a sockmap or a sockhash.
    ///
    /// # Errors
    /// If the target is of a different kind, or the kernel rejects the query.
    pub fn to(target: impl AsFd, attach_type: AttachType) -> Result<Self> {
        query(target.as_fd().as_raw_fd(), (attach_type, false), false)
            .map_err(|errno| refused(attach_type, "a file descriptor", errno))
    }
}

fn refused(attach_type: AttachType, target: impl std::fmt::Display, errno: Errno) -> Error {
    let of = attach_type.name().unwrap_or("unknown");
    let error = Error::refused(format_args!("cannot query the programs of attach type {of} of {target}"), errno);
    error.during(Step::ReadInfo)
}

fn query(target: i32, what: (AttachType, bool), with_links: bool) -> Result<Attached, Errno> {
    let mut room = 64;
    loop {
        let mut programs = vec![0; room];
        let mut links = vec![0; if with_links { room } else { 0 }];
        match sys::query(target, what, &mut programs, &mut links) {
            Err(errno) if errno.raw() == libc::ENOSPC && room < 1 << 16 => room *= 4,
            Err(errno) => return Err(errno),
            Ok(sys::Queried { count, flags, revision }) => {
                programs.truncate(count);
                links.truncate(count);
                let links = links.into_iter().map(super::info::id).collect();
                return Ok(Attached { programs, links, revision, flags: AttachFlags::from_bits(flags) });
            }
        }
    }
}
