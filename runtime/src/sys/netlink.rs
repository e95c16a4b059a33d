//! Netlink requests to the routing subsystem: messages with attributes, and their answers.
//!
//! This module does not know the kinds of requests, which callers define. The numbers are those of `linux/netlink.h`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use super::socket::set_option;
use crate::error::{Errno, Error};

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
/// `NLM_F_DUMP`: the kernel reports all objects that match.
pub(crate) const DUMP: u16 = 0x300;
/// `NLMSG_ERROR`: an answer with an error number, which is 0 on success.
const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump, with an error number, which is 0 on success.
const DONE: u16 = 3;
/// `NLM_F_DUMP_INTR`: the objects changed during the dump.
const INTERRUPTED: u16 = 0x10;
/// Flags of an answer: with `NLM_F_CAPPED`, it has only the header of the request, not the whole request; with
/// `NLM_F_ACK_TLVS`, it ends with attributes.
const CAPPED: u16 = 0x100;
const EXPLAINED: u16 = 0x200;
/// `NLMSGERR_ATTR_MSG`: the attribute with the kernel's explanation.
const EXPLANATION: u16 = 1;
/// The size of `struct nlmsghdr` in bytes, and the offset of its sequence number.
const HEADER: usize = 16;
const SEQUENCE: usize = 8;

/// A message: the netlink header, the header of its kind of request, and attributes.
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// Creates a request of this kind. `header` precedes the attributes; its length is a multiple of four bytes.
    pub(crate) fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST | ACK).to_ne_bytes());
        // The sequence number, which `request` sets, and the port id, which the kernel knows.
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(header);
        Self(bytes)
    }

    /// Returns whether the request has these flags.
    fn has(&self, flags: u16) -> bool {
        let set = self.0.get(6..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u16::from_ne_bytes(*bytes));
        set & flags == flags
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

/// Why the kernel rejected a request.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) errno: Errno,
    /// The kernel's explanation of the error, if it returned one (Linux 4.12).
    explanation: Option<String>,
}

impl Rejection {
    /// Adds the kernel's explanation to an error.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match &self.explanation {
            Some(text) => error.note(format_args!("the kernel reports: {text}")),
            None => error,
        }
    }
}

impl From<Errno> for Rejection {
    fn from(errno: Errno) -> Self {
        Self { errno, explanation: None }
    }
}

/// Makes a request. Calls `each` with the kind and the body of every message that precedes the answer. Returns `EINTR`
/// if the objects changed during a dump.
pub(crate) fn request(socket: &OwnedFd, message: &Message, mut each: impl FnMut(u16, &[u8])) -> Result<(), Rejection> {
    /// The number of the next request. An answer has the number of its request, which distinguishes it from late
    /// answers to earlier requests.
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut bytes = message.0.clone();
    let len = u32::try_from(bytes.len()).map_err(|_| Errno::from_raw(libc::E2BIG))?;
    bytes[..4].copy_from_slice(&len.to_ne_bytes());
    bytes[SEQUENCE..SEQUENCE + 4].copy_from_slice(&number.to_ne_bytes());
    send(socket.as_fd(), &bytes)?;
    let mut buffer = vec![0; 1 << 15];
    let mut answers = Answers { number, is_dump: message.has(DUMP), is_interrupted: false };
    loop {
        let got = receive(socket.as_fd(), &mut buffer)?;
        if got == 0 {
            return Err(Errno::from_raw(libc::EPROTO).into());
        }
        // The kernel has discarded the bytes that did not fit.
        let received = buffer.get(..got).ok_or(Errno::from_raw(libc::EMSGSIZE))?;
        if let Some(end) = answers.read(received, &mut each) {
            return end;
        }
    }
}

/// The answers to a request, as far as they were received.
struct Answers {
    /// The sequence number of the request.
    number: u32,
    is_dump: bool,
    is_interrupted: bool,
}

impl Answers {
    /// Reads the messages in these bytes, and returns the result of the request if its last message is among them.
    /// Skips messages with a different sequence number.
    fn read(&mut self, mut rest: &[u8], mut each: impl FnMut(u16, &[u8])) -> Option<Result<(), Rejection>> {
        while let Some(len) = word(rest, 0) {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let Some(one) = rest.get(..len).filter(|_| len >= HEADER) else { break };
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
            if word(one, SEQUENCE) != Some(self.number) {
                continue;
            }
            let kind = u16::from_ne_bytes([one[4], one[5]]);
            self.is_interrupted |= u16::from_ne_bytes([one[6], one[7]]) & INTERRUPTED != 0 && self.is_dump;
            if kind == ERROR || kind == DONE {
                let error = word(one, HEADER).map_or(-libc::EPROTO, |error| i32::from_ne_bytes(error.to_ne_bytes()));
                let errno = Errno::from_raw(error.wrapping_neg());
                return Some(match error {
                    0 if self.is_interrupted => Err(Errno::from_raw(libc::EINTR).into()),
                    0 => Ok(()),
                    _ if kind == DONE => Err(errno.into()),
                    _ => Err(Rejection { errno, explanation: explanation(one) }),
                });
            }
            each(kind, &one[HEADER..]);
        }
        None
    }
}

/// Returns the explanation in an answer of kind [`ERROR`], which consists of the error number, the request or only its
/// header, and attributes.
fn explanation(answer: &[u8]) -> Option<String> {
    let flags = u16::from_ne_bytes(*answer.get(6..)?.first_chunk()?);
    let request = HEADER + 4;
    let len = if flags & CAPPED == 0 { usize::try_from(word(answer, request)?).ok()? } else { HEADER };
    let attributes_at = request.checked_add(len.max(HEADER).checked_next_multiple_of(4)?)?;
    let bytes = answer.get(attributes_at..).filter(|_| flags & EXPLAINED != 0)?;
    let (_, text) = attributes(bytes).find(|(kind, _)| *kind == EXPLANATION)?;
    let text = String::from_utf8_lossy(text.split(|byte| *byte == 0).next()?).into_owned();
    (!text.is_empty()).then_some(text)
}

/// Iterates over the attributes in `bytes`: kinds and values. Ends at the first bytes that are not a valid attribute.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [low, high, kind @ ..] = *bytes.first_chunk::<4>()?;
        let len = usize::from(u16::from_ne_bytes([low, high]));
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        // Without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
        Some((u16::from_ne_bytes(kind) & 0x3fff, value))
    })
}

/// Returns the 64-bit number at an offset.
pub(crate) fn wide(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

/// Returns the 32-bit number at an offset.
pub(crate) fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// Opens a socket for requests, in this thread's network namespace.
pub(crate) fn open() -> Result<OwnedFd, Errno> {
    open_for(libc::NETLINK_ROUTE)
}

/// Opens a socket for requests to the families of generic netlink, in this thread's network namespace.
pub(crate) fn open_generic() -> Result<OwnedFd, Errno> {
    open_for(libc::NETLINK_GENERIC)
}

fn open_for(protocol: libc::c_int) -> Result<OwnedFd, Errno> {
    // SAFETY: creates a socket; no memory is involved.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the call succeeded, so this is a new file descriptor without another owner.
    let socket = unsafe { super::own(fd) }?;
    // Explanations only improve errors: kernels without them (before 4.12) reject the option.
    let _ = set_option(socket.as_fd(), libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1);
    Ok(socket)
}

/// Sends a message.
fn send(socket: BorrowedFd<'_>, message: &[u8]) -> Result<(), Errno> {
    // SAFETY: the kernel reads at most the length of the message.
    let sent = unsafe { libc::send(socket.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
    if sent < 0 { Err(Errno::last()) } else { Ok(()) }
}

/// The maximum number of attempts to receive an answer.
const TRIES: u32 = 3;

/// Receives answers and returns their length, which exceeds the length of the buffer if they did not fit. A failed
/// attempt is repeated, because without the answer it is unknown whether the request was carried out.
fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut receive = || {
        // SAFETY: the kernel writes at most the length of the buffer.
        let got = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_TRUNC) };
        usize::try_from(got).map_err(|_| Errno::last())
    };
    (1..TRIES).fold(receive(), |result, _| result.or_else(|_| receive()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_end_where_bytes_are_not_one() {
        let list = |bytes: &[u8]| attributes(bytes).map(|(kind, value)| (kind, value.to_vec())).collect::<Vec<_>>();
        let mut message = Message(Vec::new());
        message.attribute(1, &[7]);
        message.nested(0x8002, |inner| inner.attribute(3, &[]));
        message.text(4, "x");
        let whole = [(1, vec![7]), (2, vec![4, 0, 3, 0]), (4, vec![b'x', 0])];
        if cfg!(target_endian = "little") {
            assert_eq!(list(&message.0), whole);
        }
        for cut in 0..message.0.len() {
            assert!(list(&message.0[..cut]).len() <= 3);
        }
        for len in [0_u16, 1, 3, 9, u16::MAX] {
            assert_eq!(list(&[&len.to_ne_bytes()[..], &[0; 6]].concat()), [], "{len}");
        }
    }

    #[test]
    fn answers_to_other_requests_are_skipped() {
        let message = |kind: u16, number: u32, body: &[u8]| {
            let len = u32::try_from(HEADER + body.len()).unwrap();
            [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 2], &number.to_ne_bytes(), &[0; 4], body].concat()
        };
        let error = |number: u32, errno: i32| message(ERROR, number, &[&(-errno).to_ne_bytes()[..], &[0; 16]].concat());
        let read = |bytes: &[u8]| {
            let (mut answers, mut bodies) = (Answers { number: 7, is_dump: false, is_interrupted: false }, Vec::new());
            let end = answers.read(bytes, |kind, body| bodies.push((kind, body.to_vec())));
            (end.map(|result| result.map_err(|rejection| rejection.errno.raw())), bodies)
        };
        let stale = [message(16, 6, &[1; 4]), error(6, libc::EBUSY)].concat();
        assert_eq!(read(&stale), (None, vec![]));
        let both = [stale, message(16, 7, &[2; 4]), error(7, 0)].concat();
        assert_eq!(read(&both), (Some(Ok(())), vec![(16, vec![2; 4])]));
        assert_eq!(read(&error(7, libc::ENOENT)).0, Some(Err(libc::ENOENT)));
        (0..both.len()).for_each(|cut| drop(read(&both[..cut])));
    }

    #[test]
    fn explanations_of_hostile_answers() {
        let answer = |flags: u16, request: u32, attributes: &[u8]| {
            let mut bytes = vec![0; HEADER + 4];
            bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
            bytes.extend_from_slice(&request.to_ne_bytes());
            bytes.extend_from_slice(&[0; 12]);
            bytes.extend_from_slice(attributes);
            bytes
        };
        let mut text = Message(Vec::new());
        text.text(EXPLANATION, "why");
        assert_eq!(explanation(&answer(EXPLAINED | CAPPED, 100, &text.0)).as_deref(), Some("why"));
        assert_eq!(explanation(&answer(EXPLAINED, 16, &text.0)).as_deref(), Some("why"));
        for (flags, request) in [(EXPLAINED, u32::MAX), (EXPLAINED, 17), (0, 16), (CAPPED, 0)] {
            assert_eq!(explanation(&answer(flags, request, &text.0)), None);
        }
        let whole = answer(EXPLAINED, 16, &text.0);
        (0..whole.len()).for_each(|cut| drop(explanation(&whole[..cut])));
    }
}
