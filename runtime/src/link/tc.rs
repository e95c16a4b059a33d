//! Filters of classic traffic control, by netlink, for kernels before tcx (6.6).
//!
//! This module implements the netlink requests that it needs: creating a `clsact` qdisc, and creating and removing a
//! filter of kind `bpf` in it. The numbers are those of `linux/rtnetlink.h`, `linux/pkt_sched.h` and `linux/pkt_cls.h`.

use std::os::fd::{AsRawFd, OwnedFd};

use super::Link;
use super::undo::Attachment;
use crate::error::{Errno, Result};
use crate::interface::{Interface, IntoInterface};
use crate::program::Program;
use crate::sys::netlink::{self, CREATE, ECHO, EXCLUSIVE, Message, REPLACE, Rejection};
use crate::uapi::AttachType;

/// The direction of the packets that a traffic control program sees.
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::link::TcDirection;
///
/// let received = program.attach_tcx("eth0", TcDirection::Ingress)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TcDirection {
    /// Received packets.
    Ingress,
    /// Sent packets.
    Egress,
}

/// The position of a filter among the others of classic traffic control.
///
/// ```
/// use skelgen_runtime::link::TcFilter;
/// let filter = TcFilter::new().priority(1).handle(7).replace(true);
/// ```
///
/// ```
/// use skelgen_runtime::link::TcFilter;
///
/// // Only packets of IPv6 (`ETH_P_IPV6` of `linux/if_ether.h`).
/// let filter = TcFilter::new().priority(7).protocol(0x86dd);
/// assert_ne!(filter, TcFilter::new().priority(7));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct TcFilter {
    priority: u16,
    handle: u32,
    protocol: u16,
    chain: u32,
    replace: bool,
}

impl Default for TcFilter {
    fn default() -> Self {
        Self::new()
    }
}

impl TcFilter {
    /// Creates a filter of all packets, whose position the kernel chooses.
    pub const fn new() -> Self {
        Self { priority: 0, handle: 0, protocol: ALL, chain: 0, replace: false }
    }

    /// Sets the priority. Lower priorities run first. With the default, 0, the kernel chooses a priority that no other
    /// filter has.
    pub const fn priority(self, priority: u16) -> Self {
        Self { priority, ..self }
    }

    /// Sets the handle among the filters with the same priority. With the default, 0, the kernel chooses it.
    pub const fn handle(self, handle: u32) -> Self {
        Self { handle, ..self }
    }

    /// Sets the protocol of the packets that the program sees, by its number in Ethernet frames (`ETH_P_*` of
    /// `linux/if_ether.h`), such as 0x0800 for IPv4. All filters with the same priority have the same protocol. By
    /// default, the program sees all packets (`ETH_P_ALL`, 3).
    pub const fn protocol(self, protocol: u16) -> Self {
        Self { protocol, ..self }
    }

    /// Sets the chain that the filter is in; 0 by default. Packets begin in chain 0, and continue in another chain if a
    /// filter sends them there (`tc filter … action goto chain`; Linux 4.13).
    pub const fn chain(self, chain: u32) -> Self {
        Self { chain, ..self }
    }

    /// Sets whether an existing filter with this priority and handle is replaced. By default, `false`, an existing
    /// filter is an error.
    pub const fn replace(self, replace: bool) -> Self {
        Self { replace, ..self }
    }

    /// Creates a request about this filter.
    fn message(self, kind: u16, flags: u16, interface: Interface, direction: TcDirection) -> Message {
        let mut message = Message::new(kind, flags, &target(interface, direction, self));
        message.text(KIND, "bpf");
        if self.chain != 0 {
            message.attribute(CHAIN, &self.chain.to_ne_bytes());
        }
        message
    }

    /// Returns whether priority and handle are set, so that they identify one filter.
    pub(super) const fn is_set(self) -> bool {
        self.priority != 0 && self.handle != 0
    }
}

/// An attached filter.
#[derive(Debug)]
struct Filter {
    /// The socket that created the filter. The filter is in the socket's network namespace.
    socket: OwnedFd,
    interface: Interface,
    direction: TcDirection,
    /// The filter with the priority and the handle that the kernel reported.
    filter: TcFilter,
}

impl Program {
    /// Attaches to a network interface as a filter of classic traffic control, for kernels before 6.6, which do not
    /// support [`attach_tcx`](Self::attach_tcx). If the interface has no `clsact` qdisc, one is created, which is never
    /// removed automatically; for received packets, an existing qdisc of kind `ingress` suffices. The program's return
    /// value is the action for the packet. The filter is removed when the [`Link`] is dropped; after [`Link::leak`] it
    /// stays as long as the interface exists.
    ///
    /// ```no_run
    /// use skelgen_runtime::link::{TcDirection, TcFilter};
    /// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// let link = program.attach_tc("eth0", TcDirection::Egress, TcFilter::new().priority(1))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded, the interface does not exist, the direction is egress and the interface has a
    /// qdisc of kind `ingress`, a filter with this priority and handle exists and is not to be replaced, or the kernel
    /// rejects the program.
    pub fn attach_tc(&self, interface: impl IntoInterface, direction: TcDirection, filter: TcFilter) -> Result<Link> {
        let interface = self.interface(interface)?;
        let program = self.fd()?;
        let plain = |rejection: &Rejection| {
            let error = self.refused(format_args!("{direction:?} of {} (tc)", interface.label()), rejection.errno);
            interface.explain(error, rejection)
        };
        let refused = |rejection: Rejection| {
            let error = plain(&rejection);
            match rejection.errno.raw() {
                libc::EEXIST => {
                    error.with_help("a filter with this priority and handle exists: call `replace(true)` to replace it")
                }
                libc::EINVAL => error.with_help(
                    "the program must be a classifier (`SEC(\"tc\")`), and another qdisc (such as `ingress`) must not be attached where `clsact` belongs",
                ),
                libc::ENOENT => {
                    error.note("the kernel is built without BPF filters for tc or the `clsact` qdisc (CONFIG_NET_CLS_BPF, CONFIG_NET_SCH_INGRESS)")
                }
                _ => error,
            }
        };
        let kept = program.try_clone_to_owned();
        let kept = kept.map_err(|error| self.not_attached("a network interface", &error))?;
        let socket = netlink::open().map_err(|errno| refused(errno.into()))?;
        match netlink::request(&socket, &clsact(interface, NEW_QDISC, CREATE | EXCLUSIVE), |_, _| ()) {
            Err(rejection) if rejection.errno.raw() == libc::EEXIST => {
                if lacks(&socket, interface, direction).map_err(refused)? {
                    return Err(plain(&rejection).with_help(
                        "the interface has a qdisc of kind `ingress`, which has no filters of sent packets: replace it with `clsact`",
                    ));
                }
            }
            result => result.map_err(refused)?,
        }
        let flags = CREATE | ECHO | if filter.replace { REPLACE } else { EXCLUSIVE };
        let mut message = filter.message(NEW_FILTER, flags, interface, direction);
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
        let filter = Filter { socket, interface, direction, filter: filter.priority(priority).handle(handle) };
        Ok(Link::without_link(kept, self.name(), filter))
    }
}

impl Attachment for Filter {
    fn detach(&self) -> Result<(), Errno> {
        remove(&self.socket, self.interface, self.direction, self.filter).map_err(|rejection| rejection.errno)
    }

    fn links(&self) -> Option<&'static str> {
        Some("`attach_tcx` attaches with a link (Linux 6.6)")
    }
}

/// Removes the filter with this priority and handle.
pub(super) fn remove(
    socket: &OwnedFd,
    interface: Interface,
    direction: TcDirection,
    filter: TcFilter,
) -> Result<(), Rejection> {
    if lacks(socket, interface, direction)? {
        return Err(Errno::from_raw(libc::ENOENT).into());
    }
    netlink::request(socket, &filter.message(DELETE_FILTER, 0, interface, direction), |_, _| ())
}

/// Returns whether the interface has a qdisc of kind `ingress` (the predecessor of `clsact`) and the direction is
/// egress: this qdisc treats the filters of both directions as filters of received packets (`ingress_tcf_block`).
pub(super) fn lacks(socket: &OwnedFd, interface: Interface, direction: TcDirection) -> Result<bool, Rejection> {
    if direction == TcDirection::Ingress {
        return Ok(false);
    }
    // Without this flag, older kernels send the qdisc only to listeners of notifications.
    let (mut is_ingress, message) = (false, Message::new(GET_QDISC, ECHO, &header(interface, 0, CLSACT, 0)));
    let queried = netlink::request(socket, &message, |kind, body| {
        let attributes = netlink::attributes(body.get(HEADER..).unwrap_or(&[]));
        is_ingress |= kind == NEW_QDISC && attributes.into_iter().any(|one| one == (KIND, b"ingress\0"));
    });
    match queried {
        // The interface has neither qdisc.
        Err(rejection) if rejection.errno.raw() == libc::ENOENT => Ok(false),
        result => result.map(|()| is_ingress),
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

/// Creates a request about the `clsact` qdisc of an interface.
pub(super) fn clsact(interface: Interface, kind: u16, flags: u16) -> Message {
    // `TC_H_CLSACT`, with minor number 0 as the handle.
    let mut message = Message::new(kind, flags, &header(interface, 0xffff_0000, CLSACT, 0));
    message.text(KIND, "clsact");
    message
}

/// Returns `struct tcmsg` for a filter; a handle or priority of 0 is not set.
fn target(interface: Interface, direction: TcDirection, filter: TcFilter) -> Vec<u8> {
    let info = u32::from(filter.priority) << 16 | u32::from(filter.protocol.to_be());
    header(interface, filter.handle, direction.parent(), info)
}

/// Returns `struct tcmsg` for all filters of a direction.
pub(super) fn all(interface: Interface, direction: TcDirection) -> Vec<u8> {
    header(interface, 0, direction.parent(), 0)
}

/// Returns `struct tcmsg`, whose family is unspecified.
fn header(interface: Interface, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    [0, interface.index(), handle, parent, info].iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// `ETH_P_ALL`.
const ALL: u16 = 3;
/// The size of `struct tcmsg` in bytes.
pub(super) const HEADER: usize = 20;
/// `TC_H_CLSACT`, which is also `TC_H_INGRESS`.
const CLSACT: u32 = 0xffff_fff1;
/// `RTM_NEWQDISC`.
const NEW_QDISC: u16 = 36;
/// `RTM_GETQDISC`.
const GET_QDISC: u16 = 38;
/// `RTM_NEWTFILTER`.
pub(super) const NEW_FILTER: u16 = 44;
/// `RTM_DELTFILTER`.
const DELETE_FILTER: u16 = 45;
/// `TCA_KIND`.
pub(super) const KIND: u16 = 1;
/// `TCA_OPTIONS`.
pub(super) const OPTIONS: u16 = 2;
/// `TCA_CHAIN`.
pub(super) const CHAIN: u16 = 11;
/// `TCA_BPF_FD`, nested in `TCA_OPTIONS`.
const BPF_FD: u16 = 6;
/// `TCA_BPF_NAME`, nested in `TCA_OPTIONS`.
pub(super) const BPF_NAME: u16 = 7;
/// `TCA_BPF_FLAGS`, nested in `TCA_OPTIONS`.
pub(super) const BPF_FLAGS: u16 = 8;
/// `TCA_BPF_FLAG_ACT_DIRECT`, a bit of `TCA_BPF_FLAGS`.
pub(super) const ACT_DIRECT: u32 = 1;
