//! Percpu global data once it is loaded.
//!
//! # Safety
//! Of emulated data the whole map is mapped, which is `slots` copies of `stride` bytes each; a copy holds a `T`, and a CPU is
//! checked to be possible, and with that below `slots`, before its copy is touched.
#![allow(unsafe_code, reason = "cells of mapped memory; see `# Safety`")]

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::cell::Cells;
use super::plain::{Plain, as_bytes};
use crate::error::Result;
use crate::kernel::cpus;
use crate::map::{FromFd, Handle, Info, PerCpu};
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
pub struct PercpuData<T> {
    handle: Handle,
    copies: Option<Copies>,
    value: PhantomData<fn() -> T>,
}

/// The mapped memory of emulated data.
struct Copies {
    region: Region,
    stride: usize,
}

const KEY: u32 = 0;

impl<T: Plain> PercpuData<T> {
    /// The copy of one CPU.
    ///
    /// # Errors
    /// If there is no such CPU; the message names it.
    pub fn get(&self, cpu: u32) -> Result<T> {
        match &self.copies {
            Some(copies) => {
                self.handle.check_cpu(cpu)?;
                Ok(copies.cells(cpu).get())
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
    pub fn set(&self, cpu: u32, value: &T) -> Result<()> {
        match &self.copies {
            Some(copies) => {
                self.handle.check_cpu(cpu)?;
                copies.cells(cpu).set(*value);
                Ok(())
            }
            None => self.handle.percpu_set_on(as_bytes(&KEY), cpu, value),
        }
    }

    /// Sets the copies of all CPUs to one value.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn set_all(&self, value: &T) -> Result<()> {
        match &self.copies {
            Some(copies) => {
                cpus::possible()?.iter().for_each(|cpu| copies.cells(cpu).set(*value));
                Ok(())
            }
            None => self.handle.percpu_set_all(as_bytes(&KEY), value, elem_flags::ANY),
        }
    }

    /// The copies of all possible CPUs.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn get_each(&self) -> Result<PerCpu<T>> {
        match &self.copies {
            Some(copies) => PerCpu::from_fn(|cpu| copies.cells(cpu).get()),
            None => self.handle.percpu_get(as_bytes(&KEY))?.ok_or_else(|| self.handle.invalid("it has no element")),
        }
    }

    /// The possible CPUs and their copies.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn iter(&self) -> Result<impl ExactSizeIterator<Item = (u32, T)> + DoubleEndedIterator + use<T>> {
        Ok(self.get_each()?.into_iter())
    }

    /// What `fold` makes of the copies of all possible CPUs, such as a sum.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn fold<A>(&self, start: A, mut fold: impl FnMut(A, T) -> A) -> Result<A> {
        Ok(self.iter()?.fold(start, |all, (_, value)| fold(all, value)))
    }

    /// Whether the running kernel has no direct access to percpu data, so that it is emulated.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        self.copies.is_some()
    }
}

impl Copies {
    /// A CPU's copy; the CPU is possible.
    fn cells<T: Plain>(&self, cpu: u32) -> Cells<'_, T> {
        let offset = usize::try_from(cpu).map_or(usize::MAX, |cpu| cpu.saturating_mul(self.stride));
        assert!(offset <= self.region.len() - self.stride, "CPU {cpu} is not among the copies");
        // SAFETY: the offset is inside the region.
        let place = unsafe { self.region.base().add(offset) };
        // SAFETY: from there, the region is mapped for reading and writing for a stride or more, which a `T` fits into.
        unsafe { Cells::new(place) }
    }
}

impl<T: Plain> FromFd for PercpuData<T> {
    fn from_fd(fd: OwnedFd, info: &Info) -> Result<Self> {
        let handle = Handle::new(fd, info)?;
        if handle.map().map_type() != MapType::ARRAY {
            let handle = handle.expect_section::<T>(MapType::PERCPU_ARRAY)?;
            return Ok(Self { handle, copies: None, value: PhantomData });
        }
        let handle = handle.expect(&[MapType::ARRAY], Some(size_of::<u32>()), None)?;
        let len = handle.map().value_len();
        let slots = usize::try_from(cpus::possible()?.slots()).unwrap_or(usize::MAX);
        let stride = len / slots;
        // How much of the stride is data the map does not say, so it can only be too small.
        if len % slots != 0 || size_of::<T>() > stride || handle.map().info().max_entries != 1 {
            return Err(handle.invalid(format_args!(
                "its value has {len} bytes, which are not {slots} copies of {} bytes",
                size_of::<T>()
            )));
        }
        let region = Region::new(handle.as_fd(), 0, len, true)
            .map_err(|errno| handle.refused("mapping it into memory", errno))?;
        Ok(Self { handle, copies: Some(Copies { region, stride }), value: PhantomData })
    }
}

impl<T> AsFd for PercpuData<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl<T> fmt::Debug for PercpuData<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PercpuData").field(&self.handle).finish()
    }
}
