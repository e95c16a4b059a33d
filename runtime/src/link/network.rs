//! Programs of network interfaces, of network namespaces and of maps of sockets.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use super::undo::How;
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
    /// // Later, without a packet that sees neither:
    /// link.update(second)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If it was not loaded or the kernel refuses.
    pub fn attach_xdp(&self, ifindex: u32, flags: XdpFlags) -> Result<Link> {
        let created = sys::create(self.fd()?, index(ifindex), AttachType::XDP, flags.bits(), (0, 0));
        self.of_interface(ifindex, "", created).map_err(|error| match error.errno().map(Errno::raw) {
            Some(libc::EBUSY) => error.with_help("the interface has an XDP program: detach that, or update its link"),
            Some(libc::EEXIST) => error.note("the interface has an XDP program of another mode"),
            Some(libc::EINVAL) => error.note(
                "this network namespace has no interface of that index, the flags do not go together, or the program was loaded for maps",
            ),
            Some(libc::EOPNOTSUPP) => {
                error.with_help("its driver has no XDP: `XdpFlags::SKB_MODE` works on every interface")
            }
            _ => error,
        })
    }

    /// Attaches a traffic control program to the packets of a network interface in one direction (tcx, Linux 6.6), after the programs that
    /// are there. Older kernels have [`attach_tc`](Self::attach_tc).
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
    /// If it was not loaded or the kernel refuses.
    pub fn attach_tcx(&self, ifindex: u32, direction: TcDirection) -> Result<Link> {
        self.attach_tcx_at(ifindex, direction, Place::default())
    }

    /// Attaches a traffic control program at a place among the programs that are there (tcx, Linux 6.6).
    ///
    /// # Errors
    /// If it was not loaded or the kernel refuses.
    pub fn attach_tcx_at(&self, ifindex: u32, direction: TcDirection, place: Place<'_>) -> Result<Link> {
        self.placed(ifindex, direction.attach_type(), place).map_err(|error| match error.errno().map(Errno::raw) {
            Some(libc::EINVAL) => {
                causes::since(error, LinuxVersion::new(6, 6), "tcx needs Linux 6.6; before, there is `attach_tc`")
            }
            _ => error,
        })
    }

    /// Attaches to a netkit interface (Linux 6.7), by the index of the primary one of the pair; as the type that it was loaded for
    /// (`netkit/primary`, `netkit/peer`), at a place among the programs that are there.
    ///
    /// # Errors
    /// If it was not loaded or the kernel refuses.
    pub fn attach_netkit(&self, ifindex: u32, place: Place<'_>) -> Result<Link> {
        self.placed(ifindex, self.expected_attach_type(), place).map_err(|error| match error.errno().map(Errno::raw) {
            Some(libc::ENXIO | libc::EACCES) => error.with_help("it must be the primary interface of a netkit pair"),
            Some(libc::EINVAL) => causes::since(error, LinuxVersion::new(6, 7), "netkit needs Linux 6.7"),
            _ => error,
        })
    }

    /// Attaches to a network namespace, as the type that it was loaded for (`sk_lookup` of Linux 5.9, `flow_dissector` of 5.8).
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
    /// If it was not loaded or the kernel refuses.
    pub fn attach_netns(&self, namespace: impl AsFd) -> Result<Link> {
        sys::create(self.fd()?, namespace.as_fd().as_raw_fd(), self.expected_attach_type(), 0, (0, 0))
            .map(|fd| Link::new(fd, self.name()))
            .map_err(|errno| {
                let error = self.refused("a network namespace", errno);
                match errno.raw() {
                    libc::EINVAL => {
                        error.with_help("what was given must be a network namespace, such as /proc/self/ns/net")
                    }
                    libc::EEXIST | libc::E2BIG => error.note("the namespace takes no other such program"),
                    _ => error,
                }
            })
    }

    /// Attaches to a map of sockets (`sockmap`, `sockhash`), as the type that it was loaded for (`sk_msg`, `sk_skb/stream_parser`,
    /// `sk_skb/stream_verdict`, `sk_skb/verdict`): from then on it sees what the sockets send or get that are put into the map.
    ///
    /// Before Linux 6.10, which have no links of such maps, it is attached without one, and detached when the [`Link`] is dropped.
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
    /// If it was not loaded, the kernel refuses, or the map has a program for this already.
    pub fn attach_sockmap(&self, map: impl AsFd) -> Result<Link> {
        let map = map.as_fd();
        let attach_type = self.expected_attach_type();
        match sys::create(self.fd()?, map.as_raw_fd(), attach_type, 0, (0, 0)) {
            Ok(fd) => Ok(Link::new(fd, self.name())),
            Err(errno) if errno.raw() == libc::EINVAL => self.attach_sockmap_without_link(map),
            Err(errno) => Err(self.refused("a map of sockets", errno)),
        }
    }

    fn attach_sockmap_without_link(&self, map: BorrowedFd<'_>) -> Result<Link> {
        let io = |error: std::io::Error| self.not_attached("a map of sockets", &error);
        let clone = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(io);
        let (held, program, target) = (clone(self.fd()?)?, clone(self.fd()?)?, clone(map)?);
        let attach_type = self.expected_attach_type();
        sys::attach(program.as_fd(), target.as_fd(), attach_type, 0, None).map_err(|errno| {
            self.refused("a map of sockets", errno).with_help(
                "the map must be a sockmap or sockhash, and the section or `set_type` must say for what the program is \
                 (`sk_skb` alone does not)",
            )
        })?;
        Ok(Link::undone(held, self.name(), How::Program { program, target, attach_type }))
    }

    fn placed(&self, ifindex: u32, attach_type: AttachType, place: Place<'_>) -> Result<Link> {
        let (flags, other) = place.request();
        let created = sys::create(self.fd()?, index(ifindex), attach_type, flags, (other, place.expected_revision));
        self.of_interface(ifindex, attach_type.name().unwrap_or(""), created)
    }

    fn of_interface(&self, ifindex: u32, place: &str, created: Result<std::os::fd::OwnedFd, Errno>) -> Result<Link> {
        created.map(|fd| Link::new(fd, self.name())).map_err(|errno| {
            let of = if place.is_empty() { "" } else { " of " };
            let error = self.refused(format_args!("{place}{of}network interface {ifindex}"), errno);
            match errno.raw() {
                libc::ENODEV => error
                    .about_part(Subject::Interface(ifindex))
                    .note("this network namespace has no interface of that index"),
                libc::ESTALE => error.note("the programs of the interface were changed since their revision was read"),
                libc::ENOENT => error.note("the program that it was to be before or after is not attached there"),
                _ => error,
            }
        })
    }
}

/// An interface's index where the request has a file descriptor otherwise.
fn index(ifindex: u32) -> RawFd {
    RawFd::from_ne_bytes(ifindex.to_ne_bytes())
}
