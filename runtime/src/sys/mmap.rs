//! Mappings of maps' memory.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use crate::error::Errno;

/// From asm-generic/mman-common.h; the crate `libc` lacks it on Android.
const MAP_FIXED_NOREPLACE: libc::c_int = 0x10_0000;

/// A shared mapping of a map's memory, which is unmapped when dropped.
///
/// Programs and other processes write to the memory at any time, so it is only accessible by address, never by reference: see
/// [`crate::data::Cell`].
#[derive(Debug)]
pub(crate) struct Region {
    base: NonNull<u8>,
    len: usize,
    writable: bool,
}

// SAFETY: a mapping belongs to the process, not to a thread; `Region` gives no access to its memory by itself.
unsafe impl Send for Region {}
// SAFETY: as for `Send`.
unsafe impl Sync for Region {}

impl Region {
    /// Maps at least `len` bytes of `fd`, beginning at `offset`, for reading and, if `writable` is set, for writing.
    /// `offset` must be a multiple of the page size.
    pub(crate) fn new(fd: BorrowedFd<'_>, offset: usize, len: usize, writable: bool) -> Result<Self, Errno> {
        let invalid = Errno::from_raw(libc::EINVAL);
        let offset = libc::off_t::try_from(offset).map_err(|_| invalid)?;
        Self::map(fd, offset, len, None, writable)
    }

    /// Maps `len` bytes of `fd` for reading and writing, at `address` or, without it, at an address that the kernel
    /// chooses. Returns `EEXIST` if `address` is in use.
    pub(crate) fn at(fd: BorrowedFd<'_>, len: usize, address: Option<usize>) -> Result<Self, Errno> {
        Self::map(fd, 0, len, address, true)
    }

    fn map(
        fd: BorrowedFd<'_>,
        offset: libc::off_t,
        len: usize,
        address: Option<usize>,
        writable: bool,
    ) -> Result<Self, Errno> {
        let invalid = Errno::from_raw(libc::EINVAL);
        let len = len.checked_next_multiple_of(page_size()).filter(|&len| len != 0).ok_or(invalid)?;
        let protection = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        // Kernels before 4.17 treat the address as a hint; whether they used it is checked below.
        let fixed = if address.is_some() { MAP_FIXED_NOREPLACE } else { 0 };
        let wanted = std::ptr::without_provenance_mut(address.unwrap_or(0));
        // SAFETY: a new mapping at a free address does not touch existing memory: the kernel chooses the address, or
        // rejects one that is not free.
        let base = unsafe { libc::mmap(wanted, len, protection, libc::MAP_SHARED | fixed, fd.as_raw_fd(), offset) };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let region = Self { base: NonNull::new(base.cast()).ok_or(invalid)?, len, writable };
        match address {
            Some(address) if region.base.addr().get() != address => Err(Errno::from_raw(libc::EEXIST)),
            _ => Ok(region),
        }
    }

    /// Copies bytes to an offset; `None` if they are not inside the mapping or it is not writable.
    ///
    /// Only for memory that no program uses yet: a program could see a part of the bytes.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> Option<()> {
        let end = offset.checked_add(bytes.len())?;
        if end > self.len || !self.writable {
            return None;
        }
        for (index, &byte) in bytes.iter().enumerate() {
            // SAFETY: the offset is inside the mapping.
            let target = unsafe { self.base.add(offset + index) };
            // SAFETY: the address is mapped for writing, and a single byte is always aligned.
            unsafe { target.write_volatile(byte) };
        }
        Some(())
    }

    /// Maps anonymous memory, for tests: Miri supports it.
    #[cfg(test)]
    pub(crate) fn anonymous(len: usize) -> Self {
        let len = len.next_multiple_of(page_size());
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address that the kernel chooses does not touch existing memory.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED);
        Self { base: NonNull::new(base.cast()).expect("a mapping is not at null"), len, writable: true }
    }

    /// Returns the address of the memory, which is page-aligned and valid for [`Self::len`] bytes while the region lives.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Returns whether the memory is mapped for writing.
    pub(crate) fn writable(&self) -> bool {
        self.writable
    }

    /// Returns the number of mapped bytes, a multiple of the page size.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: this mapping is ours alone, and what borrows from it cannot outlive it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Returns the size of a page in bytes.
pub(crate) fn page_size() -> usize {
    // SAFETY: sysconf reads no memory of ours.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).ok().filter(|size| size.is_power_of_two()).unwrap_or(4096)
}
