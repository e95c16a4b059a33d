//! The common part of all handles: a map, its name, and operations on bytes whose errors name both.

use std::borrow::Cow;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use super::Info;
use crate::error::{Errno, Error, ErrorKind, Result, Step, Subject};
use crate::pins;
use crate::sys::cpus::possible;
use crate::sys::elem::{ENOENT, Map, Readiness, poll};
use crate::uapi::{MapType, elem_flags};
use skelgen_abi::map_types::Definition;

pub(crate) struct Handle {
    map: Map,
    name: Cow<'static, str>,
    inner: Option<Definition>,
}

impl Handle {
    /// Creates the handle of a map whose name in the source is known.
    pub(crate) fn new(fd: OwnedFd, info: &Info) -> Result<Self> {
        let map = Map::new(fd).map_err(|error| error.within(format_args!("map `{}`", info.name)))?;
        Ok(Self { map, name: Cow::Borrowed(info.name), inner: info.inner })
    }

    /// Creates the handle of a map of which only the file descriptor is known.
    pub(crate) fn of_fd(fd: OwnedFd) -> Result<Self> {
        if let Some(other) = other_than_map(fd.as_fd()) {
            return Err(
                Error::mismatch(format_args!("the file descriptor is not a map, but {other}")).during(Step::Open)
            );
        }
        let map = Map::new(fd)?;
        let name = map.info().name;
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        let name = Cow::Owned(String::from_utf8_lossy(name).into_owned());
        Ok(Self { map, name, inner: None })
    }

    /// Creates another handle of the same map.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        let fd = self.as_fd().try_clone_to_owned();
        let fd = fd
            .map_err(|error| {
                Error::io(format_args!("map `{}`: cannot duplicate its file descriptor", self.name), &error)
            })
            .map_err(|error| self.named(error).during(Step::Open))?;
        let map = Map::new(fd).map_err(|error| error.within(format_args!("map `{}`", self.name)))?;
        Ok(Self { map, name: self.name.clone(), inner: self.inner })
    }

    /// Returns the handle if the map is an array with one section of global data whose variables have `data_len` bytes
    /// (all bytes, if that is `None`) and are a `T`.
    pub(crate) fn expect_section<T>(self, data_len: Option<usize>) -> Result<Self> {
        let this = self.expect(&[MapType::ARRAY], Some(4), None)?;
        let len = this.map.value_len();
        let data_len = data_len.unwrap_or(len);
        if data_len > len {
            return Err(this.mismatch(format_args!("its value has {len} bytes, but its variables have {data_len}")));
        }
        if crate::data::holds::<T>(data_len) {
            return Ok(this);
        }
        Err(this
            .mismatch(format_args!("its variables have {data_len} bytes, but its Rust type has {}", size_of::<T>())))
    }

    /// Returns the handle if the map has one of these types, and keys and values of these sizes.
    pub(crate) fn expect(self, types: &[MapType], key: Option<usize>, value: Option<usize>) -> Result<Self> {
        if !types.contains(&self.map.map_type()) {
            let wanted: Vec<_> = types.iter().map(ToString::to_string).collect();
            let message = format!("it has type {}, but the handle is for {}", self.map.map_type(), wanted.join(", "));
            return Err(self.mismatch(message));
        }
        for (what, ours, theirs) in [("keys", key, self.map.key_len()), ("values", value, self.map.value_len())] {
            if let Some(ours) = ours.filter(|&ours| ours != theirs) {
                return Err(
                    self.mismatch(format_args!("its {what} have {theirs} bytes, but their Rust type has {ours}"))
                );
            }
        }
        Ok(self)
    }

    pub(crate) fn map(&self) -> &Map {
        &self.map
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the template of the inner maps of a map of maps, if it is known.
    pub(crate) fn inner(&self) -> Option<&Definition> {
        self.inner.as_ref()
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.map.into_fd()
    }

    /// Creates the error of a request to this map that the kernel rejected, with the flags of its elements.
    pub(crate) fn refused_with(&self, step: Step, what: impl fmt::Display, errno: Errno, flags: u64) -> Error {
        let cpu = u32::try_from(flags >> 32).unwrap_or(u32::MAX);
        match errno.raw() {
            libc::ERANGE if flags & elem_flags::CPU != 0 => self.no_cpu(cpu).during(step),
            libc::E2BIG => self.is_full(self.refused(step, what, errno)),
            libc::ENOSPC if self.map.map_type() == MapType::LPM_TRIE => self.is_full(self.refused(step, what, errno)),
            _ => self.refused(step, what, errno),
        }
    }

    /// Explains the error that the kernel returns if the map is full.
    fn is_full(&self, error: Error) -> Error {
        error.note(format_args!("the map has room for {} elements", self.map.info().max_entries))
    }

    /// Creates the error of a CPU that is not possible.
    pub(crate) fn no_cpu(&self, cpu: u32) -> Error {
        let error = self.named(Error::no_cpu(format_args!("map `{}`", self.name), cpu));
        match possible() {
            Ok(cpus) => error.note(format_args!(
                "{} CPUs are possible, the highest is {}",
                cpus.len(),
                cpus.width().saturating_sub(1)
            )),
            Err(_) => error,
        }
    }

    /// Creates the error of a request to this map that the kernel rejected.
    pub(crate) fn refused(&self, step: Step, what: impl fmt::Display, errno: Errno) -> Error {
        self.named(Error::refused(format_args!("map `{}`: {what}", self.name), errno).during(step))
    }

    /// Creates the error of an argument for this map that is not valid.
    pub(crate) fn invalid(&self, what: impl fmt::Display) -> Error {
        self.error(ErrorKind::InvalidInput, what)
    }

    /// Creates an error about this map.
    pub(crate) fn error(&self, kind: ErrorKind, what: impl fmt::Display) -> Error {
        self.named(Error::of(kind, format_args!("map `{}`: {what}", self.name)))
    }

    /// Creates the error of a map that does not match the handle's type.
    pub(crate) fn mismatch(&self, what: impl fmt::Display) -> Error {
        self.error(ErrorKind::Mismatch, what).during(Step::Open)
    }

    fn named(&self, error: Error) -> Error {
        error.about(Subject::Map(&self.name))
    }

    /// Copies an element's value and returns whether the element exists.
    pub(crate) fn lookup(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<bool> {
        self.found(Step::ReadMap, "cannot look up an element", self.map.lookup(key, value, flags), flags)
    }

    /// Copies an element's value, removes the element, and returns whether it existed.
    pub(crate) fn take(&self, key: &[u8], value: &mut [u8]) -> Result<bool> {
        self.found(
            Step::WriteMap,
            "cannot remove an element",
            self.map.lookup_and_delete(key, value, elem_flags::ANY),
            0,
        )
    }

    /// Copies an element's value, removes the element, and returns whether it existed, for maps with keys. If the
    /// kernel cannot do both at once (before 5.14, or for this map type), what is written in between is lost.
    pub(crate) fn take_keyed(&self, key: &[u8], value: &mut [u8]) -> Result<bool> {
        match self.take(key, value) {
            Err(error) if error.errno().is_some_and(unsupported) => {
                Ok(self.lookup(key, value, elem_flags::ANY)? && self.delete(key)?)
            }
            result => result,
        }
    }

    pub(crate) fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        self.map
            .update(key, value, flags)
            .map_err(|errno| self.refused_with(Step::WriteMap, "cannot set an element", errno, flags))
    }

    /// Sets many elements, with as few system calls as the kernel supports.
    pub(crate) fn update_many(&self, keys: &[u8], values: &[u8], flags: u64) -> Result<()> {
        let (key_len, value_len) = (self.map.key_len(), self.map.len_with(flags).unwrap_or(0));
        if keys.is_empty() && values.is_empty() {
            return Ok(());
        }
        let count = keys.len().checked_div(key_len).unwrap_or(0);
        if count.checked_mul(key_len) != Some(keys.len()) || count.checked_mul(value_len) != Some(values.len()) {
            return Err(self.invalid(format_args!(
                "{} bytes are not the number of keys ({key_len} bytes each) for {} bytes of values ({value_len} bytes each)",
                keys.len(),
                values.len()
            )));
        }
        match self.map.update_batch(keys, values, flags) {
            Ok(()) => Ok(()),
            // If this map does not support a flag, the first single request reports it.
            Err((errno, 0)) if unsupported(errno) => keys
                .chunks_exact(self.map.key_len().max(1))
                .zip(values.chunks_exact(value_len.max(1)))
                .try_for_each(|(key, value)| self.update(key, value, flags)),
            Err((errno, done)) => Err(self.refused_with(
                Step::WriteMap,
                format_args!("cannot set a batch of elements after the first {done}"),
                errno,
                flags,
            )),
        }
    }

    /// Removes many elements and returns how many of them existed.
    pub(crate) fn delete_many(&self, keys: &[u8]) -> Result<usize> {
        let key_len = self.map.key_len();
        let mut rest = keys;
        let mut removed = 0;
        while !rest.is_empty() {
            match self.map.delete_batch(rest) {
                Ok(()) => return Ok(removed + rest.len().checked_div(key_len).unwrap_or(0)),
                // The batch stops at a key that does not exist; continue after it.
                Err((ENOENT, done)) => {
                    removed += done;
                    rest = rest.get((done + 1).saturating_mul(key_len)..).unwrap_or_default();
                }
                Err((errno, 0)) if unsupported(errno) => {
                    for key in rest.chunks_exact(key_len.max(1)) {
                        removed += usize::from(self.delete(key)?);
                    }
                    return Ok(removed);
                }
                Err((errno, done)) => {
                    return Err(self.refused(
                        Step::WriteMap,
                        format_args!("cannot remove a batch of elements after the first {}", removed + done),
                        errno,
                    ));
                }
            }
        }
        Ok(removed)
    }

    /// Removes an element and returns whether it existed.
    pub(crate) fn delete(&self, key: &[u8]) -> Result<bool> {
        self.found(Step::WriteMap, "cannot remove an element", self.map.delete(key), 0)
    }

    /// Copies the key after `key` to `next`. Returns `false` if `key` is the last one.
    pub(crate) fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<bool> {
        self.found(Step::ReadMap, "cannot get the next key", self.map.next_key(key, next), 0)
    }

    /// Waits until the map is ready, for at most `timeout` if it is set. Returns `false` after the timeout or a signal.
    pub(crate) fn poll(&self, readiness: Readiness, timeout: Option<Duration>) -> Result<bool> {
        match poll(self.as_fd(), readiness, milliseconds(timeout)) {
            Err(errno) if errno.raw() == libc::EINTR => Ok(false),
            result => result.map_err(|errno| self.refused(Step::ReadMap, "cannot wait", errno)),
        }
    }

    pub(crate) fn pin(&self, path: &Path) -> Result<()> {
        let doing = format!("map `{}`: cannot pin it to {}", self.name, path.display());
        pins::pin(self.as_fd(), path, doing).map_err(|error| self.named(error))
    }

    fn found(&self, step: Step, what: &str, result: Result<(), Errno>, flags: u64) -> Result<bool> {
        match result {
            Ok(()) => Ok(true),
            Err(ENOENT) => Ok(false),
            Err(errno) => Err(self.refused_with(step, what, errno, flags)),
        }
    }
}

/// Returns a timeout in milliseconds as the kernel expects it: infinite if negative.
pub(crate) fn milliseconds(timeout: Option<Duration>) -> i32 {
    // Rounded up, so that a short timeout does not become zero.
    timeout.map_or(-1, |time| i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX))
}

/// Returns what a file descriptor is if `/proc` shows that it is not a map. The kernel reports programs and links by
/// the same command as maps, so the reply to a request for map information would be meaningless.
pub(crate) fn other_than_map(fd: BorrowedFd<'_>) -> Option<String> {
    let target = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
    let target = target.to_string_lossy();
    match target.strip_prefix("anon_inode:").unwrap_or(&target) {
        "bpf-map" => None,
        other => Some(other.to_owned()),
    }
}

/// Returns whether an error is one that kernels and map types return for an unknown command: EINVAL, EOPNOTSUPP, and
/// the kernel's own ENOTSUPP.
pub(crate) fn unsupported(errno: Errno) -> bool {
    matches!(errno.raw(), libc::EINVAL | libc::EOPNOTSUPP | 524)
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.map.info();
        write!(f, "{} `{}` (id {})", self.map.map_type(), self.name, info.id)
    }
}

/// Defines the layouts of a handle's type parameters by their names: `K` for keys, `V` for values.
macro_rules! layouts {
    (V: Plain) => {
        fn layouts() -> (Option<&'static $crate::data::Layout>, Option<&'static $crate::data::Layout>) {
            (None, V::ELEMENT)
        }
    };
    (K: Plain, V: Plain) => {
        fn layouts() -> (Option<&'static $crate::data::Layout>, Option<&'static $crate::data::Layout>) {
            (K::ELEMENT, V::ELEMENT)
        }
    };
    (K: Plain, O: Kind) => {
        fn layouts() -> (Option<&'static $crate::data::Layout>, Option<&'static $crate::data::Layout>) {
            (K::ELEMENT, None)
        }
    };
    ($($other:tt)*) => {};
}
pub(crate) use layouts;

/// Implements what every handle can do, for a struct whose field `handle` is the [`Handle`]. Its function `check`
/// creates it from a `Handle`.
macro_rules! handle {
    ([$($generics:tt)*] $type:ty) => {
        $crate::map::about!([$($generics)*] $type);

        impl<$($generics)*> $crate::map::FromFd for $type {
            fn from_fd(fd: ::std::os::fd::OwnedFd, info: &$crate::map::Info) -> $crate::error::Result<Self> {
                Self::check($crate::map::Handle::new(fd, info)?)
            }

            $crate::map::layouts!($($generics)*);
        }

        /// Reads the map's type and sizes from the kernel and fails if they do not match the handle.
        impl<$($generics)*> TryFrom<::std::os::fd::OwnedFd> for $type {
            type Error = $crate::error::Error;

            fn try_from(fd: ::std::os::fd::OwnedFd) -> $crate::error::Result<Self> {
                Self::check($crate::map::Handle::of_fd(fd)?)
            }
        }
    };
}
pub(crate) use handle;

/// Implements what every handle can do except its creation: information about the map, and its file descriptor.
macro_rules! about {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> $type {
            /// Returns the map's name in the source; its name in the kernel if the handle was created from a file
            /// descriptor.
            #[must_use]
            pub fn name(&self) -> &str {
                self.handle.name()
            }

            /// Returns the map's id in the kernel.
            #[must_use]
            pub fn id(&self) -> u32 {
                self.handle.map().info().id
            }

            /// Returns the map's type.
            #[must_use]
            pub fn map_type(&self) -> $crate::uapi::MapType {
                self.handle.map().map_type()
            }

            /// Returns the maximum number of elements; of ring buffers the size in bytes.
            #[must_use]
            pub fn max_entries(&self) -> u32 {
                self.handle.map().info().max_entries
            }

            /// Returns the flags that the map was created with.
            pub fn flags(&self) -> $crate::uapi::MapFlags {
                $crate::uapi::MapFlags::from_bits(self.handle.map().info().map_flags)
            }

            /// Pins the map to a path in a bpffs. It stays loaded until the file is removed.
            ///
            /// # Errors
            /// If the path is not in a bpffs, the file exists, or the process may not write there.
            pub fn pin(&self, path: impl AsRef<::std::path::Path>) -> $crate::error::Result<()> {
                self.handle.pin(path.as_ref())
            }
        }

        impl<$($generics)*> From<$type> for ::std::os::fd::OwnedFd {
            fn from(map: $type) -> Self {
                map.handle.into_fd()
            }
        }

        impl<$($generics)*> ::std::os::fd::AsFd for $type {
            fn as_fd(&self) -> ::std::os::fd::BorrowedFd<'_> {
                self.handle.as_fd()
            }
        }

        impl<$($generics)*> ::std::fmt::Debug for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Debug::fmt(&self.handle, f)
            }
        }
    };
}
pub(crate) use about;
