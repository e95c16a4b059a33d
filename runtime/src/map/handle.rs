//! The common part of all handles: checks, and operations on bytes whose errors name the operation and the map; and
//! macros that define the methods of every handle.

use std::borrow::Cow;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::create::Template;
use super::supports::Supports;
use super::{Info, Opened, Untyped};
use crate::error::{Errno, Error, ErrorKind, Result, Step, Subject};
use crate::opened::Kind;
use crate::sys;
use crate::sys::attr::MapInfo;
use crate::sys::cpus::{self, possible};
use crate::sys::elem::{CountCpus, ENOENT, Map, Readiness, poll};
use crate::uapi::{MapType, elem_flags};

impl Untyped {
    /// Creates the handle of a map whose name in the source is known. `count` counts the CPUs of percpu maps; for
    /// handles that do not support percpu maps it is `one_cpu`.
    pub(crate) fn new(map: Opened, info: &Info<'_>, count: CountCpus) -> Result<Self> {
        let map = Map::of(map.0, count).map_err(|error| error.within(format_args!("map `{}`", info.name)))?;
        Ok(Self { map, name: Cow::Borrowed(info.name), inner: info.inner })
    }

    /// Creates the handle of a map of which only the file descriptor is known.
    pub(crate) fn of_fd(fd: OwnedFd) -> Result<Self> {
        Ok(Self::described(fd)?.0)
    }

    /// Creates the handle of a map of which only the file descriptor is known, and returns the kernel's description.
    pub(super) fn described(fd: OwnedFd) -> Result<(Self, MapInfo)> {
        let (map, info) = Map::described(Kind::Map.check(fd)?)?;
        let name = match info.name() {
            name if name.is_empty() => format!("id {}", info.id),
            name => name,
        };
        Ok((Self { map, name: name.into(), inner: None }, info))
    }

    /// Creates the handle of a map that was just created, with the template of its inner maps if it is a map of maps.
    pub(crate) fn created(map: sys::map::Map, name: Cow<'static, str>, inner: Option<Template>) -> Result<Self> {
        let map = Map::of(map, cpus::count).map_err(|error| error.within(format_args!("map `{name}`")))?;
        Ok(Self { map, name, inner })
    }

    /// Creates another handle of the same map.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        let map = self.map.try_clone().map_err(|error| {
            let error = Error::io(format_args!("map `{}`: cannot duplicate its file descriptor", self.name), &error);
            self.named(error).during(Step::Open)
        })?;
        Ok(Self { map, name: self.name.clone(), inner: self.inner })
    }

    /// Returns the handle if the map is an array whose only value is a section of global data with variables of type
    /// `T`. They are the first `data_len` bytes of the value, or all bytes if `None`.
    pub(crate) fn expect_section<T>(self, data_len: Option<usize>) -> Result<Self> {
        let this = self.expect(&Supports::new(&[MapType::ARRAY], Some(4), None))?;
        let len = this.map.value_len();
        let data_len = data_len.unwrap_or(len);
        if data_len > len {
            return Err(
                this.mismatch(format_args!("the value has {len} bytes, but the variables have {data_len} bytes"))
            );
        }
        if crate::data::holds::<T>(data_len) {
            return Ok(this);
        }
        Err(this.mismatch(format_args!(
            "the variables have {data_len} bytes, but their Rust type has {} bytes",
            size_of::<T>()
        )))
    }

    /// Returns the handle if it supports the map.
    pub(crate) fn expect(self, supports: &Supports) -> Result<Self> {
        match supports.mismatch(self.map.map_type(), self.map.key_len(), self.map.value_len()) {
            Some(mismatch) => Err(self.mismatch(mismatch)),
            None => Ok(self),
        }
    }

    pub(crate) fn map(&self) -> &Map {
        &self.map
    }

    /// Returns the template of the inner maps of a map of maps, if it is known.
    pub(crate) fn inner(&self) -> Option<&Template> {
        self.inner.as_ref()
    }

    /// Creates the error for a request to this map with element flags that the kernel rejected.
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
        error.note(format_args!("the map has room for {} elements", self.map.definition().max_entries))
    }

    /// Creates the error for a CPU that is not possible.
    pub(crate) fn no_cpu(&self, cpu: u32) -> Error {
        let error = self.named(Error::no_cpu(format_args!("map `{}`", self.name), cpu));
        match possible() {
            Ok(cpus) => error.note(format_args!(
                "{} CPUs are possible; the highest CPU number is {}",
                cpus.len(),
                cpus.width().saturating_sub(1)
            )),
            Err(_) => error,
        }
    }

    /// Creates the error for a request to this map that the kernel rejected.
    pub(crate) fn refused(&self, step: Step, what: impl fmt::Display, errno: Errno) -> Error {
        self.named(Error::refused(format_args!("map `{}`: {what}", self.name), errno).during(step))
    }

    /// Creates the error for an invalid argument of a request to this map.
    pub(crate) fn invalid(&self, what: impl fmt::Display) -> Error {
        self.error(ErrorKind::InvalidInput, what)
    }

    /// Creates an error about this map.
    pub(crate) fn error(&self, kind: ErrorKind, what: impl fmt::Display) -> Error {
        self.named(Error::of(kind, format_args!("map `{}`: {what}", self.name)))
    }

    /// Creates the error for a map that does not match the handle's type.
    pub(crate) fn mismatch(&self, what: impl fmt::Display) -> Error {
        self.error(ErrorKind::Mismatch, what).during(Step::Open)
    }

    pub(super) fn named(&self, error: Error) -> Error {
        error.about(Subject::Map(&self.name))
    }

    /// Copies an element's value and returns whether the element exists.
    pub(crate) fn lookup(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<bool> {
        self.found(Step::ReadMap, "cannot look up an element", self.map.lookup(key, value, flags), flags)
    }

    /// Copies an element's value, removes the element, and returns whether it existed.
    pub(crate) fn take_into(&self, key: &[u8], value: &mut [u8]) -> Result<bool> {
        self.found(
            Step::WriteMap,
            "cannot remove an element",
            self.map.lookup_and_delete(key, value, elem_flags::ANY),
            0,
        )
    }

    /// Copies an element's value, removes the element, and returns whether it existed, for maps with keys. If the
    /// kernel cannot do both at once (before 5.14, or for this map type), a value that is written between the two
    /// requests is lost.
    pub(crate) fn take_keyed(&self, key: &[u8], value: &mut [u8]) -> Result<bool> {
        match self.take_into(key, value) {
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
                "{} bytes of keys ({key_len} bytes each) and {} bytes of values ({value_len} bytes each) are different numbers of elements",
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
            result => result.map_err(|errno| self.refused(Step::ReadMap, "cannot wait until the map is ready", errno)),
        }
    }

    fn found(&self, step: Step, what: &str, result: Result<(), Errno>, flags: u64) -> Result<bool> {
        match result {
            Ok(()) => Ok(true),
            Err(ENOENT) => Ok(false),
            Err(errno) => Err(self.refused_with(step, what, errno, flags)),
        }
    }
}

/// Converts a timeout to the milliseconds that `poll` and `epoll_wait` expect: -1 waits without a limit.
pub(crate) fn milliseconds(timeout: Option<Duration>) -> i32 {
    // Rounded up, so that a short timeout does not become zero.
    timeout.map_or(-1, |time| i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX))
}

/// Returns whether the error number can mean that the kernel or the map type does not support a command: EINVAL,
/// EOPNOTSUPP, or the kernel-internal ENOTSUPP.
pub(crate) fn unsupported(errno: Errno) -> bool {
    matches!(errno.raw(), libc::EINVAL | libc::EOPNOTSUPP | 524)
}

/// Defines the layouts of a handle's type parameters. The name of a parameter determines its meaning: `K` is the type
/// of keys, `V` the type of values.
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
    (K: Plain, O: HashKind) => {
        fn layouts() -> (Option<&'static $crate::data::Layout>, Option<&'static $crate::data::Layout>) {
            (K::ELEMENT, None)
        }
    };
    ($($other:tt)*) => {};
}
pub(crate) use layouts;

/// Implements the methods of every handle for a struct with a field `handle` of type [`Untyped`]. The struct's constant
/// `SUPPORTS` declares the maps that the handle supports; the struct's function `check` creates the handle from an
/// `Untyped`.
macro_rules! handle {
    ([$($generics:tt)*] $type:ty) => {
        $crate::map::about!([$($generics)*] $type);

        impl<$($generics)*> $type {
            /// Creates a map. See [`NewMap`](crate::map::NewMap) for definitions and examples.
            ///
            /// # Errors
            /// If the definition does not match the handle, or the kernel rejects it.
            pub fn create(definition: $crate::map::NewMap<'_>) -> $crate::error::Result<Self> {
                Self::check(definition.create(&Self::SUPPORTS)?)
            }

            /// Opens the map that is pinned at a path in a bpffs. [`Maps`](crate::map::Maps) opens several maps of a
            /// directory.
            ///
            /// ```no_run
            /// use skelgen_runtime::map::HashMap;
            ///
            /// let flows = HashMap::<u32, u64>::open_pinned("/sys/fs/bpf/flows")?;
            /// for flow in &flows {
            ///     let (address, packets) = flow?;
            ///     println!("{address}: {packets} packets");
            /// }
            /// # Ok::<(), skelgen_runtime::Error>(())
            /// ```
            ///
            /// # Errors
            /// If nothing is pinned at the path, the pinned object is not a map, or the process has no permission to
            /// open it. Also if the map does not match the handle: its type or a size differs, or the layout of keys or
            /// values, if both the map's BTF and the Rust type describe it.
            pub fn open_pinned(path: impl AsRef<::std::path::Path>) -> $crate::error::Result<Self> {
                $crate::map::open_pinned(path.as_ref(), Self::check)
            }
        }

        impl<$($generics)*> $crate::map::FromFd for $type {
            fn from_fd(map: $crate::map::Opened, info: &$crate::map::Info<'_>) -> $crate::error::Result<Self> {
                Self::check($crate::map::Untyped::new(map, info, Self::SUPPORTS.count_cpus())?)
            }

            $crate::map::layouts!($($generics)*);
        }

        /// Reads the map's type and sizes from the kernel and fails if they do not match the handle.
        impl<$($generics)*> TryFrom<::std::os::fd::OwnedFd> for $type {
            type Error = $crate::error::Error;

            fn try_from(fd: ::std::os::fd::OwnedFd) -> $crate::error::Result<Self> {
                Self::check($crate::map::Untyped::of_fd(fd)?)
            }
        }
    };
}
pub(crate) use handle;

/// Implements the methods of every handle except those that create it: information about the map, and its file
/// descriptor.
macro_rules! about {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> $type {
            /// Returns the map's name in the source or, if the handle was created from a file descriptor, its name in
            /// the kernel.
            #[must_use]
            pub fn name(&self) -> &str {
                self.handle.name()
            }

            /// Returns the map's id in the kernel.
            #[must_use]
            pub fn id(&self) -> u32 {
                self.handle.id()
            }

            /// Returns the map's type.
            #[must_use]
            pub fn map_type(&self) -> $crate::uapi::MapType {
                self.handle.map_type()
            }

            /// Returns the maximum number of elements; for ring buffers, the size in bytes.
            #[must_use]
            pub fn max_entries(&self) -> u32 {
                self.handle.max_entries()
            }

            /// Returns the flags that the map was created with.
            pub fn flags(&self) -> $crate::uapi::MapFlags {
                self.handle.flags()
            }

            /// Returns the untyped handle of this map, whose keys and values are bytes.
            #[must_use]
            pub fn as_untyped(&self) -> &$crate::map::Untyped {
                &self.handle
            }

            /// Pins the map to a path in a bpffs. It stays loaded until the file is removed.
            ///
            /// # Errors
            /// If the path is not in a bpffs, the file exists, or the process has no permission to write there.
            pub fn pin(&self, path: impl AsRef<::std::path::Path>) -> $crate::error::Result<()> {
                self.handle.pin(path)
            }

            /// Pins the map to a path relative to the descriptor of a directory in a bpffs (Linux 6.5).
            ///
            /// # Errors
            /// Those of [`Self::pin`]. Also if `dir` is not a directory, or the kernel is older than Linux 6.5.
            pub fn pin_at(
                &self,
                dir: impl ::std::os::fd::AsFd,
                path: impl AsRef<::std::path::Path>,
            ) -> $crate::error::Result<()> {
                self.handle.pin_at(dir, path)
            }
        }

        impl<$($generics)*> From<$type> for ::std::os::fd::OwnedFd {
            fn from(map: $type) -> Self {
                map.handle.into()
            }
        }

        $crate::sys::descriptor!([$($generics)*] $type: self => self.handle);

        impl<$($generics)*> ::std::fmt::Debug for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Debug::fmt(&self.handle, f)
            }
        }
    };
}
pub(crate) use about;
