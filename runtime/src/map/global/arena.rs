//! An arena: memory that programs and this process share, each at its own address.
//!
//! # Safety
//! The region is the whole arena and stays mapped as long as the handle; cells borrow from the handle, every place that a cell is
//! made of is checked to lie inside the region with the words around it, and nobody gets a reference into the memory. A page that
//! no one has used is there as soon as it is touched; where the arena forbids that, or memory has run out, touching it ends the
//! process (`SIGSEGV`), which is no wrong access.
#![allow(unsafe_code, reason = "cells of mapped memory; see `# Safety`")]

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::data::Cell;
use crate::data::Plain;
use crate::error::{Error, Result, Step};
use crate::map::{FromFd, Handle, Info};
use crate::sys::mmap::{Region, page_size};
use crate::uapi::MapType;

/// An arena (`BPF_MAP_TYPE_ARENA`, Linux 6.9), mapped into this process. `T` is the struct of the object's variables in it
/// (section `.addr_space.1`), `()` if there are none.
///
/// Programs store addresses in it as this process has them, so [`Self::cell_at`] follows them.
///
/// ```
/// use skelgen_runtime::map::Arena;
/// use skelgen_runtime::Ptr;
///
/// /// The values of a list whose nodes are a value and the next node's address.
/// fn values(memory: &Arena, first: Ptr) -> Vec<u64> {
///     let (mut values, mut next) = (Vec::new(), first.address());
///     while let Some(node) = memory.cell_at::<[u64; 2]>(next) {
///         let [value, following] = node.get();
///         values.push(value);
///         next = following;
///     }
///     values
/// }
/// ```
pub struct Arena<T = ()> {
    handle: Handle,
    region: Region,
    /// Where the variables begin, in bytes.
    globals: usize,
    value: PhantomData<fn() -> T>,
}

impl<T> Arena<T> {
    /// Returns the address of the arena's first byte in this process, which pointers in the arena are relative to.
    #[must_use]
    pub fn address(&self) -> usize {
        self.region.base().addr().get()
    }

    /// Returns the size in bytes: whole pages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.region.len()
    }

    /// Returns whether the arena has no pages, which is never the case.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the value at this offset in the arena, in bytes; `None` if it would not lie inside.
    ///
    /// Touching a page that nobody has allocated allocates it, unless the arena was made with
    /// [`SEGV_ON_FAULT`](crate::uapi::MapFlags::SEGV_ON_FAULT): then it ends the process.
    #[must_use]
    pub fn cell<U: Plain>(&self, offset: usize) -> Option<Cell<'_, U>> {
        let end = offset.checked_add(size_of::<U>())?;
        if end > self.len() {
            return None;
        }
        // SAFETY: the offset is inside the region.
        let place = unsafe { self.region.base().add(offset) };
        // SAFETY: the place and its words are inside the region, which begins and ends at a page.
        let cells = unsafe { Cell::<U>::new(place) };
        Some(cells.field(0))
    }

    /// Returns the value at an address, as programs store it in the arena; `None` if it would not lie inside.
    #[must_use]
    pub fn cell_at<U: Plain>(&self, address: u64) -> Option<Cell<'_, U>> {
        let address = usize::try_from(address).ok()?;
        self.cell(address.checked_sub(self.address())?)
    }

    /// Pins it to a path in a bpffs.
    ///
    /// # Errors
    /// If the path is in no bpffs, or taken.
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<()> {
        self.handle.pin(path.as_ref())
    }

    /// The arena that was mapped while it was loaded.
    pub(crate) fn mapped(fd: OwnedFd, info: &Info, region: Region, globals: usize) -> Result<Self> {
        let handle = Handle::new(fd, info)?.expect(&[MapType::ARENA], Some(0), Some(0))?;
        if globals.checked_add(size_of::<T>()).is_none_or(|end| end > region.len()) {
            return Err(handle.mismatch("it is too small for its variables"));
        }
        Ok(Self { handle, region, globals, value: PhantomData })
    }
}

impl<T: Plain> Arena<T> {
    /// Returns the object's variables in the arena.
    #[must_use]
    pub fn globals(&self) -> Cell<'_, T> {
        // SAFETY: the variables lie inside the region, which was checked when the handle was made.
        let place = unsafe { self.region.base().add(self.globals) };
        // SAFETY: so do the words that hold them, as the region begins and ends at a page.
        unsafe { Cell::new(place) }
    }
}

impl Arena {
    /// Maps an arena that is there: at the address that it was made for, as every process has to.
    fn map(handle: Handle) -> Result<Self> {
        let handle = handle.expect(&[MapType::ARENA], Some(0), Some(0))?;
        let found = *handle.map().info();
        let address = usize::try_from(found.map_extra).ok().filter(|&address| address != 0);
        let Some(address) = address else {
            return Err(handle.invalid(
                "the arena was made without an address, so only the process that mapped it first can have it",
            ));
        };
        let len = usize::try_from(found.max_entries).ok().and_then(|pages| pages.checked_mul(page_size()));
        let len = len.ok_or_else(|| handle.invalid("the arena is too large for this process"))?;
        let region = Region::at(handle.as_fd(), len, Some(address))
            .map_err(|errno| handle.refused(Step::Open, "mapping it", errno))?;
        Ok(Self { handle, region, globals: 0, value: PhantomData })
    }
}

impl FromFd for Arena {
    fn from_fd(fd: OwnedFd, info: &Info) -> Result<Self> {
        Self::map(Handle::new(fd, info)?)
    }
}

/// Maps an arena that was made with an address (`map_extra`), and fails for any other.
impl TryFrom<OwnedFd> for Arena {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        Self::map(Handle::of_fd(fd)?)
    }
}

impl<T> From<Arena<T>> for OwnedFd {
    /// Its file descriptor alone; it is not mapped any more then.
    fn from(arena: Arena<T>) -> Self {
        arena.handle.into_fd()
    }
}

impl<T> AsFd for Arena<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl<T> fmt::Debug for Arena<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("map", &self.handle).field("len", &self.len()).finish_non_exhaustive()
    }
}
