//! Requests for percpu maps: with the flags of Linux 7.0, or with full-width values.
//!
//! A full-width value consists of the values of all possible CPUs in ascending order, each padded to a multiple of 8
//! bytes.
//!
//! `NOEXIST` and `EXIST` cannot be combined with the CPU flags. Linux 7.0 to 7.3 return `EINVAL` for their combination
//! with `ALL_CPUS`, and ignore them in combination with `CPU` (`htab_map_check_update_flags` and `check_flags`,
//! kernel/bpf/hashtab.c, and `bpf_percpu_array_update`, kernel/bpf/arraymap.c). Therefore these flags use full-width
//! values, and `EXIST` for one CPU is preceded by a lookup.

use std::borrow::Borrow;

use super::PerCpu;
use super::stale::leaves_stale_values;
use crate::data::Plain;
use crate::data::{as_bytes, as_bytes_mut, from_prefix, slice_as_bytes, zeroed};
use crate::error::{Result, Step};
use crate::map::Untyped;
use crate::sys::cpus::possible;
use crate::sys::elem::{EEXIST, ENOENT};
use crate::uapi::{MapType, elem_flags};

/// The maximum number of bytes of full-width values in a batch, unless one element has more.
const BATCH_BYTES: usize = 1 << 20;

impl Untyped {
    /// Returns all CPUs' values of an element.
    pub(crate) fn percpu_get<V: Plain>(&self, key: &[u8]) -> Result<Option<PerCpu<V>>> {
        let mut bytes = vec![0; self.map().full_len()];
        if self.lookup(key, &mut bytes, elem_flags::ANY)? {
            unpack(&bytes, self.map().value_len()).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Returns one CPU's value of an element.
    pub(crate) fn percpu_get_on<V: Plain>(&self, key: &[u8], cpu: u32) -> Result<Option<V>> {
        self.check_cpu(cpu)?;
        if self.map().has_cpu_flags()? {
            let mut value = zeroed();
            let found = self.lookup(key, self.cut_mut(&mut value), on(cpu))?;
            return Ok(found.then_some(value));
        }
        Ok(self.percpu_get(key)?.and_then(|values| values.get(cpu).copied()))
    }

    /// Removes an element and returns all CPUs' values.
    pub(super) fn percpu_take<V: Plain>(&self, key: &[u8]) -> Result<Option<PerCpu<V>>> {
        let mut bytes = vec![0; self.map().full_len()];
        if self.take_keyed(key, &mut bytes)? { unpack(&bytes, self.map().value_len()).map(Some) } else { Ok(None) }
    }

    /// Sets one CPU's value of an element.
    pub(crate) fn percpu_set_on<V: Plain>(&self, key: &[u8], cpu: u32, value: &V, flags: u64) -> Result<()> {
        self.check_cpu(cpu)?;
        if self.map().has_cpu_flags()? && flags != elem_flags::NOEXIST {
            let stale = self.may_be_stale()?;
            if (stale || flags == elem_flags::EXIST) && self.percpu_get_on::<V>(key, cpu)?.is_none() {
                if flags == elem_flags::EXIST {
                    return Err(self.refused(Step::WriteMap, "cannot set an element", ENOENT));
                }
                match self.percpu_set_on(key, cpu, value, elem_flags::NOEXIST) {
                    // Another thread or program created the element meanwhile.
                    Err(error) if error.errno() == Some(EEXIST) => {}
                    result => return result,
                }
            }
            return self.update(key, self.cut(value), flags & !elem_flags::EXIST | on(cpu));
        }
        let mut values = match self.percpu_get(key)? {
            Some(values) if flags != elem_flags::NOEXIST => values,
            _ => PerCpu::from_fn(|_| zeroed())?,
        };
        if let Some(slot) = values.get_mut(cpu) {
            *slot = *value;
        }
        self.percpu_set_each(key, &values, flags)
    }

    /// Sets one CPU's values of many elements.
    pub(super) fn percpu_set_many_on<V: Plain>(&self, keys: &[u8], cpu: u32, values: &[V]) -> Result<()> {
        self.check_cpu(cpu)?;
        self.check_many(keys, values.len())?;
        if self.map().has_cpu_flags()? && !self.may_be_stale()? {
            return self.update_many(keys, slice_as_bytes(values), on(cpu));
        }
        let mut pairs = keys.chunks_exact(self.map().key_len().max(1)).zip(values);
        pairs.try_for_each(|(key, value)| self.percpu_set_on(key, cpu, value, elem_flags::ANY))
    }

    /// Sets all CPUs' values of many elements. `values` has one value for each element.
    pub(super) fn percpu_set_many_all<V: Plain>(&self, keys: &[u8], values: &[V]) -> Result<()> {
        self.check_many(keys, values.len())?;
        if self.map().has_cpu_flags()? {
            return self.update_many(keys, slice_as_bytes(values), elem_flags::ALL_CPUS);
        }
        let cpus = possible()?.len();
        self.update_chunks(keys, values, |value| self.pack::<V, _>(std::iter::repeat_n(value, cpus)))
    }

    /// Sets all CPUs' values of many elements. `values` has a value for each element and CPU.
    pub(super) fn percpu_set_many_each<V: Plain>(&self, keys: &[u8], values: &[PerCpu<V>]) -> Result<()> {
        self.check_many(keys, values.len())?;
        self.update_chunks(keys, values, |values| self.pack::<V, _>(values.values().iter()))
    }

    /// Sets many elements to the results of `pack` for their values, in batches of limited size.
    fn update_chunks<T>(&self, keys: &[u8], values: &[T], pack: impl Fn(&T) -> Vec<u8>) -> Result<()> {
        let (key_len, full_len) = (self.map().key_len().max(1), self.map().full_len().max(1));
        let chunk = (BATCH_BYTES / full_len).max(1);
        let mut chunks = keys.chunks(chunk.saturating_mul(key_len)).zip(values.chunks(chunk));
        chunks.try_for_each(|(keys, values)| {
            let values: Vec<u8> = values.iter().flat_map(&pack).collect();
            self.update_many(keys, &values, elem_flags::ANY)
        })
    }

    /// Returns whether setting one CPU's value of a new element may leave stale values for the other CPUs.
    fn may_be_stale(&self) -> Result<bool> {
        let makes_elements = matches!(self.map().map_type(), MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH);
        Ok(makes_elements && leaves_stale_values()?)
    }

    fn check_many(&self, keys: &[u8], values: usize) -> Result<()> {
        let keys = keys.len().checked_div(self.map().key_len()).unwrap_or(0);
        if keys == values { Ok(()) } else { Err(self.invalid(format_args!("{keys} keys but {values} values"))) }
    }

    /// Returns all bytes of one CPU's value of an element.
    pub(crate) fn percpu_bytes_on(&self, key: &[u8], cpu: u32) -> Result<Vec<u8>> {
        self.check_cpu(cpu)?;
        let len = self.map().value_len();
        let (mut bytes, from, flags) = if self.map().has_cpu_flags()? {
            (vec![0; len], 0, on(cpu))
        } else {
            let index = possible()?.position(cpu).unwrap_or(0);
            (vec![0; self.map().full_len()], index.saturating_mul(len.next_multiple_of(8)), elem_flags::ANY)
        };
        if !self.lookup(key, &mut bytes, flags)? {
            return Err(self.invalid("the map has no element"));
        }
        Ok(bytes.get(from..).and_then(|rest| rest.get(..len)).unwrap_or_default().to_vec())
    }

    /// Replaces bytes of one CPU's value of an element. Reads the value first, and writes its other bytes back
    /// unchanged.
    pub(crate) fn percpu_replace_on(&self, key: &[u8], cpu: u32, from: usize, new: &[u8]) -> Result<()> {
        let outside = || self.invalid("the bytes to set lie outside of the value");
        let replace = |bytes: &mut [u8]| {
            let part = bytes.get_mut(from..).and_then(|rest| rest.get_mut(..new.len())).ok_or_else(outside)?;
            part.copy_from_slice(new);
            Ok(())
        };
        if self.map().has_cpu_flags()? {
            let mut bytes = self.percpu_bytes_on(key, cpu)?;
            replace(&mut bytes)?;
            return self.update(key, &bytes, on(cpu));
        }
        self.check_cpu(cpu)?;
        let slot = self.map().value_len().next_multiple_of(8);
        let begin = possible()?.position(cpu).unwrap_or(0).saturating_mul(slot);
        let mut bytes = vec![0; self.map().full_len()];
        if !self.lookup(key, &mut bytes, elem_flags::ANY)? {
            return Err(self.invalid("the map has no element"));
        }
        replace(bytes.get_mut(begin..).and_then(|rest| rest.get_mut(..slot)).ok_or_else(outside)?)?;
        self.update(key, &bytes, elem_flags::ANY)
    }

    /// Sets all CPUs' values of an element to one value.
    pub(crate) fn percpu_set_all<V: Plain>(&self, key: &[u8], value: &V, flags: u64) -> Result<()> {
        if self.map().has_cpu_flags()? && flags == elem_flags::ANY {
            return self.update(key, self.cut(value), elem_flags::ALL_CPUS);
        }
        self.update(key, &self.pack::<V, _>(std::iter::repeat_n(value, possible()?.len())), flags)
    }

    /// Sets all CPUs' values of an element.
    pub(crate) fn percpu_set_each<V: Plain>(&self, key: &[u8], values: &PerCpu<V>, flags: u64) -> Result<()> {
        self.update(key, &self.pack::<V, _>(values.values().iter()), flags)
    }

    /// Returns the bytes of a value, without the struct's trailing padding if the map's value does not include it, as
    /// for a section of global data.
    fn cut<'v, V: Plain>(&self, value: &'v V) -> &'v [u8] {
        let bytes = as_bytes(value);
        &bytes[..self.map().value_len().min(bytes.len())]
    }

    fn cut_mut<'v, V: Plain>(&self, value: &'v mut V) -> &'v mut [u8] {
        let bytes = as_bytes_mut(value);
        let len = self.map().value_len().min(bytes.len());
        &mut bytes[..len]
    }

    /// Returns a full-width buffer of these values, each rounded up to 8 bytes.
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
        if possible()?.contains(cpu) { Ok(()) } else { Err(self.no_cpu(cpu)) }
    }
}

/// Returns the flags that select one CPU.
fn on(cpu: u32) -> u64 {
    elem_flags::CPU | u64::from(cpu) << 32
}

/// Returns the values in a full-width buffer, each of `value_len` bytes and rounded up to 8.
pub(super) fn unpack<V: Plain>(bytes: &[u8], value_len: usize) -> Result<PerCpu<V>> {
    let slot = value_len.next_multiple_of(8).max(8);
    let values: Box<[V]> = bytes.chunks_exact(slot).map(|slot| from_prefix(&slot[..value_len])).collect();
    Ok(PerCpu { values, cpus: possible()? })
}
