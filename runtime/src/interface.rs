//! Network interfaces by name or index: the argument of methods that attach to an interface.
//!
//! Names are looked up with netlink (`RTM_GETLINK` of `linux/rtnetlink.h`, attributes of `linux/if_link.h`). This module does not
//! depend on programs.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use crate::error::{Errno, Error, ErrorKind, LinuxVersion, Result, Step, Subject};
use crate::kernel::causes;
use crate::sys::netlink::{self, Message, Rejection};

/// A network interface of the calling thread's network namespace, by its index.
///
/// Methods that attach to an interface accept a name, an index or this type; see [`IntoInterface`]. To use an interface several
/// times, look its name up once with [`by_name`](Self::by_name), because another interface can get the name later.
///
/// ```no_run
/// use skelgen_runtime::link::{Interface, TcDirection};
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let eth0 = Interface::by_name("eth0")?;
/// println!("{:?} is interface {}", eth0.name()?, eth0.index());
/// let links = [program.attach_tcx(eth0, TcDirection::Ingress)?, program.attach_tcx(eth0, TcDirection::Egress)?];
/// # Ok(())
/// # }
/// ```
///
/// ```
/// use skelgen_runtime::link::Interface;
///
/// assert_eq!(Interface::from_index(1).index(), 1); // `lo` in every network namespace
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interface(u32);

/// What identifies a network interface: a name, an index, or an [`Interface`].
///
/// A name can also be an alternative name (`ip link property add altname`, Linux 5.5). It is looked up in the calling thread's network
/// namespace. A string is always a name, even if it consists of digits.
///
/// ```no_run
/// use skelgen_runtime::link::{Interface, TcDirection};
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let by_name = program.attach_tcx("eth0", TcDirection::Ingress)?;
/// let by_index = program.attach_tcx(2, TcDirection::Ingress)?;
/// let looked_up = program.attach_tcx(Interface::by_name("eth0")?, TcDirection::Ingress)?;
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not identify a network interface",
    label = "neither a name nor an index",
    note = "pass a name (`\"eth0\"`), an index (a `u32`), or an `Interface`"
)]
pub trait IntoInterface {
    /// Returns the interface.
    ///
    /// # Errors
    /// If `self` is a name that no interface has; see [`Interface::by_name`].
    fn into_interface(self) -> Result<Interface>;
}

impl Interface {
    /// Creates an interface from its index, which is not checked.
    #[must_use]
    pub const fn from_index(index: u32) -> Self {
        Self(index)
    }

    /// Finds the interface with this name, or with this alternative name (Linux 5.5), in the calling thread's network namespace.
    ///
    /// ```
    /// use skelgen_runtime::error::{ErrorKind, Subject};
    /// use skelgen_runtime::link::Interface;
    ///
    /// let error = Interface::by_name("not-there").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::NotFound);
    /// assert_eq!(error.subject(), Some(Subject::InterfaceName("not-there")));
    /// ```
    ///
    /// # Errors
    /// If no interface has the name, or the name is not valid: empty, longer than 127 bytes, or with a NUL byte.
    pub fn by_name(name: impl AsRef<OsStr>) -> Result<Self> {
        let name = name.as_ref();
        let text = name.to_string_lossy();
        let about = |error: Error| error.about(Subject::InterfaceName(&text));
        // `IFNAMSIZ` and `ALTIFNAMSIZ` include the NUL.
        let (is_long, c_name) = match (name.len(), CString::new(name.as_bytes())) {
            (1..=127, Ok(c_name)) => (name.len() > 15, c_name),
            _ => {
                return Err(about(
                    Error::invalid(format_args!("invalid name of a network interface: {text:?}"))
                        .with_help("a name has 1 to 15 bytes and an alternative name 1 to 127, without NUL bytes"),
                ));
            }
        };
        let attribute = if is_long { ALTERNATIVE_NAME } else { NAME };
        let socket = netlink::open().map_err(Rejection::from);
        let found = socket.and_then(|socket| describe(&socket, 0, Some((attribute, &c_name)), |_, _| ()));
        found.map(Self).map_err(|rejection| {
            let error = Error::refused(format_args!("cannot find network interface `{text}`"), rejection.errno);
            let error = about(error.during(Step::ReadInfo));
            match rejection.errno.raw() {
                libc::ENODEV => error.note(none_there("this name")),
                // The kernel ignores attributes that it does not know, so the request identifies no interface.
                libc::EINVAL if is_long => causes::since(
                    error.with_kind(ErrorKind::NotFound),
                    LinuxVersion::new(5, 5),
                    "names of interfaces have at most 15 bytes; alternative names, which can be longer, need Linux 5.5",
                ),
                _ => rejection.explain(error),
            }
        })
    }

    /// Returns the index.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }

    /// Returns the interface's name.
    ///
    /// # Errors
    /// If the calling thread's network namespace has no interface with this index.
    pub fn name(self) -> Result<OsString> {
        let mut name = None;
        self.attributes(|kind, value| {
            if kind == NAME {
                name = CStr::from_bytes_until_nul(value).ok().map(|name| OsString::from_vec(name.to_bytes().to_vec()));
            }
        })
        .and_then(|()| name.ok_or(Errno::from_raw(libc::EPROTO).into()))
        .map_err(|rejection| {
            let error =
                Error::refused(format_args!("cannot read the name of network interface {}", self.0), rejection.errno);
            self.explain(error.during(Step::ReadInfo).about(Subject::Interface(self.0)), &rejection)
        })
    }

    /// Calls `each` with the kind (`IFLA_*`) and value of each attribute that the kernel reports about the interface.
    pub(crate) fn attributes(self, each: impl FnMut(u16, &[u8])) -> Result<(), Rejection> {
        self.attributes_by(&netlink::open()?, each)
    }

    /// Calls `each` as [`Self::attributes`] does, for the interface with this index in the network namespace of the
    /// socket.
    pub(crate) fn attributes_by(self, socket: &OwnedFd, each: impl FnMut(u16, &[u8])) -> Result<(), Rejection> {
        match self.0 {
            1..=LAST => describe(socket, self.0, None, each).map(drop),
            // For an index that cannot exist, the kernel returns a different error number.
            _ => Err(Errno::from_raw(libc::ENODEV).into()),
        }
    }

    /// Returns a description of the interface for errors: its index, and its name if it can be read.
    pub(crate) fn label(self) -> String {
        match self.name() {
            Ok(name) => format!("network interface {} (`{}`)", self.0, name.to_string_lossy()),
            Err(_) => format!("network interface {}", self.0),
        }
    }

    /// Adds the cause of an error number to an error, if the cause is the same for all requests about an interface.
    pub(crate) fn explain(self, error: Error, rejection: &Rejection) -> Error {
        match rejection.errno.raw() {
            libc::ENODEV => self.missing(error),
            // For an index out of range, some requests return other error numbers than `ENODEV`.
            _ if !(1..=LAST).contains(&self.0) => self.missing(error),
            _ => rejection.explain(error),
        }
    }

    /// Changes an error to kind `NotFound`, with a note that the interface does not exist.
    pub(crate) fn missing(self, error: Error) -> Error {
        let error = error.with_kind(ErrorKind::NotFound).about_part(Subject::Interface(self.0));
        error.note(none_there("that index"))
    }

    /// Returns whether the interface does not exist, for requests whose error number has several meanings.
    pub(crate) fn is_missing(self) -> bool {
        self.attributes(|_, _| ()).is_err_and(|rejection| rejection.errno.raw() == libc::ENODEV)
    }
}

/// Returns a note: this thread's network namespace has no interface with `what` (a name or an index). The note lists the
/// interfaces that the namespace has.
fn none_there(what: &str) -> String {
    const MOST: usize = 8;
    let namespace = std::fs::read_link("/proc/thread-self/ns/net").map(|link| format!(" {}", link.display()));
    let namespace = namespace.unwrap_or_default();
    // After two header lines, each line begins with a name and a colon.
    let list = std::fs::read("/proc/thread-self/net/dev").unwrap_or_default();
    let name = |line: &[u8]| {
        let end = line.iter().rposition(|byte| *byte == b':')?;
        Some(format!("`{}`", String::from_utf8_lossy(line[..end].trim_ascii())))
    };
    let names: Vec<String> = list.split(|byte| *byte == b'\n').skip(2).filter_map(name).collect();
    let shown = names.get(..MOST).unwrap_or(&names).join(", ");
    let there = match names.len() {
        0 => String::new(),
        count if count > MOST => format!("; it has {shown} and {} others", count - MOST),
        _ => format!("; it has {shown}"),
    };
    format!("this thread's network namespace{namespace} has no interface with {what}{there}")
}

/// Requests the description of the interface with this index or, if the index is 0, with this name. Returns the index, and calls `each`
/// with the kind and value of each attribute.
fn describe(
    socket: &OwnedFd,
    index: u32,
    name: Option<(u16, &CStr)>,
    mut each: impl FnMut(u16, &[u8]),
) -> Result<u32, Rejection> {
    let mut message = Message::new(GET_LINK, 0, &header(index));
    message.attribute(EXTENSIONS, &WITHOUT_STATISTICS.to_ne_bytes());
    if let Some((attribute, name)) = name {
        message.attribute(attribute, name.to_bytes_with_nul());
    }
    let mut found = None;
    netlink::request(socket, &message, |kind, body| {
        if let (NEW_LINK, Some(index)) = (kind, netlink::word(body, 4)) {
            found = Some(index);
            netlink::attributes(body.get(HEADER..).unwrap_or(&[])).for_each(|(kind, value)| each(kind, value));
        }
    })?;
    found.ok_or(Errno::from_raw(libc::EPROTO).into())
}

/// Returns `struct ifinfomsg` for an interface: family, type, index, flags, changed flags.
pub(crate) fn header(index: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header
}

/// The largest index: it is an `int` in the kernel.
const LAST: u32 = u32::MAX >> 1;
/// The size of `struct ifinfomsg` in bytes.
const HEADER: usize = 16;
/// `RTM_NEWLINK`, `RTM_GETLINK`.
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
/// `IFLA_IFNAME`, `IFLA_EXT_MASK` with `RTEXT_FILTER_SKIP_STATS`, `IFLA_ALT_IFNAME`.
const NAME: u16 = 3;
const EXTENSIONS: u16 = 29;
const WITHOUT_STATISTICS: u32 = 1 << 3;
const ALTERNATIVE_NAME: u16 = 53;

impl From<u32> for Interface {
    /// Creates an interface from its index, which is not checked.
    fn from(index: u32) -> Self {
        Self(index)
    }
}

impl From<NonZeroU32> for Interface {
    /// Creates an interface from its index, which is not checked.
    fn from(index: NonZeroU32) -> Self {
        Self(index.get())
    }
}

impl TryFrom<&str> for Interface {
    type Error = Error;

    /// Finds the interface with this name; see [`Interface::by_name`].
    fn try_from(name: &str) -> Result<Self> {
        Self::by_name(name)
    }
}

impl TryFrom<&OsStr> for Interface {
    type Error = Error;

    /// Finds the interface with this name; see [`Interface::by_name`].
    fn try_from(name: &OsStr) -> Result<Self> {
        Self::by_name(name)
    }
}

impl IntoInterface for Interface {
    fn into_interface(self) -> Result<Interface> {
        Ok(self)
    }
}

// Not implemented for other integers, so that the compiler takes an integer literal as a `u32`.
impl IntoInterface for u32 {
    fn into_interface(self) -> Result<Interface> {
        Ok(Interface(self))
    }
}

impl IntoInterface for NonZeroU32 {
    fn into_interface(self) -> Result<Interface> {
        Ok(self.into())
    }
}

macro_rules! interface_names {
    ($($name:ty),*) => {
        $(
            impl IntoInterface for $name {
                fn into_interface(self) -> Result<Interface> {
                    Interface::by_name(self)
                }
            }
        )*
    };
}

interface_names!(&str, String, &String, &OsStr, OsString, &OsString);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_names_are_rejected_before_the_request() {
        for name in ["", "a\0b", "\0", &"x".repeat(128), &"\u{e4}".repeat(64)] {
            let error = Interface::by_name(name).unwrap_err();
            assert_eq!((error.kind(), error.errno()), (ErrorKind::InvalidInput, None), "{name:?}");
            assert_eq!(error.subject(), Some(Subject::InterfaceName(name)));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "calls the kernel")]
    fn names_are_looked_up() {
        let lo = Interface::by_name("lo").unwrap();
        assert_eq!(lo.name().unwrap(), "lo");
        assert_eq!(Interface::try_from("lo").unwrap(), lo);
        assert_eq!(["lo".into_interface().unwrap(), lo.index().into_interface().unwrap()], [lo, lo]);
        assert_eq!(lo.label(), format!("network interface {} (`lo`)", lo.index()));
        assert!(!lo.is_missing() && Interface::from(0).is_missing() && Interface::from(u32::MAX).is_missing());
        // Fifteen bytes are a name, sixteen are an alternative name. No interface has any of these names.
        for name in ["x", "lo ", "lo:", "l\u{f6}", "\n", "fifteen-bytes-x", "sixteen-bytes-xy", &"x".repeat(127)] {
            let error = Interface::by_name(name).unwrap_err();
            assert_eq!((error.kind(), error.subject()), (ErrorKind::NotFound, Some(Subject::InterfaceName(name))));
            let text = error.to_string();
            assert!(text.contains("network namespace net:[") && text.contains("`lo`"), "{text}");
            assert!(!text.contains("\n\n"), "{text}");
        }
        let error = Interface::from(0x7fff_fff0).name().unwrap_err();
        assert_eq!((error.kind(), error.subject()), (ErrorKind::NotFound, Some(Subject::Interface(0x7fff_fff0))));
    }
}
