//! Percpu global data once it is loaded.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::plain::{Plain, as_bytes};
use crate::error::Result;
use crate::map::{FromFd, Handle, Info, PerCpu};
use crate::uapi::{MapType, elem_flags};

/// A section of percpu global data: a `T` for each possible CPU.
///
/// Linux 7.0 and later read and write one CPU's copy at its own length. Older kernels hand over all copies at once; then setting
/// one CPU's copy is reading all and writing all, and what other CPUs write in between is lost.
pub struct PercpuData<T> {
    handle: Handle,
    value: PhantomData<fn() -> T>,
}

const KEY: u32 = 0;

impl<T: Plain> PercpuData<T> {
    /// The copy of one CPU.
    ///
    /// # Errors
    /// If there is no such CPU; the message names it.
    pub fn get(&self, cpu: u32) -> Result<T> {
        self.handle.percpu_get_on(as_bytes(&KEY), cpu)?.ok_or_else(|| self.handle.invalid("it has no element"))
    }

    /// Sets the copy of one CPU.
    ///
    /// # Errors
    /// If there is no such CPU; the message names it.
    pub fn set(&self, cpu: u32, value: &T) -> Result<()> {
        self.handle.percpu_set_on(as_bytes(&KEY), cpu, value)
    }

    /// Sets the copies of all CPUs to one value, with one system call.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn set_all(&self, value: &T) -> Result<()> {
        self.handle.percpu_set_all(as_bytes(&KEY), value, elem_flags::ANY)
    }

    /// The copies of all possible CPUs, with one system call.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn get_each(&self) -> Result<PerCpu<T>> {
        self.handle.percpu_get(as_bytes(&KEY))?.ok_or_else(|| self.handle.invalid("it has no element"))
    }

    /// The possible CPUs and their copies, with one system call.
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
}

impl<T: Plain> FromFd for PercpuData<T> {
    fn from_fd(fd: OwnedFd, info: &Info) -> Result<Self> {
        let handle = Handle::new(fd, info)?.expect_section::<T>(MapType::PERCPU_ARRAY)?;
        Ok(Self { handle, value: PhantomData })
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
