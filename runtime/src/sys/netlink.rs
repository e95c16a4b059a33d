//! Netlink requests to the routing subsystem: messages with attributes, and their answers.
//!
//! Must not know the kinds of requests, which their callers define. Numbers are those of `linux/netlink.h`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::error::Errno;

/// `NLM_F_REQUEST`, `NLM_F_ACK`.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
/// `NLM_F_ECHO`: the kernel reports the object that it created.
pub(crate) const ECHO: u16 = 8;
/// `NLM_F_REPLACE`.
pub(crate) const REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`: an error if the object exists.
pub(crate) const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_CREATE`.
pub(crate) const CREATE: u16 = 0x400;
/// `NLMSG_ERROR`: an answer with an error number, which is 0 on success.
const ERROR: u16 = 2;
/// The size of `struct nlmsghdr` in bytes.
const HEADER: usize = 16;

/// A message: the netlink header, the header of its kind of request, and attributes.
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// Creates a request of this kind. `header` precedes the attributes; its length is a multiple of four bytes.
    pub(crate) fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST | ACK).to_ne_bytes());
        // Sequence number and port id are zero: the socket has one request at a time.
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(header);
        Self(bytes)
    }

    /// Adds an attribute.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        // The kernel rejects an attribute whose length does not fit.
        let len = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&len.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// Adds an attribute that consists of attributes.
    pub(crate) fn nested(&mut self, kind: u16, build: impl FnOnce(&mut Self)) {
        let mut inner = Self(Vec::new());
        build(&mut inner);
        self.attribute(kind, &inner.0);
    }

    /// Adds a string attribute, which ends with a NUL.
    pub(crate) fn text(&mut self, kind: u16, text: &str) {
        self.attribute(kind, &[text.as_bytes(), b"\0"].concat());
    }
}

/// Makes a request. Calls `each` with the kind and the body of every message that precedes the answer.
pub(crate) fn request(socket: &OwnedFd, message: &Message, mut each: impl FnMut(u16, &[u8])) -> Result<(), Errno> {
    let mut bytes = message.0.clone();
    let len = u32::try_from(bytes.len()).map_err(|_| Errno::from_raw(libc::E2BIG))?;
    bytes[..4].copy_from_slice(&len.to_ne_bytes());
    send(socket.as_fd(), &bytes)?;
    let mut buffer = vec![0; 1 << 15];
    loop {
        let got = receive(socket.as_fd(), &mut buffer)?;
        if got == 0 {
            return Err(Errno::from_raw(libc::EPROTO));
        }
        let mut rest = buffer.get(..got).unwrap_or(&[]);
        while let Some(len) = word(rest, 0) {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let Some(one) = rest.get(..len).filter(|_| len >= HEADER) else { break };
            let kind = u16::from_ne_bytes([one[4], one[5]]);
            if kind == ERROR {
                let error = word(one, HEADER).map_or(-libc::EPROTO, |error| i32::from_ne_bytes(error.to_ne_bytes()));
                return if error == 0 { Ok(()) } else { Err(Errno::from_raw(error.wrapping_neg())) };
            }
            each(kind, &one[HEADER..]);
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        }
    }
}

/// Returns the 32-bit number at an offset.
pub(crate) fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

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
fn send(socket: BorrowedFd<'_>, message: &[u8]) -> Result<(), Errno> {
    // SAFETY: the kernel reads at most the length of the message.
    let sent = unsafe { libc::send(socket.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
    if sent < 0 { Err(Errno::last()) } else { Ok(()) }
}

/// The maximum number of attempts to receive an answer.
const TRIES: u32 = 3;

/// Receives an answer and returns its length. A failed attempt is repeated, because without the answer it is unknown whether the request
/// was carried out.
fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut receive = || {
        // SAFETY: the kernel writes at most the length of the buffer.
        let got = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        usize::try_from(got).map_err(|_| Errno::last())
    };
    (1..TRIES).fold(receive(), |result, _| result.or_else(|_| receive()))
}
