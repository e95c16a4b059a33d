//! Percpu global data once it is loaded.
//!
//! # Safety
//! Of emulated data the whole map is mapped, which is `slots` copies of `stride` bytes each; a copy holds a `T`, and a CPU is
//! checked to be possible, and with that below `slots`, before its copy is touched.
#![allow(unsafe_code, reason = "cells of mapped memory; see `# Safety`")]

use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

use super::mapped::whole;
use crate::data::Cell;
use crate::data::words;
use crate::data::{Plain, as_bytes, from_prefix, holds};
use crate::error::{Error, Result, Step};
use crate::map::{FromFd, Handle, Info, PerCpu, about};
use crate::sys::cpus;
use crate::sys::mmap::Region;
use crate::uapi::{MapType, elem_flags};

/// A section of percpu global data: a `T` for each possible CPU.
///
/// Linux 7.3 and later keep it in a percpu array, and each call here is one system call. For older kernels the skeleton loads an
/// array of one element that holds all CPUs' copies, each in cache lines of its own, and calls here read and write shared memory,
/// without a system call. What differs besides:
///
/// - emulated copies are contiguous, so they all lie in the memory of the NUMA node that loaded the object, and there is one for
///   each number up to the next power of two, possible CPU or not;
/// - tools see a map of type array, whose element is all copies, and iterators over percpu maps do not see it;
/// - natively one CPU's copy is read or set at once as far as the kernel's copying goes; emulated data is read and written in
///   pieces of at most eight bytes, while programs may change it.
///
/// ```
/// use skelgen_runtime::PercpuData;
///
/// fn sum(hits: &PercpuData<u64>) -> skelgen_runtime::Result<u64> {
///     hits.set_on(0, &5)?;
///     for (cpu, count) in hits.iter()? {
///         println!("CPU {cpu}: {count}");
///     }
///     hits.fold(0, |sum, count| sum + count)
/// }
/// ```
pub struct PercpuData<T> {
    handle: Handle,
    copies: Option<Copies>,
    /// Bytes of a copy that are a `T`'s, without padding at its end.
    data_len: usize,
    /// Bytes of a copy in all: more, if the section was made longer.
    section_len: usize,
    value: PhantomData<fn() -> T>,
}

/// The mapped memory of emulated data.
struct Copies {
    region: Region,
    stride: usize,
}

const KEY: u32 = 0;

impl<T: Plain> PercpuData<T> {
    /// Returns the copy of one CPU.
    ///
    /// # Errors
    /// If there is no such CPU; the message names it.
    pub fn get_on(&self, cpu: u32) -> Result<T> {
        match &self.copies {
            Some(copies) => {
                self.handle.check_cpu(cpu)?;
                Ok(copies.cells(cpu).get())
            }
            None if self.section_len > self.data_len => {
                Ok(from_prefix(&self.handle.percpu_bytes_on(as_bytes(&KEY), cpu)?[..self.data_len]))
            }
            None => {
                self.handle.percpu_get_on(as_bytes(&KEY), cpu)?.ok_or_else(|| self.handle.invalid("it has no element"))
            }
        }
    }

    /// Sets the copy of one CPU.
    ///
    /// # Errors
    /// If there is no such CPU; the message names it.
    pub fn set_on(&self, cpu: u32, value: &T) -> Result<()> {
        match &self.copies {
            Some(copies) => {
                self.handle.check_cpu(cpu)?;
                copies.write(cpu, 0, self.data(value));
                Ok(())
            }
            None if self.section_len > self.data_len => {
                self.handle.percpu_replace_on(as_bytes(&KEY), cpu, 0, self.data(value))
            }
            None => self.handle.percpu_set_on(as_bytes(&KEY), cpu, value, elem_flags::ANY),
        }
    }

    /// Sets the copies of all CPUs to one value.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn set_all(&self, value: &T) -> Result<()> {
        match &self.copies {
            Some(copies) => {
                cpus::possible()?.iter().for_each(|cpu| copies.write(cpu, 0, self.data(value)));
                Ok(())
            }
            None if self.section_len > self.data_len => {
                cpus::possible()?.iter().try_for_each(|cpu| self.set_on(cpu, value))
            }
            None => self.handle.percpu_set_all(as_bytes(&KEY), value, elem_flags::ANY),
        }
    }

    /// Sets the copies of all CPUs, each to its own value.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn set_each(&self, values: &PerCpu<T>) -> Result<()> {
        if self.copies.is_none() && self.section_len == self.data_len {
            return self.handle.percpu_set_each(as_bytes(&KEY), values, elem_flags::ANY);
        }
        values.iter().try_for_each(|(cpu, value)| self.set_on(cpu, value))
    }

    /// Returns the copies of all possible CPUs.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn get(&self) -> Result<PerCpu<T>> {
        match &self.copies {
            Some(copies) => PerCpu::from_fn(|cpu| copies.cells(cpu).get()),
            None => self.handle.percpu_get(as_bytes(&KEY))?.ok_or_else(|| self.handle.invalid("it has no element")),
        }
    }

    /// Iterates over the possible CPUs, by number, and their copies.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn iter(&self) -> Result<impl ExactSizeIterator<Item = (u32, T)> + DoubleEndedIterator + use<T>> {
        Ok(self.get()?.into_iter())
    }

    /// Combines the copies of all possible CPUs into one value, such as a sum.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn fold<A>(&self, start: A, mut fold: impl FnMut(A, T) -> A) -> Result<A> {
        Ok(self.iter()?.fold(start, |all, (_, value)| fold(all, value)))
    }

    /// Returns the bytes that one CPU's copy was made longer by (`…_resize` before the load), as values of a plain type.
    ///
    /// # Errors
    /// If there is no such CPU, or that many bytes are not a whole number of `U`.
    pub fn tail_on<U: Plain>(&self, cpu: u32) -> Result<Vec<U>> {
        self.check_tail::<U>()?;
        let bytes = match &self.copies {
            Some(copies) => {
                self.handle.check_cpu(cpu)?;
                copies.read(cpu, self.data_len, self.section_len - self.data_len)
            }
            None => self.handle.percpu_bytes_on(as_bytes(&KEY), cpu)?.split_off(self.data_len),
        };
        Ok(bytes.chunks_exact(size_of::<U>()).map(from_prefix).collect())
    }

    /// Sets what one CPU's copy was made longer by, from its beginning on.
    ///
    /// # Errors
    /// If there is no such CPU, or the values are more than fit.
    pub fn set_tail_on<U: Plain>(&self, cpu: u32, values: &[U]) -> Result<()> {
        self.check_tail::<U>()?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| as_bytes(value).iter().copied()).collect();
        if bytes.len() > self.section_len - self.data_len {
            return Err(self.handle.invalid(format_args!(
                "{} bytes do not fit into the {} that it was made longer by",
                bytes.len(),
                self.section_len - self.data_len
            )));
        }
        match &self.copies {
            Some(copies) => {
                self.handle.check_cpu(cpu)?;
                copies.write(cpu, self.data_len, &bytes);
                Ok(())
            }
            None => self.handle.percpu_replace_on(as_bytes(&KEY), cpu, self.data_len, &bytes),
        }
    }

    fn check_tail<U: Plain>(&self) -> Result<()> {
        whole::<U>(self.section_len - self.data_len).map(drop).map_err(|why| self.handle.mismatch(why))
    }

    /// The bytes of a value that a copy has.
    fn data<'v>(&self, value: &'v T) -> &'v [u8] {
        let bytes = as_bytes(value);
        &bytes[..self.data_len.min(bytes.len())]
    }

    /// Returns whether the percpu data is emulated, because the running kernel has no direct access to it.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        self.copies.is_some()
    }
}

impl Copies {
    /// A CPU's copy; the CPU is possible.
    fn cells<T: Plain>(&self, cpu: u32) -> Cell<'_, T> {
        // SAFETY: from there, the region is mapped for reading and writing for a stride or more, which a `T` fits into.
        unsafe { Cell::new(self.place(cpu, 0, size_of::<T>())) }
    }

    /// Bytes of a CPU's copy.
    fn read(&self, cpu: u32, from: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let place = self.place(cpu, from, len);
        // SAFETY: so many bytes are inside the region from there.
        unsafe { words::read(place, &mut bytes) };
        bytes
    }

    /// Sets bytes of a CPU's copy.
    fn write(&self, cpu: u32, from: usize, bytes: &[u8]) {
        let place = self.place(cpu, from, bytes.len());
        // SAFETY: so many bytes are inside the region from there, which is mapped for writing.
        unsafe { words::write(place, bytes) };
    }

    /// Where so many bytes of a CPU's copy begin; all of them are inside it.
    fn place(&self, cpu: u32, from: usize, len: usize) -> NonNull<u8> {
        let offset = usize::try_from(cpu).map_or(usize::MAX, |cpu| cpu.saturating_mul(self.stride));
        let inside = from.checked_add(len).is_some_and(|end| end <= self.stride);
        assert!(inside && offset <= self.region.len() - self.stride, "CPU {cpu} is not among the copies");
        // SAFETY: the offset is inside the region.
        unsafe { self.region.base().add(offset + from) }
    }
}

impl<T: Plain> PercpuData<T> {
    /// The data of which the variables take so many bytes of a CPU's copy, and so many are used in all.
    fn check(handle: Handle, data_len: usize, section_len: usize) -> Result<Self> {
        if !holds::<T>(data_len) || section_len < data_len {
            return Err(handle.mismatch(format_args!(
                "its variables take {data_len} of {section_len} bytes, but their Rust type has {}",
                size_of::<T>()
            )));
        }
        if handle.map().map_type() != MapType::ARRAY {
            let handle = handle.expect(&[MapType::PERCPU_ARRAY], Some(size_of::<u32>()), Some(section_len))?;
            return Ok(Self { handle, copies: None, data_len, section_len, value: PhantomData });
        }
        let handle = handle.expect(&[MapType::ARRAY], Some(size_of::<u32>()), None)?;
        let len = handle.map().value_len();
        let slots = usize::try_from(cpus::possible()?.slots()).unwrap_or(usize::MAX);
        let stride = len / slots;
        // How much of the stride is data the map does not say, so it can only be too small.
        if len % slots != 0 || size_of::<T>().max(section_len) > stride || handle.map().info().max_entries != 1 {
            return Err(handle.mismatch(format_args!(
                "its value has {len} bytes, which are not {slots} copies of {section_len} bytes"
            )));
        }
        let region = Region::new(handle.as_fd(), 0, len, true)
            .map_err(|errno| handle.refused(Step::Open, "mapping it into memory", errno))?;
        Ok(Self { handle, copies: Some(Copies { region, stride }), data_len, section_len, value: PhantomData })
    }
}

impl<T: Plain> FromFd for PercpuData<T> {
    fn from_fd(fd: OwnedFd, info: &Info) -> Result<Self> {
        let bytes = |size: u32| usize::try_from(size).unwrap_or(usize::MAX);
        Self::check(Handle::new(fd, info)?, bytes(info.data_size), bytes(info.section_size))
    }
}

/// Asks the kernel what map it is, and fails if it is not one that holds a `T` for each CPU. What the section was made longer by is
/// not known then, and left alone.
impl<T: Plain> TryFrom<OwnedFd> for PercpuData<T> {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        let handle = Handle::of_fd(fd)?;
        let len = handle.map().value_len();
        let (data_len, section_len) = match handle.map().map_type() {
            MapType::PERCPU_ARRAY if holds::<T>(len) => (len, len),
            MapType::PERCPU_ARRAY => (size_of::<T>(), len),
            // Of emulated data the map says only how far copies are apart.
            _ => (size_of::<T>(), size_of::<T>()),
        };
        Self::check(handle, data_len, section_len)
    }
}

about!([T: Plain] PercpuData<T>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_apart() {
        let copies = Copies { region: Region::anonymous(4 * 64), stride: 64 };
        std::thread::scope(|scope| {
            for cpu in 0..4u32 {
                let copies = &copies;
                scope.spawn(move || {
                    copies.write(cpu, 0, &[cpu.to_le_bytes()[0]; 61]);
                    copies.cells::<[u32; 4]>(cpu).field::<u32>(4).fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                });
            }
        });
        for cpu in 0..4 {
            let number = u32::from_le_bytes([cpu; 4]);
            assert_eq!(copies.cells::<[u32; 2]>(cpu.into()).get(), [number, number + 1]);
            assert_eq!(copies.read(cpu.into(), 59, 5), [cpu, cpu, 0, 0, 0]);
        }
    }

    #[test]
    #[should_panic = "is not among the copies"]
    fn copies_have_bounds() {
        let copies = Copies { region: Region::anonymous(1), stride: 64 };
        copies.write(u32::MAX, 0, &[1]);
    }
}
