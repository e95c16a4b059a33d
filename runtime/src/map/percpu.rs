//! Maps with a value for each CPU.
//!
//! Linux 7.0 and later can read and write one CPU's value, and write one value to all CPUs. On older kernels the values
//! of all CPUs are read, changed and written back, and values that programs on other CPUs write in between are lost.
//! Linux 7.0 and 7.1 do not clear the other CPUs' values of a new element. On these versions, this crate looks up an
//! element before it writes one CPU's value to a hash map.

mod request;
mod stale;
mod values;

pub use values::PerCpu;

use std::marker::PhantomData;

use super::entries::{Entries, exactly, iterable};
use super::handle::handle;
use super::scan::Scan;
use super::supports::Supports;
use super::untyped::Untyped;
use crate::data::Plain;
use crate::data::{as_bytes, from_bytes, from_prefix, slice_as_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::uapi::{ElemFlags, MapType, elem_flags};
use request::unpack;

/// A percpu array: each element has a value for each CPU.
///
/// ```
/// use skelgen_runtime::map::{PerCpu, PercpuArray};
///
/// fn total(packets: &PercpuArray<u64>) -> skelgen_runtime::Result<u64> {
///     packets.set_all(0, &0)?;
///     packets.set_on(0, 1, &7)?;
///     println!("CPU 1 has {}", packets.get_on(0, 1)?);
///     packets.set_each(0, &PerCpu::from_fn(|cpu| 100 * u64::from(cpu))?)?;
///     packets.fold(0, 0, |sum, of_a_cpu| sum + of_a_cpu)
/// }
/// ```
pub struct PercpuArray<V> {
    handle: Untyped,
    value: PhantomData<fn() -> V>,
}

/// A percpu hash map, with or without LRU eviction, or percpu cgroup storage: each element has a value for each CPU.
///
/// ```
/// use skelgen_runtime::map::PercpuHashMap;
///
/// fn busiest(packets: &PercpuHashMap<u32, u64>) -> skelgen_runtime::Result<()> {
///     for element in packets {
///         let (address, counts) = element?;
///         println!("{address}: {} in all, {} at most", counts.sum(|&count| count), counts.max(|&count| count));
///     }
///     // The values of CPU 0 only. Linux 7.0 and later do not copy those of other CPUs.
///     let of_first: Vec<(u32, u64)> = packets.iter_on(0)?.collect::<Result<_, _>>()?;
///     packets.remove_many(&of_first.iter().map(|(address, _)| *address).collect::<Vec<_>>())?;
///     Ok(())
/// }
/// ```
pub struct PercpuHashMap<K, V> {
    handle: Untyped,
    element: PhantomData<fn() -> (K, V)>,
}

handle!([V: Plain] PercpuArray<V>);
handle!([K: Plain, V: Plain] PercpuHashMap<K, V>);
iterable!([V: Plain] PercpuArray<V> => u32, PerCpu<V>);
iterable!([K: Plain, V: Plain] PercpuHashMap<K, V> => K, PerCpu<V>);

impl<V: Plain> PercpuArray<V> {
    const SUPPORTS: Supports = Supports::percpu(&[MapType::PERCPU_ARRAY], Some(4), Some(size_of::<V>()));

    fn check(handle: Untyped) -> Result<Self> {
        Ok(Self { handle: handle.expect(&Self::SUPPORTS)?, value: PhantomData })
    }

    /// Returns the number of elements.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "an array has at least one element")]
    pub fn len(&self) -> u32 {
        self.max_entries()
    }

    /// Returns the values of all possible CPUs at `index`, with one system call.
    ///
    /// # Errors
    /// If `index` is out of bounds, or the process has no permission to read the map.
    pub fn get(&self, index: u32) -> Result<PerCpu<V>> {
        self.handle.percpu_get(as_bytes(&index))?.ok_or_else(|| self.outside(index))
    }

    /// Returns the value of one CPU at `index`.
    ///
    /// # Errors
    /// If `index` is out of bounds, the CPU does not exist, or the process has no permission to read the map.
    pub fn get_on(&self, index: u32, cpu: u32) -> Result<V> {
        self.handle.percpu_get_on(as_bytes(&index), cpu)?.ok_or_else(|| self.outside(index))
    }

    /// Sets the value of one CPU at `index`. Before Linux 7.0, values that programs on other CPUs write to the element
    /// at the same time are lost.
    ///
    /// # Errors
    /// If `index` is out of bounds, the CPU does not exist, or the process has no permission to write to the map.
    pub fn set_on(&self, index: u32, cpu: u32, value: &V) -> Result<()> {
        self.inside(index)?;
        self.handle.percpu_set_on(as_bytes(&index), cpu, value, elem_flags::ANY)
    }

    /// Sets the values of all CPUs at `index` to one value, with one system call.
    ///
    /// # Errors
    /// If `index` is out of bounds, or the process has no permission to write to the map.
    pub fn set_all(&self, index: u32, value: &V) -> Result<()> {
        self.inside(index)?;
        self.handle.percpu_set_all(as_bytes(&index), value, elem_flags::ANY)
    }

    /// Sets the value of each possible CPU at `index` to the CPU's value in `values`.
    ///
    /// # Errors
    /// If `index` is out of bounds, or the process has no permission to write to the map.
    pub fn set_each(&self, index: u32, values: &PerCpu<V>) -> Result<()> {
        self.inside(index)?;
        self.handle.percpu_set_each(as_bytes(&index), values, elem_flags::ANY)
    }

    /// Returns the values of all possible CPUs of all elements, with as few system calls as the kernel supports.
    ///
    /// # Errors
    /// If the process has no permission to read the map.
    pub fn to_vec(&self) -> Result<Vec<PerCpu<V>>> {
        let (mut scan, mut all) = (Scan::new(&self.handle), Vec::new());
        while let Some(element) = scan.next() {
            all.push(unpack(element?.1, size_of::<V>())?);
        }
        Ok(all)
    }

    /// Iterates over the elements in order of their indices, as pairs of an index and the values of all possible CPUs.
    /// Ends after the first error.
    pub fn iter(&self) -> Entries<'_, u32, PerCpu<V>> {
        on_each_cpu(&self.handle)
    }

    /// Iterates over the elements in order of their indices, as pairs of an index and the value of one CPU. Ends after
    /// the first error.
    ///
    /// # Errors
    /// If the CPU does not exist.
    pub fn iter_on(&self, cpu: u32) -> Result<Entries<'_, u32, V>> {
        Ok(Entries::plain(Scan::on(&self.handle, cpu)?))
    }

    /// Returns the values of one CPU of all elements, with as few system calls as the kernel supports.
    ///
    /// # Errors
    /// If the CPU does not exist, or the process has no permission to read the map.
    pub fn to_vec_on(&self, cpu: u32) -> Result<Vec<V>> {
        let (mut scan, mut all) = (Scan::on(&self.handle, cpu)?, Vec::new());
        while let Some(element) = scan.next() {
            all.push(from_prefix(element?.1));
        }
        Ok(all)
    }

    /// Sets the values of one CPU in the first `values.len()` elements. Before Linux 7.0, values that programs on other
    /// CPUs write to the elements at the same time are lost.
    ///
    /// # Errors
    /// If there are more values than elements, the CPU does not exist, or the process has no permission to write to the
    /// map.
    pub fn set_many_on(&self, cpu: u32, values: &[V]) -> Result<()> {
        self.handle.percpu_set_many_on(slice_as_bytes(&self.indices(values.len())?), cpu, values)
    }

    /// Sets the first `values.len()` elements, with as few system calls as the kernel supports. The values of all CPUs
    /// at index `i` become `values[i]`.
    ///
    /// # Errors
    /// If there are more values than elements, or the process has no permission to write to the map.
    pub fn set_many_all(&self, values: &[V]) -> Result<()> {
        self.handle.percpu_set_many_all(slice_as_bytes(&self.indices(values.len())?), values)
    }

    /// Sets the first `values.len()` elements, with as few system calls as the kernel supports. The value of each
    /// possible CPU at index `i` becomes the CPU's value in `values[i]`.
    ///
    /// # Errors
    /// If there are more values than elements, or the process has no permission to write to the map.
    pub fn set_many_each(&self, values: &[PerCpu<V>]) -> Result<()> {
        self.handle.percpu_set_many_each(slice_as_bytes(&self.indices(values.len())?), values)
    }

    /// Combines the values of all possible CPUs at `index` into one, such as their sum.
    ///
    /// # Errors
    /// Those of [`Self::get`].
    pub fn fold<A>(&self, index: u32, start: A, mut fold: impl FnMut(A, V) -> A) -> Result<A> {
        Ok(self.get(index)?.values().iter().fold(start, |all, &value| fold(all, value)))
    }

    fn indices(&self, count: usize) -> Result<Vec<u32>> {
        match u32::try_from(count) {
            Ok(count) if count <= self.len() => Ok((0..count).collect()),
            _ => Err(self
                .handle
                .invalid(format_args!("{count} values are too many: the map has {} elements", self.len()))),
        }
    }

    fn inside(&self, index: u32) -> Result<()> {
        if index < self.len() { Ok(()) } else { Err(self.outside(index)) }
    }

    fn outside(&self, index: u32) -> Error {
        self.handle.error(
            ErrorKind::NotFound,
            format_args!("index {index} is out of bounds: the map has {} elements", self.len()),
        )
    }
}

impl<K: Plain, V: Plain> PercpuHashMap<K, V> {
    const SUPPORTS: Supports = Supports::percpu(
        &[MapType::PERCPU_HASH, MapType::LRU_PERCPU_HASH, MapType::PERCPU_CGROUP_STORAGE],
        Some(size_of::<K>()),
        Some(size_of::<V>()),
    );

    fn check(handle: Untyped) -> Result<Self> {
        Ok(Self { handle: handle.expect(&Self::SUPPORTS)?, element: PhantomData })
    }

    /// Returns the values of all possible CPUs for `key` with one system call, or `None` if the map does not contain
    /// it.
    ///
    /// # Errors
    /// If the process has no permission to read the map.
    pub fn get(&self, key: &K) -> Result<Option<PerCpu<V>>> {
        self.handle.percpu_get(as_bytes(key))
    }

    /// Returns the value of one CPU for `key`, or `None` if the map does not contain it.
    ///
    /// # Errors
    /// If the CPU does not exist, or the process has no permission to read the map.
    pub fn get_on(&self, key: &K, cpu: u32) -> Result<Option<V>> {
        self.handle.percpu_get_on(as_bytes(key), cpu)
    }

    /// Sets the value of one CPU for `key`. The other CPUs' values of a new element are zero. Before Linux 7.0, values
    /// that programs on other CPUs write to the element at the same time are lost.
    ///
    /// # Errors
    /// If the CPU does not exist, the map is full, or the process has no permission to write to it.
    pub fn insert_on(&self, key: &K, cpu: u32, value: &V) -> Result<()> {
        self.insert_on_with(key, cpu, value, ElemFlags::ANY)
    }

    /// Sets the value of one CPU for `key`, with flags: `NOEXIST` only creates an element, `EXIST` only changes one.
    /// With `EXIST`, an element that is removed at the same time may reappear, with zeros for the other CPUs.
    ///
    /// # Errors
    /// Those of [`Self::insert_on`]. Also if the condition of the flags does not hold.
    pub fn insert_on_with(&self, key: &K, cpu: u32, value: &V, flags: ElemFlags) -> Result<()> {
        self.handle.percpu_set_on(as_bytes(key), cpu, value, flags.bits())
    }

    /// Sets the values of all CPUs for `key` to one value, with one system call.
    ///
    /// # Errors
    /// If the map is full or the process has no permission to write to it.
    pub fn insert_all(&self, key: &K, value: &V) -> Result<()> {
        self.insert_all_with(key, value, ElemFlags::ANY)
    }

    /// Sets the values of all CPUs for `key` to one value, with flags as in [`Self::insert_on_with`].
    ///
    /// # Errors
    /// Those of [`Self::insert_all`]. Also if the condition of the flags does not hold.
    pub fn insert_all_with(&self, key: &K, value: &V, flags: ElemFlags) -> Result<()> {
        self.handle.percpu_set_all(as_bytes(key), value, flags.bits())
    }

    /// Sets the value of each possible CPU for `key` to the CPU's value in `values`.
    ///
    /// # Errors
    /// If the map is full or the process has no permission to write to it.
    pub fn insert_each(&self, key: &K, values: &PerCpu<V>) -> Result<()> {
        self.insert_each_with(key, values, ElemFlags::ANY)
    }

    /// Sets the value of each possible CPU for `key` to the CPU's value in `values`, with flags as in
    /// [`Self::insert_on_with`].
    ///
    /// # Errors
    /// Those of [`Self::insert_each`]. Also if the condition of the flags does not hold.
    pub fn insert_each_with(&self, key: &K, values: &PerCpu<V>, flags: ElemFlags) -> Result<()> {
        self.handle.percpu_set_each(as_bytes(key), values, flags.bits())
    }

    /// Sets the values of one CPU for many keys, as [`Self::insert_on`] does for one.
    ///
    /// # Errors
    /// Those of [`Self::insert_on`]. Also if the numbers of keys and values differ. The elements before the failing one are
    /// set.
    pub fn insert_many_on(&self, keys: &[K], cpu: u32, values: &[V]) -> Result<()> {
        self.handle.percpu_set_many_on(slice_as_bytes(keys), cpu, values)
    }

    /// Sets the values of all CPUs for many keys, with as few system calls as the kernel supports. The values of all
    /// CPUs for `keys[i]` become `values[i]`.
    ///
    /// # Errors
    /// Those of [`Self::insert_all`]. Also if the numbers of keys and values differ. The elements before the failing one are
    /// set.
    pub fn insert_many_all(&self, keys: &[K], values: &[V]) -> Result<()> {
        self.handle.percpu_set_many_all(slice_as_bytes(keys), values)
    }

    /// Sets the values of all possible CPUs for many keys, with as few system calls as the kernel supports. The value
    /// of each CPU for `keys[i]` becomes the CPU's value in `values[i]`.
    ///
    /// # Errors
    /// Those of [`Self::insert_each`]. Also if the numbers of keys and values differ. The elements before the failing one are
    /// set.
    pub fn insert_many_each(&self, keys: &[K], values: &[PerCpu<V>]) -> Result<()> {
        self.handle.percpu_set_many_each(slice_as_bytes(keys), values)
    }

    /// Combines the values of all possible CPUs for `key` into one, such as their sum.
    ///
    /// # Errors
    /// Those of [`Self::get`].
    pub fn fold<A>(&self, key: &K, start: A, mut fold: impl FnMut(A, V) -> A) -> Result<Option<A>> {
        Ok(self.get(key)?.map(|all| all.values().iter().fold(start, |all, &value| fold(all, value))))
    }

    /// Removes `key` and returns whether the map contained it.
    ///
    /// # Errors
    /// If the process has no permission to write to the map.
    pub fn remove(&self, key: &K) -> Result<bool> {
        self.handle.delete(as_bytes(key))
    }

    /// Removes many keys and returns how many the map contained.
    ///
    /// # Errors
    /// If the process has no permission to write to the map.
    pub fn remove_many(&self, keys: &[K]) -> Result<usize> {
        self.handle.delete_many(slice_as_bytes(keys))
    }

    /// Removes `key` and returns the values of all possible CPUs. If the kernel cannot do both at once (before 5.14, or
    /// for this map type), values that are written between the two requests are lost.
    ///
    /// # Errors
    /// If the process has no permission to read and write the map.
    pub fn take(&self, key: &K) -> Result<Option<PerCpu<V>>> {
        self.handle.percpu_take(as_bytes(key))
    }

    /// Removes all elements, with as few system calls as the kernel supports, passes each to `each`, and returns their
    /// number. Elements that are set during the call may be removed or stay.
    ///
    /// # Errors
    /// If the process has no permission to read and write the map. Elements that were removed before the error are
    /// passed to `each`.
    pub fn drain(&self, mut each: impl FnMut(K, PerCpu<V>)) -> Result<usize> {
        let (mut scan, mut count) = (Scan::taking(&self.handle), 0);
        while let Some(element) = scan.next() {
            let (key, values) = element?;
            if let Some(key) = from_bytes(key) {
                each(key, unpack(values, size_of::<V>())?);
                count += 1;
            }
        }
        Ok(count)
    }

    /// Removes all elements that the map contains at the time of the call, and returns their number.
    ///
    /// # Errors
    /// If the process has no permission to read and write the map.
    pub fn clear(&self) -> Result<usize> {
        let keys = self.keys().collect::<Result<Vec<_>>>()?;
        self.remove_many(&keys)
    }

    /// Iterates over all elements, each once. Ends after the first error. An element may be missing only if it is set
    /// or removed during the iteration.
    pub fn iter(&self) -> Entries<'_, K, PerCpu<V>> {
        on_each_cpu(&self.handle)
    }

    /// Iterates over all elements, as [`Self::iter`] does, but with the value of one CPU instead of all.
    ///
    /// # Errors
    /// If the CPU does not exist.
    pub fn iter_on(&self, cpu: u32) -> Result<Entries<'_, K, V>> {
        Ok(Entries::plain(Scan::on(&self.handle, cpu)?))
    }

    /// Iterates over all keys, each once. Ends after the first error. A key that is set or removed during the iteration
    /// may be missing.
    pub fn keys(&self) -> impl Iterator<Item = Result<K>> + '_ {
        self.iter().map(|element| element.map(|(key, _)| key))
    }
}

/// Iterates over elements with the values of all possible CPUs.
fn on_each_cpu<K: Plain, V: Plain>(handle: &Untyped) -> Entries<'_, K, PerCpu<V>> {
    Entries::new(Scan::new(handle), |key, values| Ok((exactly(key)?, unpack(values, size_of::<V>())?)))
}
