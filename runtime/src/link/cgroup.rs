//! Attaching programs to cgroups.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::{IntoCgroup, Link, Place};
use crate::cgroup;
use crate::error::{Errno, Error, LinuxVersion, Result};
use crate::kernel::causes;
use crate::program::Program;
use crate::sys::link as sys;
use crate::uapi::{AttachFlags, AttachType, ProgramType};

impl Program {
    /// Attaches to a cgroup v2, after the programs that are already attached, with the attach type that the program was
    /// loaded with. The program runs for the processes of the cgroup and its descendants.
    ///
    /// Before Linux 5.7, which introduced cgroup links, the program is attached without a link, and detached when the
    /// [`Link`] is dropped.
    ///
    /// ```no_run
    /// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// let link = program.attach_cgroup("/sys/fs/cgroup/my.service")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded, the path or file is not a cgroup v2, or the kernel rejects the program.
    pub fn attach_cgroup(&self, cgroup: impl IntoCgroup) -> Result<Link> {
        self.attach_cgroup_at(cgroup, Place::default())
    }

    /// Attaches to a cgroup at a position among the programs that are already attached (Linux 6.17).
    ///
    /// # Errors
    /// If the program was not loaded, the path or file is not a cgroup v2, the kernel does not support positions, the
    /// programs of the cgroup have a revision other than the expected one, or the kernel rejects the program.
    pub fn attach_cgroup_at(&self, cgroup: impl IntoCgroup, place: Place<'_>) -> Result<Link> {
        let directory = self.cgroup(cgroup)?;
        let cgroup = directory.as_fd();
        let (flags, other) = place.request();
        let extra = (other, place.expected_revision);
        let program = self.fd()?;
        let created = self.with_attach_type(of_cgroups(self.program_type()), |attach_type| {
            sys::create(program, cgroup.as_raw_fd(), attach_type, flags, extra)
        })?;
        match created {
            Ok(fd) => Ok(Link::new(fd, self.name())),
            Err(errno) if errno.raw() == libc::EINVAL && place.is_default() => {
                let rejected = self.attach_to_cgroup(cgroup, AttachFlags::ALLOW_MULTI);
                rejected.map_err(|error| match error.errno().map(Errno::raw) {
                    // The program's type does not attach to cgroups: the error of the first request is the useful one.
                    Some(libc::EINVAL) => self.not_for_cgroup(cgroup, errno),
                    _ => error,
                })
            }
            Err(errno) => Err(match errno.raw() {
                libc::EINVAL | libc::E2BIG => causes::since(
                    self.refused(cgroup::label(cgroup), errno),
                    LinuxVersion::new(6, 17),
                    "a position among the programs of a cgroup needs Linux 6.17",
                ),
                libc::ESTALE => self
                    .refused(cgroup::label(cgroup), errno)
                    .note("the programs of the cgroup changed after their revision was read"),
                _ => self.not_for_cgroup(cgroup, errno),
            }),
        }
    }

    /// Attaches to a cgroup without a BPF link (`BPF_PROG_ATTACH`). With [empty](AttachFlags::empty) flags, no program
    /// of this attach type can be attached to descendants of the cgroup, and another attachment with empty flags to the
    /// cgroup itself replaces this one. The program is detached when the [`Link`] is dropped; after [`Link::leak`] it
    /// stays attached as long as the cgroup exists.
    ///
    /// ```no_run
    /// use skelgen_runtime::uapi::AttachFlags;
    /// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// // The program stays attached when this process ends.
    /// program.attach_cgroup_without_link("/sys/fs/cgroup/my.service", AttachFlags::ALLOW_MULTI)?.leak();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded, the path or file is not a cgroup v2, or the kernel rejects the program.
    pub fn attach_cgroup_without_link(&self, cgroup: impl IntoCgroup, flags: AttachFlags) -> Result<Link> {
        self.attach_to_cgroup(self.cgroup(cgroup)?.as_fd(), flags)
    }

    fn attach_to_cgroup(&self, cgroup: BorrowedFd<'_>, flags: AttachFlags) -> Result<Link> {
        let types = self.known_attach_types(of_cgroups(self.program_type()))?;
        let what = format!("{} (without a link)", cgroup::label(cgroup));
        self.attach_without_link(&what, cgroup, types, flags.bits(), |error, errno| match errno.raw() {
            libc::EBADF => cgroup::explain(error, cgroup),
            libc::EEXIST => error.note("the program is already attached to the cgroup"),
            _ => error,
        })
    }

    /// Returns the directory of the cgroup to attach this program to.
    fn cgroup<C: IntoCgroup>(&self, cgroup: C) -> Result<C::Directory> {
        cgroup.into_cgroup().map_err(|error| self.attaching(error))
    }

    /// Creates the error for an attachment of this program to a cgroup that the kernel rejected.
    fn not_for_cgroup(&self, cgroup: BorrowedFd<'_>, errno: Errno) -> Error {
        let error = self.refused(cgroup::label(cgroup), errno);
        match errno.raw() {
            libc::EBADF => cgroup::explain(error, cgroup),
            libc::EINVAL => {
                error.with_help("load the program with the attach type of its hook (by its section or `set_type`)")
            }
            _ => error,
        }
    }
}

/// Returns the attach types for cgroups that a program of this type can have been loaded with, if the kernel rejects
/// all others; empty if it does not, as for `cgroup_skb`.
const fn of_cgroups(program_type: ProgramType) -> &'static [AttachType] {
    match program_type {
        ProgramType::LSM => &[AttachType::LSM_CGROUP],
        ProgramType::CGROUP_SOCK => &[
            AttachType::CGROUP_INET_SOCK_CREATE,
            AttachType::CGROUP_INET_SOCK_RELEASE,
            AttachType::CGROUP_INET4_POST_BIND,
            AttachType::CGROUP_INET6_POST_BIND,
        ],
        ProgramType::CGROUP_SOCKOPT => &[AttachType::CGROUP_GETSOCKOPT, AttachType::CGROUP_SETSOCKOPT],
        ProgramType::CGROUP_SOCK_ADDR => &[
            AttachType::CGROUP_INET4_BIND,
            AttachType::CGROUP_INET6_BIND,
            AttachType::CGROUP_INET4_CONNECT,
            AttachType::CGROUP_INET6_CONNECT,
            AttachType::CGROUP_UNIX_CONNECT,
            AttachType::CGROUP_UDP4_SENDMSG,
            AttachType::CGROUP_UDP6_SENDMSG,
            AttachType::CGROUP_UNIX_SENDMSG,
            AttachType::CGROUP_UDP4_RECVMSG,
            AttachType::CGROUP_UDP6_RECVMSG,
            AttachType::CGROUP_UNIX_RECVMSG,
            AttachType::CGROUP_INET4_GETPEERNAME,
            AttachType::CGROUP_INET6_GETPEERNAME,
            AttachType::CGROUP_UNIX_GETPEERNAME,
            AttachType::CGROUP_INET4_GETSOCKNAME,
            AttachType::CGROUP_INET6_GETSOCKNAME,
            AttachType::CGROUP_UNIX_GETSOCKNAME,
        ],
        _ => &[],
    }
}
