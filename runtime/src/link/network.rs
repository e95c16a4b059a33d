//! Attaching programs to network interfaces, network namespaces, sockmaps and sockhashes.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use super::{Link, Place, TcDirection};
use crate::error::{Errno, LinuxVersion, Result};
use crate::interface::{Interface, IntoInterface};
use crate::kernel::causes;
use crate::program::Program;
use crate::sys::link as sys;
use crate::uapi::AttachType;

impl Program {
    /// Attaches a traffic control program to a network interface for packets in one direction (tcx, Linux 6.6), after
    /// the programs that are already attached. For older kernels use [`attach_tc`](Self::attach_tc).
    ///
    /// ```no_run
    /// use skelgen_runtime::link::TcDirection;
    /// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// let link = program.attach_tcx("eth0", TcDirection::Ingress)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded, the interface does not exist, or the kernel rejects the program.
    pub fn attach_tcx(&self, interface: impl IntoInterface, direction: TcDirection) -> Result<Link> {
        self.attach_tcx_at(interface, direction, Place::default())
    }

    /// Attaches a traffic control program at a position among the programs that are already attached (tcx, Linux 6.6).
    ///
    /// # Errors
    /// If the program was not loaded, the interface does not exist, the program that `place` refers to is not attached,
    /// the programs have a revision other than the expected one, or the kernel rejects the program.
    pub fn attach_tcx_at(
        &self,
        interface: impl IntoInterface,
        direction: TcDirection,
        place: Place<'_>,
    ) -> Result<Link> {
        self.attach_ordered(interface, direction.attach_type(), place).map_err(|error| {
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

    /// Attaches to a netkit interface (Linux 6.7), the primary one of the pair, with the attach type that the program
    /// was loaded with (`netkit/primary`, `netkit/peer`), at a position among the programs that are already attached.
    ///
    /// ```no_run
    /// use skelgen_runtime::link::Place;
    /// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// let link = program.attach_netkit("nk0", Place::default())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded, the interface does not exist or is not the primary one of a netkit pair, the
    /// program that `place` refers to is not attached, the programs have a revision other than the expected one, or the
    /// kernel rejects the program.
    pub fn attach_netkit(&self, interface: impl IntoInterface, place: Place<'_>) -> Result<Link> {
        self.attach_ordered(interface, self.stated_attach_type()?, place).map_err(|error| {
            match error.errno().map(Errno::raw) {
                Some(libc::ENXIO | libc::EACCES) => {
                    error.with_help("the interface must be the primary one of a netkit pair")
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
    /// If the program was not loaded, the file is not a network namespace, the namespace already has a program of this
    /// attach type, or the kernel rejects the program.
    pub fn attach_netns(&self, namespace: impl AsFd) -> Result<Link> {
        let (program, namespace) = (self.fd()?, namespace.as_fd().as_raw_fd());
        self.with_attach_type(&[], |attach_type| sys::create(program, namespace, attach_type, 0, (0, 0)))?
            .map(|fd| Link::new(fd, self.name()))
            .map_err(|errno| {
                let error = self.refused("a network namespace", errno);
                match errno.raw() {
                    libc::EINVAL => error.with_help("pass the file of a network namespace, such as /proc/self/ns/net"),
                    libc::EEXIST | libc::E2BIG => {
                        error.note("the namespace already has a program of this type and can have only one")
                    }
                    _ => error,
                }
            })
    }

    /// Attaches to a sockmap or sockhash, with the attach type that the program was loaded with (`sk_msg`,
    /// `sk_skb/stream_parser`, `sk_skb/stream_verdict`, `sk_skb/verdict`). The program then runs for the data that the
    /// sockets in the map send or receive.
    ///
    /// Before Linux 6.10, which introduced links for these maps, the program is attached without a link, and detached
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
    /// If the program was not loaded, the map already has a program of this attach type, or the kernel rejects the
    /// attachment.
    pub fn attach_sockmap(&self, map: impl AsFd) -> Result<Link> {
        let map = map.as_fd();
        let attach_type = self.stated_attach_type()?;
        match sys::create(self.fd()?, map.as_raw_fd(), attach_type, 0, (0, 0)) {
            Ok(fd) => Ok(Link::new(fd, self.name())),
            Err(errno) if errno.raw() == libc::EINVAL => {
                self.attach_without_link("a sockmap or sockhash", map, &[attach_type], 0, |error, _| {
                    error.with_help(
                        "the map must be a sockmap or sockhash, and the section or `set_type` must set the attach type \
                         (`sk_skb` alone does not)",
                    )
                })
            }
            Err(errno) => Err(self.refused("a sockmap or sockhash", errno)),
        }
    }

    /// Looks up the interface to attach this program to.
    pub(super) fn interface(&self, interface: impl IntoInterface) -> Result<Interface> {
        interface.into_interface().map_err(|error| self.attaching(error))
    }

    fn attach_ordered(&self, interface: impl IntoInterface, attach_type: AttachType, place: Place<'_>) -> Result<Link> {
        let interface = self.interface(interface)?;
        let (flags, other) = place.request();
        let created = sys::create(self.fd()?, index(interface), attach_type, flags, (other, place.expected_revision));
        self.of_interface(interface, attach_type.name().unwrap_or(""), created)
    }

    /// Returns the link to an interface, or the error for the rejected request.
    pub(super) fn of_interface(
        &self,
        interface: Interface,
        point: &str,
        created: Result<OwnedFd, Errno>,
    ) -> Result<Link> {
        created.map(|fd| Link::new(fd, self.name())).map_err(|errno| {
            let of = if point.is_empty() { "" } else { " of " };
            let error = self.refused(format_args!("{point}{of}{}", interface.label()), errno);
            match errno.raw() {
                libc::ENODEV => interface.missing(error),
                libc::ESTALE => error.note("the programs of the interface changed after their revision was read"),
                libc::ENOENT => error.note("the program that the position refers to (`Order::Before`, `Order::After`) is not attached to the interface"),
                _ => error,
            }
        })
    }
}

/// Converts an interface index for the request field that contains a file descriptor for other kinds of targets.
pub(super) fn index(interface: Interface) -> RawFd {
    RawFd::from_ne_bytes(interface.index().to_ne_bytes())
}
