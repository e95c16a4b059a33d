//! Percpu global data after the load.
//!
//! # Safety
//! The whole map of emulated data is mapped: `slots` copies of `stride` bytes each. A copy contains a `T`. Before a
//! copy is accessed, its CPU is checked to be possible, and therefore below `slots`.
#![allow(unsafe_code, reason = "cells of mapped memory; see `# Safety`")]

use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

use super::mapped::whole;
use crate::data::Cell;
use crate::data::words;
use crate::data::{Plain, as_bytes, from_prefix, holds};
use crate::error::{Error, Result, Step};
use crate::map::{FromFd, Info, Opened, PerCpu, Supports, Untyped, about};
use crate::sys::cpus;
use crate::sys::mmap::Region;
use crate::uapi::{MapType, elem_flags};

/// A section of percpu global data: a `T` for each possible CPU.
///
/// On Linux 7.3 and later, if programs can access percpu arrays directly, the section is a percpu array, and each
/// method makes one system call. On other kernels the section is emulated: the map is an array with one element that
/// contains the copies of all CPUs, each in cache lines of its own, and methods access this memory without a system
/// call. Emulation has other differences:
///
/// - Emulated copies are contiguous, so all of them are in the memory of one NUMA node, that of the CPU that loaded the
///   object. The number of copies is the smallest power of two above every CPU number.
/// - Tools such as bpftool show a map of type array with all copies in one element, and iterators over percpu maps do
///   not visit it.
/// - Emulated data is read and written in pieces of at most 8 bytes, while programs may change it. Without emulation,
///   the kernel reads or writes the copy of one CPU in one request.
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
    handle: Untyped,
    copies: Option<Copies>,
    /// The size of the variables in bytes: `T` without its trailing padding.
    data_len: usize,
    /// The number of bytes of a copy, including the bytes that `percpu_resize` added.
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
    /// Returns the value of one CPU's copy.
    ///
    /// # Errors
    /// If the CPU does not exist, or the kernel rejects the request.
    pub fn get_on(&self, cpu: u32) -> Result<T> {
        match &self.copies {
            Some(copies) => {
                self.handle.check_cpu(cpu)?;
                Ok(copies.cells(cpu).get())
            }
            None if self.section_len > self.data_len => {
                Ok(from_prefix(&self.handle.percpu_bytes_on(as_bytes(&KEY), cpu)?[..self.data_len]))
            }
            None => self
                .handle
                .percpu_get_on(as_bytes(&KEY), cpu)?
                .ok_or_else(|| self.handle.invalid("the map has no element")),
        }
    }

    /// Sets the copy of one CPU.
    ///
    /// # Errors
    /// If the CPU does not exist, or the kernel rejects the request.
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
    /// If the kernel rejects the request.
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

    /// Sets the copy of each possible CPU to the CPU's value in `values`.
    ///
    /// # Errors
    /// If the kernel rejects the request.
    pub fn set_each(&self, values: &PerCpu<T>) -> Result<()> {
        if self.copies.is_none() && self.section_len == self.data_len {
            return self.handle.percpu_set_each(as_bytes(&KEY), values, elem_flags::ANY);
        }
        values.iter().try_for_each(|(cpu, value)| self.set_on(cpu, value))
    }

    /// Returns the copies of all possible CPUs.
    ///
    /// # Errors
    /// If the kernel rejects the request.
    pub fn get(&self) -> Result<PerCpu<T>> {
        match &self.copies {
            Some(copies) => PerCpu::from_fn(|cpu| copies.cells(cpu).get()),
            None => {
                self.handle.percpu_get(as_bytes(&KEY))?.ok_or_else(|| self.handle.invalid("the map has no element"))
            }
        }
    }

    /// Iterates over the numbers of the possible CPUs, with their copies.
    ///
    /// # Errors
    /// If the kernel rejects the request.
    pub fn iter(&self) -> Result<impl ExactSizeIterator<Item = (u32, T)> + DoubleEndedIterator + use<T>> {
        Ok(self.get()?.into_iter())
    }

    /// Combines the copies of all possible CPUs into one value, such as a sum.
    ///
    /// # Errors
    /// If the kernel rejects the request.
    pub fn fold<A>(&self, start: A, mut fold: impl FnMut(A, T) -> A) -> Result<A> {
        Ok(self.iter()?.fold(start, |all, (_, value)| fold(all, value)))
    }

    /// Returns the bytes that `percpu_resize` added to one CPU's copy of the section before the load, as values of a
    /// plain type.
    ///
    /// # Errors
    /// If the CPU does not exist, or the number of added bytes is not a multiple of the size of `U`.
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

    /// Writes `values` to the start of the bytes that `percpu_resize` added to one CPU's copy of the section.
    ///
    /// # Errors
    /// If the CPU does not exist, the values do not fit, or the number of added bytes is not a multiple of the size of
    /// `U`.
    pub fn set_tail_on<U: Plain>(&self, cpu: u32, values: &[U]) -> Result<()> {
        self.check_tail::<U>()?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| as_bytes(value).iter().copied()).collect();
        if bytes.len() > self.section_len - self.data_len {
            return Err(self.handle.invalid(format_args!(
                "{} bytes do not fit in the {} bytes that were added to the section",
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

    /// Returns the bytes of a value without the padding at its end.
    fn data<'v>(&self, value: &'v T) -> &'v [u8] {
        let bytes = as_bytes(value);
        &bytes[..self.data_len.min(bytes.len())]
    }

    /// Returns whether the percpu data is emulated, because the running kernel does not support direct access to it.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        self.copies.is_some()
    }
}

impl Copies {
    /// Returns a cell of a CPU's copy. The CPU must be possible.
    fn cells<T: Plain>(&self, cpu: u32) -> Cell<'_, T> {
        // SAFETY: `address` checks that a `T` there is inside the CPU's copy. The region is readable and writable, and
        // lives as long as `self`.
        unsafe { Cell::new(self.address(cpu, 0, size_of::<T>())) }
    }

    /// Reads bytes of a CPU's copy.
    fn read(&self, cpu: u32, from: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let ptr = self.address(cpu, from, len);
        // SAFETY: these bytes are inside the region.
        unsafe { words::read(ptr, &mut bytes) };
        bytes
    }

    /// Writes bytes of a CPU's copy.
    fn write(&self, cpu: u32, from: usize, bytes: &[u8]) {
        let ptr = self.address(cpu, from, bytes.len());
        // SAFETY: these bytes are inside the region, which is mapped writable.
        unsafe { words::write(ptr, bytes) };
    }

    /// Returns the address of the byte at `from` in a CPU's copy. Panics if `len` bytes from there are not inside the
    /// copy.
    fn address(&self, cpu: u32, from: usize, len: usize) -> NonNull<u8> {
        let offset = usize::try_from(cpu).map_or(usize::MAX, |cpu| cpu.saturating_mul(self.stride));
        let inside = from.checked_add(len).is_some_and(|end| end <= self.stride);
        assert!(inside && offset <= self.region.len() - self.stride, "emulated data has no copy for CPU {cpu}");
        // SAFETY: the offset is inside the region.
        unsafe { self.region.base().add(offset + from) }
    }
}

impl<T: Plain> PercpuData<T> {
    /// Checks the map's type and sizes and creates the handle. In each CPU's copy the section takes `section_len`
    /// bytes, of which the variables are the first `data_len`.
    fn check(handle: Untyped, data_len: usize, section_len: usize) -> Result<Self> {
        if !holds::<T>(data_len) || section_len < data_len {
            return Err(handle.mismatch(format_args!(
                "the variables take {data_len} of the section's {section_len} bytes, but their Rust type has {} bytes",
                size_of::<T>()
            )));
        }
        if handle.map().map_type() != MapType::ARRAY {
            let handle =
                handle.expect(&Supports::new(&[MapType::PERCPU_ARRAY], Some(size_of::<u32>()), Some(section_len)))?;
            return Ok(Self { handle, copies: None, data_len, section_len, value: PhantomData });
        }
        let handle = handle.expect(&Supports::new(&[MapType::ARRAY], Some(size_of::<u32>()), None))?;
        let len = handle.map().value_len();
        let slots = usize::try_from(cpus::possible()?.slots()).unwrap_or(usize::MAX);
        let stride = len / slots;
        // The map does not state how much of the stride is data, so only a stride that is too small is an error.
        if len % slots != 0 || size_of::<T>().max(section_len) > stride || handle.map().definition().max_entries != 1 {
            return Err(handle.mismatch(format_args!(
                "the value has {len} bytes, but must have {slots} copies of {section_len} bytes"
            )));
        }
        let region = Region::new(handle.as_fd(), 0, len, true)
            .map_err(|errno| handle.refused(Step::Open, "cannot be mapped into memory", errno))?;
        Ok(Self { handle, copies: Some(Copies { region, stride }), data_len, section_len, value: PhantomData })
    }
}

impl<T: Plain> FromFd for PercpuData<T> {
    fn from_fd(map: Opened, info: &Info<'_>) -> Result<Self> {
        let bytes = |size: u32| usize::try_from(size).unwrap_or(usize::MAX);
        Self::check(Untyped::new(map, info, cpus::count)?, bytes(info.data_size), bytes(info.section_size))
    }
}

/// Reads the map's type and sizes from the kernel and fails if the map's value is not a `T` for each CPU. The number of
/// bytes that `percpu_resize` added is then unknown, so these bytes are not accessible.
impl<T: Plain> TryFrom<OwnedFd> for PercpuData<T> {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        let handle = Untyped::of_fd(fd)?;
        let len = handle.map().value_len();
        let (data_len, section_len) = match handle.map().map_type() {
            MapType::PERCPU_ARRAY if holds::<T>(len) => (len, len),
            MapType::PERCPU_ARRAY => (size_of::<T>(), len),
            // The map of emulated data has only the distance between the copies, not the size of the section.
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
    #[should_panic = "has no copy for CPU"]
    fn copies_have_bounds() {
        let copies = Copies { region: Region::anonymous(1), stride: 64 };
        copies.write(u32::MAX, 0, &[1]);
    }
}
