//! Attaching programs to network interfaces, network namespaces and maps of sockets.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use super::{Link, Place, TcDirection};
use crate::error::{Errno, LinuxVersion, Result, Subject};
use crate::kernel::causes;
use crate::program::Program;
use crate::sys::link as sys;
use crate::uapi::{AttachType, XdpFlags};

impl Program {
    /// Attaches an XDP program to a network interface, by its index (Linux 5.9). Without flags the kernel chooses the
    /// mode.
    ///
    /// ```no_run
    /// use skelgen_runtime::uapi::XdpFlags;
    /// # fn f(first: &skelgen_runtime::Program, second: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// let link = first.attach_xdp(2, XdpFlags::empty())?;
    /// // Replace it later, so that every packet is seen by one of them:
    /// link.update(second)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded or the kernel rejects it.
    pub fn attach_xdp(&self, ifindex: u32, flags: XdpFlags) -> Result<Link> {
        let created = sys::create(self.fd()?, index(ifindex), AttachType::XDP, flags.bits(), (0, 0));
        self.of_interface(ifindex, "", created).map_err(|error| match error.errno().map(Errno::raw) {
            Some(libc::EBUSY) => error.with_help("the interface has an XDP program: detach it, or update its link"),
            Some(libc::EEXIST) => error.note("the interface has an XDP program of another mode"),
            Some(libc::EINVAL) => error.note(
                "this network namespace has no interface with that index, the flags conflict, or the program was loaded for maps",
            ),
            Some(libc::EOPNOTSUPP) => {
                error.with_help("the driver does not support XDP: use `XdpFlags::SKB_MODE`, which works on every interface")
            }
            _ => error,
        })
    }

    /// Attaches a traffic control program to a network interface for packets in one direction (tcx, Linux 6.6), after
    /// the programs that are already attached. For older kernels use [`attach_tc`](Self::attach_tc).
    ///
    /// ```no_run
    /// use skelgen_runtime::link::TcDirection;
    /// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// let link = program.attach_tcx(2, TcDirection::Ingress)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded or the kernel rejects it.
    pub fn attach_tcx(&self, ifindex: u32, direction: TcDirection) -> Result<Link> {
        self.attach_tcx_at(ifindex, direction, Place::default())
    }

    /// Attaches a traffic control program at a position among the programs that are already attached (tcx, Linux 6.6).
    ///
    /// # Errors
    /// If the program was not loaded or the kernel rejects it.
    pub fn attach_tcx_at(&self, ifindex: u32, direction: TcDirection, place: Place<'_>) -> Result<Link> {
        self.attach_ordered(ifindex, direction.attach_type(), place).map_err(|error| {
            match error.errno().map(Errno::raw) {
                Some(libc::EINVAL) => causes::since(
                    error,
                    LinuxVersion::new(6, 6),
                    "tcx needs Linux 6.6; use `attach_tc` on older kernels",
                ),
                _ => error,
            }
        })
    }

    /// Attaches to a netkit interface (Linux 6.7), by the index of the primary one of the pair, with the attach type
    /// that the program was loaded with (`netkit/primary`, `netkit/peer`), at a position among the programs that are
    /// already attached.
    ///
    /// # Errors
    /// If the program was not loaded or the kernel rejects it.
    pub fn attach_netkit(&self, ifindex: u32, place: Place<'_>) -> Result<Link> {
        self.attach_ordered(ifindex, self.expected_attach_type(), place).map_err(|error| {
            match error.errno().map(Errno::raw) {
                Some(libc::ENXIO | libc::EACCES) => {
                    error.with_help("it must be the primary interface of a netkit pair")
                }
                Some(libc::EINVAL) => causes::since(error, LinuxVersion::new(6, 7), "netkit needs Linux 6.7"),
                _ => error,
            }
        })
    }

    /// Attaches to a network namespace with the attach type that the program was loaded with (`sk_lookup` on Linux 5.9,
    /// `flow_dissector` on 5.8).
    ///
    /// ```no_run
    /// # fn f(program: &skelgen_runtime::Program) -> Result<(), Box<dyn std::error::Error>> {
    /// let own = std::fs::File::open("/proc/self/ns/net")?;
    /// let link = program.attach_netns(&own)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded or the kernel rejects it.
    pub fn attach_netns(&self, namespace: impl AsFd) -> Result<Link> {
        sys::create(self.fd()?, namespace.as_fd().as_raw_fd(), self.expected_attach_type(), 0, (0, 0))
            .map(|fd| Link::new(fd, self.name()))
            .map_err(|errno| {
                let error = self.refused("a network namespace", errno);
                match errno.raw() {
                    libc::EINVAL => error.with_help("pass the file of a network namespace, such as /proc/self/ns/net"),
                    libc::EEXIST | libc::E2BIG => {
                        error.note("the namespace has a program of this type and accepts no other")
                    }
                    _ => error,
                }
            })
    }

    /// Attaches to a map of sockets (`sockmap`, `sockhash`), with the attach type that the program was loaded with
    /// (`sk_msg`, `sk_skb/stream_parser`, `sk_skb/stream_verdict`, `sk_skb/verdict`). It then sees what the sockets in
    /// the map send or receive.
    ///
    /// Before Linux 6.10, which introduced links of such maps, the program is attached without a link, and detached
    /// when the [`Link`] is dropped.
    ///
    /// ```no_run
    /// # use skelgen_runtime::{Program, Result, map::SockMap};
    /// # fn f(program: &Program, map: &SockMap) -> Result<()> {
    /// let link = program.attach_sockmap(map)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded, the map already has a program of this attach type, or the kernel rejects it.
    pub fn attach_sockmap(&self, map: impl AsFd) -> Result<Link> {
        let map = map.as_fd();
        let attach_type = self.expected_attach_type();
        match sys::create(self.fd()?, map.as_raw_fd(), attach_type, 0, (0, 0)) {
            Ok(fd) => Ok(Link::new(fd, self.name())),
            Err(errno) if errno.raw() == libc::EINVAL => {
                self.attach_without_link("a map of sockets", map, (attach_type, 0), |error, _| {
                    error.with_help(
                        "the map must be a sockmap or sockhash, and the section or `set_type` must state the attach type \
                         (`sk_skb` alone does not)",
                    )
                })
            }
            Err(errno) => Err(self.refused("a map of sockets", errno)),
        }
    }

    fn attach_ordered(&self, ifindex: u32, attach_type: AttachType, place: Place<'_>) -> Result<Link> {
        let (flags, other) = place.request();
        let created = sys::create(self.fd()?, index(ifindex), attach_type, flags, (other, place.expected_revision));
        self.of_interface(ifindex, attach_type.name().unwrap_or(""), created)
    }

    fn of_interface(&self, ifindex: u32, point: &str, created: Result<std::os::fd::OwnedFd, Errno>) -> Result<Link> {
        created.map(|fd| Link::new(fd, self.name())).map_err(|errno| {
            let of = if point.is_empty() { "" } else { " of " };
            let error = self.refused(format_args!("{point}{of}network interface {ifindex}"), errno);
            match errno.raw() {
                libc::ENODEV => error
                    .about_part(Subject::Interface(ifindex))
                    .note("this network namespace has no interface with that index"),
                libc::ESTALE => error.note("the programs of the interface changed after their revision was read"),
                libc::ENOENT => error.note("the program to attach before or after is not attached to the interface"),
                _ => error,
            }
        })
    }
}

/// Returns an interface index for requests that otherwise contain a file descriptor.
fn index(ifindex: u32) -> RawFd {
    RawFd::from_ne_bytes(ifindex.to_ne_bytes())
}
