//! Maps of any type, as bytes.

use super::handle::{Handle, handle};
use super::scan::Scan;
use crate::error::{Result, Step};
use crate::uapi::{Command, ElemFlags};

/// A map of any type, whose keys and values are bytes. A value of a percpu map contains the values of all possible
/// CPUs, each rounded up to 8 bytes.
///
/// ```
/// use skelgen_runtime::map::Untyped;
///
/// /// Prints any map as hexadecimal numbers.
/// fn dump(map: &Untyped) -> skelgen_runtime::Result<()> {
///     for element in map.iter() {
///         let (key, value) = element?;
///         println!("{key:02x?}: {value:02x?}");
///     }
///     Ok(())
/// }
/// ```
pub struct Untyped {
    handle: Handle,
}

handle!([] Untyped);

impl Untyped {
    #[allow(clippy::unnecessary_wraps, reason = "all handles have the same signature")]
    fn check(handle: Handle) -> Result<Self> {
        Ok(Self { handle })
    }

    /// Returns the size of a key in bytes.
    #[must_use]
    pub fn key_len(&self) -> usize {
        self.handle.map().key_len()
    }

    /// Returns the size of a value in bytes; of percpu maps, the size of the values of all possible CPUs together.
    #[must_use]
    pub fn value_len(&self) -> usize {
        self.handle.map().full_len()
    }

    /// Returns the size in bytes of a value in requests with these flags.
    ///
    /// # Errors
    /// If the flags are unknown.
    pub fn value_len_with(&self, flags: ElemFlags) -> Result<usize> {
        self.handle
            .map()
            .len_with(flags.bits())
            .map_err(|errno| self.handle.refused(Step::ReadInfo, format_args!("{flags:?}"), errno))
    }

    /// Returns the value of `key`, or `None` if the map does not contain it.
    ///
    /// # Errors
    /// If the key has another length, the map type has no lookup, or the process may not read the map.
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
        Ok(self.handle.lookup(key, &mut value, flags.bits())?.then_some(value))
    }

    /// Copies the value of `key` to the beginning of `value` and returns whether the map contains the key.
    ///
    /// # Errors
    /// Those of [`Self::get_with`]. Also if `value` is shorter than the map's value.
    pub fn get_into(&self, key: &[u8], value: &mut [u8], flags: ElemFlags) -> Result<bool> {
        self.handle.lookup(key, value, flags.bits())
    }

    /// Sets the value of `key`, whether the map contains it or not.
    ///
    /// # Errors
    /// If the key or the value has another length, or the kernel rejects the request.
    pub fn insert(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.insert_with(key, value, ElemFlags::ANY)
    }

    /// Sets the value of `key`, with flags. With one of the CPU flags, the value is that of one CPU.
    ///
    /// # Errors
    /// Those of [`Self::insert`]. Also if the map does not support the flags.
    pub fn insert_with(&self, key: &[u8], value: &[u8], flags: ElemFlags) -> Result<()> {
        self.handle.update(key, value, flags.bits())
    }

    /// Sets the values of many keys, which are concatenated in `keys` and `values`.
    ///
    /// # Errors
    /// If the lengths do not match one number of keys and values, or the kernel rejects the request.
    pub fn insert_many(&self, keys: &[u8], values: &[u8]) -> Result<()> {
        self.insert_many_with(keys, values, ElemFlags::ANY)
    }

    /// Sets the values of many keys, which are concatenated in `keys` and `values`, with flags as in
    /// [`Self::insert_with`].
    ///
    /// # Errors
    /// Those of [`Self::insert_many`]. Also if the map does not support the flags.
    pub fn insert_many_with(&self, keys: &[u8], values: &[u8], flags: ElemFlags) -> Result<()> {
        self.handle.update_many(keys, values, flags.bits())
    }

    /// Returns the keys and the values of the first elements, at most `room` of them, with one system call and flags as
    /// in [`Self::get_with`].
    ///
    /// # Errors
    /// If the kernel does not support batch lookups for this map type, or rejects the flags.
    pub fn get_first(&self, room: usize, flags: ElemFlags) -> Result<(Vec<u8>, Vec<u8>)> {
        let map = self.handle.map();
        let (key_len, value_len) = (map.key_len(), self.value_len_with(flags)?);
        let (mut keys, mut values) = (vec![0; room.saturating_mul(key_len)], vec![0; room.saturating_mul(value_len)]);
        let mut cursor = vec![0; map.cursor_len()];
        let copied = map
            .lookup_batch(Command::MAP_LOOKUP_BATCH, true, &mut cursor, &mut keys, &mut values, flags.bits())
            .map_err(|errno| {
                self.handle.refused_with(Step::ReadMap, "cannot look up a batch of elements", errno, flags.bits())
            })?;
        keys.truncate(copied.count.saturating_mul(key_len));
        values.truncate(copied.count.saturating_mul(value_len));
        Ok((keys, values))
    }

    /// Removes `key` and returns whether the map contained it.
    ///
    /// # Errors
    /// If the key has another length, elements of this map type cannot be removed, or the process may not write the
    /// map.
    pub fn remove(&self, key: &[u8]) -> Result<bool> {
        self.handle.delete(key)
    }

    /// Iterates over all elements, each once. Ends at the first error. An element that is set or removed during the
    /// iteration may be missing.
    pub fn iter(&self) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>)>> + '_ {
        let mut scan = Scan::new(&self.handle);
        std::iter::from_fn(move || Some(scan.next()?.map(|(key, value)| (key.to_vec(), value.to_vec()))))
    }
}
