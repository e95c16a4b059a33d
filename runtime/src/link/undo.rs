//! Detaching of attachments that the kernel has no link for: when the link is dropped.

use std::os::fd::{AsFd, OwnedFd};

use super::route::Added;
use super::tc::Filter;
use crate::error::Errno;
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
