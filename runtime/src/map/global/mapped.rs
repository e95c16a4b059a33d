//! Writable global data once it is loaded, and arrays in memory that is shared with programs.
//!
//! # Safety
//! The region is at least as long as the map's value, which is checked to begin with a `T`, and as long as a `T`; of arrays it is as
//! long as all elements, each rounded up to eight bytes as the kernel lays them out. Cells borrow from the region's owner, and nobody
//! gets a reference into the memory.
#![allow(unsafe_code, reason = "cells of mapped memory; see `# Safety`")]

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::data::Cell;
use crate::data::Plain;
use crate::error::{Errno, Error, Result, Step};
use crate::map::{FromFd, Handle, Info, about};
use crate::sys::mmap::Region;

/// A section of global data, in memory that is shared with the programs.
///
/// A skeleton has one for each section: `skeleton.bss` is the map, `skeleton.bss()` the cells of its variables.
///
/// ```
/// use skelgen_runtime::Mapped;
///
/// /// What a section holds now, and nothing in it any more. Fields have cells of their own in a skeleton: `skeleton.bss().hits().set(0)`.
/// fn drain(bss: &Mapped<[u64; 2]>) -> [u64; 2] {
///     let seen = bss.cell().get();
///     bss.cell().set([0; 2]);
///     seen
/// }
/// ```
pub struct Mapped<T> {
    handle: Handle,
    region: Region,
    /// Bytes of the map's value that are a `T`'s, without padding at its end.
    data_len: usize,
    value: PhantomData<fn() -> T>,
}

impl<T: Plain> Mapped<T> {
    /// Returns the value in shared memory.
    #[must_use]
    pub fn cell(&self) -> Cell<'_, T> {
        // SAFETY: the region is readable, writable, as long as a `T` or longer, and lives as long as `self`.
        unsafe { Cell::new(self.region.base()) }
    }
}

about!([T: Plain] Mapped<T>);

impl<T: Plain> Mapped<T> {
    /// Iterates over the bytes that the section was made longer by (`…_resize` before the load), as values of a plain type.
    ///
    /// It begins where the variables end. If `T` ends with padding, that holds the first of these bytes, and setting a whole `T` sets
    /// them too.
    ///
    /// # Errors
    /// If that many bytes are not a whole number of `U`.
    pub fn tail<U: Plain>(&self) -> Result<impl ExactSizeIterator<Item = Cell<'_, U>> + DoubleEndedIterator> {
        let count =
            whole::<U>(self.handle.map().value_len() - self.data_len).map_err(|why| self.handle.mismatch(why))?;
        Ok((0..count).map(|index| {
            // SAFETY: the region holds the value, and in it as many `U` from there on.
            let place = unsafe { self.region.base().add(self.data_len + index * size_of::<U>()) };
            // SAFETY: so it does this one; it is a whole number of words, readable and writable, and lives as long as `self`.
            unsafe { Cell::<U>::new(place) }.field(0)
        }))
    }

    /// The section whose variables take so many bytes of its map's value; all, if that is not known.
    fn check(handle: Handle, data_len: Option<usize>) -> Result<Self> {
        let handle = handle.expect_section::<T>(data_len)?;
        let len = handle.map().value_len();
        let region = Region::new(handle.as_fd(), 0, len.max(size_of::<T>()), true)
            .map_err(|errno| handle.refused(Step::Open, "mapping it into memory", errno))?;
        Ok(Self { handle, region, data_len: data_len.unwrap_or(len), value: PhantomData })
    }
}

impl<T: Plain> FromFd for Mapped<T> {
    fn from_fd(fd: OwnedFd, info: &Info) -> Result<Self> {
        Self::check(Handle::new(fd, info)?, usize::try_from(info.data_size).ok())
    }
}

/// Asks the kernel what map it is, and fails if it is not one that holds a `T` and no more.
impl<T: Plain> TryFrom<OwnedFd> for Mapped<T> {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        Self::check(Handle::of_fd(fd)?, None)
    }
}

/// How many `U` so many bytes are, which a section was made longer by; the error says why they are none.
pub(super) fn whole<U>(len: usize) -> std::result::Result<usize, String> {
    match len.checked_rem(size_of::<U>()) {
        Some(0) => Ok(len / size_of::<U>()),
        _ => Err(format!(
            "the {len} bytes that it was made longer by are no whole number of {}-byte values",
            size_of::<U>()
        )),
    }
}

/// The elements of an array, in memory that is shared with the programs.
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
    /// Maps an array of so many `T`.
    pub(crate) fn new(array: BorrowedFd<'_>, len: u32) -> Result<Self, Errno> {
        let bytes = usize::try_from(len).ok().and_then(|len| len.checked_mul(Self::STRIDE));
        let region = Region::new(array, 0, bytes.unwrap_or(usize::MAX), true)?;
        Ok(Self::over(region, len))
    }

    /// The array of so many `T` in a region.
    fn over(region: Region, len: u32) -> Self {
        let bytes = usize::try_from(len).ok().and_then(|len| len.checked_mul(Self::STRIDE));
        assert!(bytes.is_some_and(|bytes| bytes <= region.len()) && region.writable(), "the region is too small");
        Self { region, len, value: PhantomData }
    }

    /// Bytes from one element to the next (`array_map_elem_ptr`, kernel/bpf/arraymap.c).
    const STRIDE: usize = size_of::<T>().next_multiple_of(8);

    /// Returns the number of elements.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "an array has its length from the beginning and never none")]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Returns the element at `index`, if there is one.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<Cell<'_, T>> {
        let offset = usize::try_from(index).ok().filter(|_| index < self.len)? * Self::STRIDE;
        // SAFETY: the region holds all elements, so this one begins inside it.
        let place = unsafe { self.region.base().add(offset) };
        // SAFETY: the element ends inside the region, whose length is a multiple of eight; it is readable and writable, and lives
        // as long as `self`.
        Some(unsafe { Cell::<T>::new(place) }.field(0))
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
        // A page has whole elements up to its end.
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
