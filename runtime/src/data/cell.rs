//! Places in memory that is shared with programs.
//!
//! A program, another thread or another process may write such memory at any time, so it is never lent as a reference: a
//! [`Cell`] copies values in and out.
//!
//! # Safety
//! - A cell is made from a place that is valid for reads (and writes, unless its maker says otherwise) for all of `'a`, and only
//!   narrowed after that, with checked bounds.
//! - All access is by relaxed atomic operations of the widest word that the address and the length allow, so two accesses at
//!   once are never a data race, whoever makes them. A value that one word cannot hold may be read while it is written and come
//!   out mixed; any bytes are a value of a plain type, so that is a wrong number at worst.
//! - That makes cells `Send` and `Sync`: nothing about them belongs to a thread.
#![allow(unsafe_code, reason = "access to shared memory; see `# Safety`")]

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::plain::{Plain, as_bytes, as_bytes_mut, zeroed};

/// A struct in shared memory, whose fields are reached by offset. What generated skeletons build on.
pub struct Cells<'a, T>(Cell<'a, T>);

impl<T> Clone for Cells<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Cells<'_, T> {}

impl<T> fmt::Debug for Cells<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cells").field(&self.0.place).finish()
    }
}

impl<'a, T> Cells<'a, T> {
    /// The struct at this place.
    ///
    /// # Safety
    /// The place must be valid for reads and writes of a `T` for all of `'a`, and nobody may hold a reference into it.
    pub(crate) unsafe fn new(place: NonNull<u8>) -> Self {
        Self(Cell { place, lifetime: PhantomData })
    }

    /// The field of type `U` at `offset` bytes.
    ///
    /// # Panics
    /// If the field would not be inside the struct.
    #[must_use]
    pub fn at<U: Plain>(self, offset: usize) -> Cell<'a, U> {
        self.0.field(offset)
    }
}

impl<T: Plain> Cells<'_, T> {
    /// A copy of the whole struct. Not atomic: fields may be of different moments.
    #[must_use]
    pub fn get(self) -> T {
        self.0.get()
    }

    /// Sets the whole struct. Not atomic.
    pub fn set(self, value: T) {
        self.0.set(value);
    }
}

/// A value in shared memory.
///
/// [`get`](Self::get) and [`set`](Self::set) of a value of 1, 2, 4 or 8 bytes at an address that is a multiple of its size are
/// one relaxed atomic access; other values are copied piece by piece.
pub struct Cell<'a, T> {
    place: NonNull<u8>,
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
    /// The part of type `U` at `offset` bytes.
    ///
    /// # Panics
    /// If it would not be inside the value.
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
    /// A copy of the value.
    #[must_use]
    pub fn get(self) -> T {
        let mut value = zeroed();
        // SAFETY: the place is valid for reads of a `T`.
        unsafe { read(self.place, as_bytes_mut(&mut value)) };
        value
    }

    /// Sets the value.
    pub fn set(self, value: T) {
        // SAFETY: the place is valid for writes of a `T`.
        unsafe { write(self.place, as_bytes(&value)) };
    }

    /// Sets the value to what `change` makes of it. Not atomic: what others write in between is lost.
    pub fn update(self, change: impl FnOnce(T) -> T) {
        self.set(change(self.get()));
    }
}

impl<'a, T: Plain, const N: usize> Cell<'a, [T; N]> {
    /// How many elements there are.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "the length is a constant")]
    pub const fn len(self) -> usize {
        N
    }

    /// The element at `index`.
    ///
    /// # Panics
    /// If there is no such element.
    #[must_use]
    pub fn index(self, index: usize) -> Cell<'a, T> {
        assert!(index < N, "index {index} of an array of {N}");
        self.field(index * size_of::<T>())
    }

    /// The elements.
    #[must_use]
    pub fn iter(self) -> impl ExactSizeIterator<Item = Cell<'a, T>> + DoubleEndedIterator {
        (0..N).map(move |index| self.index(index))
    }
}

macro_rules! atomic {
    ($($type:ty: $atomic:ident),*) => {
        $(
            /// Atomic operations, on the same memory that programs change with atomic instructions.
            ///
            /// All of them panic where the place is not a multiple of the size, as in packed structs: no machine has atomic
            /// operations there.
            #[allow(clippy::missing_panics_doc, reason = "said of all of them above")]
            impl<'a> Cell<'a, $type> {
                fn atomic(self) -> &'a $atomic {
                    let place = self.place.cast::<$atomic>();
                    assert!(place.is_aligned(), "atomic access to a field that is not aligned");
                    // SAFETY: aligned and valid for all of `'a`; a reference to an atomic allows writes by others.
                    unsafe { place.as_ref() }
                }

                /// The value.
                #[must_use]
                pub fn load(self, order: Ordering) -> $type {
                    self.atomic().load(order)
                }

                /// Sets the value.
                pub fn store(self, value: $type, order: Ordering) {
                    self.atomic().store(value, order);
                }

                /// Sets the value and gives the one before.
                pub fn swap(self, value: $type, order: Ordering) -> $type {
                    self.atomic().swap(value, order)
                }

                /// Adds, wrapping around, and gives the value before.
                pub fn fetch_add(self, value: $type, order: Ordering) -> $type {
                    self.atomic().fetch_add(value, order)
                }

                /// Subtracts, wrapping around, and gives the value before.
                pub fn fetch_sub(self, value: $type, order: Ordering) -> $type {
                    self.atomic().fetch_sub(value, order)
                }

                /// Bitwise and; gives the value before.
                pub fn fetch_and(self, value: $type, order: Ordering) -> $type {
                    self.atomic().fetch_and(value, order)
                }

                /// Bitwise or; gives the value before.
                pub fn fetch_or(self, value: $type, order: Ordering) -> $type {
                    self.atomic().fetch_or(value, order)
                }

                /// Bitwise exclusive or; gives the value before.
                pub fn fetch_xor(self, value: $type, order: Ordering) -> $type {
                    self.atomic().fetch_xor(value, order)
                }

                /// Sets the value to `new` if it is `current`, and gives the value before.
                ///
                /// # Errors
                /// With the value, if it is not `current`.
                pub fn compare_exchange(
                    self,
                    current: $type,
                    new: $type,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$type, $type> {
                    self.atomic().compare_exchange(current, new, success, failure)
                }
            }
        )*
    };
}

atomic!(u32: AtomicU32, u64: AtomicU64, i32: AtomicI32, i64: AtomicI64);

macro_rules! pieces {
    ($place:ident, $bytes:ident, $atomic:ident, $width:literal, $chunks:ident, |$word:ident, $piece:ident| $body:expr) => {
        if $place.cast::<$atomic>().is_aligned() && $bytes.chunks_exact($width).remainder().is_empty() {
            for (index, $piece) in $bytes.$chunks($width).enumerate() {
                // SAFETY: the caller promises as many bytes at the place as the slice has, and this piece is inside.
                let place = unsafe { $place.add(index * $width) };
                // SAFETY: the pieces are as aligned as the place is, and a reference to an atomic allows writes by others.
                let $word = unsafe { place.cast::<$atomic>().as_ref() };
                $body;
            }
            return;
        }
    };
}

/// Copies from shared memory, by the widest words that fit.
///
/// # Safety
/// The place must be valid for reads of as many bytes.
pub(crate) unsafe fn read(place: NonNull<u8>, into: &mut [u8]) {
    pieces!(place, into, AtomicU64, 8, chunks_exact_mut, |word, piece| piece
        .copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes()));
    pieces!(place, into, AtomicU32, 4, chunks_exact_mut, |word, piece| piece
        .copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes()));
    pieces!(place, into, AtomicU16, 2, chunks_exact_mut, |word, piece| piece
        .copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes()));
    pieces!(place, into, AtomicU8, 1, chunks_exact_mut, |word, piece| piece
        .copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes()));
}

/// Copies to shared memory, by the widest words that fit.
///
/// # Safety
/// The place must be valid for writes of as many bytes.
pub(crate) unsafe fn write(place: NonNull<u8>, from: &[u8]) {
    pieces!(place, from, AtomicU64, 8, chunks_exact, |word, piece| word
        .store(u64::from_ne_bytes(array(piece)), Ordering::Relaxed));
    pieces!(place, from, AtomicU32, 4, chunks_exact, |word, piece| word
        .store(u32::from_ne_bytes(array(piece)), Ordering::Relaxed));
    pieces!(place, from, AtomicU16, 2, chunks_exact, |word, piece| word
        .store(u16::from_ne_bytes(array(piece)), Ordering::Relaxed));
    pieces!(place, from, AtomicU8, 1, chunks_exact, |word, piece| word
        .store(u8::from_ne_bytes(array(piece)), Ordering::Relaxed));
}

/// The bytes of a piece, which has exactly as many.
fn array<const N: usize>(piece: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(piece);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells<T: Plain>(memory: &mut T) -> Cells<'_, T> {
        // SAFETY: the memory is borrowed for the cells alone.
        unsafe { Cells::new(NonNull::from(memory).cast()) }
    }

    #[test]
    fn get_and_set() {
        let mut memory = [0u64; 4];
        let cells = cells(&mut memory);
        cells.at::<u32>(4).set(7);
        cells.at::<[u8; 3]>(9).set([1, 2, 3]);
        cells.at::<u16>(30).set(9);
        assert_eq!(cells.at::<u32>(4).get(), 7);
        assert_eq!(cells.at::<u8>(10).get(), 2);
        // Not aligned, as in a packed struct.
        cells.at::<u64>(17).set(u64::MAX / 3);
        assert_eq!(cells.at::<u64>(17).get(), u64::MAX / 3);
        assert_eq!(cells.get()[0], u64::from_ne_bytes([[0; 4], 7u32.to_ne_bytes()].concat().try_into().unwrap()));
        cells.set([1; 4]);
        assert_eq!(memory, [1; 4]);
    }

    #[test]
    fn atomics_from_many_threads() {
        let mut memory = [0u64; 2];
        let cell = cells(&mut memory).at::<u64>(8);
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

    #[test]
    fn arrays() {
        let mut memory = [1u32, 2, 3];
        let cell = cells(&mut memory).at::<[u32; 3]>(0);
        cell.index(1).update(|value| value * 10);
        assert_eq!(cell.iter().map(Cell::get).collect::<Vec<_>>(), [1, 20, 3]);
        assert_eq!(cell.len(), 3);
    }

    #[test]
    #[should_panic(expected = "not inside")]
    fn bounds() {
        let mut memory = [0u8; 8];
        let _ = cells(&mut memory).at::<u32>(5);
    }

    #[test]
    #[should_panic(expected = "not aligned")]
    fn atomic_access_needs_alignment() {
        let mut memory = [0u64; 2];
        let _ = cells(&mut memory).at::<u32>(1).load(Ordering::Relaxed);
    }
}
