//! Maps with a value for each CPU.
//!
//! Linux 7.0 and later can read and write one CPU's value, and write one value to all CPUs. Before, the whole element has to be
//! read, changed and written back, which is done here as well: then what other CPUs write in between is lost.

use std::borrow::Borrow;
use std::marker::PhantomData;

use super::handle::{Handle, handle};
use super::scan::Scan;
use crate::data::Plain;
use crate::data::plain::{as_bytes, as_bytes_mut, from_bytes, from_prefix, zeroed};
use crate::error::{Error, Result};
use crate::kernel::cpus::{CpuSet, possible};
use crate::uapi::{MapType, elem_flags};

/// A value for each possible CPU.
#[derive(Clone, Debug)]
pub struct PerCpu<V> {
    values: Box<[V]>,
    cpus: &'static CpuSet,
}

impl<V> PerCpu<V> {
    /// The values that `make` gives for each possible CPU's number.
    ///
    /// # Errors
    /// If the possible CPUs cannot be found out.
    pub fn from_fn(make: impl FnMut(u32) -> V) -> Result<Self> {
        let cpus = possible()?;
        Ok(Self { values: cpus.iter().map(make).collect(), cpus })
    }

    /// The value of the CPU of this number, if that is a possible one.
    #[must_use]
    pub fn get(&self, cpu: u32) -> Option<&V> {
        self.values.get(self.cpus.place(cpu)?)
    }

    /// The value of the CPU of this number, to change.
    pub fn get_mut(&mut self, cpu: u32) -> Option<&mut V> {
        self.values.get_mut(self.cpus.place(cpu)?)
    }

    /// The numbers of the CPUs and their values.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u32, &V)> + DoubleEndedIterator {
        self.cpus.iter().zip(&self.values)
    }

    /// The values, in order of the possible CPUs.
    #[must_use]
    pub fn values(&self) -> &[V] {
        &self.values
    }
}

impl<V> IntoIterator for PerCpu<V> {
    type Item = (u32, V);
    type IntoIter = std::vec::IntoIter<(u32, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.cpus.iter().zip(self.values).collect::<Vec<_>>().into_iter()
    }
}

/// A percpu array: each element has a value for each CPU.
pub struct PercpuArray<V> {
    handle: Handle,
    value: PhantomData<fn() -> V>,
}

/// A percpu hash map, with or without LRU eviction: each element has a value for each CPU.
pub struct PercpuHashMap<K, V> {
    handle: Handle,
    element: PhantomData<fn() -> (K, V)>,
}

handle!([V: Plain] PercpuArray<V>);
handle!([K: Plain, V: Plain] PercpuHashMap<K, V>);

impl<V: Plain> PercpuArray<V> {
    fn check(handle: Handle) -> Result<Self> {
        let handle = handle.expect(&[MapType::PERCPU_ARRAY], Some(4), Some(size_of::<V>()))?;
        Ok(Self { handle, value: PhantomData })
    }

    /// How many elements there are.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "an array has its length from the beginning and never none")]
    pub fn len(&self) -> u32 {
        self.max_entries()
    }

    /// The values of all possible CPUs at `index`, with one system call.
    ///
    /// # Errors
    /// If there is no such element, or the map may not be read.
    pub fn get(&self, index: u32) -> Result<PerCpu<V>> {
        self.handle.percpu_get(as_bytes(&index))?.ok_or_else(|| self.outside(index))
    }

    /// The value of one CPU at `index`.
    ///
    /// # Errors
    /// If there is no such element or no such CPU, or the map may not be read.
    pub fn get_on(&self, index: u32, cpu: u32) -> Result<V> {
        self.handle.percpu_get_on(as_bytes(&index), cpu)?.ok_or_else(|| self.outside(index))
    }

    /// Sets the value of one CPU at `index`. Before Linux 7.0, what other CPUs write to the element at the same time is lost.
    ///
    /// # Errors
    /// If there is no such element or no such CPU, or the map may not be written.
    pub fn set_on(&self, index: u32, cpu: u32, value: &V) -> Result<()> {
        self.handle.percpu_set_on(as_bytes(&index), cpu, value)
    }

    /// Sets the value of all CPUs at `index` to one value, with one system call.
    ///
    /// # Errors
    /// If there is no such element, or the map may not be written.
    pub fn set_all(&self, index: u32, value: &V) -> Result<()> {
        self.handle.percpu_set_all(as_bytes(&index), value, elem_flags::ANY)
    }

    /// Sets the values of all possible CPUs at `index`, each to its own.
    ///
    /// # Errors
    /// If there is no such element, or the map may not be written.
    pub fn set_each(&self, index: u32, values: &PerCpu<V>) -> Result<()> {
        self.handle.percpu_set_each(as_bytes(&index), values)
    }

    /// What `fold` makes of the values of all possible CPUs at `index`, such as their sum.
    ///
    /// # Errors
    /// The same as of [`Self::get`].
    pub fn fold<A>(&self, index: u32, start: A, mut fold: impl FnMut(A, V) -> A) -> Result<A> {
        Ok(self.get(index)?.values().iter().fold(start, |all, &value| fold(all, value)))
    }

    fn outside(&self, index: u32) -> Error {
        self.handle.invalid(format_args!("there is no element {index}: it has {}", self.len()))
    }
}

impl<K: Plain, V: Plain> PercpuHashMap<K, V> {
    fn check(handle: Handle) -> Result<Self> {
        let types = [MapType::PERCPU_HASH, MapType::LRU_PERCPU_HASH, MapType::PERCPU_CGROUP_STORAGE];
        let handle = handle.expect(&types, Some(size_of::<K>()), Some(size_of::<V>()))?;
        Ok(Self { handle, element: PhantomData })
    }

    /// The values of all possible CPUs for `key`, with one system call.
    ///
    /// # Errors
    /// If the map may not be read.
    pub fn get(&self, key: &K) -> Result<Option<PerCpu<V>>> {
        self.handle.percpu_get(as_bytes(key))
    }

    /// The value of one CPU for `key`.
    ///
    /// # Errors
    /// If there is no such CPU, or the map may not be read.
    pub fn get_on(&self, key: &K, cpu: u32) -> Result<Option<V>> {
        self.handle.percpu_get_on(as_bytes(key), cpu)
    }

    /// Sets the value of one CPU for `key`; in a new element, those of the others are zero. Before Linux 7.0, what other CPUs
    /// write to the element at the same time is lost.
    ///
    /// # Errors
    /// If there is no such CPU, or the map is full or may not be written.
    pub fn set_on(&self, key: &K, cpu: u32, value: &V) -> Result<()> {
        self.handle.percpu_set_on(as_bytes(key), cpu, value)
    }

    /// Sets the value of all CPUs for `key` to one value, with one system call.
    ///
    /// # Errors
    /// If the map is full or may not be written.
    pub fn set_all(&self, key: &K, value: &V) -> Result<()> {
        self.handle.percpu_set_all(as_bytes(key), value, elem_flags::ANY)
    }

    /// Sets the values of all possible CPUs for `key`, each to its own.
    ///
    /// # Errors
    /// If the map is full or may not be written.
    pub fn set_each(&self, key: &K, values: &PerCpu<V>) -> Result<()> {
        self.handle.percpu_set_each(as_bytes(key), values)
    }

    /// What `fold` makes of the values of all possible CPUs for `key`, such as their sum.
    ///
    /// # Errors
    /// The same as of [`Self::get`].
    pub fn fold<A>(&self, key: &K, start: A, mut fold: impl FnMut(A, V) -> A) -> Result<Option<A>> {
        Ok(self.get(key)?.map(|all| all.values().iter().fold(start, |all, &value| fold(all, value))))
    }

    /// Removes `key`, and says whether it was there.
    ///
    /// # Errors
    /// If the map may not be written.
    pub fn remove(&self, key: &K) -> Result<bool> {
        self.handle.delete(as_bytes(key))
    }

    /// All elements. Ends at the first error. Elements that are set or removed meanwhile may come or not, and may come twice.
    pub fn iter(&self) -> impl Iterator<Item = Result<(K, PerCpu<V>)>> + '_ {
        let mut scan = Scan::new(&self.handle);
        std::iter::from_fn(move || match scan.next()? {
            Ok((key, values)) => Some(unpack(values, size_of::<V>()).and_then(|values| match from_bytes(key) {
                Some(key) => Ok((key, values)),
                None => Err(Error::invalid("a key of another length")),
            })),
            Err(error) => Some(Err(error)),
        })
    }

    /// All keys, as [`Self::iter`] gives them.
    pub fn keys(&self) -> impl Iterator<Item = Result<K>> + '_ {
        self.iter().map(|element| element.map(|(key, _)| key))
    }
}

impl Handle {
    /// All CPUs' values of an element.
    pub(crate) fn percpu_get<V: Plain>(&self, key: &[u8]) -> Result<Option<PerCpu<V>>> {
        let mut bytes = vec![0; self.map().full_len()];
        if self.lookup(key, &mut bytes, elem_flags::ANY)? {
            unpack(&bytes, self.map().value_len()).map(Some)
        } else {
            Ok(None)
        }
    }

    /// One CPU's value of an element.
    pub(crate) fn percpu_get_on<V: Plain>(&self, key: &[u8], cpu: u32) -> Result<Option<V>> {
        self.check_cpu(cpu)?;
        if self.map().has_cpu_flags() {
            let mut value = zeroed();
            let found = self.lookup(key, self.cut_mut(&mut value), on(cpu))?;
            return Ok(found.then_some(value));
        }
        Ok(self.percpu_get(key)?.and_then(|values| values.get(cpu).copied()))
    }

    /// Sets one CPU's value of an element.
    pub(crate) fn percpu_set_on<V: Plain>(&self, key: &[u8], cpu: u32, value: &V) -> Result<()> {
        self.check_cpu(cpu)?;
        if self.map().has_cpu_flags() {
            return self.update(key, self.cut(value), on(cpu));
        }
        let mut values = match self.percpu_get(key)? {
            Some(values) => values,
            None => PerCpu::from_fn(|_| zeroed())?,
        };
        if let Some(place) = values.get_mut(cpu) {
            *place = *value;
        }
        self.percpu_set_each(key, &values)
    }

    /// All bytes of one CPU's value of an element.
    pub(crate) fn percpu_bytes_on(&self, key: &[u8], cpu: u32) -> Result<Vec<u8>> {
        self.check_cpu(cpu)?;
        let len = self.map().value_len();
        let (mut bytes, from, flags) = if self.map().has_cpu_flags() {
            (vec![0; len], 0, on(cpu))
        } else {
            let place = possible()?.place(cpu).unwrap_or(0);
            (vec![0; self.map().full_len()], place.saturating_mul(len.next_multiple_of(8)), elem_flags::ANY)
        };
        if !self.lookup(key, &mut bytes, flags)? {
            return Err(self.invalid("it has no element"));
        }
        Ok(bytes.get(from..).and_then(|rest| rest.get(..len)).unwrap_or_default().to_vec())
    }

    /// Replaces bytes of one CPU's value of an element, all others as they were a moment before.
    pub(crate) fn percpu_replace_on(&self, key: &[u8], cpu: u32, from: usize, new: &[u8]) -> Result<()> {
        let outside = || self.invalid("the bytes to set lie outside its value");
        let replace = |bytes: &mut [u8]| {
            let place = bytes.get_mut(from..).and_then(|rest| rest.get_mut(..new.len())).ok_or_else(outside)?;
            place.copy_from_slice(new);
            Ok(())
        };
        if self.map().has_cpu_flags() {
            let mut bytes = self.percpu_bytes_on(key, cpu)?;
            replace(&mut bytes)?;
            return self.update(key, &bytes, on(cpu));
        }
        self.check_cpu(cpu)?;
        let slot = self.map().value_len().next_multiple_of(8);
        let begin = possible()?.place(cpu).unwrap_or(0).saturating_mul(slot);
        let mut bytes = vec![0; self.map().full_len()];
        if !self.lookup(key, &mut bytes, elem_flags::ANY)? {
            return Err(self.invalid("it has no element"));
        }
        replace(bytes.get_mut(begin..).and_then(|rest| rest.get_mut(..slot)).ok_or_else(outside)?)?;
        self.update(key, &bytes, elem_flags::ANY)
    }

    /// Sets all CPUs' values of an element to one.
    pub(crate) fn percpu_set_all<V: Plain>(&self, key: &[u8], value: &V, flags: u64) -> Result<()> {
        if self.map().has_cpu_flags() {
            return self.update(key, self.cut(value), flags | elem_flags::ALL_CPUS);
        }
        self.update(key, &self.pack::<V, _>(std::iter::repeat_n(value, possible()?.len())), flags)
    }

    /// Sets all CPUs' values of an element.
    pub(crate) fn percpu_set_each<V: Plain>(&self, key: &[u8], values: &PerCpu<V>) -> Result<()> {
        self.update(key, &self.pack::<V, _>(values.values().iter()), elem_flags::ANY)
    }

    /// The bytes of a value that the map has: a section of global data may end before its struct does.
    fn cut<'v, V: Plain>(&self, value: &'v V) -> &'v [u8] {
        let bytes = as_bytes(value);
        &bytes[..self.map().value_len().min(bytes.len())]
    }

    fn cut_mut<'v, V: Plain>(&self, value: &'v mut V) -> &'v mut [u8] {
        let bytes = as_bytes_mut(value);
        let len = self.map().value_len().min(bytes.len());
        &mut bytes[..len]
    }

    /// A full-width buffer of these values: each rounded up to eight bytes.
    fn pack<V: Plain, R: Borrow<V>>(&self, values: impl ExactSizeIterator<Item = R>) -> Vec<u8> {
        let slot = self.map().value_len().next_multiple_of(8);
        let mut bytes = Vec::with_capacity(slot.saturating_mul(values.len()));
        for value in values {
            bytes.extend_from_slice(self.cut(value.borrow()));
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        bytes
    }

    pub(crate) fn check_cpu(&self, cpu: u32) -> Result<()> {
        let cpus = possible()?;
        if cpus.contains(cpu) {
            return Ok(());
        }
        let error = self.invalid(format_args!("there is no CPU {cpu}"));
        Err(error.note(format_args!(
            "{} CPUs are possible, the highest is {}",
            cpus.len(),
            cpus.width().saturating_sub(1)
        )))
    }
}

/// The flags that mean one CPU.
fn on(cpu: u32) -> u64 {
    elem_flags::CPU | u64::from(cpu) << 32
}

/// The values in a full-width buffer, each of so many bytes and rounded up to eight.
fn unpack<V: Plain>(bytes: &[u8], value_len: usize) -> Result<PerCpu<V>> {
    let slot = value_len.next_multiple_of(8).max(8);
    let values: Box<[V]> = bytes.chunks_exact(slot).map(|slot| from_prefix(&slot[..value_len])).collect();
    Ok(PerCpu { values, cpus: possible()? })
}
