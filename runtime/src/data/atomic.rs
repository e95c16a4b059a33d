//! Atomic operations on integers, booleans and pointers in memory that is shared with programs.
//!
//! # Safety
//! As in [`cell`](super::cell): the words of a cell are valid for all of its lifetime, and all access goes through
//! `words`.
#![allow(unsafe_code, reason = "access to shared memory; see `# Safety`")]

use std::sync::atomic::Ordering;

use super::cell::Cell;
use super::plain::{Bool, Ptr};
use super::words::Part;

macro_rules! atomic {
    ($($type:ty),*) => {
        $(
            /// Atomic operations on a value that programs may change at the same time with atomic instructions.
            ///
            /// These methods panic if the address is not a multiple of the size, as can be the case in packed structs.
            #[allow(clippy::missing_panics_doc, reason = "documented for all methods above")]
            impl<'a> Cell<'a, $type> {
                fn atomic(self) -> Part<'a> {
                    let ptr = self.ptr;
                    assert!(ptr.addr().get() % size_of::<$type>() == 0, "atomic access to an unaligned field");
                    // SAFETY: the word that contains the value is valid for all of `'a`.
                    unsafe { Part::new(ptr) }
                }

                fn change(self, order: Ordering, mut change: impl FnMut($type) -> $type) -> $type {
                    let change = |old| change(<$type>::from_ne_bytes(old)).to_ne_bytes();
                    <$type>::from_ne_bytes(self.atomic().update(order, change))
                }

                /// Returns the value.
                #[must_use]
                pub fn load(self, order: Ordering) -> $type {
                    <$type>::from_ne_bytes(self.atomic().load(order))
                }

                /// Sets the value.
                pub fn store(self, value: $type, order: Ordering) {
                    self.atomic().store(value.to_ne_bytes(), order);
                }

                /// Sets the value and returns the previous one.
                pub fn swap(self, value: $type, order: Ordering) -> $type {
                    self.change(order, |_| value)
                }

                /// Adds to the value, wrapping around, and returns the previous value.
                pub fn fetch_add(self, value: $type, order: Ordering) -> $type {
                    self.change(order, |old| old.wrapping_add(value))
                }

                /// Subtracts from the value, wrapping around, and returns the previous value.
                pub fn fetch_sub(self, value: $type, order: Ordering) -> $type {
                    self.change(order, |old| old.wrapping_sub(value))
                }

                /// Sets the value to its bitwise AND with `value` and returns the previous value.
                pub fn fetch_and(self, value: $type, order: Ordering) -> $type {
                    self.change(order, |old| old & value)
                }

                /// Sets the value to its bitwise OR with `value` and returns the previous value.
                pub fn fetch_or(self, value: $type, order: Ordering) -> $type {
                    self.change(order, |old| old | value)
                }

                /// Sets the value to its bitwise XOR with `value` and returns the previous value.
                pub fn fetch_xor(self, value: $type, order: Ordering) -> $type {
                    self.change(order, |old| old ^ value)
                }

                /// Sets the value to the maximum of the two and returns the previous one.
                pub fn fetch_max(self, value: $type, order: Ordering) -> $type {
                    self.change(order, |old| old.max(value))
                }

                /// Sets the value to the minimum of the two and returns the previous one.
                pub fn fetch_min(self, value: $type, order: Ordering) -> $type {
                    self.change(order, |old| old.min(value))
                }

                /// Sets the value to `new` if it is `current`, and returns the previous value.
                ///
                /// # Errors
                /// Returns the value as the error if it is not `current`.
                pub fn compare_exchange(
                    self,
                    current: $type,
                    new: $type,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$type, $type> {
                    let change =
                        |old| (<$type>::from_ne_bytes(old) == current).then_some(new.to_ne_bytes());
                    let changed = self.atomic().try_update(success, failure, change);
                    changed.map(<$type>::from_ne_bytes).map_err(<$type>::from_ne_bytes)
                }
            }
        )*
    };
}

atomic!(u8, u16, u32, u64, i8, i16, i32, i64);

/// Atomic operations on a boolean in shared memory, such as a flag that publishes data written before it.
#[allow(clippy::must_use_candidate, reason = "`swap` is also called only to set the value")]
impl Cell<'_, Bool> {
    /// Returns the value.
    #[must_use]
    pub fn load(self, order: Ordering) -> bool {
        self.field::<u8>(0).load(order) != 0
    }

    /// Sets the value.
    pub fn store(self, value: bool, order: Ordering) {
        self.field::<u8>(0).store(value.into(), order);
    }

    /// Sets the value and returns the previous one.
    pub fn swap(self, value: bool, order: Ordering) -> bool {
        self.field::<u8>(0).swap(value.into(), order) != 0
    }
}

/// Atomic operations on a pointer. These methods panic if the value is not aligned, as can be the case in packed
/// structs.
#[allow(clippy::missing_panics_doc, reason = "documented for all methods above")]
#[allow(clippy::must_use_candidate, reason = "`swap` is also called only to set the value")]
impl Cell<'_, Ptr> {
    /// Returns the value.
    #[must_use]
    pub fn load(self, order: Ordering) -> Ptr {
        Ptr::new(self.field::<u64>(0).load(order))
    }

    /// Sets the value.
    pub fn store(self, value: Ptr, order: Ordering) {
        self.field::<u64>(0).store(value.address(), order);
    }

    /// Sets the value and returns the previous one.
    pub fn swap(self, value: Ptr, order: Ordering) -> Ptr {
        Ptr::new(self.field::<u64>(0).swap(value.address(), order))
    }

    /// Sets the value to `new` if it is `current`, and returns the previous value.
    ///
    /// # Errors
    /// Returns the value as the error if it is not `current`.
    pub fn compare_exchange(self, current: Ptr, new: Ptr, success: Ordering, failure: Ordering) -> Result<Ptr, Ptr> {
        let cell = self.field::<u64>(0);
        cell.compare_exchange(current.address(), new.address(), success, failure).map(Ptr::new).map_err(Ptr::new)
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;

    use super::super::cell::Cell;
    use super::*;

    /// Tests that a reader that sees the flag also sees what was written before it.
    #[test]
    fn flags_and_addresses() {
        let mut memory = [0u64; 3];
        let (head, before, number) = (Ptr::new(7), Ptr::NULL, 1 << 40);
        // SAFETY: the memory is borrowed for the cells alone, and begins and ends with a word.
        let cells = unsafe { Cell::<[u64; 3]>::new(NonNull::from(&mut memory).cast()) };
        let (flag, value, pointer) = (cells.field::<Bool>(5), cells.field::<u64>(8), cells.field::<Ptr>(16));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                value.set(number);
                assert_eq!(pointer.swap(head, Ordering::Relaxed), before);
                assert!(!flag.swap(true, Ordering::AcqRel));
            });
            while !flag.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            assert_eq!((value.get(), pointer.load(Ordering::Relaxed)), (number, head));
        });
        assert_eq!(pointer.compare_exchange(before, head, Ordering::SeqCst, Ordering::Relaxed), Err(head));
        assert_eq!(pointer.compare_exchange(head, before, Ordering::SeqCst, Ordering::Relaxed), Ok(head));
        flag.store(false, Ordering::Release);
        pointer.store(head, Ordering::Release);
        assert_eq!((flag.get(), pointer.get(), memory[0]), (Bool::FALSE, head, 0));
    }
}
