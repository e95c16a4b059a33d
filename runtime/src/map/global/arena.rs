//! Arenas: memory that is shared between programs and this process, which see it at different addresses.
//!
//! # Safety
//! The region is the whole arena and stays mapped as long as the handle exists. Cells borrow from the handle, and the
//! words of each cell are checked to lie inside the region. No reference into the memory is ever created. A page is
//! allocated on the first access. If the arena forbids that, or memory is exhausted, the access ends the process with
//! `SIGSEGV`, which is sound.
#![allow(unsafe_code, reason = "cells of mapped memory; see `# Safety`")]

use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};

use crate::data::Cell;
use crate::data::Plain;
use crate::error::{Error, Result, Step};
use crate::map::{FromFd, Info, NewMap, Opened, Supports, Untyped, about, one_cpu};
use crate::sys::mmap::{Region, page_size};
use crate::uapi::MapType;

/// An arena (`BPF_MAP_TYPE_ARENA`, Linux 6.9), mapped into this process. `T` is the struct of the object's variables in
/// it (section `.addr_space.1`), or `()` if there are none.
///
/// Pointers that programs store in the arena are addresses in this process; [`Self::cell_at`] follows them.
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
    handle: Untyped,
    region: Region,
    /// The offset of the variables in bytes.
    globals: usize,
    value: PhantomData<fn() -> T>,
}

about!([T] Arena<T>);

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

    /// Returns a cell of the value at `offset` bytes in the arena, or `None` if the value is not inside the arena.
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

    /// Returns a cell of the value at an address that a program stored in the arena, or `None` if the value is not
    /// inside the arena.
    #[must_use]
    pub fn cell_at<U: Plain>(&self, address: u64) -> Option<Cell<'_, U>> {
        let address = usize::try_from(address).ok()?;
        self.cell(address.checked_sub(self.address())?)
    }

    /// Creates the handle of an arena that was mapped during the load.
    pub(crate) fn mapped(map: Opened, info: &Info<'_>, region: Region, globals: usize) -> Result<Self> {
        let handle = Untyped::new(map, info, one_cpu)?.expect(&SUPPORTS)?;
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
        // SAFETY: the words of the variables lie inside the region too, because it begins and ends at a page boundary.
        unsafe { Cell::new(ptr) }
    }
}

/// The maps that the handle supports: arenas, which have neither keys nor values.
const SUPPORTS: Supports = Supports::new(&[MapType::ARENA], Some(0), Some(0));

impl Arena {
    /// Creates an arena of `max_entries` pages and maps it: at the address that [`NewMap::extra`] sets, or at one that
    /// the kernel chooses. Other processes can only map an arena that was created with an address.
    ///
    /// ```no_run
    /// use skelgen_runtime::map::{Arena, NewMap};
    ///
    /// let heap = Arena::create(NewMap::new("heap", 1024))?;
    /// println!("{} bytes at {:#x}", heap.len(), heap.address());
    /// # Ok::<(), skelgen_runtime::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the definition is not that of an arena, the kernel rejects it, or this process already uses memory at the
    /// address.
    pub fn create(definition: NewMap<'_>) -> Result<Self> {
        let handle = definition.create(&SUPPORTS)?;
        let address = address_of(&handle);
        Self::map(handle, address)
    }

    /// Maps an existing arena at the address that it was created with, as every process must.
    fn open(handle: Untyped) -> Result<Self> {
        let handle = handle.expect(&SUPPORTS)?;
        let Some(address) = address_of(&handle) else {
            return Err(handle.invalid(
                "the arena was created without an address, so only the process that mapped it first can use it",
            ));
        };
        Self::map(handle, Some(address))
    }

    fn map(handle: Untyped, address: Option<usize>) -> Result<Self> {
        let pages = usize::try_from(handle.max_entries()).ok();
        let len = pages.and_then(|pages| pages.checked_mul(page_size()));
        let len = len.ok_or_else(|| handle.invalid("the arena is larger than this process's address space"))?;
        let region = Region::at(handle.as_fd(), len, address)
            .map_err(|errno| handle.refused(Step::Open, "cannot be mapped into memory", errno))?;
        Ok(Self { handle, region, globals: 0, value: PhantomData })
    }
}

/// Returns the address that an arena was created with, if it has one.
fn address_of(arena: &Untyped) -> Option<usize> {
    usize::try_from(arena.map().definition().extra).ok().filter(|&address| address != 0)
}

impl FromFd for Arena {
    fn from_fd(map: Opened, info: &Info<'_>) -> Result<Self> {
        Self::open(Untyped::new(map, info, one_cpu)?)
    }
}

/// Maps an arena that was created with an address (`map_extra`). Fails for other arenas.
impl TryFrom<OwnedFd> for Arena {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        Self::open(Untyped::of_fd(fd)?)
    }
}
