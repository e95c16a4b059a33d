//! Registration of file descriptors with tokio's reactor.
//!
//! This module does not depend on the kinds of the file descriptors.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a file descriptor, to wait until it is readable.
///
/// # Panics
/// Panics outside of a tokio runtime, or if its I/O driver is not enabled.
#[track_caller]
pub(crate) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open and has the same number until it is dropped, which `AsyncFd` does after it has removed the registration.
    // There is no mutable access to the value, so no code can replace it.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(io::Error::from)
}
