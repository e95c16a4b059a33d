//! Iteration over the elements of a typed handle, and the macro that makes the handle iterable in a `for` loop.

use super::scan::Scan;
use crate::data::{Plain, from_bytes};
use crate::error::{Error, Result};

/// An iterator over the elements of a map, as pairs of a key or index and a value. Ends after the first error.
///
/// ```
/// use skelgen_runtime::map::HashMap;
///
/// fn largest(packets: &HashMap<u32, u64>) -> skelgen_runtime::Result<Option<(u32, u64)>> {
///     let mut entries = packets.iter();
///     entries.try_fold(None, |best: Option<(u32, u64)>, entry| {
///         let entry = entry?;
///         Ok(best.filter(|best| best.1 >= entry.1).or(Some(entry)))
///     })
/// }
/// ```
#[derive(Debug)]
pub struct Entries<'a, K, V> {
    scan: Scan<'a>,
    decode: Decode<K, V>,
}

/// Creates the key and the value of an element from their bytes.
type Decode<K, V> = fn(&[u8], &[u8]) -> Result<(K, V)>;

impl<'a, K, V> Entries<'a, K, V> {
    /// Iterates over the elements of a scan.
    pub(super) fn new(scan: Scan<'a>, decode: Decode<K, V>) -> Self {
        Self { scan, decode }
    }
}

impl<'a, K: Plain, V: Plain> Entries<'a, K, V> {
    /// Iterates over elements whose values are plain.
    pub(super) fn plain(scan: Scan<'a>) -> Self {
        Self::new(scan, |key, value| Ok((exactly(key)?, exactly(value)?)))
    }
}

impl<K, V> Iterator for Entries<'_, K, V> {
    type Item = Result<(K, V)>;

    fn next(&mut self) -> Option<Self::Item> {
        let element = self.scan.next()?.and_then(|(key, value)| (self.decode)(key, value));
        Some(element.map_err(|error| self.scan.end(error)))
    }
}

/// Returns the value with these bytes. Their number always matches, because handles compare sizes when they are created.
pub(super) fn exactly<T: Plain>(bytes: &[u8]) -> Result<T> {
    from_bytes(bytes).ok_or_else(|| {
        Error::mismatch(format_args!("an element has {} bytes where {} are expected", bytes.len(), size_of::<T>()))
    })
}

/// Implements `IntoIterator` for references to a handle, by the method `iter` of the handle.
macro_rules! iterable {
    ([$($generics:tt)*] $type:ty => $key:ty, $value:ty) => {
        impl<'a, $($generics)*> IntoIterator for &'a $type {
            type Item = $crate::error::Result<($key, $value)>;
            type IntoIter = $crate::map::Entries<'a, $key, $value>;

            fn into_iter(self) -> Self::IntoIter {
                self.iter()
            }
        }
    };
}
pub(super) use iterable;
