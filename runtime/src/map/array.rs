//! Arrays of values, and arrays of devices or CPUs, whose elements may be empty.

use std::marker::PhantomData;
use std::os::fd::AsFd;

use super::entries::{Entries, iterable};
use super::global::MappedArray;
use super::handle::handle;
use super::scan::Scan;
use super::supports::Supports;
use super::untyped::Untyped;
use crate::data::Plain;
use crate::data::{as_bytes, as_bytes_mut, slice_as_bytes, zeroed};
use crate::error::{Error, ErrorKind, Result, Step};
use crate::uapi::{ElemFlags, MapFlags, MapType, elem_flags};

/// An array of values.
///
/// ```
/// use skelgen_runtime::map::Array;
/// use std::sync::atomic::Ordering;
///
/// fn count(counters: &Array<u64>) -> skelgen_runtime::Result<()> {
///     counters.set(0, &5)?;
///     println!("{:?}", counters.to_vec()?);
///     // An array with the flag BPF_F_MMAPABLE can be changed while programs run, without a system call.
///     let memory = counters.mmap()?;
///     if let Some(counter) = memory.get(0) {
///         counter.fetch_add(1, Ordering::Relaxed);
///     }
///     Ok(())
/// }
/// ```
pub struct Array<V> {
    handle: Untyped,
    value: PhantomData<fn() -> V>,
}

/// An array of devices or CPUs to redirect packets to. Each element refers to one of them or is empty.
///
/// ```
/// use skelgen_runtime::map::Redirects;
///
/// /// Sets an element of a devmap. Its values are interface indices, or an interface index and a program.
/// fn redirect(devices: &Redirects<u32>, device: u32) -> skelgen_runtime::Result<Option<u32>> {
///     let before = devices.take(0)?;
///     devices.set(0, &device)?;
///     Ok(before)
/// }
/// ```
pub struct Redirects<V> {
    handle: Untyped,
    value: PhantomData<fn() -> V>,
}

handle!([V: Plain] Array<V>);
handle!([V: Plain] Redirects<V>);
iterable!([V: Plain] Array<V> => u32, V);
iterable!([V: Plain] Redirects<V> => u32, V);

impl<V: Plain> Array<V> {
    const SUPPORTS: Supports = Supports::new(&[MapType::ARRAY], Some(4), Some(size_of::<V>()));

    fn check(handle: Untyped) -> Result<Self> {
        Ok(Self { handle: handle.expect(&Self::SUPPORTS)?, value: PhantomData })
    }

    /// Returns the number of elements.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "an array has at least one element")]
    pub fn len(&self) -> u32 {
        self.max_entries()
    }

    /// Returns the value at `index`.
    ///
    /// # Errors
    /// If `index` is out of bounds, or the process has no permission to read the map.
    pub fn get(&self, index: u32) -> Result<V> {
        self.get_with(index, ElemFlags::ANY)
    }

    /// Returns the value at `index`, with flags: `LOCK` copies it while holding the value's spin lock.
    ///
    /// # Errors
    /// Those of [`Self::get`]. Also if the map does not support the flags.
    pub fn get_with(&self, index: u32, flags: ElemFlags) -> Result<V> {
        let mut value = zeroed();
        if self.handle.lookup(as_bytes(&index), as_bytes_mut(&mut value), flags.bits())? {
            Ok(value)
        } else {
            Err(self.outside(index))
        }
    }

    /// Sets the value at `index`.
    ///
    /// # Errors
    /// If `index` is out of bounds, or the process has no permission to write to the map.
    pub fn set(&self, index: u32, value: &V) -> Result<()> {
        self.set_with(index, value, ElemFlags::ANY)
    }

    /// Sets the value at `index`, with flags: `LOCK` writes it while holding the value's spin lock.
    ///
    /// # Errors
    /// Those of [`Self::set`]. Also if the map does not support the flags.
    pub fn set_with(&self, index: u32, value: &V, flags: ElemFlags) -> Result<()> {
        if index >= self.len() {
            return Err(self.outside(index));
        }
        self.handle.update(as_bytes(&index), as_bytes(value), flags.bits())
    }

    /// Sets the first `values.len()` elements to `values`, with as few system calls as the kernel supports.
    ///
    /// # Errors
    /// If there are more values than elements, or the process has no permission to write to the map.
    pub fn set_many(&self, values: &[V]) -> Result<()> {
        let count = u32::try_from(values.len()).ok().filter(|&count| count <= self.len());
        let count = count.ok_or_else(|| self.outside(u32::try_from(values.len()).unwrap_or(u32::MAX)))?;
        let indices: Vec<u32> = (0..count).collect();
        self.handle.update_many(slice_as_bytes(&indices), slice_as_bytes(values), elem_flags::ANY)
    }

    /// Returns copies of all values in order, with as few system calls as the kernel supports. Values that are changed
    /// meanwhile may be from different moments.
    ///
    /// # Errors
    /// If the process has no permission to read the map.
    pub fn to_vec(&self) -> Result<Vec<V>> {
        self.iter().map(|element| element.map(|(_, value)| value)).collect()
    }

    /// Iterates over the elements in order of their indices, as pairs of an index and a copy of the value. Ends after
    /// the first error.
    pub fn iter(&self) -> Entries<'_, u32, V> {
        Entries::plain(Scan::new(&self.handle))
    }

    /// Maps the array into memory that is shared with programs, so that values are read and set without system calls.
    ///
    /// # Errors
    /// If the array was not created with [`MMAPABLE`](crate::uapi::MapFlags::MMAPABLE), was created with
    /// [`RDONLY_PROG`](crate::uapi::MapFlags::RDONLY_PROG), is frozen, or the process has no permission to write to it.
    pub fn mmap(&self) -> Result<MappedArray<V>> {
        if !self.flags().contains(MapFlags::MMAPABLE) {
            return Err(self
                .handle
                .error(ErrorKind::Mismatch, "cannot be mapped into memory without the flag BPF_F_MMAPABLE")
                .with_help(
                    "set the flag BPF_F_MMAPABLE in the map's definition, or with `set_flags` before the load",
                ));
        }
        MappedArray::new(self.handle.as_fd(), self.len())
            .map_err(|errno| self.handle.refused(Step::Open, "cannot be mapped into memory", errno))
    }

    fn outside(&self, index: u32) -> Error {
        self.handle.error(
            ErrorKind::NotFound,
            format_args!("index {index} is out of bounds: the map has {} elements", self.len()),
        )
    }
}

impl<V: Plain> Redirects<V> {
    const SUPPORTS: Supports = Supports::new(&[MapType::DEVMAP, MapType::CPUMAP], Some(4), Some(size_of::<V>()));

    fn check(handle: Untyped) -> Result<Self> {
        Ok(Self { handle: handle.expect(&Self::SUPPORTS)?, value: PhantomData })
    }

    /// Returns the value at `index`, or `None` if the element is empty or `index` is out of bounds.
    ///
    /// # Errors
    /// If the process has no permission to read the map.
    pub fn get(&self, index: u32) -> Result<Option<V>> {
        let mut value = zeroed();
        let found = self.handle.lookup(as_bytes(&index), as_bytes_mut(&mut value), elem_flags::ANY)?;
        Ok(found.then_some(value))
    }

    /// Sets the element at `index` to a device or CPU.
    ///
    /// # Errors
    /// If `index` is out of bounds, the device or CPU does not exist, or the process has no permission to write to the
    /// map.
    pub fn set(&self, index: u32, value: &V) -> Result<()> {
        self.handle.update(as_bytes(&index), as_bytes(value), elem_flags::ANY)
    }

    /// Empties the element at `index`. Succeeds also if the element is already empty.
    ///
    /// # Errors
    /// If `index` is out of bounds, or the process has no permission to write to the map.
    pub fn remove(&self, index: u32) -> Result<()> {
        self.handle.delete(as_bytes(&index)).map(drop)
    }

    /// Empties the element at `index` and returns its previous value. The kernel cannot do both at once: a value that
    /// is set between the two requests is lost.
    ///
    /// # Errors
    /// If `index` is out of bounds, or the process has no permission to read and write the map.
    pub fn take(&self, index: u32) -> Result<Option<V>> {
        let value = self.get(index)?;
        self.remove(index)?;
        Ok(value)
    }

    /// Iterates over the elements that are not empty, in order of their indices. Ends after the first error.
    pub fn iter(&self) -> Entries<'_, u32, V> {
        Entries::plain(Scan::new(&self.handle))
    }
}
