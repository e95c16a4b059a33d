//! A file descriptor that one thread makes readable for another.
//!
//! An [`EventFd`] is either signaled or not. This module does not depend on the threads that wait.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};

use crate::error::Errno;

/// An eventfd that does not block.
#[derive(Debug)]
pub(crate) struct EventFd(File);

impl EventFd {
    /// Creates an eventfd that is not signaled.
    pub(crate) fn new() -> Result<Self, Errno> {
        // SAFETY: takes numbers by value.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: the call succeeded, so this is a new file descriptor without another owner.
        Ok(Self(unsafe { File::from_raw_fd(fd) }))
    }

    /// Signals the eventfd.
    pub(crate) fn signal(&self) {
        // The only error is EAGAIN: the counter is at its maximum, so the eventfd is signaled already.
        let _ = (&self.0).write(&1_u64.to_ne_bytes());
    }

    /// Returns whether the eventfd was signaled, and resets it.
    pub(crate) fn take(&self) -> bool {
        (&self.0).read(&mut [0; 8]).is_ok()
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "calls the kernel")]
    fn signals_are_taken_together() {
        let event = EventFd::new().unwrap();
        assert!(!event.take());
        event.signal();
        event.signal();
        assert!(event.take());
        assert!(!event.take());
        (&event.0).write_all(&(u64::MAX - 1).to_ne_bytes()).unwrap();
        event.signal();
        assert!(event.take(), "at its maximum it stays signaled");
    }
}
