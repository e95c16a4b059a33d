//! Places in memory that is shared with programs.
//!
//! A program, another thread or another process may write such memory at any time, so it is never lent as a reference: a
//! [`Cell`] copies values in and out.
//!
//! # Safety
//! - A cell is made from a place whose words, those of eight bytes that hold it, are valid for reads (and writes, unless its maker
//!   says otherwise) for all of `'a`, and only narrowed after that, with checked bounds.
//! - All access is that of the module `words`: atomic and of one size, so two accesses at once are never a data race, whoever
//!   makes them. A value that one word cannot hold may be read while it is written and come out mixed; any bytes are a value of a
//!   plain type, so that is a wrong number at worst.
//! - That makes cells `Send` and `Sync`: nothing about them belongs to a thread.
#![allow(unsafe_code, reason = "access to shared memory; see `# Safety`")]

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::initial::zeroed_box;
use super::part::{BitField, get_bits, set_bits};
use super::plain::{Plain, as_bytes, as_bytes_mut, zeroed};
use super::words::{read, write, write_bits};

/// How many bytes 128 bits can be spread over.
const BIT_BYTES: usize = 17;

/// A value in shared memory.
///
/// [`get`](Self::get) and [`set`](Self::set) of a value of 1, 2, 4 or 8 bytes at an address that is a multiple of its size are
/// one relaxed atomic access; other values are copied piece by piece. Nothing but the value's own bytes is ever changed.
///
/// ```
/// use skelgen_runtime::Cell;
/// use std::sync::atomic::Ordering;
///
/// fn count(total: Cell<'_, u64>, by_kind: Cell<'_, [u32; 4]>) -> u32 {
///     total.fetch_add(1, Ordering::Relaxed);
///     by_kind.index(2).set(7);
///     by_kind.iter().map(Cell::get).sum()
/// }
/// ```
pub struct Cell<'a, T> {
    pub(super) place: NonNull<u8>,
    lifetime: PhantomData<(&'a (), T)>,
}

// SAFETY: see the module's `# Safety`.
unsafe impl<T: Send> Send for Cell<'_, T> {}
// SAFETY: see the module's `# Safety`.
unsafe impl<T: Send> Sync for Cell<'_, T> {}

impl<T> Clone for Cell<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Cell<'_, T> {}

impl<T: Plain + fmt::Debug> fmt::Debug for Cell<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cell").field(&self.get()).finish()
    }
}

impl<'a, T> Cell<'a, T> {
    /// The value at this place.
    ///
    /// # Safety
    /// The words of eight bytes that hold a `T` at this place must be valid for reads and writes for all of `'a`, and nobody may hold
    /// a reference into them.
    pub(crate) unsafe fn new(place: NonNull<u8>) -> Self {
        Self { place, lifetime: PhantomData }
    }

    /// Returns the part of type `U` at `offset` bytes, for generated code.
    ///
    /// # Panics
    /// If it would not be inside the value.
    #[doc(hidden)]
    #[must_use]
    pub fn field<U: Plain>(self, offset: usize) -> Cell<'a, U> {
        let end = offset.checked_add(size_of::<U>());
        assert!(
            end.is_some_and(|end| end <= size_of::<T>()),
            "{} bytes at offset {offset} are not inside a value of {} bytes",
            size_of::<U>(),
            size_of::<T>()
        );
        // SAFETY: the offset is inside the value.
        let place = unsafe { self.place.add(offset) };
        Cell { place, lifetime: PhantomData }
    }
}

impl<T: Plain> Cell<'_, T> {
    /// Returns a copy of the value.
    #[must_use]
    pub fn get(self) -> T {
        let mut value = zeroed();
        // SAFETY: the words that hold a `T` there are valid for reads.
        unsafe { read(self.place, as_bytes_mut(&mut value)) };
        value
    }

    /// Returns a copy of the value on the heap, which never passes through the stack: for values of megabytes.
    #[must_use]
    pub fn get_boxed(self) -> Box<T> {
        let mut value = zeroed_box();
        // SAFETY: the words that hold a `T` there are valid for reads.
        unsafe { read(self.place, as_bytes_mut(&mut *value)) };
        value
    }

    /// Sets the value.
    pub fn set(self, value: T) {
        // SAFETY: the words that hold a `T` there are valid for reads and writes.
        unsafe { write(self.place, as_bytes(&value)) };
    }

    /// Returns the bitfield of `count` bits that begins at bit `first`, counted as C compilers do: see [`get_bits`].
    ///
    /// # Panics
    /// If the bits are not inside the value, or more than 128.
    #[doc(hidden)]
    #[must_use]
    pub fn get_bits<B: BitField>(self, first: usize, count: usize) -> B {
        get_bits(&self.bytes_of_bits(first, count), first % 8, count)
    }

    /// Sets the bitfield of `count` bits that begins at bit `first`, and no other bits. Bits of `value` that it has no room for are
    /// dropped.
    ///
    /// # Panics
    /// As [`Self::get_bits`].
    #[doc(hidden)]
    pub fn set_bits<B: BitField>(self, first: usize, count: usize, value: B) {
        let (mut mask, mut new) = ([0; BIT_BYTES], [0; BIT_BYTES]);
        set_bits(&mut mask, first % 8, count, u128::MAX);
        set_bits(&mut new, first % 8, count, value);
        let (place, len) = self.place_of_bits(first, count);
        // SAFETY: the bytes that hold the bits are inside the value, whose words are valid for reads and writes.
        unsafe { write_bits(place, &mask[..len], &new[..len]) };
    }

    /// The bytes that hold these bits, then zeros.
    fn bytes_of_bits(self, first: usize, count: usize) -> [u8; BIT_BYTES] {
        let mut bytes = [0; BIT_BYTES];
        let (place, len) = self.place_of_bits(first, count);
        // SAFETY: the bytes that hold the bits are inside the value, whose words are valid for reads.
        unsafe { read(place, &mut bytes[..len]) };
        bytes
    }

    /// Where the bytes are that hold these bits, and how many.
    fn place_of_bits(self, first: usize, count: usize) -> (NonNull<u8>, usize) {
        let end = first.checked_add(count).filter(|end| count <= 128 && end.div_ceil(8) <= size_of::<T>());
        assert!(end.is_some(), "{count} bits from bit {first} on are not inside a value of {} bytes", size_of::<T>());
        // SAFETY: the offset is inside the value.
        let place = unsafe { self.place.add(first / 8) };
        (place, (first % 8 + count).div_ceil(8))
    }

    /// Sets the value to what `change` makes of it. Not atomic: what others write in between is lost.
    pub fn update(self, change: impl FnOnce(T) -> T) {
        self.set(change(self.get()));
    }
}

impl<'a, T: Plain, const N: usize> Cell<'a, [T; N]> {
    /// Returns the number of elements.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "the length is a constant")]
    pub const fn len(self) -> usize {
        N
    }

    /// Returns the element at `index`.
    ///
    /// # Panics
    /// If there is no such element.
    #[must_use]
    pub fn index(self, index: usize) -> Cell<'a, T> {
        assert!(index < N, "index {index} of an array of {N}");
        self.field(index * size_of::<T>())
    }

    /// Iterates over the elements.
    #[must_use]
    pub fn iter(self) -> impl ExactSizeIterator<Item = Cell<'a, T>> + DoubleEndedIterator {
        (0..N).map(move |index| self.index(index))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    fn cells<const N: usize>(memory: &mut [u64; N]) -> Cell<'_, [u64; N]> {
        // SAFETY: the memory is borrowed for the cells alone, and begins and ends with a word.
        unsafe { Cell::new(NonNull::from(memory).cast()) }
    }

    #[test]
    fn get_and_set() {
        let mut memory = [0u64; 4];
        let cells = cells(&mut memory);
        cells.field::<u32>(4).set(7);
        cells.field::<[u8; 3]>(9).set([1, 2, 3]);
        cells.field::<u16>(30).set(9);
        assert_eq!(cells.field::<u32>(4).get(), 7);
        assert_eq!(cells.field::<u8>(10).get(), 2);
        // Not aligned, as in a packed struct.
        cells.field::<u64>(17).set(u64::MAX / 3);
        assert_eq!(cells.field::<u64>(17).get(), u64::MAX / 3);
        assert_eq!(cells.get()[0], u64::from_ne_bytes([[0; 4], 7u32.to_ne_bytes()].concat().try_into().unwrap()));
        cells.set([1; 4]);
        assert_eq!(memory, [1; 4]);
    }

    #[test]
    fn large_values_never_pass_through_the_stack() {
        const LEN: usize = if cfg!(miri) { 1 << 12 } else { 16 << 20 };
        let mut memory = vec![7u64; LEN / 8];
        let place = NonNull::new(memory.as_mut_ptr()).unwrap().cast();
        // SAFETY: the memory is borrowed for the cells alone, and begins and ends with a word.
        let cells = unsafe { Cell::<[u8; LEN]>::new(place) };
        let copy = std::thread::scope(|scope| {
            let copy = || cells.field::<[u8; LEN]>(0).get_boxed();
            std::thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, copy).unwrap().join().unwrap()
        });
        assert_eq!((copy[0], copy[LEN - 8], cells.get_boxed().len()), (memory[0].to_ne_bytes()[0], copy[0], LEN));
    }

    #[test]
    fn atomics_from_many_threads() {
        let mut memory = [0u64; 2];
        let cell = cells(&mut memory).field::<u64>(8);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || {
                    for _ in 0..1000 {
                        cell.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(cell.load(Ordering::SeqCst), 4000);
        assert_eq!(cell.compare_exchange(4000, 1, Ordering::SeqCst, Ordering::SeqCst), Ok(4000));
        assert_eq!(cell.swap(5, Ordering::SeqCst), 1);
        assert_eq!(cell.fetch_or(2, Ordering::SeqCst), 5);
        assert_eq!(memory, [0, 7]);
    }

    /// Accesses of different sizes to the same bytes, from several threads: no data race, and nothing is lost.
    #[test]
    fn sizes_mix() {
        let mut memory = [0u64; 2];
        let cells = cells(&mut memory);
        let rounds: u16 = if cfg!(miri) { 50 } else { 5000 };
        std::thread::scope(|scope| {
            for byte in [0, 1, 13] {
                scope.spawn(move || (0..rounds).for_each(|_| cells.field::<u8>(byte).set(9)));
            }
            scope.spawn(move || {
                for _ in 0..rounds {
                    cells.field::<u32>(4).fetch_add(1, Ordering::AcqRel);
                }
            });
            scope.spawn(move || {
                for _ in 0..rounds {
                    cells.field::<u16>(8).fetch_add(1, Ordering::Relaxed);
                }
            });
            scope.spawn(move || (0..rounds).for_each(|_| cells.field::<[u8; 3]>(10).set([1, 2, 3])));
            scope.spawn(move || {
                for _ in 0..rounds {
                    let all = cells.field::<[u32; 4]>(0).get();
                    assert!(all[1] <= u32::from(rounds));
                }
            });
        });
        assert_eq!(cells.field::<u32>(4).get(), u32::from(rounds));
        assert_eq!(cells.field::<u16>(8).get(), rounds);
        assert_eq!(cells.field::<[u8; 3]>(10).get(), [1, 2, 3]);
        assert_eq!((cells.field::<u16>(2).get(), cells.field::<u16>(14).get()), (0, 0));
    }

    #[test]
    fn bits() {
        let mut memory = [u64::MAX, 0, u64::MAX];
        let cell = cells(&mut memory).field::<[u8; 24]>(0);
        cell.set_bits(61, 5, 0b11010u8);
        assert_eq!((cell.get_bits::<u64>(61, 5), cell.get_bits::<i64>(61, 5)), (0b11010, -6));
        cell.set_bits(63, 66, 1u128 << 65 | 2);
        assert_eq!(cell.get_bits::<u128>(63, 66), 1 << 65 | 2);
        assert_eq!(cell.get_bits::<u128>(0, 0), 0);
        let big = cfg!(target_endian = "big");
        let [first, last] = if big { [u64::MAX, u64::MAX >> 1] } else { [u64::MAX >> 3 | 2 << 61, u64::MAX] };
        assert_eq!(memory, [first, 1, last]);
    }

    #[test]
    #[should_panic(expected = "not inside")]
    fn bits_have_bounds() {
        let mut memory = [0; 1];
        cells(&mut memory).field::<u32>(0).set_bits(31, 2, 0);
    }

    #[test]
    fn small_atomics() {
        let mut memory = [u64::MAX; 1];
        let cells = cells(&mut memory);
        assert_eq!(cells.field::<u8>(3).fetch_add(2, Ordering::SeqCst), 255);
        assert_eq!(cells.field::<i16>(6).fetch_max(5, Ordering::Release), -1);
        assert_eq!(cells.field::<i16>(6).fetch_min(-7, Ordering::Acquire), 5);
        cells.field::<u8>(0).store(7, Ordering::Release);
        assert_eq!(cells.field::<u8>(0).compare_exchange(8, 9, Ordering::SeqCst, Ordering::Relaxed), Err(7));
        assert_eq!(cells.field::<u8>(0).compare_exchange(7, 9, Ordering::SeqCst, Ordering::Relaxed), Ok(7));
        let word = memory[0].to_ne_bytes();
        assert_eq!((word[0], &word[1..3], word[3], &word[4..6]), (9, &[255; 2][..], 1, &[255; 2][..]));
        assert_eq!(i16::from_ne_bytes([word[6], word[7]]), -7);
    }

    #[test]
    fn arrays() {
        let mut memory = [0u64; 2];
        let cell = cells(&mut memory).field::<[u32; 3]>(0);
        cell.set([1, 2, 3]);
        cell.index(1).update(|value| value * 10);
        assert_eq!(cell.iter().map(Cell::get).collect::<Vec<_>>(), [1, 20, 3]);
        assert_eq!(cell.len(), 3);
    }

    #[test]
    #[should_panic(expected = "not inside")]
    fn bounds() {
        let mut memory = [0u64; 1];
        let _ = cells(&mut memory).field::<u32>(5);
    }

    #[test]
    #[should_panic(expected = "not aligned")]
    fn atomic_access_needs_alignment() {
        let mut memory = [0u64; 2];
        let _ = cells(&mut memory).field::<u32>(1).load(Ordering::Relaxed);
    }
}
