//! Filters of classic traffic control, by netlink: for kernels before tcx (6.6).
//!
//! Knows just enough of netlink for two requests: a `clsact` qdisc, and a filter of kind `bpf` in it. Numbers are those of
//! `linux/rtnetlink.h`, `linux/pkt_sched.h` and `linux/pkt_cls.h`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::Link;
use super::undo::How;
use crate::error::{Errno, Result, Subject};
use crate::program::Program;
use crate::sys::netlink;
use crate::uapi::AttachType;

/// The direction of the packets of a network interface that a traffic control program sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcDirection {
    /// Packets that are received.
    Ingress,
    /// Packets that are sent.
    Egress,
}

/// The position of a filter of classic traffic control among others.
///
/// ```
/// use skelgen_runtime::link::TcFilter;
/// let filter = TcFilter::new().priority(1).handle(7).replace(true);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct TcFilter {
    priority: u16,
    handle: u32,
    replace: bool,
}

impl TcFilter {
    /// Creates a filter whose position the kernel chooses.
    pub const fn new() -> Self {
        Self { priority: 0, handle: 0, replace: false }
    }

    /// Sets the priority. The lower runs first. With the default, 0, the kernel chooses one that no other filter has.
    pub const fn priority(self, priority: u16) -> Self {
        Self { priority, ..self }
    }

    /// Sets the number among the filters of the priority. With the default, 0, the kernel chooses it.
    pub const fn handle(self, handle: u32) -> Self {
        Self { handle, ..self }
    }

    /// Sets whether a filter of this priority and handle is replaced, if there is one; `false`, the default, makes it an error.
    pub const fn replace(self, replace: bool) -> Self {
        Self { replace, ..self }
    }
}

/// A filter that is there.
#[derive(Debug)]
pub(super) struct Filter {
    /// The socket that made it: a filter is found again in the same network namespace only.
    socket: OwnedFd,
    ifindex: u32,
    direction: TcDirection,
    priority: u16,
    handle: u32,
}

impl Program {
    /// Attaches to a network interface as a filter of classic traffic control, in a `clsact` qdisc that is made if it is not there and
    /// stays there; for kernels before 6.6, which have no [`attach_tcx`](Self::attach_tcx). What the program returns is what becomes of
    /// the packet. The filter is removed when the [`Link`] is dropped; after [`Link::leak`] it stays for as long as the interface does.
    ///
    /// ```no_run
    /// use skelgen_runtime::link::{TcDirection, TcFilter};
    /// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// let link = program.attach_tc(2, TcDirection::Egress, TcFilter::new().priority(1))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If it was not loaded, or the kernel refuses.
    pub fn attach_tc(&self, ifindex: u32, direction: TcDirection, filter: TcFilter) -> Result<Link> {
        let program = self.fd()?;
        let refused = |errno: Errno| {
            let error = self.refused(format_args!("{direction:?} of network interface {ifindex} (tc)"), errno);
            match errno.raw() {
                libc::ENODEV => error
                    .about_part(Subject::Interface(ifindex))
                    .note("this network namespace has no interface of that index"),
                libc::EEXIST => {
                    error.with_help("there is a filter of that priority and handle: `replace` takes its place")
                }
                libc::EINVAL => error.with_help(
                    "the program must be a classifier (`SEC(\"tc\")`), and no other qdisc in the place of `clsact`",
                ),
                libc::ENOENT => {
                    error.note("the kernel is built without what it takes (CONFIG_NET_CLS_BPF, CONFIG_NET_SCH_INGRESS)")
                }
                _ => error,
            }
        };
        let held = program.try_clone_to_owned();
        let held = held.map_err(|error| self.not_attached("a network interface", &error))?;
        let socket = netlink::open().map_err(refused)?;
        match ask(&socket, &qdisc(ifindex)) {
            Err(errno) if errno.raw() != libc::EEXIST => return Err(refused(errno)),
            _ => {}
        }
        let mut message = Message::new(
            NEW_FILTER,
            CREATE | ECHO | if filter.replace { REPLACE } else { EXCLUSIVE },
            Target { ifindex, handle: filter.handle, parent: direction.parent(), info: info(filter.priority) },
        );
        message.attribute(KIND, b"bpf\0");
        let mut options = Message(Vec::new());
        options.attribute(BPF_FD, &program.as_raw_fd().to_ne_bytes());
        let name = [self.name().as_bytes(), b"\0"].concat();
        options.attribute(BPF_NAME, &name);
        options.attribute(BPF_FLAGS, &ACT_DIRECT.to_ne_bytes());
        message.attribute(OPTIONS, &options.0);
        let made = ask(&socket, &message).map_err(refused)?;
        // The kernel says what it has chosen.
        let (handle, priority) = made.unwrap_or((filter.handle, filter.priority));
        let filter = Filter { socket, ifindex, direction, priority, handle };
        Ok(Link::undone(held, self.name(), How::Filter(filter)))
    }
}

impl Filter {
    pub(super) fn remove(&self) -> Result<(), Errno> {
        let Self { socket, ifindex, direction, priority, handle } = self;
        let target = Target { ifindex: *ifindex, handle: *handle, parent: direction.parent(), info: info(*priority) };
        let mut message = Message::new(DELETE_FILTER, 0, target);
        message.attribute(KIND, b"bpf\0");
        ask(socket, &message).map(drop)
    }
}

impl TcDirection {
    /// Returns the attach type of tcx programs of this direction, such as for [`Attached::to_interface`](super::Attached::to_interface).
    #[must_use]
    pub const fn attach_type(self) -> AttachType {
        match self {
            Self::Ingress => AttachType::TCX_INGRESS,
            Self::Egress => AttachType::TCX_EGRESS,
        }
    }

    /// `TC_H_CLSACT` with `TC_H_MIN_INGRESS` or `TC_H_MIN_EGRESS`.
    fn parent(self) -> u32 {
        match self {
            Self::Ingress => 0xffff_fff2,
            Self::Egress => 0xffff_fff3,
        }
    }
}

/// The priority of a filter beside its protocol, `ETH_P_ALL` in the order of bytes of the network.
fn info(priority: u16) -> u32 {
    u32::from(priority) << 16 | u32::from(3_u16.to_be())
}

fn qdisc(ifindex: u32) -> Message {
    // `TC_H_CLSACT`, and that with no minor number.
    let target = Target { ifindex, handle: 0xffff_0000, parent: 0xffff_fff1, info: 0 };
    let mut message = Message::new(NEW_QDISC, CREATE | EXCLUSIVE, target);
    message.attribute(KIND, b"clsact\0");
    message
}

/// `RTM_NEWQDISC`, `RTM_NEWTFILTER`, `RTM_DELTFILTER`.
const NEW_QDISC: u16 = 36;
const NEW_FILTER: u16 = 44;
const DELETE_FILTER: u16 = 45;
/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_ECHO`, `NLM_F_REPLACE`, `NLM_F_EXCL`, `NLM_F_CREATE`.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const ECHO: u16 = 8;
const REPLACE: u16 = 0x100;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;
/// `TCA_KIND`, `TCA_OPTIONS`, and of the latter `TCA_BPF_FD`, `TCA_BPF_NAME`, `TCA_BPF_FLAGS` with `TCA_BPF_FLAG_ACT_DIRECT`.
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const BPF_FD: u16 = 6;
const BPF_NAME: u16 = 7;
const BPF_FLAGS: u16 = 8;
const ACT_DIRECT: u32 = 1;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;

/// `struct tcmsg`, without its family, which is none.
#[derive(Clone, Copy)]
struct Target {
    ifindex: u32,
    handle: u32,
    parent: u32,
    info: u32,
}

/// A message, or the attributes within one.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16, target: Target) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST | ACK).to_ne_bytes());
        // Neither a number nor a sender: the socket has one request at a time.
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&[0; 4]);
        for word in [target.ifindex, target.handle, target.parent, target.info] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        Self(bytes)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        // Names of functions are short enough; what is not would be refused by the kernel, whose length does not fit.
        let len = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&len.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

/// Makes a request; returns the handle and priority of the filter that the kernel tells of, if it does.
fn ask(socket: &OwnedFd, message: &Message) -> Result<Option<(u32, u16)>, Errno> {
    let mut bytes = message.0.clone();
    let len = u32::try_from(bytes.len()).map_err(|_| Errno::from_raw(libc::E2BIG))?;
    bytes[..4].copy_from_slice(&len.to_ne_bytes());
    netlink::send(socket.as_fd(), &bytes)?;
    let mut told = None;
    let mut buffer = vec![0; 1 << 15];
    loop {
        let got = netlink::receive(socket.as_fd(), &mut buffer)?;
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
                return if error == 0 { Ok(told) } else { Err(Errno::from_raw(error.wrapping_neg())) };
            }
            if let (NEW_FILTER, Some(handle), Some(info)) = (kind, word(one, HEADER + 8), word(one, HEADER + 16)) {
                told = Some((handle, u16::try_from(info >> 16).unwrap_or(0)));
            }
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}
