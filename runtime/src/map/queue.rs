//! Maps without keys: queues, stacks, Bloom filters.

use std::marker::PhantomData;

use super::handle::handle;
use super::supports::Supports;
use super::untyped::Untyped;
use crate::data::Plain;
use crate::data::{as_bytes, as_bytes_mut, zeroed};
use crate::error::Result;
use crate::uapi::{MapType, elem_flags};

/// A queue: values are popped in the order in which they were pushed.
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
    handle: Untyped,
    value: PhantomData<fn() -> V>,
}

/// A stack: the value that was pushed last is popped first.
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
    handle: Untyped,
    value: PhantomData<fn() -> V>,
}

/// A Bloom filter: a set that finds every value that was inserted, but can also report values that were not inserted.
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
    handle: Untyped,
    value: PhantomData<fn() -> V>,
}

handle!([V: Plain] Queue<V>);
handle!([V: Plain] Stack<V>);
handle!([V: Plain] BloomFilter<V>);

macro_rules! queue {
    ($name:ident, $map_type:ident) => {
        impl<V: Plain> $name<V> {
            const SUPPORTS: Supports = Supports::new(&[MapType::$map_type], Some(0), Some(size_of::<V>()));

            fn check(handle: Untyped) -> Result<Self> {
                Ok(Self { handle: handle.expect(&Self::SUPPORTS)?, value: PhantomData })
            }

            /// Pushes a value.
            ///
            /// # Errors
            /// If the map is full (`E2BIG`) or the process has no permission to write to it.
            pub fn push(&self, value: &V) -> Result<()> {
                self.handle.update(&[], as_bytes(value), elem_flags::ANY)
            }

            /// Pushes a value. If the map is full, the oldest value is overwritten.
            ///
            /// # Errors
            /// If the process has no permission to write to the map.
            pub fn push_over(&self, value: &V) -> Result<()> {
                self.handle.update(&[], as_bytes(value), elem_flags::EXIST)
            }

            /// Removes the next value and returns it, or `None` if the map is empty.
            ///
            /// # Errors
            /// If the process has no permission to read and write the map.
            pub fn pop(&self) -> Result<Option<V>> {
                let mut value = zeroed();
                Ok(self.handle.take_into(&[], as_bytes_mut(&mut value))?.then_some(value))
            }

            /// Removes values until the map is empty, passes each to `each`, and returns their number.
            ///
            /// # Errors
            /// If the process has no permission to read and write the map.
            pub fn drain(&self, mut each: impl FnMut(V)) -> Result<usize> {
                let mut count = 0;
                while let Some(value) = self.pop()? {
                    each(value);
                    count += 1;
                }
                Ok(count)
            }

            /// Returns the next value without removing it, or `None` if the map is empty.
            ///
            /// # Errors
            /// If the process has no permission to read the map.
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
    const SUPPORTS: Supports = Supports::new(&[MapType::BLOOM_FILTER], Some(0), Some(size_of::<V>()));

    fn check(handle: Untyped) -> Result<Self> {
        Ok(Self { handle: handle.expect(&Self::SUPPORTS)?, value: PhantomData })
    }

    /// Inserts a value.
    ///
    /// # Errors
    /// If the process has no permission to write to the map.
    pub fn insert(&self, value: &V) -> Result<()> {
        self.handle.update(&[], as_bytes(value), elem_flags::ANY)
    }

    /// Returns `false` if the map certainly does not contain the value, and `true` if the map may contain it.
    ///
    /// # Errors
    /// If the process has no permission to read the map.
    pub fn may_contain(&self, value: &V) -> Result<bool> {
        // For Bloom filters, the buffer that receives the value for other maps is an input: the value to look for.
        let mut value = *value;
        self.handle.lookup(&[], as_bytes_mut(&mut value), 0)
    }
}
