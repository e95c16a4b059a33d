//! Attaching programs to cgroups.

use std::os::fd::{AsFd, AsRawFd};

use super::{Link, Place};
use crate::error::{LinuxVersion, Result};
use crate::kernel::causes;
use crate::program::Program;
use crate::sys::link as sys;
use crate::uapi::AttachFlags;

impl Program {
    /// Attaches to a cgroup v2, by its directory, after the programs that are already attached, with the attach type
    /// that the program was loaded with.
    ///
    /// Before Linux 5.7, which introduced cgroup links, the program is attached without a link, and detached when the
    /// [`Link`] is dropped.
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
    /// If the program was not loaded or the kernel rejects it.
    pub fn attach_cgroup(&self, cgroup: impl AsFd) -> Result<Link> {
        self.attach_cgroup_at(cgroup, Place::default())
    }

    /// Attaches to a cgroup at a position among the programs that are already attached (Linux 6.17).
    ///
    /// # Errors
    /// If the program was not loaded or the kernel rejects it.
    pub fn attach_cgroup_at(&self, cgroup: impl AsFd, place: Place<'_>) -> Result<Link> {
        let cgroup = cgroup.as_fd();
        let (flags, other) = place.request();
        let extra = (other, place.expected_revision);
        match sys::create(self.fd()?, cgroup.as_raw_fd(), self.expected_attach_type(), flags, extra) {
            Ok(fd) => Ok(Link::new(fd, self.name())),
            Err(errno) if errno.raw() == libc::EINVAL && place.is_default() => {
                self.attach_cgroup_without_link(cgroup, AttachFlags::ALLOW_MULTI).map_err(|_| {
                    self.refused("a cgroup", errno).with_help(
                        "pass the directory of a cgroup v2, and load the program with the attach type of its hook (by its section or \
                         `set_type`)",
                    )
                })
            }
            Err(errno) => {
                let error = self.refused("a cgroup", errno);
                Err(match errno.raw() {
                    libc::EINVAL | libc::E2BIG => causes::since(error, LinuxVersion::new(6, 17), "an order among the programs of a cgroup needs Linux 6.17"),
                    libc::EBADF => error.note("the file descriptor is not the directory of a cgroup v2"),
                    libc::ESTALE => error.note("the programs of the cgroup changed after their revision was read"),
                    _ => error,
                })
            }
        }
    }

    /// Attaches to a cgroup without a BPF link (`BPF_PROG_ATTACH`). With [empty](AttachFlags::empty) flags no other
    /// program can be attached to the cgroup and those below it. The program is detached when the [`Link`] is dropped;
    /// after [`Link::leak`] it stays attached as long as the cgroup exists.
    ///
    /// # Errors
    /// If the program was not loaded or the kernel rejects it.
    pub fn attach_cgroup_without_link(&self, cgroup: impl AsFd, flags: AttachFlags) -> Result<Link> {
        let attaching = (self.expected_attach_type(), flags.bits());
        self.attach_without_link("a cgroup (without a link)", cgroup.as_fd(), attaching, |error, _| error)
    }
}
