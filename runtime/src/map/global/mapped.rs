//! Writable global data after the load, and arrays in memory that is shared with programs.
//!
//! # Safety
//! The region is at least as long as the map's value and as a `T`. The map's value is checked to begin with a `T`. The
//! region of an array contains all elements, each rounded up to 8 bytes as in the kernel. Cells borrow from the
//! region's owner, and no reference into the memory is ever created.
#![allow(unsafe_code, reason = "cells of mapped memory; see `# Safety`")]

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::data::Cell;
use crate::data::Plain;
use crate::error::{Errno, Error, Result, Step};
use crate::map::{FromFd, Info, Opened, Untyped, about, one_cpu};
use crate::sys::mmap::Region;

/// A section of global data, in memory that is shared with the programs.
///
/// A skeleton has a `Mapped` for each such section: `skeleton.bss` is the map, and `skeleton.bss()` returns the cells
/// of the variables.
///
/// ```
/// use skelgen_runtime::Mapped;
///
/// /// Returns and clears the values of a section. In a skeleton fields have cells of their own:
/// /// `skeleton.bss().hits().set(0)`.
/// fn drain(bss: &Mapped<[u64; 2]>) -> [u64; 2] {
///     let seen = bss.cell().get();
///     bss.cell().set([0; 2]);
///     seen
/// }
/// ```
pub struct Mapped<T> {
    handle: Untyped,
    region: Region,
    /// The size of the variables in bytes: `T` without its trailing padding.
    data_len: usize,
    value: PhantomData<fn() -> T>,
}

impl<T: Plain> Mapped<T> {
    /// Returns the value in shared memory.
    #[must_use]
    pub fn cell(&self) -> Cell<'_, T> {
        // SAFETY: the region is readable, writable, at least as long as a `T`, and lives as long as `self`.
        unsafe { Cell::new(self.region.base()) }
    }
}

about!([T: Plain] Mapped<T>);

impl<T: Plain> Mapped<T> {
    /// Iterates over the bytes that the skeleton's resize method (such as `bss_resize`) added before the load, as
    /// values of a plain type.
    ///
    /// The bytes begin where the variables end. If `T` ends with padding, the padding overlaps the first of these
    /// bytes, and setting a whole `T` overwrites them.
    ///
    /// # Errors
    /// If the number of added bytes is not a multiple of the size of `U`.
    pub fn tail<U: Plain>(&self) -> Result<impl ExactSizeIterator<Item = Cell<'_, U>> + DoubleEndedIterator> {
        let count =
            whole::<U>(self.handle.map().value_len() - self.data_len).map_err(|why| self.handle.mismatch(why))?;
        Ok((0..count).map(|index| {
            // SAFETY: the region contains the value, which contains `count` values of type `U` after the variables.
            let ptr = unsafe { self.region.base().add(self.data_len + index * size_of::<U>()) };
            // SAFETY: the element is inside the region, which is whole words, readable and writable, and lives as long
            // as `self`.
            unsafe { Cell::<U>::new(ptr) }.field(0)
        }))
    }

    /// Creates the handle of a section. Its variables are the first `data_len` bytes of the map's value, or all bytes
    /// if `None`.
    fn check(handle: Untyped, data_len: Option<usize>) -> Result<Self> {
        let handle = handle.expect_section::<T>(data_len)?;
        let len = handle.map().value_len();
        let region = Region::new(handle.as_fd(), 0, len.max(size_of::<T>()), true)
            .map_err(|errno| handle.refused(Step::Open, "cannot be mapped into memory", errno))?;
        Ok(Self { handle, region, data_len: data_len.unwrap_or(len), value: PhantomData })
    }
}

impl<T: Plain> FromFd for Mapped<T> {
    fn from_fd(map: Opened, info: &Info<'_>) -> Result<Self> {
        Self::check(Untyped::new(map, info, one_cpu)?, usize::try_from(info.data_size).ok())
    }
}

/// Reads the map's type and sizes from the kernel and fails if the map's value is not exactly a `T`.
impl<T: Plain> TryFrom<OwnedFd> for Mapped<T> {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        Self::check(Untyped::of_fd(fd)?, None)
    }
}

/// Returns how many `U` fit in the `len` bytes that the skeleton's resize method added. Fails if `len` is not a
/// multiple of the size of `U`.
pub(super) fn whole<U>(len: usize) -> std::result::Result<usize, String> {
    match len.checked_rem(size_of::<U>()) {
        Some(0) => Ok(len / size_of::<U>()),
        _ => Err(format!(
            "the {len} bytes that were added to the section are not a whole number of {}-byte values",
            size_of::<U>()
        )),
    }
}

/// The elements of an array, in memory that is shared with programs.
///
/// ```
/// use skelgen_runtime::{Cell, MappedArray};
///
/// fn sum(counters: &MappedArray<u64>) -> u64 {
///     counters.iter().map(Cell::get).sum()
/// }
/// ```
pub struct MappedArray<T> {
    region: Region,
    len: u32,
    value: PhantomData<fn() -> T>,
}

impl<T: Plain> MappedArray<T> {
    /// Maps an array of `len` elements.
    pub(crate) fn new(array: BorrowedFd<'_>, len: u32) -> Result<Self, Errno> {
        let bytes = usize::try_from(len).ok().and_then(|len| len.checked_mul(Self::STRIDE));
        let region = Region::new(array, 0, bytes.unwrap_or(usize::MAX), true)?;
        Ok(Self::over(region, len))
    }

    /// Creates the array of `len` elements in a region.
    fn over(region: Region, len: u32) -> Self {
        let bytes = usize::try_from(len).ok().and_then(|len| len.checked_mul(Self::STRIDE));
        assert!(bytes.is_some_and(|bytes| bytes <= region.len()) && region.writable(), "the region is too small");
        Self { region, len, value: PhantomData }
    }

    /// The number of bytes from one element to the next (`array_map_elem_ptr`, kernel/bpf/arraymap.c).
    const STRIDE: usize = size_of::<T>().next_multiple_of(8);

    /// Returns the number of elements.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "an array has at least one element")]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Returns a cell of the element at `index`, or `None` if `index` is out of bounds.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<Cell<'_, T>> {
        let offset = usize::try_from(index).ok().filter(|_| index < self.len)? * Self::STRIDE;
        // SAFETY: the region contains all elements, so this one begins inside it.
        let ptr = unsafe { self.region.base().add(offset) };
        // SAFETY: the element ends inside the region, whose length is a multiple of 8. The region is readable and
        // writable, and lives as long as `self`.
        Some(unsafe { Cell::<T>::new(ptr) }.field(0))
    }

    /// Iterates over the elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Cell<'_, T>> {
        (0..self.len).filter_map(|index| self.get(index))
    }
}

impl<T> fmt::Debug for MappedArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedArray").field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn elements_of_an_array() {
        let array = MappedArray::<[u8; 3]>::over(Region::anonymous(5 * 8), 5);
        for (index, cell) in (0..).zip(array.iter()) {
            cell.set([index, 7, 7]);
        }
        assert_eq!(array.get(4).map(Cell::get), Some([4, 7, 7]));
        assert!(array.get(5).is_none());
    }

    #[test]
    fn neighbours_from_many_threads() {
        // The elements fill a page up to its end.
        let len = u32::try_from(crate::sys::mmap::page_size() / 8).unwrap();
        let array = MappedArray::<u32>::over(Region::anonymous(1), len);
        let cells = || [array.get(len - 1).unwrap(), array.get(0).unwrap()];
        let count = || {
            for cell in (0..20).flat_map(|_| cells()) {
                cell.fetch_add(1, Ordering::Relaxed);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(count);
            }
            scope.spawn(|| (0..20).for_each(|_| assert!(cells().iter().all(|cell| cell.get() <= 60))));
        });
        assert_eq!(cells().map(Cell::get), [60, 60]);
    }

    #[test]
    #[should_panic = "too small"]
    fn arrays_are_inside() {
        let _ = MappedArray::<u64>::over(Region::anonymous(1), 1 << 20);
    }
}
