//! Requests to the routing subsystem by netlink: messages with attributes, and their answers.
//!
//! Knows no request: what a message is about is its caller's. Numbers are those of `linux/netlink.h`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::error::Errno;

/// `NLM_F_REQUEST`, `NLM_F_ACK`.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
/// `NLM_F_ECHO`: the kernel reports what it has made.
pub(crate) const ECHO: u16 = 8;
/// `NLM_F_REPLACE`.
pub(crate) const REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`: an error if it exists.
pub(crate) const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_CREATE`.
pub(crate) const CREATE: u16 = 0x400;
/// `NLMSG_ERROR`: an answer, of which 0 is success.
const ERROR: u16 = 2;
/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;

/// A message: its header, that of its kind of request, and attributes.
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// A request of this kind; `header` is what stands before the attributes, a multiple of four bytes.
    pub(crate) fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST | ACK).to_ne_bytes());
        // Neither a number nor a sender: the socket has one request at a time.
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(header);
        Self(bytes)
    }

    /// Adds an attribute.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        // Names of functions are short enough; the kernel rejects a longer one, whose length does not fit.
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

    /// Adds a text attribute, which ends with a NUL.
    pub(crate) fn text(&mut self, kind: u16, text: &str) {
        self.attribute(kind, &[text.as_bytes(), b"\0"].concat());
    }
}

/// Makes a request. `each` gets the kind and the body of every message that comes back before the answer.
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

/// The number of four bytes at this offset.
pub(crate) fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

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
fn send(socket: BorrowedFd<'_>, message: &[u8]) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many bytes of the message as it has.
    let sent = unsafe { libc::send(socket.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
    if sent < 0 { Err(Errno::last()) } else { Ok(()) }
}

/// How often an answer is received that could not be.
const TRIES: u32 = 3;

/// Receives what came back: as many bytes as are returned. It is received again if that fails, because without the answer nobody knows
/// whether what was requested is there now.
fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut receive = || {
        // SAFETY: the kernel writes at most as many bytes to the buffer as it has.
        let got = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        usize::try_from(got).map_err(|_| Errno::last())
    };
    (1..TRIES).fold(receive(), |result, _| result.or_else(|_| receive()))
}
