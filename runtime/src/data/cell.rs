//! Values in memory that is shared with programs.
//!
//! A program, another thread or another process may write such memory at any time. No reference to it is ever created:
//! a [`Cell`] copies values in and out.
//!
//! # Safety
//! - A cell is created from an address whose 8-byte words are valid for reads (and for writes, unless the creator
//!   documents otherwise) for all of `'a`. Later it is only narrowed, with checked bounds.
//! - All access goes through the module `words`. It is atomic and of one size, so that concurrent accesses are never a
//!   data race. A value that does not fit in one word may be torn: read while it is written, it can be a mix of both
//!   values. Every bit pattern is a value of a plain type, so the worst result is a wrong number.
//! - Therefore cells are `Send` and `Sync`: they have no state that belongs to a thread.
#![allow(unsafe_code, reason = "access to shared memory; see `# Safety`")]

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::initial::zeroed_box;
use super::part::{BitField, get_bits, set_bits};
use super::plain::{Plain, as_bytes, as_bytes_mut, zeroed};
use super::words::{read, write, write_bits};

/// The maximum number of bytes that 128 bits span.
const BIT_BYTES: usize = 17;

/// A value in shared memory.
///
/// [`get`](Self::get) and [`set`](Self::set) of a value of 1, 2, 4 or 8 bytes are one relaxed atomic access if its
/// address is a multiple of its size. Other values are copied piece by piece. Bytes outside the value are never
/// changed.
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
    pub(super) ptr: NonNull<u8>,
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
    /// Creates a cell for the value at `ptr`.
    ///
    /// # Safety
    /// The 8-byte words that contain a `T` at this address must be valid for reads and writes for all of `'a`, and no
    /// reference to them may exist.
    pub(crate) unsafe fn new(ptr: NonNull<u8>) -> Self {
        Self { ptr, lifetime: PhantomData }
    }

    /// Returns a cell for the part of type `U` at `offset` bytes, for generated code.
    ///
    /// # Panics
    /// If the part is not inside the value.
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
        let ptr = unsafe { self.ptr.add(offset) };
        Cell { ptr, lifetime: PhantomData }
    }
}

impl<T: Plain> Cell<'_, T> {
    /// Returns a copy of the value.
    #[must_use]
    pub fn get(self) -> T {
        let mut value = zeroed();
        // SAFETY: the words that contain the value are valid for reads.
        unsafe { read(self.ptr, as_bytes_mut(&mut value)) };
        value
    }

    /// Returns a copy of the value on the heap. The value is never on the stack, so it can have megabytes.
    #[must_use]
    pub fn get_boxed(self) -> Box<T> {
        let mut value = zeroed_box();
        // SAFETY: the words that contain the value are valid for reads.
        unsafe { read(self.ptr, as_bytes_mut(&mut *value)) };
        value
    }

    /// Sets the value.
    pub fn set(self, value: T) {
        // SAFETY: the words that contain the value are valid for reads and writes.
        unsafe { write(self.ptr, as_bytes(&value)) };
    }

    /// Returns the bitfield of `count` bits that begins at bit `first`, in the bit order of C compilers: see
    /// [`get_bits`].
    ///
    /// # Panics
    /// If the bits are not inside the value, or more than 128.
    #[doc(hidden)]
    #[must_use]
    pub fn get_bits<B: BitField>(self, first: usize, count: usize) -> B {
        get_bits(&self.bytes_of_bits(first, count), first % 8, count)
    }

    /// Sets the bitfield of `count` bits that begins at bit `first`. Other bits keep their value; bits of `value`
    /// beyond `count` are dropped.
    ///
    /// # Panics
    /// If the bits are not inside the value, or more than 128.
    #[doc(hidden)]
    pub fn set_bits<B: BitField>(self, first: usize, count: usize, value: B) {
        let (mut mask, mut new) = ([0; BIT_BYTES], [0; BIT_BYTES]);
        set_bits(&mut mask, first % 8, count, u128::MAX);
        set_bits(&mut new, first % 8, count, value);
        let (ptr, len) = self.address_of_bits(first, count);
        // SAFETY: the bytes that contain the bits are inside the value, whose words are valid for reads and writes.
        unsafe { write_bits(ptr, &mask[..len], &new[..len]) };
    }

    /// Returns the bytes that contain these bits, followed by zeros.
    fn bytes_of_bits(self, first: usize, count: usize) -> [u8; BIT_BYTES] {
        let mut bytes = [0; BIT_BYTES];
        let (ptr, len) = self.address_of_bits(first, count);
        // SAFETY: the bytes that contain the bits are inside the value, whose words are valid for reads.
        unsafe { read(ptr, &mut bytes[..len]) };
        bytes
    }

    /// Returns the address and the number of the bytes that contain these bits.
    fn address_of_bits(self, first: usize, count: usize) -> (NonNull<u8>, usize) {
        let end = first.checked_add(count).filter(|end| count <= 128 && end.div_ceil(8) <= size_of::<T>());
        assert!(end.is_some(), "{count} bits from bit {first} are not inside a value of {} bytes", size_of::<T>());
        // SAFETY: the offset is inside the value.
        let ptr = unsafe { self.ptr.add(first / 8) };
        (ptr, (first % 8 + count).div_ceil(8))
    }

    /// Replaces the value with the result of `change`. This is not atomic: a value that a program or another thread
    /// writes in between is lost.
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
    /// If `index` is not less than the number of elements.
    #[must_use]
    pub fn index(self, index: usize) -> Cell<'a, T> {
        assert!(index < N, "index {index} is out of bounds of an array of {N} elements");
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
        let ptr = NonNull::new(memory.as_mut_ptr()).unwrap().cast();
        // SAFETY: the memory is borrowed for the cells alone, and begins and ends with a word.
        let cells = unsafe { Cell::<[u8; LEN]>::new(ptr) };
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

    /// Tests that concurrent accesses of different sizes to the same bytes lose no write.
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
    #[should_panic(expected = "unaligned")]
    fn atomic_access_needs_alignment() {
        let mut memory = [0u64; 2];
        let _ = cells(&mut memory).field::<u32>(1).load(Ordering::Relaxed);
    }
}
