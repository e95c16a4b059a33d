//! Attaching XDP programs to network interfaces: by links (Linux 5.9), and without links by netlink.
//!
//! The numbers are those of `linux/rtnetlink.h` and `linux/if_link.h`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::str::FromStr;

use super::network::index;
use super::undo::Attachment;
use super::{Interface, IntoInterface, Link};
use crate::error::{Errno, Error, ErrorKind, LinuxVersion, Result, Step, Subject};
use crate::interface::header;
use crate::kernel::causes;
use crate::program::Program;
use crate::sys::link as sys;
use crate::sys::netlink::{self, Message, Rejection};
use crate::sys::prog::{Parts, describe};
use crate::uapi::{AttachType, XdpFlags};

/// The mode of an XDP program: where in the receive path it runs. An interface can have one program for each mode, but
/// not both a [native](Self::Native) and an [skb](Self::Skb) program.
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::link::XdpMode;
///
/// let link = program.attach_xdp("eth0", XdpMode::Skb)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum XdpMode {
    /// The kernel chooses: native where the driver supports XDP, otherwise skb.
    #[default]
    Auto,
    /// In the network stack (generic XDP, `XDP_FLAGS_SKB_MODE`). It works on every interface, but is slower, because
    /// packets have already been copied into socket buffers.
    #[doc(alias = "generic")]
    Skb,
    /// In the driver, if it supports XDP (`XDP_FLAGS_DRV_MODE`).
    #[doc(alias = "driver")]
    Native,
    /// On the device, for programs that were loaded for it with
    /// [`set_interface`](crate::OpenProgram::set_interface) (`XDP_FLAGS_HW_MODE`).
    #[doc(alias = "hardware")]
    Offload,
}

impl From<XdpMode> for XdpFlags {
    fn from(mode: XdpMode) -> Self {
        match mode {
            XdpMode::Auto => Self::empty(),
            XdpMode::Skb => Self::SKB_MODE,
            XdpMode::Native => Self::DRV_MODE,
            XdpMode::Offload => Self::HW_MODE,
        }
    }
}

impl FromStr for XdpMode {
    type Err = Error;

    /// Parses the name of a mode, for command lines: `auto`, `skb`, `native` or `offload`, or the words of `ip link`: `xdp`, `xdpgeneric`,
    /// `xdpdrv` and `xdpoffload`.
    ///
    /// ```
    /// use skelgen_runtime::link::XdpMode;
    /// assert_eq!("native".parse::<XdpMode>()?, XdpMode::Native);
    /// assert_eq!("xdpgeneric".parse::<XdpMode>()?, XdpMode::Skb);
    /// assert!("fast".parse::<XdpMode>().is_err());
    /// # Ok::<(), skelgen_runtime::Error>(())
    /// ```
    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "auto" | "xdp" => Self::Auto,
            "skb" | "generic" | "xdpgeneric" => Self::Skb,
            "native" | "driver" | "xdpdrv" => Self::Native,
            "offload" | "hardware" | "xdpoffload" => Self::Offload,
            _ => {
                return Err(Error::invalid(format_args!("`{name}` is not an XDP mode"))
                    .with_help("the modes are `auto`, `skb`, `native` and `offload`"));
            }
        })
    }
}

/// The program that [`Program::attach_xdp_without_link`] replaces.
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::link::{XdpMode, XdpReplace};
///
/// let link = program.attach_xdp_without_link("eth0", XdpMode::Auto, XdpReplace::Any)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum XdpReplace<'a> {
    /// No program: it is an error if the interface has a program of this mode.
    #[default]
    Nothing,
    /// Any program, if the interface has one.
    Any,
    /// This program: it is an error if the interface has a different program or none (Linux 5.7).
    Program(BorrowedFd<'a>),
}

/// The XDP programs of a network interface, by their ids, one for each mode.
///
/// ```no_run
/// use skelgen_runtime::link::XdpAttached;
/// for (mode, program_id) in XdpAttached::to_interface("eth0")?.programs() {
///     println!("program {program_id} in mode {mode:?}");
/// }
/// # Ok::<(), skelgen_runtime::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct XdpAttached {
    /// The program in the network stack ([`XdpMode::Skb`]).
    pub skb: Option<u32>,
    /// The program in the driver ([`XdpMode::Native`]).
    pub native: Option<u32>,
    /// The program on the device ([`XdpMode::Offload`]).
    pub offload: Option<u32>,
}

impl XdpAttached {
    /// Returns the programs that are attached to a network interface, with or without links (Linux 4.13).
    ///
    /// # Errors
    /// If the interface does not exist, or the kernel rejects the query.
    pub fn to_interface(interface: impl IntoInterface) -> Result<Self> {
        let interface = interface.into_interface().map_err(|error| error.within("cannot query XDP programs"))?;
        let queried = netlink::open().map_err(Rejection::from).and_then(|socket| Self::by(&socket, interface));
        queried.map_err(|rejection| {
            let error = Error::refused(
                format_args!("cannot query the XDP programs of network interface {}", interface.index()),
                rejection.errno,
            );
            let error = error.during(Step::ReadInfo).about(Subject::Interface(interface.index()));
            interface.explain(error, &rejection)
        })
    }

    /// Queries the programs in the network namespace of this socket.
    fn by(socket: &OwnedFd, interface: Interface) -> Result<Self, Rejection> {
        let mut found = Self::default();
        interface.attributes_by(socket, |kind, value| {
            if kind == XDP {
                found = Self::read(value);
            }
        })?;
        Ok(found)
    }

    /// Returns the mode and the id of each program.
    pub fn programs(&self) -> impl Iterator<Item = (XdpMode, u32)> + use<> {
        let modes = [(XdpMode::Skb, self.skb), (XdpMode::Native, self.native), (XdpMode::Offload, self.offload)];
        modes.into_iter().filter_map(|(mode, id)| Some((mode, id?)))
    }

    /// Reads the attributes in `IFLA_XDP`.
    fn read(bytes: &[u8]) -> Self {
        let (mut found, mut mode, mut only) = (Self::default(), None, None);
        for (kind, value) in netlink::attributes(bytes) {
            match kind {
                SKB_PROGRAM_ID => found.skb = netlink::word(value, 0),
                NATIVE_PROGRAM_ID => found.native = netlink::word(value, 0),
                OFFLOAD_PROGRAM_ID => found.offload = netlink::word(value, 0),
                PROGRAM_ID => only = netlink::word(value, 0),
                MODE => mode = value.first().copied(),
                _ => {}
            }
        }
        // Kernels before 4.18 report the mode and one id.
        match mode {
            Some(IS_NATIVE) => found.native = found.native.or(only),
            Some(IS_SKB) => found.skb = found.skb.or(only),
            Some(IS_OFFLOAD) => found.offload = found.offload.or(only),
            _ => {}
        }
        found
    }
}

impl Program {
    /// Attaches an XDP program to a network interface (Linux 5.9) in this mode. For older kernels, and for programs that
    /// stay attached when this process ends, use [`attach_xdp_without_link`](Self::attach_xdp_without_link).
    ///
    /// ```no_run
    /// use skelgen_runtime::link::XdpMode;
    /// # fn f(first: &skelgen_runtime::Program, second: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// let link = first.attach_xdp("eth0", XdpMode::Native)?;
    /// // Replace it later, so that every packet is seen by one of them:
    /// link.update(second)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded, the interface does not exist or has an XDP program, or the kernel rejects the
    /// program.
    pub fn attach_xdp(&self, interface: impl IntoInterface, mode: impl Into<XdpFlags>) -> Result<Link> {
        let (interface, flags) = (self.interface(interface)?, mode.into());
        let created = sys::create(self.fd()?, index(interface), AttachType::XDP, flags.bits(), (0, 0));
        self.of_interface(interface, "", created).map_err(|error| match error.errno().map(Errno::raw) {
            Some(libc::EBUSY) => error.with_help("the interface has an XDP program: detach the program, or update its link"),
            Some(libc::EINVAL) if interface.is_missing() => interface.missing(error),
            Some(libc::EINVAL) => causes::since(
                error.note("the flags set more than one mode or a flag that is not a mode, the program can only be used in a device map or CPU map (`xdp/devmap`, `xdp/cpumap`), or it is bound to a \
                 network interface (`OpenProgram::set_interface`) and attaches only there, in native mode"),
                LinuxVersion::new(5, 9),
                "links of XDP programs need Linux 5.9; use `attach_xdp_without_link` on older kernels",
            ),
            errno => rejected(error, errno),
        })
    }

    /// Attaches an XDP program to a network interface without a BPF link, by netlink (Linux 4.12). It is detached when
    /// the [`Link`] is dropped, unless another program has replaced it; before Linux 5.7, a program that replaces it at
    /// that very moment can be detached instead. After [`Link::leak`] it stays attached when this process ends, until it is replaced, [`detach_xdp`]
    /// detaches it, or the interface is removed.
    ///
    /// ```no_run
    /// use skelgen_runtime::link::{XdpMode, XdpReplace};
    /// # fn f(first: &skelgen_runtime::Program, second: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// first.attach_xdp_without_link("eth0", XdpMode::Auto, XdpReplace::Nothing)?.leak();
    /// // Replace it later, unless a different process has replaced it:
    /// second.attach_xdp_without_link("eth0", XdpMode::Auto, XdpReplace::Program(first.fd()?))?.leak();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded, the interface does not exist or has a different program than the one to replace,
    /// or the kernel rejects the program.
    pub fn attach_xdp_without_link(
        &self,
        interface: impl IntoInterface,
        mode: impl Into<XdpFlags>,
        replace: XdpReplace<'_>,
    ) -> Result<Link> {
        let (interface, mode) = (self.interface(interface)?, mode.into());
        let program = self.fd()?;
        let clone = || {
            let fd = program.try_clone_to_owned();
            fd.map_err(|error| self.not_attached("a network interface", &error))
        };
        let (kept, own) = (clone()?, clone()?);
        let (flags, expected) = match replace {
            XdpReplace::Nothing => (mode | XdpFlags::UPDATE_IF_NOEXIST, None),
            XdpReplace::Any => (mode, None),
            XdpReplace::Program(expected) => (mode, Some(expected)),
        };
        let refused = |rejection: Rejection| {
            let error = self.refused(format_args!("{} (without a link)", interface.label()), rejection.errno);
            explain(interface.explain(error, &rejection), rejection.errno, expected.is_some())
        };
        let socket = netlink::open().map_err(|errno| refused(errno.into()))?;
        change(&socket, interface, Some(program), flags, expected).map_err(refused)?;
        // `UPDATE_IF_NOEXIST` does not select a mode, and would prevent the removal.
        let mode = mode.difference(XdpFlags::UPDATE_IF_NOEXIST);
        Ok(Link::without_link(kept, self.name(), Installed { socket, interface, mode, program: own }))
    }
}

/// Detaches the XDP program of this mode that is attached to a network interface without a link, regardless of who
/// attached it: after [`Link::leak`], by another process, or by `ip link set dev eth0 xdp …`. It is not an error if the
/// interface has no program of this mode.
///
/// [`XdpMode::Auto`] is the mode that the kernel chooses for the interface; [`XdpAttached`] reports the modes that have a
/// program. If `expected` is set, only this program is detached (Linux 5.7).
///
/// ```no_run
/// use skelgen_runtime::link::{XdpMode, detach_xdp};
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// detach_xdp("eth0", XdpMode::Skb, Some(program.fd()?))?;
/// detach_xdp("eth1", XdpMode::Auto, None)?; // whichever program it is
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the interface does not exist, has a different program than `expected`, or has a program that is attached by a
/// link, or if the kernel rejects the request.
pub fn detach_xdp(
    interface: impl IntoInterface,
    mode: impl Into<XdpFlags>,
    expected: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let interface = interface.into_interface().map_err(|error| error.within("cannot detach an XDP program"))?;
    let mode = mode.into();
    let refused = |rejection: Rejection| {
        let error =
            Error::refused(format_args!("cannot detach the XDP program of {}", interface.label()), rejection.errno);
        let error = error.during(Step::Detach).about(Subject::Interface(interface.index()));
        explain(interface.explain(error, &rejection), rejection.errno, expected.is_some())
    };
    let socket = netlink::open().map_err(|errno| refused(errno.into()))?;
    change(&socket, interface, None, mode, expected).map_err(refused)
}

/// A program that was attached without a link.
#[derive(Debug)]
struct Installed {
    /// The socket that attached the program. Its network namespace is that of the interface.
    socket: OwnedFd,
    interface: Interface,
    mode: XdpFlags,
    program: OwnedFd,
}

impl Attachment for Installed {
    /// Detaches the program, unless it was replaced.
    fn detach(&self) -> Result<(), Errno> {
        let Self { socket, interface, mode, program } = self;
        match change(socket, *interface, None, *mode, Some(program.as_fd())) {
            Err(rejection) if rejection.errno.raw() == libc::EINVAL => self.remove_by_id(),
            result => result.map_err(|rejection| rejection.errno),
        }
    }

    fn links(&self) -> Option<&'static str> {
        Some("`attach_xdp` attaches with a link (Linux 5.9)")
    }
}

impl Installed {
    /// Detaches the program if the interface still has it. Before Linux 5.7, the kernel does not support the flag with
    /// which it compares the program itself.
    fn remove_by_id(&self) -> Result<(), Errno> {
        let own = describe(self.program.as_fd(), Parts::default())?.info.id;
        let errno = |rejection: Rejection| rejection.errno;
        let attached = XdpAttached::by(&self.socket, self.interface).map_err(errno)?;
        // If the kernel chose the mode, it differs from the mode in the request.
        let mut modes = attached.programs().filter(|(_, id)| *id == own).map(|(mode, _)| mode.into());
        modes.try_for_each(|mode| change(&self.socket, self.interface, None, mode, None).map_err(errno))
    }
}

/// Sets or removes the program of an interface (`RTM_SETLINK`).
fn change(
    socket: &OwnedFd,
    interface: Interface,
    program: Option<BorrowedFd<'_>>,
    flags: XdpFlags,
    expected: Option<BorrowedFd<'_>>,
) -> Result<(), Rejection> {
    /// The file descriptor that removes the program.
    const NONE: i32 = -1;
    let flags = if expected.is_some() { flags | XdpFlags::REPLACE } else { flags };
    let mut message = Message::new(SET_LINK, 0, &header(interface.index()));
    message.nested(XDP, |xdp| {
        xdp.attribute(FD, &program.map_or(NONE, |program| program.as_raw_fd()).to_ne_bytes());
        xdp.attribute(FLAGS, &flags.bits().to_ne_bytes());
        if let Some(expected) = expected {
            xdp.attribute(EXPECTED_FD, &expected.as_raw_fd().to_ne_bytes());
        }
    });
    netlink::request(socket, &message, |_, _| ())
}

/// Adds the causes of an error number to the error of a request without a link.
fn explain(error: Error, errno: Errno, is_expected: bool) -> Error {
    match errno.raw() {
        libc::EBUSY => error.with_help(
            "the interface has an XDP program: replace or detach the program, or drop its link if it has one",
        ),
        libc::EEXIST if is_expected => error
            .with_kind(ErrorKind::Mismatch)
            .note("the interface has a different program than the expected one, or no program"),
        libc::EINVAL if is_expected => causes::since(
            error,
            LinuxVersion::new(5, 7),
            "`XdpReplace::Program` and an expected program need Linux 5.7",
        ),
        errno => rejected(error, Some(errno)),
    }
}

/// Adds the possible causes of an error number to an error. They are the same for links and for netlink requests.
fn rejected(error: Error, errno: Option<i32>) -> Error {
    match errno {
        Some(libc::EEXIST) => error.note(
            "the interface has an XDP program in a different mode (native and skb exclude each other), or its upper device (such as a bond) has an XDP program",
        ),
        Some(libc::EOPNOTSUPP) => {
            error.with_help("the driver does not support XDP: use `XdpMode::Skb`, which works on every interface")
        }
        _ => error,
    }
}

/// `RTM_SETLINK`.
const SET_LINK: u16 = 19;
/// `IFLA_XDP`, with its attributes `IFLA_XDP_FD`, `IFLA_XDP_ATTACHED`, `IFLA_XDP_FLAGS`, `IFLA_XDP_PROG_ID`, `IFLA_XDP_DRV_PROG_ID`,
/// `IFLA_XDP_SKB_PROG_ID`, `IFLA_XDP_HW_PROG_ID`, `IFLA_XDP_EXPECTED_FD`.
const XDP: u16 = 43;
const FD: u16 = 1;
const MODE: u16 = 2;
const FLAGS: u16 = 3;
const PROGRAM_ID: u16 = 4;
const NATIVE_PROGRAM_ID: u16 = 5;
const SKB_PROGRAM_ID: u16 = 6;
const OFFLOAD_PROGRAM_ID: u16 = 7;
const EXPECTED_FD: u16 = 8;
/// `XDP_ATTACHED_DRV`, `XDP_ATTACHED_SKB`, `XDP_ATTACHED_HW`.
const IS_NATIVE: u8 = 1;
const IS_SKB: u8 = 2;
const IS_OFFLOAD: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns attributes as the kernel writes them.
    fn attributes(list: &[(u16, &[u8])]) -> Vec<u8> {
        let bytes = list.iter().flat_map(|(kind, value)| {
            let len = u16::try_from(value.len() + 4).unwrap();
            let mut bytes = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        });
        bytes.collect()
    }

    #[test]
    fn programs_of_each_mode() {
        let (one, two) = (1_u32.to_ne_bytes(), 2_u32.to_ne_bytes());
        let read = |list: &[(u16, &[u8])]| XdpAttached::read(&attributes(list)).programs().collect::<Vec<_>>();
        assert_eq!(read(&[(MODE, &[0])]), []);
        assert_eq!(read(&[(SKB_PROGRAM_ID, &one), (MODE, &[IS_SKB]), (PROGRAM_ID, &one)]), [(XdpMode::Skb, 1)]);
        // Two modes are `XDP_ATTACHED_MULTI`, without `IFLA_XDP_PROG_ID`.
        let several = read(&[(NATIVE_PROGRAM_ID, &one), (OFFLOAD_PROGRAM_ID, &two), (MODE, &[4])]);
        assert_eq!(several, [(XdpMode::Native, 1), (XdpMode::Offload, 2)]);
        assert_eq!(read(&[(MODE, &[IS_NATIVE]), (PROGRAM_ID, &two)]), [(XdpMode::Native, 2)]);
        assert_eq!(read(&[(MODE, &[]), (SKB_PROGRAM_ID, &[1])]), []);
    }

    #[test]
    fn modes_are_flags() {
        let flags =
            [XdpMode::Auto, XdpMode::Skb, XdpMode::Native, XdpMode::Offload].map(|mode| XdpFlags::from(mode).bits());
        assert_eq!(flags, [0, 2, 4, 8]);
    }
}
