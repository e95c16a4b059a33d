//! Filters of classic traffic control, by netlink, for kernels before tcx (6.6).
//!
//! This module implements the netlink requests that it needs: creating a `clsact` qdisc, and creating and removing a
//! filter of kind `bpf` in it. The numbers are those of `linux/rtnetlink.h`, `linux/pkt_sched.h` and `linux/pkt_cls.h`.

use std::os::fd::{AsRawFd, OwnedFd};

use super::Link;
use super::undo::How;
use crate::error::{Errno, Result, Subject};
use crate::program::Program;
use crate::sys::netlink::{self, CREATE, ECHO, EXCLUSIVE, Message, REPLACE};
use crate::uapi::AttachType;

/// The direction of the packets that a traffic control program sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcDirection {
    /// Received packets.
    Ingress,
    /// Sent packets.
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

    /// Sets the priority. Lower priorities run first. With the default, 0, the kernel chooses one that no other filter
    /// has.
    pub const fn priority(self, priority: u16) -> Self {
        Self { priority, ..self }
    }

    /// Sets the handle among the filters with the same priority. With the default, 0, the kernel chooses it.
    pub const fn handle(self, handle: u32) -> Self {
        Self { handle, ..self }
    }

    /// Sets whether an existing filter with this priority and handle is replaced; `false`, the default, makes it an
    /// error.
    pub const fn replace(self, replace: bool) -> Self {
        Self { replace, ..self }
    }
}

/// An attached filter.
#[derive(Debug)]
pub(super) struct Filter {
    /// The socket that created the filter, in whose network namespace it is.
    socket: OwnedFd,
    ifindex: u32,
    direction: TcDirection,
    priority: u16,
    handle: u32,
}

impl Program {
    /// Attaches to a network interface as a filter of classic traffic control, for kernels before 6.6, which do not
    /// support [`attach_tcx`](Self::attach_tcx). A `clsact` qdisc is created if there is none, and stays. The program's
    /// return value is the action for the packet. The filter is removed when the [`Link`] is dropped; after
    /// [`Link::leak`] it stays as long as the interface exists.
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
    /// If the program was not loaded, or the kernel rejects it.
    pub fn attach_tc(&self, ifindex: u32, direction: TcDirection, filter: TcFilter) -> Result<Link> {
        let program = self.fd()?;
        let refused = |errno: Errno| {
            let error = self.refused(format_args!("{direction:?} of network interface {ifindex} (tc)"), errno);
            match errno.raw() {
                libc::ENODEV => error
                    .about_part(Subject::Interface(ifindex))
                    .note("this network namespace has no interface with that index"),
                libc::EEXIST => {
                    error.with_help("a filter with this priority and handle exists: call `replace(true)` to replace it")
                }
                libc::EINVAL => error.with_help(
                    "the program must be a classifier (`SEC(\"tc\")`), and the interface must have no other qdisc instead of `clsact`",
                ),
                libc::ENOENT => {
                    error.note("the kernel is built without support for it (CONFIG_NET_CLS_BPF, CONFIG_NET_SCH_INGRESS)")
                }
                _ => error,
            }
        };
        let kept = program.try_clone_to_owned();
        let kept = kept.map_err(|error| self.not_attached("a network interface", &error))?;
        let socket = netlink::open().map_err(refused)?;
        match netlink::request(&socket, &qdisc(ifindex), |_, _| ()) {
            Err(errno) if errno.raw() != libc::EEXIST => return Err(refused(errno)),
            _ => {}
        }
        let target = Target { ifindex, handle: filter.handle, parent: direction.parent(), info: info(filter.priority) };
        let flags = CREATE | ECHO | if filter.replace { REPLACE } else { EXCLUSIVE };
        let mut message = Message::new(NEW_FILTER, flags, &target.header());
        message.text(KIND, "bpf");
        message.nested(OPTIONS, |options| {
            options.attribute(BPF_FD, &program.as_raw_fd().to_ne_bytes());
            options.text(BPF_NAME, self.name());
            options.attribute(BPF_FLAGS, &ACT_DIRECT.to_ne_bytes());
        });
        // The kernel reports the handle and the priority that it chose.
        let (mut handle, mut priority) = (filter.handle, filter.priority);
        netlink::request(&socket, &message, |kind, body| {
            if let (NEW_FILTER, Some(made), Some(info)) = (kind, netlink::word(body, 8), netlink::word(body, 16)) {
                (handle, priority) = (made, u16::try_from(info >> 16).unwrap_or(0));
            }
        })
        .map_err(refused)?;
        let filter = Filter { socket, ifindex, direction, priority, handle };
        Ok(Link::without_link(kept, self.name(), How::Filter(filter)))
    }
}

impl Filter {
    pub(super) fn remove(&self) -> Result<(), Errno> {
        let Self { socket, ifindex, direction, priority, handle } = self;
        let target = Target { ifindex: *ifindex, handle: *handle, parent: direction.parent(), info: info(*priority) };
        let mut message = Message::new(DELETE_FILTER, 0, &target.header());
        message.text(KIND, "bpf");
        netlink::request(socket, &message, |_, _| ())
    }
}

impl TcDirection {
    /// Returns the attach type of tcx programs for this direction, such as for
    /// [`Attached::to_interface`](super::Attached::to_interface).
    #[must_use]
    pub const fn attach_type(self) -> AttachType {
        match self {
            Self::Ingress => AttachType::TCX_INGRESS,
            Self::Egress => AttachType::TCX_EGRESS,
        }
    }

    /// Returns `TC_H_CLSACT` with `TC_H_MIN_INGRESS` or `TC_H_MIN_EGRESS`.
    fn parent(self) -> u32 {
        match self {
            Self::Ingress => 0xffff_fff2,
            Self::Egress => 0xffff_fff3,
        }
    }
}

/// Returns the priority of a filter combined with its protocol, `ETH_P_ALL` in network byte order.
fn info(priority: u16) -> u32 {
    u32::from(priority) << 16 | u32::from(3_u16.to_be())
}

fn qdisc(ifindex: u32) -> Message {
    // `TC_H_CLSACT`, with minor number 0 as the handle.
    let target = Target { ifindex, handle: 0xffff_0000, parent: 0xffff_fff1, info: 0 };
    let mut message = Message::new(NEW_QDISC, CREATE | EXCLUSIVE, &target.header());
    message.text(KIND, "clsact");
    message
}

/// `RTM_NEWQDISC`, `RTM_NEWTFILTER`, `RTM_DELTFILTER`.
const NEW_QDISC: u16 = 36;
const NEW_FILTER: u16 = 44;
const DELETE_FILTER: u16 = 45;
/// `TCA_KIND`, `TCA_OPTIONS`, and of the latter `TCA_BPF_FD`, `TCA_BPF_NAME`, `TCA_BPF_FLAGS` with `TCA_BPF_FLAG_ACT_DIRECT`.
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const BPF_FD: u16 = 6;
const BPF_NAME: u16 = 7;
const BPF_FLAGS: u16 = 8;
const ACT_DIRECT: u32 = 1;
/// `struct tcmsg` without its family, which is unspecified.
#[derive(Clone, Copy)]
struct Target {
    ifindex: u32,
    handle: u32,
    parent: u32,
    info: u32,
}

impl Target {
    fn header(self) -> Vec<u8> {
        let words = [0, self.ifindex, self.handle, self.parent, self.info];
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }
}
