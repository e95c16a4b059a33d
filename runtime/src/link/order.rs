//! The position of a program among others with the same attach target.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::uapi::attach_flags;

/// A position among the programs of an interface or a cgroup.
///
/// ```no_run
/// use std::os::fd::AsFd;
/// use skelgen_runtime::link::{Order, Other, Place, TcDirection};
/// use skelgen_runtime::{Link, Program, Result};
///
/// fn attach_first(program: &Program, other: &Link) -> Result<Link> {
///     let place = Place::new(Order::Before(Other::Link(other.as_fd())));
///     program.attach_tcx_at("eth0", TcDirection::Ingress, place)
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct Place<'a> {
    order: Order<'a>,
    pub(super) expected_revision: u64,
    preorder: bool,
}

impl<'a> Place<'a> {
    /// Creates a position relative to other programs. The default position is after all others.
    pub const fn new(order: Order<'a>) -> Self {
        Self { order, expected_revision: 0, preorder: false }
    }

    /// Sets the revision that the list of programs must have ([`Attached::revision`](super::Attached::revision)). If
    /// the list was changed since, the program is not attached. The default, 0, is any revision.
    pub const fn expected_revision(self, revision: u64) -> Self {
        Self { expected_revision: revision, ..self }
    }

    /// Sets whether the program runs before the programs of descendant cgroups (Linux 6.15, cgroups only); `false` by
    /// default.
    pub const fn preorder(self, preorder: bool) -> Self {
        Self { preorder, ..self }
    }
}

/// A position relative to the other programs.
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::link::{Order, Place, TcDirection};
///
/// let first = program.attach_tcx_at("eth0", TcDirection::Ingress, Place::new(Order::First))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum Order<'a> {
    /// After all others.
    #[default]
    Last,
    /// Before all others.
    First,
    /// Directly before this program.
    Before(Other<'a>),
    /// Directly after this program.
    After(Other<'a>),
}

/// Another program with the same attach target.
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program, link: &skelgen_runtime::Link) -> skelgen_runtime::Result<()> {
/// use std::os::fd::AsFd;
///
/// use skelgen_runtime::link::{Order, Other, Place, TcDirection};
///
/// let place = Place::new(Order::Before(Other::Link(link.as_fd())));
/// let before = program.attach_tcx_at("eth0", TcDirection::Ingress, place)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Other<'a> {
    /// The program of this link.
    Link(BorrowedFd<'a>),
    /// The program of the link with this id.
    LinkId(u32),
    /// This program, which is attached without a link.
    Program(BorrowedFd<'a>),
    /// The program with this id, which is attached without a link.
    ProgramId(u32),
}

impl Place<'_> {
    /// Returns the flags and the reference to the other program for the request.
    pub(super) fn request(&self) -> (u32, u32) {
        let (direction, other) = match self.order {
            Order::Last => (0, None),
            Order::First => (attach_flags::BEFORE, None),
            Order::Before(other) => (attach_flags::BEFORE, Some(other)),
            Order::After(other) => (attach_flags::AFTER, Some(other)),
        };
        let (kind, other) = match other {
            None => (0, 0),
            Some(Other::Link(fd)) => (attach_flags::LINK, bits(fd)),
            Some(Other::LinkId(id)) => (attach_flags::LINK | attach_flags::ID, id),
            Some(Other::Program(fd)) => (0, bits(fd)),
            Some(Other::ProgramId(id)) => (attach_flags::ID, id),
        };
        (direction | kind | if self.preorder { attach_flags::PREORDER } else { 0 }, other)
    }

    /// Returns whether the position is the default, which kernels without ordering accept.
    pub(super) fn is_default(&self) -> bool {
        self.request() == (0, 0) && self.expected_revision == 0
    }
}

fn bits(fd: BorrowedFd<'_>) -> u32 {
    u32::from_ne_bytes(fd.as_raw_fd().to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_express_the_order() {
        let place = Place::new;
        assert!(place(Order::Last).is_default());
        assert!(!Place::default().expected_revision(1).is_default());
        assert_eq!(place(Order::First).request(), (8, 0));
        assert_eq!(place(Order::Before(Other::LinkId(7))).request(), (8 | 32 | 1 << 13, 7));
        assert_eq!(place(Order::After(Other::ProgramId(7))).request(), (16 | 32, 7));
    }
}
