//! Detaching attachments without a BPF link when the [`Link`](super::Link) is dropped.

use std::fmt::Debug;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Link;
use crate::error::{Errno, Error, Result};
use crate::program::Program;
use crate::sys;
use crate::uapi::AttachType;

/// An attachment without a BPF link. Each kind is implemented beside the function that creates it, so that a binary contains only the kinds
/// that it uses.
pub(super) trait Attachment: Debug + Send + Sync {
    /// Detaches the program.
    fn detach(&self) -> Result<(), Errno>;

    /// Returns how to attach with a BPF link instead; `None` if the kernel has no links of this kind.
    fn links(&self) -> Option<&'static str>;
}

/// Entries of maps that an attachment uses and that are released when they are dropped.
pub(super) trait Entries: Debug + Send + Sync {
    /// Keeps the entries: the attachment outlives its link.
    fn keep(&self);
}

/// An attachment to undo once; `None` if it was leaked.
#[derive(Debug)]
pub(super) struct Undo(Option<Box<dyn Attachment>>);

/// A struct_ops map, which is registered as long as it has a value.
#[derive(Debug)]
pub(super) struct Registered(pub(super) OwnedFd);

impl Attachment for Registered {
    fn detach(&self) -> Result<(), Errno> {
        sys::map::remove_first(self.0.as_fd())
    }

    fn links(&self) -> Option<&'static str> {
        Some("define the map in section `.struct_ops.link` (Linux 6.4)")
    }
}

/// A program attached to a cgroup, a map or an infrared receiver.
#[derive(Debug)]
struct Attached {
    program: OwnedFd,
    /// The cgroup, map or device.
    target: OwnedFd,
    attach_type: AttachType,
}

impl Attachment for Attached {
    fn detach(&self) -> Result<(), Errno> {
        sys::link::detach(self.program.as_fd(), self.target.as_fd(), self.attach_type)
    }

    fn links(&self) -> Option<&'static str> {
        match self.attach_type {
            AttachType::LIRC_MODE2 => None,
            attach_type if is_of_sockmaps(attach_type) => {
                Some("attachments to a sockmap or sockhash have links since Linux 6.10")
            }
            _ => Some("`attach_cgroup` attaches with a link (Linux 5.7)"),
        }
    }
}

impl Program {
    /// Attaches to a target without a BPF link (`BPF_PROG_ATTACH`), with the first of `types` that the kernel accepts.
    /// The kernel must reject all but one of these. `what` names the target in errors; `explain` adds help for the
    /// error number.
    pub(super) fn attach_without_link(
        &self,
        what: &str,
        target: BorrowedFd<'_>,
        types: &[AttachType],
        flags: u32,
        explain: impl FnOnce(Error, Errno) -> Error,
    ) -> Result<Link> {
        let clone = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(|error| self.not_attached(what, &error));
        let (kept, program, target) = (clone(self.fd()?)?, clone(self.fd()?)?, clone(target)?);
        let mut rejected = Errno::from_raw(libc::EINVAL);
        for &attach_type in types {
            match sys::link::attach(program.as_fd(), target.as_fd(), attach_type, flags, None) {
                Ok(()) => {
                    let attached = Attached { program, target, attach_type };
                    return Ok(Link::without_link(kept, self.name(), attached));
                }
                Err(errno) => rejected = errno,
            }
            if rejected.raw() != libc::EINVAL {
                break;
            }
        }
        Err(explain(self.refused(what, rejected), rejected))
    }
}

/// Returns whether programs with this attach type attach to sockmaps and sockhashes.
const fn is_of_sockmaps(attach_type: AttachType) -> bool {
    matches!(
        attach_type,
        AttachType::SK_SKB_STREAM_PARSER
            | AttachType::SK_SKB_STREAM_VERDICT
            | AttachType::SK_SKB_VERDICT
            | AttachType::SK_MSG_VERDICT
    )
}

impl Undo {
    pub(super) fn new(attachment: impl Attachment + 'static) -> Self {
        Self(Some(Box::new(attachment)))
    }

    /// Returns how to attach with a BPF link instead; `None` if the kernel has no links of this kind.
    pub(super) fn links(&self) -> Option<&'static str> {
        self.0.as_ref()?.links()
    }

    /// Leaves the program attached.
    pub(super) fn forget(mut self) {
        self.0 = None;
    }

    /// Detaches the program now.
    pub(super) fn run(mut self) -> Result<(), Errno> {
        self.0.take().map_or(Ok(()), |attachment| undo(&*attachment))
    }
}

/// Detaches a program. Retries once after a failure, which may be transient. The caller no longer has the link, so it cannot
/// retry.
fn undo(attachment: &dyn Attachment) -> Result<(), Errno> {
    attachment.detach().or_else(|_| attachment.detach())
}

impl Drop for Undo {
    fn drop(&mut self) {
        // Errors are ignored: a struct_ops map is busy until its last user is gone, and a cgroup may have been removed.
        let _ = self.0.take().map(|attachment| undo(&*attachment));
    }
}
