//! Writable global data once it is loaded.
//!
//! # Safety
//! The region is at least as long as the map's value, which is checked to be as long as a `T`; cells borrow from the region's
//! owner, and nobody gets a reference into the memory.
#![allow(unsafe_code, reason = "cells of mapped memory; see `# Safety`")]

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::cell::Cells;
use super::plain::Plain;
use crate::error::Result;
use crate::map::{FromFd, Handle, Info};
use crate::sys::mmap::Region;
use crate::uapi::MapType;

/// A section of global data, in memory that is shared with the programs.
pub struct Mapped<T> {
    handle: Handle,
    region: Region,
    value: PhantomData<fn() -> T>,
}

impl<T: Plain> Mapped<T> {
    /// The place of the value.
    #[must_use]
    pub fn cells(&self) -> Cells<'_, T> {
        // SAFETY: the region is readable, writable, as long as a `T` or longer, and lives as long as `self`.
        unsafe { Cells::new(self.region.base()) }
    }
}

impl<T: Plain> FromFd for Mapped<T> {
    fn from_fd(fd: OwnedFd, info: &Info) -> Result<Self> {
        let handle = Handle::new(fd, info)?.expect_section::<T>(MapType::ARRAY)?;
        let region = Region::new(handle.as_fd(), 0, size_of::<T>(), true)
            .map_err(|errno| handle.refused("mapping it into memory", errno))?;
        Ok(Self { handle, region, value: PhantomData })
    }
}

impl<T> AsFd for Mapped<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl<T> fmt::Debug for Mapped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mapped").field(&self.handle).finish()
    }
}
