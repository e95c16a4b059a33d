//! A mapped region with checked access to its bytes, for memory that consists of records, not of one value: ring buffers.
//!
//! # Safety
//! Every access is checked to be inside the region; stores also check that the region is mapped writable. The access
//! itself is that of a [`Cell`](super::Cell). The 8-byte words that contain the bytes are inside the region too,
//! because regions are whole pages.
#![allow(unsafe_code, reason = "access to mapped memory; see `# Safety`")]

use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use super::cell::Cell;
use super::words::{read, write};
use crate::sys::mmap::Region;

/// A mapped region.
#[derive(Debug)]
pub(crate) struct Shared {
    region: Region,
}

impl Shared {
    pub(crate) fn new(region: Region) -> Self {
        Self { region }
    }

    pub(crate) fn load_u64(&self, offset: usize, order: Ordering) -> u64 {
        // SAFETY: the bytes are inside the region, and only read.
        unsafe { Cell::<u64>::new(self.address(offset, 8)) }.field::<u64>(0).load(order)
    }

    pub(crate) fn load_u32(&self, offset: usize, order: Ordering) -> u32 {
        // SAFETY: the bytes are inside the region, and only read.
        unsafe { Cell::<u32>::new(self.address(offset, 4)) }.field::<u32>(0).load(order)
    }

    pub(crate) fn store_u64(&self, offset: usize, value: u64, order: Ordering) {
        assert!(self.region.writable(), "store to memory that is mapped read-only");
        // SAFETY: the bytes are inside the region, which is mapped writable.
        unsafe { Cell::<u64>::new(self.address(offset, 8)) }.field::<u64>(0).store(value, order);
    }

    /// Copies bytes out of the region.
    pub(crate) fn read(&self, offset: usize, into: &mut [u8]) {
        let ptr = self.address(offset, into.len());
        // SAFETY: these bytes are inside the region.
        unsafe { read(ptr, into) };
    }

    /// Copies bytes into the region.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(self.region.writable(), "write to memory that is mapped read-only");
        let ptr = self.address(offset, bytes.len());
        // SAFETY: these bytes are inside the region, which is mapped writable.
        unsafe { write(ptr, bytes) };
    }

    fn address(&self, offset: usize, len: usize) -> NonNull<u8> {
        let end = offset.checked_add(len);
        assert!(end.is_some_and(|end| end <= self.region.len()), "{len} bytes at offset {offset} are not mapped");
        // SAFETY: the offset is inside the region.
        unsafe { self.region.base().add(offset) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_numbers() {
        let shared = Shared::new(Region::anonymous(1));
        shared.write(3, b"across the words");
        let mut bytes = [0; 18];
        shared.read(2, &mut bytes);
        assert_eq!(&bytes, b"\0across the words\0");
        shared.store_u64(8, 1 << 40 | 5, Ordering::Release);
        assert_eq!(shared.load_u64(8, Ordering::Acquire), 1 << 40 | 5);
        let halves = [8, 12].map(|offset| shared.load_u32(offset, Ordering::Relaxed));
        assert_eq!(halves, if cfg!(target_endian = "little") { [5, 256] } else { [256, 5] });
        let end = shared.region.len();
        shared.write(end - 3, b"end");
        assert_eq!(shared.load_u32(end - 4, Ordering::Relaxed).to_ne_bytes(), *b"\0end");
    }

    /// Tests that a reader that loads the position also sees what was written before it was stored.
    #[test]
    fn a_record_is_whole_when_its_position_is_seen() {
        let shared = Shared::new(Region::anonymous(1));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                shared.write(101, b"a record");
                shared.store_u64(0, 1, Ordering::Release);
            });
            while shared.load_u64(0, Ordering::Acquire) == 0 {
                std::thread::yield_now();
            }
            let mut record = [0; 8];
            shared.read(101, &mut record);
            assert_eq!(&record, b"a record");
        });
    }

    #[test]
    #[should_panic = "are not mapped"]
    fn places_are_inside() {
        let shared = Shared::new(Region::anonymous(1));
        shared.write(shared.region.len() - 2, b"end");
    }
}
