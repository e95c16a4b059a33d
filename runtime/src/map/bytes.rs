//! Maps of any type, as bytes.

use super::handle::{Handle, handle};
use super::scan::Scan;
use crate::error::Result;

/// A map of any type whose keys and values are bytes. Percpu maps have the values of all possible CPUs in one, each rounded up
/// to eight bytes.
pub struct Untyped {
    handle: Handle,
}

handle!([] Untyped);

impl Untyped {
    #[allow(clippy::unnecessary_wraps, reason = "the shape that all handles share")]
    fn check(handle: Handle) -> Result<Self> {
        Ok(Self { handle })
    }

    /// Length of a key in bytes.
    #[must_use]
    pub fn key_len(&self) -> usize {
        self.handle.map().key_len()
    }

    /// Length of a value in bytes; of percpu maps that of all possible CPUs together.
    #[must_use]
    pub fn value_len(&self) -> usize {
        self.handle.map().full_len()
    }

    /// The value of `key`, if there is one.
    ///
    /// # Errors
    /// If the key has another length, or the map has no lookups or may not be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut value = vec![0; self.value_len()];
        Ok(self.handle.lookup(key, &mut value, 0)?.then_some(value))
    }

    /// Sets the value of `key`, with flags of [`elem_flags`](crate::uapi::elem_flags); with one of the CPU flags the value is
    /// that of one CPU.
    ///
    /// # Errors
    /// If key or value has another length, or the kernel refuses it.
    pub fn insert(&self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        self.handle.update(key, value, flags)
    }

    /// Removes `key`, and says whether it was there.
    ///
    /// # Errors
    /// If the key has another length, or the map has no removal or may not be written.
    pub fn remove(&self, key: &[u8]) -> Result<bool> {
        self.handle.delete(key)
    }

    /// All elements. Ends at the first error. Elements that are set or removed meanwhile may come or not, and may come twice.
    pub fn iter(&self) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>)>> + '_ {
        let mut scan = Scan::new(&self.handle);
        std::iter::from_fn(move || Some(scan.next()?.map(|(key, value)| (key.to_vec(), value.to_vec()))))
    }
}
