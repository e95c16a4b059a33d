//! Maps without keys: queues, stacks, Bloom filters.

use std::marker::PhantomData;

use super::handle::{Handle, handle};
use crate::data::Plain;
use crate::data::{as_bytes, as_bytes_mut, zeroed};
use crate::error::Result;
use crate::uapi::{MapType, elem_flags};

/// Values that come out in the order they went in.
///
/// ```
/// use skelgen_runtime::map::Queue;
///
/// fn next(work: &Queue<u64>) -> skelgen_runtime::Result<Option<u64>> {
///     work.push(&1)?;
///     work.push_over(&2)?;
///     println!("{:?} comes next", work.peek()?);
///     work.pop()
/// }
/// ```
pub struct Queue<V> {
    handle: Handle,
    value: PhantomData<fn() -> V>,
}

/// Values that come out in the opposite order.
///
/// ```
/// use skelgen_runtime::map::Stack;
///
/// fn top(waiting: &Stack<u32>) -> skelgen_runtime::Result<Option<u32>> {
///     waiting.push(&7)?;
///     waiting.pop()
/// }
/// ```
pub struct Stack<V> {
    handle: Handle,
    value: PhantomData<fn() -> V>,
}

/// A set that knows surely what is not in it, and what is only probably.
///
/// ```
/// use skelgen_runtime::map::BloomFilter;
///
/// fn is_new(seen: &BloomFilter<u32>, address: u32) -> skelgen_runtime::Result<bool> {
///     let is_new = !seen.may_contain(&address)?;
///     seen.insert(&address)?;
///     Ok(is_new)
/// }
/// ```
pub struct BloomFilter<V> {
    handle: Handle,
    value: PhantomData<fn() -> V>,
}

handle!([V: Plain] Queue<V>);
handle!([V: Plain] Stack<V>);
handle!([V: Plain] BloomFilter<V>);

macro_rules! queue {
    ($name:ident, $map_type:ident) => {
        impl<V: Plain> $name<V> {
            fn check(handle: Handle) -> Result<Self> {
                let handle = handle.expect(&[MapType::$map_type], Some(0), Some(size_of::<V>()))?;
                Ok(Self { handle, value: PhantomData })
            }

            /// Puts a value in.
            ///
            /// # Errors
            /// If it is full (`E2BIG`) or may not be written.
            pub fn push(&self, value: &V) -> Result<()> {
                self.handle.update(&[], as_bytes(value), elem_flags::ANY)
            }

            /// Puts a value in; if there is no room, the oldest one is lost.
            ///
            /// # Errors
            /// If the map may not be written.
            pub fn push_over(&self, value: &V) -> Result<()> {
                self.handle.update(&[], as_bytes(value), elem_flags::EXIST)
            }

            /// Takes the next value out, if there is one.
            ///
            /// # Errors
            /// If the map may not be read and written.
            pub fn pop(&self) -> Result<Option<V>> {
                let mut value = zeroed();
                Ok(self.handle.take(&[], as_bytes_mut(&mut value))?.then_some(value))
            }

            /// Takes values out until there is none, and passes each to `each`; returns their number.
            ///
            /// # Errors
            /// If the map may not be read and written.
            pub fn drain(&self, mut each: impl FnMut(V)) -> Result<usize> {
                let mut count = 0;
                while let Some(value) = self.pop()? {
                    each(value);
                    count += 1;
                }
                Ok(count)
            }

            /// Returns the next value, if there is one, and leaves it in the map.
            ///
            /// # Errors
            /// If the map may not be read.
            pub fn peek(&self) -> Result<Option<V>> {
                let mut value = zeroed();
                Ok(self.handle.lookup(&[], as_bytes_mut(&mut value), 0)?.then_some(value))
            }
        }
    };
}

queue!(Queue, QUEUE);
queue!(Stack, STACK);

impl<V: Plain> BloomFilter<V> {
    fn check(handle: Handle) -> Result<Self> {
        let handle = handle.expect(&[MapType::BLOOM_FILTER], Some(0), Some(size_of::<V>()))?;
        Ok(Self { handle, value: PhantomData })
    }

    /// Puts a value in.
    ///
    /// # Errors
    /// If the map may not be written.
    pub fn insert(&self, value: &V) -> Result<()> {
        self.handle.update(&[], as_bytes(value), elem_flags::ANY)
    }

    /// Returns whether the value may be in the map; if `false`, it certainly is not.
    ///
    /// # Errors
    /// If the map may not be read.
    pub fn may_contain(&self, value: &V) -> Result<bool> {
        // The kernel takes the value to look for from where a lookup of other maps puts it.
        let mut value = *value;
        self.handle.lookup(&[], as_bytes_mut(&mut value), 0)
    }
}
