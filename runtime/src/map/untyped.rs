//! Maps of any type, as bytes: the base of all handles.
//!
//! Internal methods that all handles use are in `handle.rs`.

use std::borrow::Cow;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::create::Template;
use super::entries::{Entries, iterable};
use super::scan::{Keys, Scan};
use super::supports::Supports;
use super::{FromFd, Info, NewMap, Opened};
use crate::error::{Errno, Error, Result, Step};
use crate::kernel::causes;
use crate::pins::PinPath;
use crate::sys::elem::Map;
use crate::sys::{self, cpus, descriptor};
use crate::uapi::{Command, ElemFlags, MapFlags, MapType};

/// A map of any type, whose keys and values are bytes. A value of a percpu map contains the values of all possible
/// CPUs, each rounded up to 8 bytes.
///
/// ```
/// use skelgen_runtime::map::Untyped;
///
/// /// Prints any map as hexadecimal numbers.
/// fn dump(map: &Untyped) -> skelgen_runtime::Result<()> {
///     for element in map {
///         let (key, value) = element?;
///         println!("{key:02x?}: {value:02x?}");
///     }
///     Ok(())
/// }
/// ```
///
/// ```
/// use skelgen_runtime::map::Untyped;
/// use skelgen_runtime::uapi::ElemFlags;
///
/// /// Doubles the first value if it has eight bytes, pins the map, empties it, and freezes it.
/// fn change(map: &Untyped) -> skelgen_runtime::Result<usize> {
///     let (key, value) = map.get_first(1, ElemFlags::default())?;
///     let mut bytes = vec![0; map.value_len_with(ElemFlags::default())?];
///     assert!(key.len() <= map.key_len() && value.len() <= bytes.len());
///     if map.get_into(&key, &mut bytes, ElemFlags::default())? {
///         assert_eq!(map.get_with(&key, ElemFlags::default())?, Some(bytes.clone()));
///         if let Ok(number) = <[u8; 8]>::try_from(&bytes[..]) {
///             let doubled = (2 * u64::from_ne_bytes(number)).to_ne_bytes();
///             map.insert_with(&key, &doubled, ElemFlags::EXIST)?;
///             map.insert_many_with(&key, &doubled, ElemFlags::default())?;
///         }
///     }
///     map.pin("/sys/fs/bpf/changed")?;
///     let removed = map.as_untyped().clear()?;
///     map.freeze()?; // From now on, system calls cannot change the map.
///     Ok(removed)
/// }
/// ```
pub struct Untyped {
    pub(super) map: Map,
    pub(super) name: Cow<'static, str>,
    /// The template of the inner maps of a map of maps, if it is known.
    pub(super) inner: Option<Template>,
}

impl Untyped {
    /// Creates a map of any type. See [`NewMap`] for definitions and examples.
    ///
    /// # Errors
    /// If the definition has no map type, or the kernel rejects it.
    pub fn create(definition: NewMap<'_>) -> Result<Self> {
        definition.create(&Supports::ANY)
    }

    /// Returns the map's name in the source. For a map that no skeleton defines, this is its name in the kernel, or `id
    /// N` if the map has no name there.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the map's id in the kernel.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.map.id()
    }

    /// Returns the map's type.
    #[must_use]
    pub fn map_type(&self) -> MapType {
        self.map.map_type()
    }

    /// Returns the maximum number of elements; for ring buffers, the size in bytes.
    #[must_use]
    pub fn max_entries(&self) -> u32 {
        self.map.definition().max_entries
    }

    /// Returns the flags that the map was created with.
    pub fn flags(&self) -> MapFlags {
        MapFlags::from_bits(self.map.definition().flags)
    }

    /// Returns `self`. Every handle has this method, so that generic code can call it.
    #[must_use]
    pub fn as_untyped(&self) -> &Self {
        self
    }

    /// Pins the map to a path in a bpffs. It stays loaded until the file is removed.
    ///
    /// # Errors
    /// If the path is not in a bpffs, the file exists, or the process has no permission to write there.
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<()> {
        self.pin_to(&PinPath::new(path.as_ref()))
    }

    /// Pins the map to a path relative to the descriptor of a directory in a bpffs (Linux 6.5). The directory may have
    /// been renamed, and its file system may be mounted only in another mount namespace or not at all.
    ///
    /// # Errors
    /// Those of [`Self::pin`]. Also if `dir` is not a directory, or the kernel is older than Linux 6.5.
    pub fn pin_at(&self, dir: impl AsFd, path: impl AsRef<Path>) -> Result<()> {
        self.pin_to(&PinPath::at(dir.as_fd(), path.as_ref())).map_err(causes::relative_pin)
    }

    fn pin_to(&self, pin: &PinPath<'_>) -> Result<()> {
        let doing = format!("cannot pin map `{}` to {}", self.name, pin.shown().display());
        pin.pin(self.as_fd(), doing).map_err(|error| self.named(error))
    }

    /// Returns the size of a key in bytes.
    #[must_use]
    pub fn key_len(&self) -> usize {
        self.map.key_len()
    }

    /// Returns the size of a value in bytes; for percpu maps, the size of the values of all possible CPUs together.
    #[must_use]
    pub fn value_len(&self) -> usize {
        self.map.full_len()
    }

    /// Returns the size in bytes of the value in a request with these flags: with a CPU flag, the size of one CPU's
    /// value.
    ///
    /// # Errors
    /// If this version of the crate does not know the flags or the map's type.
    pub fn value_len_with(&self, flags: ElemFlags) -> Result<usize> {
        self.map.len_with(flags.bits()).map_err(|errno| {
            self.refused(Step::ReadInfo, format_args!("unknown map type or element flags {flags:?}"), errno)
        })
    }

    /// Returns the value of `key`, or `None` if the map does not contain it.
    ///
    /// # Errors
    /// If the key has the wrong length, the map type has no lookup, or the process has no permission to read the map.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.get_with(key, ElemFlags::ANY)
    }

    /// Returns the value of `key` with flags, or `None` if the map does not contain it. With [`ElemFlags::on_cpu`],
    /// returns the value of that CPU.
    ///
    /// # Errors
    /// Those of [`Self::get`]. Also if the map does not support the flags.
    pub fn get_with(&self, key: &[u8], flags: ElemFlags) -> Result<Option<Vec<u8>>> {
        let mut value = vec![0; self.value_len_with(flags)?];
        Ok(self.lookup(key, &mut value, flags.bits())?.then_some(value))
    }

    /// Copies the value of `key` to the beginning of `value` and returns whether the map contains the key.
    ///
    /// # Errors
    /// Those of [`Self::get_with`]. Also if `value` is shorter than the map's value.
    pub fn get_into(&self, key: &[u8], value: &mut [u8], flags: ElemFlags) -> Result<bool> {
        self.lookup(key, value, flags.bits())
    }

    /// Sets the value of `key`, and inserts the key if the map does not contain it.
    ///
    /// # Errors
    /// If the key or the value has the wrong length, or the kernel rejects the request.
    pub fn insert(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.insert_with(key, value, ElemFlags::ANY)
    }

    /// Sets the value of `key`, with flags. With a CPU flag, `value` has the size of one CPU's value.
    ///
    /// # Errors
    /// Those of [`Self::insert`]. Also if the map does not support the flags.
    pub fn insert_with(&self, key: &[u8], value: &[u8], flags: ElemFlags) -> Result<()> {
        self.update(key, value, flags.bits())
    }

    /// Sets the values of many keys, which are concatenated in `keys` and `values`.
    ///
    /// # Errors
    /// If `keys` and `values` do not have the same number of whole elements, or the kernel rejects the request.
    pub fn insert_many(&self, keys: &[u8], values: &[u8]) -> Result<()> {
        self.insert_many_with(keys, values, ElemFlags::ANY)
    }

    /// Sets the values of many keys, which are concatenated in `keys` and `values`, with flags as in
    /// [`Self::insert_with`].
    ///
    /// # Errors
    /// Those of [`Self::insert_many`]. Also if the map does not support the flags.
    pub fn insert_many_with(&self, keys: &[u8], values: &[u8], flags: ElemFlags) -> Result<()> {
        self.update_many(keys, values, flags.bits())
    }

    /// Returns the keys and the values of the first elements, at most `room` of them, with one system call and flags as
    /// in [`Self::get_with`].
    ///
    /// # Errors
    /// If the kernel does not support batch lookups for this map type or rejects the flags, memory cannot be allocated,
    /// or the process has no permission to read the map.
    pub fn get_first(&self, room: usize, flags: ElemFlags) -> Result<(Vec<u8>, Vec<u8>)> {
        let map = &self.map;
        let (key_len, value_len) = (map.key_len(), self.value_len_with(flags)?);
        // A map has at most `max_entries` elements; a larger number means all of them.
        let room = room.min(usize::try_from(self.max_entries()).unwrap_or(usize::MAX));
        let buffer = |len: usize| {
            let (mut buffer, len) = (Vec::new(), room.saturating_mul(len));
            buffer.try_reserve_exact(len).map_err(|_| {
                self.refused(Step::ReadMap, "cannot look up a batch of elements", Errno::from_raw(libc::ENOMEM))
            })?;
            buffer.resize(len, 0);
            Ok::<_, Error>(buffer)
        };
        let (mut keys, mut values) = (buffer(key_len)?, buffer(value_len)?);
        let mut cursor = vec![0; map.cursor_len()];
        let copied = map
            .lookup_batch(Command::MAP_LOOKUP_BATCH, true, &mut cursor, &mut keys, &mut values, flags.bits())
            .map_err(|errno| {
                self.refused_with(Step::ReadMap, "cannot look up a batch of elements", errno, flags.bits())
            })?;
        keys.truncate(copied.count.saturating_mul(key_len));
        values.truncate(copied.count.saturating_mul(value_len));
        Ok((keys, values))
    }

    /// Removes `key` and returns whether the map contained it.
    ///
    /// # Errors
    /// If the key has the wrong length, elements of this map type cannot be removed, or the process has no permission
    /// to write to the map.
    pub fn remove(&self, key: &[u8]) -> Result<bool> {
        self.delete(key)
    }

    /// Removes the elements with these keys, concatenated in `keys`, and returns how many of them existed.
    ///
    /// # Errors
    /// If the length of `keys` is not a multiple of the length of a key, elements of this map type cannot be removed, or the process has no
    /// permission to write to the map. Elements that were removed before an error stay removed.
    pub fn remove_many(&self, keys: &[u8]) -> Result<usize> {
        if keys.len().checked_rem(self.key_len()) != Some(0) {
            return Err(self.invalid(format_args!(
                "{} bytes are not a whole number of keys of {} bytes each",
                keys.len(),
                self.key_len()
            )));
        }
        self.delete_many(keys)
    }

    /// Removes `key` and returns its value. If the kernel cannot do both at once (hash maps before 5.14, other map types), a value that is
    /// written between the two requests is lost.
    ///
    /// # Errors
    /// If the key has the wrong length, or the process has no permission to read and write the map.
    pub fn take(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut value = vec![0; self.value_len()];
        Ok(self.take_keyed(key, &mut value)?.then_some(value))
    }

    /// Removes all elements, with as few system calls as the kernel supports, passes the key and the value of each to `each`, and returns
    /// their number. Elements that are set during the call may be removed or stay.
    ///
    /// # Errors
    /// If the process has no permission to read and write the map. Elements that were removed before the error are
    /// passed to `each`.
    pub fn drain(&self, mut each: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let (mut scan, mut count) = (Scan::taking(self), 0);
        while let Some(element) = scan.next() {
            let (key, value) = element?;
            each(key, value);
            count += 1;
        }
        Ok(count)
    }

    /// Removes all elements that the map contains at the time of the call, and returns their number.
    ///
    /// # Errors
    /// If the process has no permission to read and write the map.
    pub fn clear(&self) -> Result<usize> {
        let mut keys = Vec::new();
        for key in self.keys() {
            keys.extend(key?);
        }
        self.remove_many(&keys)
    }

    /// Iterates over all elements, each once. Ends after the first error. An element that is set or removed during the
    /// iteration may be missing.
    pub fn iter(&self) -> Entries<'_, Vec<u8>, Vec<u8>> {
        Entries::new(Scan::new(self), |key, value| Ok((key.to_vec(), value.to_vec())))
    }

    /// Iterates over all keys, each once. Ends after the first error. A key that is set or removed during the iteration
    /// may be missing. Values are not read, so this works for maps whose values the kernel does not return.
    pub fn keys(&self) -> impl Iterator<Item = Result<Vec<u8>>> + '_ {
        let mut keys = Some(Keys::new(self));
        std::iter::from_fn(move || {
            let mut key = Vec::new();
            let found = match keys.as_mut()? {
                Ok(keys) => keys.next(&mut key),
                Err(_) => keys.take()?.map(|_| false),
            };
            match found {
                Ok(true) => return Some(Ok(key)),
                Ok(false) => keys = None,
                Err(error) => {
                    keys = None;
                    return Some(Err(error));
                }
            }
            None
        })
    }

    /// Freezes the map (Linux 5.2): system calls can no longer write to it, but programs still can. The verifier treats
    /// values of a map as constants only if the map is frozen and has the flag [`MapFlags::RDONLY_PROG`].
    ///
    /// # Errors
    /// If the map is frozen already, is mapped into memory for writing, a process is writing to it, the process has no
    /// permission to write to it, or the kernel is older than Linux 5.2.
    pub fn freeze(&self) -> Result<()> {
        sys::map::freeze(self.as_fd()).map_err(|errno| {
            let error = self.refused(Step::WriteMap, "cannot be frozen", errno);
            match errno.raw() {
                libc::EBUSY => error.note(
                    "the map is frozen already, or a process has mapped it into memory for writing or is writing to it",
                ),
                // Since Linux 5.3, the kernel first checks whether the file descriptor can be written, which it cannot
                // if the map is frozen.
                libc::EPERM => {
                    error.note("the map is frozen already, or this process has no permission to write to it")
                }
                _ => error,
            }
        })
    }
}

iterable!([] Untyped => Vec<u8>, Vec<u8>);

impl FromFd for Untyped {
    fn from_fd(map: Opened, info: &Info<'_>) -> Result<Self> {
        Self::new(map, info, cpus::count)
    }
}

/// Reads the map's type and sizes from the kernel.
impl TryFrom<OwnedFd> for Untyped {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        Self::of_fd(fd)
    }
}

impl From<Untyped> for OwnedFd {
    fn from(map: Untyped) -> Self {
        map.map.into_fd()
    }
}

descriptor!([] Untyped: self => self.map);

impl fmt::Debug for Untyped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}` (id {})", self.map_type(), self.name, self.id())
    }
}
