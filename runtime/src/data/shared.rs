//! A mapped region with checked access to its bytes, for what is not one plain value: ring buffers.
//!
//! # Safety
//! Every place is checked to be inside the region, and stores also that the region was mapped for writing; after that the access
//! is that of a [`Cell`](super::Cell), and the words of eight bytes that hold the place are inside too, as regions are whole pages.
#![allow(unsafe_code, reason = "access to mapped memory; see `# Safety`")]

use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use super::cell::Cells;
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
        // SAFETY: the place is inside the region, and only read.
        unsafe { Cells::<u64>::new(self.place(offset, 8)) }.at::<u64>(0).load(order)
    }

    pub(crate) fn load_u32(&self, offset: usize, order: Ordering) -> u32 {
        // SAFETY: the place is inside the region, and only read.
        unsafe { Cells::<u32>::new(self.place(offset, 4)) }.at::<u32>(0).load(order)
    }

    pub(crate) fn store_u64(&self, offset: usize, value: u64, order: Ordering) {
        assert!(self.region.writable(), "a store to memory mapped for reading");
        // SAFETY: the place is inside the region, which was mapped for writing.
        unsafe { Cells::<u64>::new(self.place(offset, 8)) }.at::<u64>(0).store(value, order);
    }

    /// Copies bytes out.
    pub(crate) fn read(&self, offset: usize, into: &mut [u8]) {
        let place = self.place(offset, into.len());
        // SAFETY: as many bytes are inside the region.
        unsafe { read(place, into) };
    }

    /// Copies bytes in.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(self.region.writable(), "a write to memory mapped for reading");
        let place = self.place(offset, bytes.len());
        // SAFETY: as many bytes are inside the region, which was mapped for writing.
        unsafe { write(place, bytes) };
    }

    fn place(&self, offset: usize, len: usize) -> NonNull<u8> {
        let end = offset.checked_add(len);
        assert!(end.is_some_and(|end| end <= self.region.len()), "{len} bytes at {offset} are not mapped");
        // SAFETY: the offset is inside the region.
        unsafe { self.region.base().add(offset) }
    }
}
