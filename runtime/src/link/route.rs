//! Attaching programs to routes (lightweight tunnels, sections `lwt_*`), by netlink.
//!
//! This module implements the two netlink requests that it needs: adding a route with an encapsulation, and removing
//! it. The numbers are those of `linux/rtnetlink.h`, `linux/lwtunnel.h` and `linux/seg6_local.h`.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use super::Link;
use super::undo::Attachment;
use crate::error::{Errno, Error, Result, Step, Subject};
use crate::interface::{Interface, IntoInterface};
use crate::program::Program;
use crate::sys::netlink::{self, CREATE, EXCLUSIVE, Message, Rejection};
use crate::uapi::ProgramType;

/// A route that runs a program for its packets; see [`Program::attach_route`].
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> Result<(), Box<dyn std::error::Error>> {
/// use skelgen_runtime::link::Route;
///
/// let link = program.attach_route("eth0", Route::new("10.1.0.0".parse()?, 16).metric(50))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Route {
    destination: IpAddr,
    prefix_len: u8,
    gateway: Option<IpAddr>,
    table: u32,
    metric: u32,
    headroom: u32,
}

impl Route {
    /// Creates a route to the addresses that share the first `prefix_len` bits with `destination`, in the main table.
    pub const fn new(destination: IpAddr, prefix_len: u8) -> Self {
        Self { destination, prefix_len, gateway: None, table: MAIN, metric: 0, headroom: 0 }
    }

    /// Sets the address of the next hop.
    pub const fn gateway(mut self, address: IpAddr) -> Self {
        self.gateway = Some(address);
        self
    }

    /// Sets the number of the routing table; 254, the main table, by default.
    pub const fn table(mut self, table: u32) -> Self {
        self.table = table;
        self
    }

    /// Sets the metric. Of several routes to one destination, the kernel uses the one with the lowest metric. By
    /// default the kernel chooses.
    pub const fn metric(mut self, metric: u32) -> Self {
        self.metric = metric;
        self
    }

    /// Sets the headroom in bytes that an `lwt_xmit` program needs in front of a packet; at most 256, by default 0.
    pub const fn headroom(mut self, bytes: u32) -> Self {
        self.headroom = bytes;
        self
    }
}

impl Program {
    /// Adds a route through a network interface, and runs the program for the packets of the route: on input
    /// (`SEC("lwt_in")`), on output (`SEC("lwt_out")`), before transmission by the interface (`SEC("lwt_xmit")`, Linux
    /// 4.10), or as a segment of IPv6 segment routing (`SEC("lwt_seg6local")`, Linux 4.18). The route is in this
    /// thread's network namespace. It is removed when the [`Link`] is dropped; after [`Link::leak`] it stays.
    ///
    /// # Errors
    /// If the program was not loaded or has the wrong type, the interface does not exist, or the kernel rejects the
    /// route: it exists, or the gateway is unreachable.
    ///
    /// # Examples
    /// ```no_run
    /// use skelgen_runtime::link::Route;
    /// # fn f(program: &skelgen_runtime::Program) -> Result<(), Box<dyn std::error::Error>> {
    /// // This does what `ip route add 198.51.100.0/24 encap bpf xmit ... dev eth0` does.
    /// let _link = program.attach_route("eth0", Route::new("198.51.100.0".parse()?, 24).headroom(14))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn attach_route(&self, interface: impl IntoInterface, route: Route) -> Result<Link> {
        let interface = self.interface(interface)?;
        let program = self.fd()?;
        let what = format!("a route to {}/{}", route.destination, route.prefix_len);
        let refused = |rejection: Rejection| {
            let error = interface.explain(self.refused(&what, rejection.errno), &rejection);
            match rejection.errno.raw() {
                libc::EEXIST => {
                    error.with_help("a route to this destination exists: set a different metric, or remove the route")
                }
                libc::ENETDOWN => error.about_part(Subject::Interface(interface.index())).note("the interface is down"),
                libc::ENETUNREACH | libc::EHOSTUNREACH => {
                    error.note("the gateway is not reachable through the interface")
                }
                libc::EOPNOTSUPP => error.note(
                    "the kernel is built without BPF programs for routes (CONFIG_LWTUNNEL_BPF, CONFIG_IPV6_SEG6_BPF)",
                ),
                _ => error,
            }
        };
        let kept = program.try_clone_to_owned().map_err(|error| self.not_attached(&what, &error))?;
        let mut message = route.message(interface, NEW_ROUTE, CREATE | EXCLUSIVE);
        self.encapsulate(route, program.as_raw_fd(), &mut message)?;
        let socket = netlink::open().map_err(|errno| refused(errno.into()))?;
        netlink::request(&socket, &message, |_, _| ()).map_err(refused)?;
        Ok(Link::without_link(kept, self.name(), Added { socket, interface, route }))
    }

    /// Adds the attributes that identify the program.
    fn encapsulate(&self, route: Route, program: i32, message: &mut Message) -> Result<()> {
        let name = self.name();
        let identify = |bpf: &mut Message| {
            bpf.attribute(PROG_FD, &program.to_ne_bytes());
            bpf.text(PROG_NAME, name);
        };
        let hook = match self.program_type() {
            ProgramType::LWT_IN => IN,
            ProgramType::LWT_OUT => OUT,
            ProgramType::LWT_XMIT => XMIT,
            ProgramType::LWT_SEG6LOCAL => {
                message.attribute(ENCAP_TYPE, &SEG6_LOCAL.to_ne_bytes());
                message.nested(ENCAP, |encap| {
                    encap.attribute(SEG6_ACTION, &END_BPF.to_ne_bytes());
                    encap.nested(SEG6_BPF, identify);
                });
                return Ok(());
            }
            other => {
                return Err(Error::invalid(format_args!(
                    "program `{name}` has type {other}, which routes do not support"
                ))
                .during(Step::Attach)
                .about(Subject::Program(name))
                .with_help("use a program of section `lwt_in`, `lwt_out`, `lwt_xmit` or `lwt_seg6local`"));
            }
        };
        message.attribute(ENCAP_TYPE, &BPF.to_ne_bytes());
        message.nested(ENCAP, |encap| {
            encap.nested(hook, identify);
            if hook == XMIT && route.headroom > 0 {
                encap.attribute(XMIT_HEADROOM, &route.headroom.to_ne_bytes());
            }
        });
        Ok(())
    }
}

/// A route that was added.
#[derive(Debug)]
struct Added {
    /// The socket that added the route. The route is in the socket's network namespace.
    socket: OwnedFd,
    interface: Interface,
    route: Route,
}

impl Attachment for Added {
    fn detach(&self) -> Result<(), Errno> {
        let message = self.route.message(self.interface, DELETE_ROUTE, 0);
        netlink::request(&self.socket, &message, |_, _| ()).map_err(|rejection| rejection.errno)
    }

    fn links(&self) -> Option<&'static str> {
        None
    }
}

impl Route {
    /// Creates a request about the route: `struct rtmsg`, and the attributes that identify it.
    fn message(&self, interface: Interface, kind: u16, flags: u16) -> Message {
        let family = u8::try_from(if self.destination.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }).unwrap_or(0);
        let scope = if self.gateway.is_some() || self.destination.is_ipv6() { UNIVERSE } else { LINK };
        // Tables above 255 are identified by the attribute only.
        let header = [family, self.prefix_len, 0, 0, 0, STATIC, scope, UNICAST, 0, 0, 0, 0];
        let mut message = Message::new(kind, flags, &header);
        message.attribute(DESTINATION, &octets(self.destination));
        message.attribute(INTERFACE, &interface.index().to_ne_bytes());
        message.attribute(TABLE, &self.table.to_ne_bytes());
        if let Some(gateway) = self.gateway {
            message.attribute(GATEWAY, &octets(gateway));
        }
        if self.metric > 0 {
            message.attribute(PRIORITY, &self.metric.to_ne_bytes());
        }
        message
    }
}

/// Returns the bytes of an address in network byte order.
fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// `RTM_NEWROUTE`, `RTM_DELROUTE`.
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
/// `RT_TABLE_MAIN`.
const MAIN: u32 = 254;
/// `RTPROT_STATIC`, `RT_SCOPE_UNIVERSE`, `RT_SCOPE_LINK`, `RTN_UNICAST`.
const STATIC: u8 = 4;
const UNIVERSE: u8 = 0;
const LINK: u8 = 253;
const UNICAST: u8 = 1;
/// `RTA_DST`, `RTA_OIF`, `RTA_GATEWAY`, `RTA_PRIORITY`, `RTA_TABLE`, `RTA_ENCAP_TYPE`, `RTA_ENCAP`.
const DESTINATION: u16 = 1;
const INTERFACE: u16 = 4;
const GATEWAY: u16 = 5;
const PRIORITY: u16 = 6;
const TABLE: u16 = 15;
const ENCAP_TYPE: u16 = 21;
const ENCAP: u16 = 22;
/// `LWTUNNEL_ENCAP_BPF`, with its attributes `LWT_BPF_IN`, `LWT_BPF_OUT`, `LWT_BPF_XMIT`, `LWT_BPF_XMIT_HEADROOM`.
const BPF: u16 = 6;
const IN: u16 = 1;
const OUT: u16 = 2;
const XMIT: u16 = 3;
const XMIT_HEADROOM: u16 = 4;
/// `LWTUNNEL_ENCAP_SEG6_LOCAL`, with its attributes `SEG6_LOCAL_ACTION` with `SEG6_LOCAL_ACTION_END_BPF`, and `SEG6_LOCAL_BPF`.
const SEG6_LOCAL: u16 = 7;
const SEG6_ACTION: u16 = 1;
const END_BPF: u32 = 15;
const SEG6_BPF: u16 = 8;
/// The program's file descriptor (`LWT_BPF_PROG_FD`, `SEG6_LOCAL_BPF_PROG`) and name (`LWT_BPF_PROG_NAME`,
/// `SEG6_LOCAL_BPF_PROG_NAME`).
const PROG_FD: u16 = 1;
const PROG_NAME: u16 = 2;
