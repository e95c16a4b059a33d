//! Requests to the routing subsystem by netlink, which classic traffic control is asked through.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::error::Errno;

/// A socket for requests, in this thread's network namespace.
pub(crate) fn open() -> Result<OwnedFd, Errno> {
    // SAFETY: makes a socket; no memory is involved.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the call succeeded, so this is a new file descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a message.
pub(crate) fn send(socket: BorrowedFd<'_>, message: &[u8]) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many bytes of the message as it has.
    let sent = unsafe { libc::send(socket.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
    if sent < 0 { Err(Errno::last()) } else { Ok(()) }
}

/// How often an answer is received that could not be.
const TRIES: u32 = 3;

/// Receives what came back: as many bytes as are returned. It is received again if that fails, because without the answer nobody knows
/// whether what was requested is there now.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut receive = || {
        // SAFETY: the kernel writes at most as many bytes to the buffer as it has.
        let got = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        usize::try_from(got).map_err(|_| Errno::last())
    };
    (1..TRIES).fold(receive(), |result, _| result.or_else(|_| receive()))
}
