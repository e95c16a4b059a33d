//! Bytes in memory that others write at the same time.
//!
//! All access is by atomic operations on the words of eight bytes that hold the bytes, and on nothing else: Rust's rules let
//! threads meet in one place only with accesses of one size. A value of fewer bytes is changed by exchanging its word for one that
//! differs in these bytes, which fails and is tried again if anyone, a program in the kernel too, changed the word meanwhile.
//!
//! # Safety
//! Who calls promises that the words which hold the bytes are valid for reads, and for writes too where they are written, for as
//! long as the access lasts, and that nobody has a reference to them that is not to an atomic. Which words these are is computed
//! from the place's address, and a pointer to the place may be used for all of them.
#![allow(unsafe_code, reason = "access to shared memory; see `# Safety`")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes in a word.
const WORD: usize = 8;

/// Copies bytes out, a word at a time.
///
/// # Safety
/// The words that hold as many bytes from `place` on must be valid for reads.
pub(crate) unsafe fn read(place: NonNull<u8>, into: &mut [u8]) {
    for (at, piece) in pieces(place, into.len()) {
        // SAFETY: the byte is among those that the caller speaks of.
        let place = unsafe { place.add(at) };
        // SAFETY: so its word is valid for reads.
        let part = unsafe { Part::new(place) };
        part.copy_to(&mut into[at..at + piece]);
    }
}

/// Copies bytes in, a word at a time; the other bytes of the first word and of the last stay as they are.
///
/// # Safety
/// The words that hold as many bytes from `place` on must be valid for reads and writes.
pub(crate) unsafe fn write(place: NonNull<u8>, from: &[u8]) {
    for (at, piece) in pieces(place, from.len()) {
        // SAFETY: the byte is among those that the caller speaks of.
        let place = unsafe { place.add(at) };
        // SAFETY: so its word is valid for reads and writes.
        let part = unsafe { Part::new(place) };
        part.copy_from(&from[at..at + piece]);
    }
}

/// Replaces those bits that are set in a mask by those of as many new bytes.
///
/// # Safety
/// The words that hold as many bytes from `place` on must be valid for reads and writes.
pub(crate) unsafe fn write_bits(place: NonNull<u8>, mask: &[u8], new: &[u8]) {
    for (at, piece) in pieces(place, mask.len()) {
        // SAFETY: the byte is among those that the caller speaks of.
        let place = unsafe { place.add(at) };
        // SAFETY: so its word is valid for reads and writes.
        let part = unsafe { Part::new(place) };
        part.copy_bits(&mask[at..at + piece], &new[at..at + piece]);
    }
}

/// The pieces of so many bytes from a place on that lie in one word each: where they begin, and their lengths.
fn pieces(place: NonNull<u8>, len: usize) -> impl Iterator<Item = (usize, usize)> {
    let (mut at, mut piece) = (0, len.min(WORD - place.addr().get() % WORD));
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
    /// The bytes from this place to the end of its word.
    ///
    /// # Safety
    /// The word that holds the byte must be valid for reads for all of `'a`, and for writes if it is written.
    pub(super) unsafe fn new(place: NonNull<u8>) -> Self {
        let skip = place.addr().get() % WORD;
        // SAFETY: the word's first byte is in the same memory.
        let word = unsafe { place.sub(skip) }.cast::<AtomicU64>();
        // SAFETY: aligned and valid for all of `'a`; a reference to an atomic allows writes by others.
        Self { word: unsafe { word.as_ref() }, skip }
    }

    /// The first bytes.
    ///
    /// # Panics
    /// If the word has fewer, as with values that are not aligned.
    pub(super) fn load<const N: usize>(self, order: Ordering) -> [u8; N] {
        self.of(self.word.load(order))
    }

    /// Replaces the first bytes.
    ///
    /// # Panics
    /// If the word has fewer, as with values that are not aligned.
    pub(super) fn store<const N: usize>(self, new: [u8; N], order: Ordering) {
        match <[u8; WORD]>::try_from(&new[..]) {
            Ok(whole) => self.word.store(u64::from_ne_bytes(whole), order),
            Err(_) => drop(self.update(order, |_| new)),
        }
    }

    /// Replaces the first bytes by what `change` makes of them, and gives those before.
    ///
    /// # Panics
    /// If the word has fewer, as with values that are not aligned.
    pub(super) fn update<const N: usize>(self, order: Ordering, mut change: impl FnMut([u8; N]) -> [u8; N]) -> [u8; N] {
        let changed = self.try_update(order, load_order(order), |old| Some(change(old)));
        changed.unwrap_or_else(|unchanged| unchanged)
    }

    /// Replaces the first bytes by what `change` makes of them, unless that is `None`; gives those before, as an error if they stay.
    ///
    /// # Panics
    /// If the word has fewer, as with values that are not aligned.
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
                // It always changes.
                let _ = self.exchange(Ordering::Relaxed, Ordering::Relaxed, |old| Some(self.with(old, from)));
            }
        }
    }

    fn copy_bits(self, mask: &[u8], new: &[u8]) {
        let (mask, new) = (self.with(0, mask), self.with(0, new));
        // It always changes.
        let _ = self.exchange(Ordering::Relaxed, Ordering::Relaxed, |old| Some(old & !mask | new & mask));
    }

    /// Replaces the word by what `change` makes of it, again if others changed it meanwhile, unless that is `None`; gives the word
    /// before, as an error if it stays. The standard library's own function of this kind has had two names.
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

/// The part of an order that is about loads.
fn load_order(order: Ordering) -> Ordering {
    match order {
        Ordering::Release => Ordering::Relaxed,
        Ordering::AcqRel => Ordering::Acquire,
        other => other,
    }
}
