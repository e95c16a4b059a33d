//! Detaching of attachments that the kernel has no link for: when the link is dropped.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Link;
use super::route::Added;
use super::tc::Filter;
use crate::error::{Errno, Error, Result};
use crate::program::Program;
use crate::sys;
use crate::uapi::AttachType;

/// An attachment to undo once; `None` if it was leaked.
#[derive(Debug)]
pub(super) struct Undo(Option<How>);

/// The kind of an attachment.
#[derive(Debug)]
pub(super) enum How {
    /// A struct_ops map, which is registered as long as it has a value.
    StructOps(OwnedFd),
    /// A program attached to a cgroup, a map or an infrared receiver.
    Program {
        /// The program.
        program: OwnedFd,
        /// The cgroup or map.
        target: OwnedFd,
        /// The attach type.
        attach_type: AttachType,
    },
    /// A filter of classic traffic control.
    Filter(Filter),
    /// A route that runs a program.
    Route(Added),
}

impl Program {
    /// Attaches to a target without a kernel link (`BPF_PROG_ATTACH`). `what` is the target in errors, to which `explain` adds
    /// what is known about the error number.
    pub(super) fn attach_without_link(
        &self,
        what: &str,
        target: BorrowedFd<'_>,
        (attach_type, flags): (AttachType, u32),
        explain: impl FnOnce(Error, Errno) -> Error,
    ) -> Result<Link> {
        let clone = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(|error| self.not_attached(what, &error));
        let (kept, program, target) = (clone(self.fd()?)?, clone(self.fd()?)?, clone(target)?);
        sys::link::attach(program.as_fd(), target.as_fd(), attach_type, flags, None)
            .map_err(|errno| explain(self.refused(what, errno), errno))?;
        Ok(Link::without_link(kept, self.name(), How::Program { program, target, attach_type }))
    }
}

impl Undo {
    pub(super) fn new(how: How) -> Self {
        Self(Some(how))
    }

    /// Leaves the program attached.
    pub(super) fn forget(mut self) {
        self.0 = None;
    }

    /// Detaches the program now.
    pub(super) fn run(mut self) -> Result<(), Errno> {
        self.0.take().map_or(Ok(()), |how| how.undo())
    }
}

impl How {
    /// Detaches the program. Retries once after a transient failure, since the caller cannot.
    fn undo(&self) -> Result<(), Errno> {
        self.try_undo().or_else(|_| self.try_undo())
    }

    fn try_undo(&self) -> Result<(), Errno> {
        match self {
            Self::StructOps(map) => sys::map::remove_first(map.as_fd()),
            Self::Program { program, target, attach_type } => {
                sys::link::detach(program.as_fd(), target.as_fd(), *attach_type)
            }
            Self::Filter(filter) => filter.remove(),
            Self::Route(route) => route.remove(),
        }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        // Errors are ignored: a struct_ops map is busy until its last user is gone, and a cgroup may have been removed.
        let _ = self.0.take().map(|how| how.undo());
    }
}
