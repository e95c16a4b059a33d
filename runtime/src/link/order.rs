//! Where among others a program attaches.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::uapi::attach_flags;

/// A place among the programs of an interface or a cgroup.
///
/// ```no_run
/// use std::os::fd::AsFd;
/// use skelgen_runtime::link::{Order, Other, Place};
/// use skelgen_runtime::{Link, Program, Result};
///
/// fn attach_first(program: &Program, other: &Link, ifindex: u32) -> Result<Link> {
///     let place = Place { order: Order::Before(Other::Link(other.as_fd())), ..Place::default() };
///     program.attach_tcx_at(ifindex, skelgen_runtime::uapi::AttachType::TCX_INGRESS, place)
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    /// Before or after which other.
    pub order: Order<'a>,
    /// How often the list of programs has been changed, if it must not have been changed since ([`Attached`](super::Attached) tells); 0 if that does
    /// not matter.
    pub expected_revision: u64,
    /// Of cgroups: run before the programs of the cgroups below (Linux 6.15).
    pub preorder: bool,
}

/// Before or after which other program.
#[derive(Clone, Copy, Debug, Default)]
pub enum Order<'a> {
    /// After all that are there.
    #[default]
    Last,
    /// Before all that are there.
    First,
    /// Just before this one.
    Before(Other<'a>),
    /// Just after this one.
    After(Other<'a>),
}

/// A program that is attached to the same place.
#[derive(Clone, Copy, Debug)]
pub enum Other<'a> {
    /// The program of this link.
    Link(BorrowedFd<'a>),
    /// The program of the link of this id.
    LinkId(u32),
    /// This program, attached without a link.
    Program(BorrowedFd<'a>),
    /// The program of this id, attached without a link.
    ProgramId(u32),
}

impl Place<'_> {
    /// The flags of the request, and the other program as it has it.
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

    /// Whether it is that of kernels that know no order.
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
    fn flags_say_the_order() {
        let place = |order| Place { order, ..Place::default() };
        assert!(place(Order::Last).is_default());
        assert!(!Place { expected_revision: 1, ..Place::default() }.is_default());
        assert_eq!(place(Order::First).request(), (8, 0));
        assert_eq!(place(Order::Before(Other::LinkId(7))).request(), (8 | 32 | 1 << 13, 7));
        assert_eq!(place(Order::After(Other::ProgramId(7))).request(), (16 | 32, 7));
    }
}
