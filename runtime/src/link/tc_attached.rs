//! The filters of classic traffic control that are attached to network interfaces, and their removal, by netlink.
//!
//! These can be filters of other processes. The filters that links of this process own are in `tc.rs`. The numbers are
//! those of `linux/rtnetlink.h` and `linux/pkt_cls.h`.

use std::ffi::CStr;

use super::tc::{self, TcDirection, TcFilter};
use super::{Interface, IntoInterface};
use crate::error::{Errno, Error, Result, Step, Subject};
use crate::sys::netlink::{self, DUMP, Message, Rejection};

/// A BPF program that is attached to a network interface as a filter of classic traffic control.
///
/// ```no_run
/// use skelgen_runtime::link::{TcAttached, TcDirection, detach_tc};
/// // Remove the filters that an earlier process left.
/// for filter in TcAttached::to_interface("eth0", TcDirection::Ingress)? {
///     if filter.name == "my_program" {
///         detach_tc("eth0", TcDirection::Ingress, filter.position())?;
///     }
/// }
/// # Ok::<(), skelgen_runtime::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcAttached {
    /// The priority; filters with lower priorities run first.
    pub priority: u16,
    /// The handle among the filters with the same priority.
    pub handle: u32,
    /// The protocol of the packets that the program sees (`ETH_P_*`); 3 is all packets.
    pub protocol: u16,
    /// The chain that the filter is in; see [`TcFilter::chain`].
    pub chain: u32,
    /// The id of the program, or `None` for a filter of classic BPF.
    pub program_id: Option<u32>,
    /// The name that the filter was attached with. This crate attaches filters with the name of the program.
    pub name: String,
    /// Whether the program's return value is the action for the packet (`direct-action`). This crate attaches all
    /// filters in this mode.
    pub is_direct: bool,
}

impl TcAttached {
    /// Returns the filters with BPF programs of a network interface for packets in one direction, chain by chain, in
    /// the order in which they run. An interface without a `clsact` qdisc has none; for received packets, the qdisc can
    /// also be `ingress`.
    ///
    /// # Errors
    /// If the interface does not exist, or the kernel rejects the query.
    pub fn to_interface(interface: impl IntoInterface, direction: TcDirection) -> Result<Vec<Self>> {
        let interface = interface.into_interface().map_err(|error| error.within("cannot query filters"))?;
        let refused = |rejection: Rejection| refused(interface, "query the filters", Step::ReadInfo, &rejection);
        let message = Message::new(GET_FILTER, DUMP, &tc::all(interface, direction));
        let mut found = Ok(Vec::new());
        // If the filters change while the kernel lists them, it reports this, and they are listed again.
        for _ in 0..TRIES {
            let mut filters = Vec::new();
            let listed = netlink::open().map_err(Rejection::from).and_then(|socket| {
                if tc::lacks(&socket, interface, direction)? {
                    return Ok(());
                }
                netlink::request(&socket, &message, |kind, body| {
                    if kind == tc::NEW_FILTER {
                        filters.extend(Self::read(body));
                    }
                })
            });
            found = listed.map(|()| filters);
            if !matches!(&found, Err(rejection) if rejection.errno.raw() == libc::EINTR) {
                break;
            }
        }
        let found = found.map_err(refused)?;
        // The kernel lists nothing for an interface that does not exist.
        if found.is_empty() && interface.is_missing() {
            return Err(refused(Errno::from_raw(libc::ENODEV).into()));
        }
        Ok(found)
    }

    /// Returns the position of the filter, to detach it with [`detach_tc`] or to replace it.
    pub fn position(&self) -> TcFilter {
        TcFilter::new().priority(self.priority).handle(self.handle).protocol(self.protocol).chain(self.chain)
    }

    /// Reads a filter: `struct tcmsg` and attributes. Returns `None` if the kind of the filter is not `bpf`.
    fn read(body: &[u8]) -> Option<Self> {
        let (handle, info) = (netlink::word(body, 8)?, netlink::word(body, 16)?);
        let (mut is_bpf, mut options, mut chain) = (false, None, 0);
        for (kind, value) in netlink::attributes(body.get(tc::HEADER..)?) {
            match kind {
                tc::KIND => is_bpf = value == b"bpf\0",
                tc::OPTIONS => options = Some(value),
                // Kernels before 4.13 have one chain.
                tc::CHAIN => chain = netlink::word(value, 0)?,
                _ => {}
            }
        }
        // The kernel also lists each priority itself, as an entry without options.
        let options = options.filter(|_| is_bpf)?;
        let mut found = Self {
            priority: u16::try_from(info >> 16).ok()?,
            handle,
            protocol: u16::from_be(u16::try_from(info & 0xffff).ok()?),
            chain,
            program_id: None,
            name: String::new(),
            is_direct: false,
        };
        for (kind, value) in netlink::attributes(options) {
            match kind {
                PROGRAM_ID => found.program_id = netlink::word(value, 0),
                tc::BPF_NAME => {
                    let name = CStr::from_bytes_until_nul(value).map(CStr::to_string_lossy);
                    found.name = name.unwrap_or_default().into_owned();
                }
                tc::BPF_FLAGS => found.is_direct = netlink::word(value, 0)? & tc::ACT_DIRECT != 0,
                _ => {}
            }
        }
        Some(found)
    }
}

/// Detaches the filter with this priority, handle, protocol and chain from a network interface, regardless of who
/// attached it: after [`Link::leak`](super::Link::leak), by another process, or by `tc filter add`.
///
/// # Errors
/// If the priority or the handle is not set, the interface or the filter does not exist, or the kernel rejects the request.
pub fn detach_tc(interface: impl IntoInterface, direction: TcDirection, filter: TcFilter) -> Result<()> {
    let interface = interface.into_interface().map_err(|error| error.within("cannot detach a filter"))?;
    if !filter.is_set() {
        // The kernel would remove all filters of the priority, or of the direction.
        return Err(Error::invalid("cannot detach a filter: its priority or handle is not set")
            .during(Step::Detach)
            .about(Subject::Interface(interface.index()))
            .with_help("`TcAttached::to_interface` lists the filters; `TcAttached::position` returns the priority and handle of a filter"));
    }
    let socket = netlink::open().map_err(Rejection::from);
    socket.and_then(|socket| tc::remove(&socket, interface, direction, filter)).map_err(|rejection| {
        let error = refused(interface, "detach a filter", Step::Detach, &rejection);
        match rejection.errno.raw() {
            libc::ENOENT | libc::EINVAL => error.note("there is no filter with this priority and handle"),
            _ => error,
        }
    })
}

/// Removes the `clsact` qdisc of a network interface, which [`attach_tc`](crate::Program::attach_tc) creates, with all
/// filters of both directions, regardless of who attached them.
///
/// # Errors
/// If the interface does not exist or has no such qdisc, or the kernel rejects the request.
///
/// # Examples
/// ```no_run
/// skelgen_runtime::link::remove_clsact("eth0")?;
/// # Ok::<(), skelgen_runtime::Error>(())
/// ```
pub fn remove_clsact(interface: impl IntoInterface) -> Result<()> {
    let interface = interface.into_interface().map_err(|error| error.within("cannot remove clsact"))?;
    let message = tc::clsact(interface, DELETE_QDISC, 0);
    let removed = netlink::open().map_err(Rejection::from);
    removed.and_then(|socket| netlink::request(&socket, &message, |_, _| ())).map_err(|rejection| {
        let error = refused(interface, "remove clsact", Step::Detach, &rejection);
        match rejection.errno.raw() {
            libc::ENOENT | libc::EINVAL => error.note("the interface has no qdisc of kind `clsact`"),
            _ => error,
        }
    })
}

fn refused(interface: Interface, what: &str, step: Step, rejection: &Rejection) -> Error {
    let error = Error::refused(format_args!("cannot {what} of {}", interface.label()), rejection.errno);
    interface.explain(error.during(step).about(Subject::Interface(interface.index())), rejection)
}

/// The maximum number of attempts to list filters that change during the listing.
const TRIES: u32 = 8;
/// `RTM_GETTFILTER`, `RTM_DELQDISC`.
const GET_FILTER: u16 = 46;
const DELETE_QDISC: u16 = 37;
/// `TCA_BPF_ID`.
const PROGRAM_ID: u16 = 11;

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn filters_of_kind_bpf_are_read() {
        let head = [0, 1, 7, 0, 5 << 16 | u32::from(0x800_u16.to_be())].map(u32::to_ne_bytes).concat();
        let options = [
            attribute(PROGRAM_ID, &9_u32.to_ne_bytes()),
            attribute(tc::BPF_NAME, b"name\0"),
            attribute(tc::BPF_FLAGS, &1_u32.to_ne_bytes()),
        ];
        let whole = [head.clone(), attribute(tc::KIND, b"bpf\0"), attribute(tc::OPTIONS, &options.concat())].concat();
        let expected = TcAttached {
            priority: 5,
            handle: 7,
            protocol: 0x800,
            chain: 0,
            program_id: Some(9),
            name: "name".to_owned(),
            is_direct: true,
        };
        assert_eq!(expected.position(), TcFilter::new().priority(5).handle(7).protocol(0x800));
        let chained = [whole.clone(), attribute(tc::CHAIN, &4_u32.to_ne_bytes())].concat();
        assert_eq!(TcAttached::read(&chained), Some(TcAttached { chain: 4, ..expected.clone() }));
        assert_eq!(TcAttached::read(&chained).unwrap().position(), expected.position().chain(4));
        assert_eq!(TcAttached::read(&whole), Some(expected));
        assert_eq!(TcAttached::read(&[head.clone(), attribute(tc::KIND, b"bpf\0")].concat()), None);
        let other = [head, attribute(tc::KIND, b"u32\0"), attribute(tc::OPTIONS, &[])].concat();
        assert_eq!(TcAttached::read(&other), None);
        (0..whole.len()).for_each(|cut| drop(TcAttached::read(&whole[..cut])));
    }
}
