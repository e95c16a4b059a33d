//! Memory with a guard page at its end: if the kernel writes past the end, the request fails with `EFAULT`.
//!
//! Use this memory for requests in which the kernel determines how many bytes it writes, and the number can differ from
//! the expected one.

use std::ptr::NonNull;

use super::mmap::page_size;
use crate::error::Errno;

/// Memory followed by a page that can neither be read nor written.
#[derive(Debug)]
pub(crate) struct Guarded {
    base: NonNull<u8>,
    total: usize,
    len: usize,
}

impl Guarded {
    /// Allocates `len` bytes with this value.
    pub(crate) fn new(len: usize, value: u8) -> Result<Self, Errno> {
        let (invalid, page) = (Errno::from_raw(libc::EINVAL), page_size());
        let total = len.checked_next_multiple_of(page).and_then(|len| len.checked_add(page)).ok_or(invalid)?;
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address that the kernel chooses does not touch existing memory.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), total, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let mut this = Self { base: NonNull::new(base.cast()).ok_or(invalid)?, total, len };
        // SAFETY: the last page is inside the mapping.
        let guard = unsafe { this.base.add(total - page) };
        // SAFETY: the page is part of this mapping, and nothing refers to it.
        if unsafe { libc::mprotect(guard.as_ptr().cast(), page, libc::PROT_NONE) } != 0 {
            return Err(Errno::last());
        }
        this.bytes_mut().fill(value);
        Ok(this)
    }

    /// Returns the bytes.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let from = self.total - page_size() - self.len;
        // SAFETY: the guard is one page and the rest of the mapping has room for `len` bytes, so this is inside it.
        let begin = unsafe { self.base.add(from) };
        // SAFETY: `len` bytes from there to the guard are mapped for reading and writing, initialized (zero, unless written since), and
        // exclusively ours.
        unsafe { std::slice::from_raw_parts_mut(begin.as_ptr(), self.len) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: this mapping is ours alone, and what borrows from it cannot outlive it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.total) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "calls the kernel")]
    fn the_kernel_does_not_write_past_the_end() {
        use std::os::fd::AsRawFd as _;

        let mut memory = Guarded::new(24, 7).unwrap();
        assert_eq!(memory.bytes_mut(), [7; 24]);
        let zeros = std::fs::File::open("/dev/zero").unwrap();
        let begin = memory.bytes_mut().as_mut_ptr();
        // SAFETY: all writes are inside the mapping; the guard stops those past the end.
        let read = unsafe { libc::read(zeros.as_raw_fd(), begin.cast(), 4096) };
        assert!(read < 0 && Errno::last().raw() == libc::EFAULT || read == 24, "{read}");
    }
}
