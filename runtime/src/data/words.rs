//! Access to bytes in memory that programs and other threads may write at the same time.
//!
//! All access is by atomic operations on the 8-byte words that contain the bytes: Rust's memory model allows concurrent
//! access to one address only with accesses of one size. A value of fewer bytes is written by a compare-and-exchange of
//! its word. That fails and is repeated if another thread or a program in the kernel changed the word meanwhile.
//!
//! # Safety
//! The caller guarantees that the words that contain the bytes are valid for reads, and for writes if they are written,
//! for as long as the access lasts. No reference to them exists, except to an atomic. The words are computed from the
//! address, and the pointer is valid for all of them.
#![allow(unsafe_code, reason = "access to shared memory; see `# Safety`")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of bytes in a word.
const WORD: usize = 8;

/// Copies bytes out, a word at a time.
///
/// # Safety
/// The words that contain `into.len()` bytes from `ptr` must be valid for reads.
pub(crate) unsafe fn read(ptr: NonNull<u8>, into: &mut [u8]) {
    for (at, piece) in pieces(ptr, into.len()) {
        // SAFETY: the byte is among those of the caller's contract.
        let ptr = unsafe { ptr.add(at) };
        // SAFETY: the word that contains the byte is valid for reads.
        let part = unsafe { Part::new(ptr) };
        part.copy_to(&mut into[at..at + piece]);
    }
}

/// Copies bytes in, a word at a time. Other bytes of the first and the last word keep their value.
///
/// # Safety
/// The words that contain `from.len()` bytes from `ptr` must be valid for reads and writes.
pub(crate) unsafe fn write(ptr: NonNull<u8>, from: &[u8]) {
    for (at, piece) in pieces(ptr, from.len()) {
        // SAFETY: the byte is among those of the caller's contract.
        let ptr = unsafe { ptr.add(at) };
        // SAFETY: the word that contains the byte is valid for reads and writes.
        let part = unsafe { Part::new(ptr) };
        part.copy_from(&from[at..at + piece]);
    }
}

/// Replaces the bits that are set in `mask` with those of `new`, which has the same length.
///
/// # Safety
/// The words that contain `mask.len()` bytes from `ptr` must be valid for reads and writes.
pub(crate) unsafe fn write_bits(ptr: NonNull<u8>, mask: &[u8], new: &[u8]) {
    for (at, piece) in pieces(ptr, mask.len()) {
        // SAFETY: the byte is among those of the caller's contract.
        let ptr = unsafe { ptr.add(at) };
        // SAFETY: the word that contains the byte is valid for reads and writes.
        let part = unsafe { Part::new(ptr) };
        part.copy_bits(&mask[at..at + piece], &new[at..at + piece]);
    }
}

/// Splits `len` bytes from `ptr` into pieces that each lie in one word. Returns their offsets and lengths.
fn pieces(ptr: NonNull<u8>, len: usize) -> impl Iterator<Item = (usize, usize)> {
    let (mut at, mut piece) = (0, len.min(WORD - ptr.addr().get() % WORD));
    std::iter::from_fn(move || {
        let next = (piece > 0).then_some((at, piece));
        at += piece;
        piece = WORD.min(len - at);
        next
    })
}

/// Bytes that lie in one word.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    word: &'a AtomicU64,
    skip: usize,
}

impl Part<'_> {
    /// Creates the part from this address to the end of its word.
    ///
    /// # Safety
    /// The word that contains the byte must be valid for reads for all of `'a`, and for writes if it is written.
    pub(super) unsafe fn new(ptr: NonNull<u8>) -> Self {
        let skip = ptr.addr().get() % WORD;
        // SAFETY: the word's first byte is in the same memory.
        let word = unsafe { ptr.sub(skip) }.cast::<AtomicU64>();
        // SAFETY: aligned and valid for all of `'a`; a reference to an atomic allows writes by others.
        Self { word: unsafe { word.as_ref() }, skip }
    }

    /// Loads the first `N` bytes.
    ///
    /// # Panics
    /// If fewer than `N` bytes remain in the word, as for an unaligned value.
    pub(super) fn load<const N: usize>(self, order: Ordering) -> [u8; N] {
        self.of(self.word.load(order))
    }

    /// Stores the first `N` bytes.
    ///
    /// # Panics
    /// If fewer than `N` bytes remain in the word, as for an unaligned value.
    pub(super) fn store<const N: usize>(self, new: [u8; N], order: Ordering) {
        match <[u8; WORD]>::try_from(&new[..]) {
            Ok(whole) => self.word.store(u64::from_ne_bytes(whole), order),
            Err(_) => drop(self.update(order, |_| new)),
        }
    }

    /// Replaces the first `N` bytes with the result of `change` and returns the previous ones.
    ///
    /// # Panics
    /// If fewer than `N` bytes remain in the word, as for an unaligned value.
    pub(super) fn update<const N: usize>(self, order: Ordering, mut change: impl FnMut([u8; N]) -> [u8; N]) -> [u8; N] {
        let changed = self.try_update(order, load_order(order), |old| Some(change(old)));
        changed.unwrap_or_else(|unchanged| unchanged)
    }

    /// Replaces the first `N` bytes with the result of `change` and returns the previous ones. If the result is `None`,
    /// the bytes are kept and returned as the error.
    ///
    /// # Panics
    /// If fewer than `N` bytes remain in the word, as for an unaligned value.
    pub(super) fn try_update<const N: usize>(
        self,
        order: Ordering,
        if_not: Ordering,
        mut change: impl FnMut([u8; N]) -> Option<[u8; N]>,
    ) -> Result<[u8; N], [u8; N]> {
        let changed = self.exchange(order, if_not, |old| change(self.of(old)).map(|new| self.with(old, &new)));
        changed.map(|old| self.of(old)).map_err(|old| self.of(old))
    }

    fn copy_to(self, into: &mut [u8]) {
        let word = self.word.load(Ordering::Relaxed).to_ne_bytes();
        into.copy_from_slice(&word[self.skip..self.skip + into.len()]);
    }

    fn copy_from(self, from: &[u8]) {
        match <[u8; WORD]>::try_from(from) {
            Ok(whole) => self.store(whole, Ordering::Relaxed),
            Err(_) => {
                // The closure never returns `None`, so the update cannot fail.
                let _ = self.exchange(Ordering::Relaxed, Ordering::Relaxed, |old| Some(self.with(old, from)));
            }
        }
    }

    fn copy_bits(self, mask: &[u8], new: &[u8]) {
        let (mask, new) = (self.with(0, mask), self.with(0, new));
        // The closure never returns `None`, so the update cannot fail.
        let _ = self.exchange(Ordering::Relaxed, Ordering::Relaxed, |old| Some(old & !mask | new & mask));
    }

    /// Replaces the word with the result of `change` and returns the previous word. Repeats this if the word was
    /// changed meanwhile. If the result is `None`, the word is kept and returned as the error. The standard library's
    /// function for this is not used because its name depends on the version of Rust.
    fn exchange(
        self,
        order: Ordering,
        if_not: Ordering,
        mut change: impl FnMut(u64) -> Option<u64>,
    ) -> Result<u64, u64> {
        let mut old = self.word.load(if_not);
        loop {
            let new = change(old).ok_or(old)?;
            match self.word.compare_exchange_weak(old, new, order, if_not) {
                Ok(old) => return Ok(old),
                Err(other) => old = other,
            }
        }
    }

    fn of<const N: usize>(self, word: u64) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&word.to_ne_bytes()[self.skip..self.skip + N]);
        bytes
    }

    fn with(self, word: u64, new: &[u8]) -> u64 {
        let mut bytes = word.to_ne_bytes();
        bytes[self.skip..self.skip + new.len()].copy_from_slice(new);
        u64::from_ne_bytes(bytes)
    }
}

/// Returns the part of an ordering that applies to loads.
fn load_order(order: Ordering) -> Ordering {
    match order {
        Ordering::Release => Ordering::Relaxed,
        Ordering::AcqRel => Ordering::Acquire,
        other => other,
    }
}
