//! Netlink requests to the routing subsystem, for classic traffic control.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::error::Errno;

/// Opens a socket for requests, in this thread's network namespace.
pub(crate) fn open() -> Result<OwnedFd, Errno> {
    // SAFETY: creates a socket; no memory is involved.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the call succeeded, so this is a new file descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a message.
pub(crate) fn send(socket: BorrowedFd<'_>, message: &[u8]) -> Result<(), Errno> {
    // SAFETY: the kernel reads at most the length of the message.
    let sent = unsafe { libc::send(socket.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
    if sent < 0 { Err(Errno::last()) } else { Ok(()) }
}

/// The maximum number of attempts to receive an answer.
const TRIES: u32 = 3;

/// Receives an answer and returns its length. A failed attempt is repeated, because without the answer it is unknown whether the request
/// was carried out.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut receive = || {
        // SAFETY: the kernel writes at most the length of the buffer.
        let got = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        usize::try_from(got).map_err(|_| Errno::last())
    };
    (1..TRIES).fold(receive(), |result, _| result.or_else(|_| receive()))
}
