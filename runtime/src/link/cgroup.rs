//! Programs of cgroups.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::undo::How;
use super::{Link, Place};
use crate::error::{LinuxVersion, Result};
use crate::kernel::causes;
use crate::program::Program;
use crate::sys::link as sys;
use crate::uapi::AttachFlags;

impl Program {
    /// Attaches to a cgroup of version 2, by its directory, after the programs that are there; as the attach type that the program was
    /// loaded for.
    ///
    /// Before Linux 5.7, which have no links of cgroups, it is attached without one, and detached when the [`Link`] is dropped.
    ///
    /// ```no_run
    /// # fn f(program: &skelgen_runtime::Program) -> Result<(), Box<dyn std::error::Error>> {
    /// let cgroup = std::fs::File::open("/sys/fs/cgroup/my.service")?;
    /// let link = program.attach_cgroup(&cgroup)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If it was not loaded or the kernel refuses.
    pub fn attach_cgroup(&self, cgroup: impl AsFd) -> Result<Link> {
        self.attach_cgroup_at(cgroup, Place::default())
    }

    /// Attaches to a cgroup at a place among the programs that are there (Linux 6.17).
    ///
    /// # Errors
    /// If it was not loaded or the kernel refuses.
    pub fn attach_cgroup_at(&self, cgroup: impl AsFd, place: Place<'_>) -> Result<Link> {
        let cgroup = cgroup.as_fd();
        let (flags, other) = place.request();
        let extra = (other, place.expected_revision);
        match sys::create(self.fd()?, cgroup.as_raw_fd(), self.expected_attach_type(), flags, extra) {
            Ok(fd) => Ok(Link::new(fd, self.name())),
            Err(errno) if errno.raw() == libc::EINVAL && place.is_default() => {
                self.attach_cgroup_without_link(cgroup, AttachFlags::ALLOW_MULTI).map_err(|_| {
                    self.refused("a cgroup", errno).with_help(
                        "what was given must be the directory of a cgroup of version 2, and the program must have been loaded for \
                         where it attaches, as its section or `set_type` says",
                    )
                })
            }
            Err(errno) => {
                let error = self.refused("a cgroup", errno);
                Err(match errno.raw() {
                    libc::EINVAL | libc::E2BIG => causes::since(error, LinuxVersion::new(6, 17), "order among the programs of a cgroup needs Linux 6.17"),
                    libc::EBADF => error.note("what was given is not the directory of a cgroup of version 2"),
                    libc::ESTALE => error.note("the programs of the cgroup were changed since their revision was read"),
                    _ => error,
                })
            }
        }
    }

    /// Attaches to a cgroup without a link of the kernel's (`BPF_PROG_ATTACH`). [Empty](AttachFlags::empty) flags keep other programs
    /// from the cgroup and those below. The program is detached when the [`Link`] is dropped; after [`Link::leak`] it stays for as long as the cgroup does.
    ///
    /// # Errors
    /// If it was not loaded or the kernel refuses.
    pub fn attach_cgroup_without_link(&self, cgroup: impl AsFd, flags: AttachFlags) -> Result<Link> {
        let program = self.fd()?;
        let [held, undoing] = [program, program].map(|fd| fd.try_clone_to_owned());
        let io = |error: std::io::Error| self.not_attached("a cgroup", &error);
        let (held, undoing) = (held.map_err(io)?, undoing.map_err(io)?);
        let target: OwnedFd = cgroup.as_fd().try_clone_to_owned().map_err(io)?;
        let attach_type = self.expected_attach_type();
        sys::attach(program, target.as_fd(), attach_type, flags.bits(), None)
            .map_err(|errno| self.refused("a cgroup (without a link)", errno))?;
        Ok(Link::undone(held, self.name(), How::Program { program: undoing, target, attach_type }))
    }
}
