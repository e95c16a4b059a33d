//! Arenas: memory that programs and this process share, each at an address of its own.
//!
//! # Safety
//! The region is the whole arena and stays mapped as long as the handle. Cells borrow from the handle, and the words of
//! each cell are checked to lie inside the region. No reference into the memory is ever created. A page is allocated on
//! the first access. If the arena forbids that, or memory is exhausted, the access ends the process with `SIGSEGV`,
//! which is sound.
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

/// An arena (`BPF_MAP_TYPE_ARENA`, Linux 6.9), mapped into this process. `T` is the struct of the object's variables in
/// it (section `.addr_space.1`), or `()` if there are none.
///
/// Programs store pointers in it as addresses of this process; [`Self::cell_at`] follows them.
///
/// ```
/// use skelgen_runtime::map::Arena;
/// use skelgen_runtime::Ptr;
///
/// /// Returns the values of a linked list. A node is a value and the next node's address.
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
    /// The offset of the variables in bytes.
    globals: usize,
    value: PhantomData<fn() -> T>,
}

impl<T> Arena<T> {
    /// Returns the address of the arena's first byte in this process.
    #[must_use]
    pub fn address(&self) -> usize {
        self.region.base().addr().get()
    }

    /// Returns the size in bytes, a multiple of the page size.
    #[must_use]
    pub fn len(&self) -> usize {
        self.region.len()
    }

    /// Returns `false`: an arena has at least one page.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a cell of the value at `offset` bytes in the arena, or `None` if it is not inside.
    ///
    /// Access to a page that is not allocated allocates it. If the arena was created with
    /// [`SEGV_ON_FAULT`](crate::uapi::MapFlags::SEGV_ON_FAULT), the access ends the process instead.
    #[must_use]
    pub fn cell<U: Plain>(&self, offset: usize) -> Option<Cell<'_, U>> {
        let end = offset.checked_add(size_of::<U>())?;
        if end > self.len() {
            return None;
        }
        // SAFETY: the offset is inside the region.
        let ptr = unsafe { self.region.base().add(offset) };
        // SAFETY: the value and its words are inside the region, which begins and ends at a page boundary.
        let cells = unsafe { Cell::<U>::new(ptr) };
        Some(cells.field(0))
    }

    /// Returns a cell of the value at an address that programs stored in the arena, or `None` if it is not inside.
    #[must_use]
    pub fn cell_at<U: Plain>(&self, address: u64) -> Option<Cell<'_, U>> {
        let address = usize::try_from(address).ok()?;
        self.cell(address.checked_sub(self.address())?)
    }

    /// Pins the arena to a path in a bpffs.
    ///
    /// # Errors
    /// If the path is not in a bpffs, or the file exists.
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<()> {
        self.handle.pin(path.as_ref())
    }

    /// Creates the handle of an arena that was mapped during the load.
    pub(crate) fn mapped(fd: OwnedFd, info: &Info, region: Region, globals: usize) -> Result<Self> {
        let handle = Handle::new(fd, info)?.expect(&[MapType::ARENA], Some(0), Some(0))?;
        if globals.checked_add(size_of::<T>()).is_none_or(|end| end > region.len()) {
            return Err(handle.mismatch("the arena is smaller than its variables"));
        }
        Ok(Self { handle, region, globals, value: PhantomData })
    }
}

impl<T: Plain> Arena<T> {
    /// Returns the object's variables in the arena.
    #[must_use]
    pub fn globals(&self) -> Cell<'_, T> {
        // SAFETY: the variables lie inside the region, which was checked when the handle was created.
        let ptr = unsafe { self.region.base().add(self.globals) };
        // SAFETY: their words do too, because the region begins and ends at a page boundary.
        unsafe { Cell::new(ptr) }
    }
}

impl Arena {
    /// Maps an existing arena at the address that it was created with, as every process must.
    fn map(handle: Handle) -> Result<Self> {
        let handle = handle.expect(&[MapType::ARENA], Some(0), Some(0))?;
        let found = *handle.map().info();
        let address = usize::try_from(found.map_extra).ok().filter(|&address| address != 0);
        let Some(address) = address else {
            return Err(handle.invalid(
                "the arena was created without an address, so only the process that mapped it first can use it",
            ));
        };
        let len = usize::try_from(found.max_entries).ok().and_then(|pages| pages.checked_mul(page_size()));
        let len = len.ok_or_else(|| handle.invalid("the arena is larger than this process's address space"))?;
        let region = Region::at(handle.as_fd(), len, Some(address))
            .map_err(|errno| handle.refused(Step::Open, "cannot map it into memory", errno))?;
        Ok(Self { handle, region, globals: 0, value: PhantomData })
    }
}

impl FromFd for Arena {
    fn from_fd(fd: OwnedFd, info: &Info) -> Result<Self> {
        Self::map(Handle::new(fd, info)?)
    }
}

/// Maps an arena that was created with an address (`map_extra`). Fails for other arenas.
impl TryFrom<OwnedFd> for Arena {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        Self::map(Handle::of_fd(fd)?)
    }
}

impl<T> From<Arena<T>> for OwnedFd {
    /// Returns the arena's file descriptor and unmaps the arena.
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
