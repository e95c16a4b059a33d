//! What takes a program from its place where the kernel has no link that would: done when the link is dropped.

use std::os::fd::{AsFd, OwnedFd};

use super::route::Added;
use super::tc::Filter;
use crate::error::Errno;
use crate::sys;
use crate::uapi::AttachType;

/// What is to be done, once; nothing if it was let go.
#[derive(Debug)]
pub(super) struct Undo(Option<How>);

/// How a program got to its place.
#[derive(Debug)]
pub(super) enum How {
    /// A table of functions is registered for as long as its map has a value.
    Table(OwnedFd),
    /// A program attached to a cgroup or a map.
    Program {
        /// The program.
        program: OwnedFd,
        /// The cgroup or map.
        target: OwnedFd,
        /// Where in it.
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

    /// Leaves things as they are.
    pub(super) fn forget(mut self) {
        self.0 = None;
    }

    /// Does it now.
    pub(super) fn run(mut self) -> Result<(), Errno> {
        self.0.take().map_or(Ok(()), |how| how.undo())
    }
}

impl How {
    /// Undoes it; tries once more what a moment may change, as nobody else will.
    fn undo(&self) -> Result<(), Errno> {
        self.try_undo().or_else(|_| self.try_undo())
    }

    fn try_undo(&self) -> Result<(), Errno> {
        match self {
            Self::Table(map) => sys::map::remove_first(map.as_fd()),
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
        // Nothing can be done if the kernel does not let go of it: a table is busy until its last user is gone, a cgroup may be gone.
        let _ = self.0.take().map(|how| how.undo());
    }
}
