//! Arrays.

use std::marker::PhantomData;

use super::handle::{Handle, handle};
use super::scan::Scan;
use crate::data::Plain;
use crate::data::plain::{as_bytes, as_bytes_mut, from_bytes, slice_as_bytes, zeroed};
use crate::error::{Error, Result};
use crate::uapi::{MapType, elem_flags};

/// An array of values; also the maps of devices and CPUs, which are arrays of small structs.
pub struct Array<V> {
    handle: Handle,
    value: PhantomData<fn() -> V>,
}

handle!([V: Plain] Array<V>);

impl<V: Plain> Array<V> {
    fn check(handle: Handle) -> Result<Self> {
        let handle =
            handle.expect(&[MapType::ARRAY, MapType::DEVMAP, MapType::CPUMAP], Some(4), Some(size_of::<V>()))?;
        Ok(Self { handle, value: PhantomData })
    }

    /// How many elements there are.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "an array has its length from the beginning and never none")]
    pub fn len(&self) -> u32 {
        self.max_entries()
    }

    /// The value at `index`.
    ///
    /// # Errors
    /// If there is no such element, or the map may not be read.
    pub fn get(&self, index: u32) -> Result<V> {
        let mut value = zeroed();
        if self.handle.lookup(as_bytes(&index), as_bytes_mut(&mut value), 0)? {
            Ok(value)
        } else {
            Err(self.outside(index))
        }
    }

    /// Sets the value at `index`.
    ///
    /// # Errors
    /// If there is no such element, or the map may not be written.
    pub fn set(&self, index: u32, value: &V) -> Result<()> {
        if self.handle.map().map_type() == MapType::ARRAY && index >= self.len() {
            return Err(self.outside(index));
        }
        self.handle.update(as_bytes(&index), as_bytes(value), elem_flags::ANY)
    }

    /// Sets the values from index 0 on, with as few system calls as the kernel allows.
    ///
    /// # Errors
    /// If there are more values than elements, or the map may not be written.
    pub fn set_many(&self, values: &[V]) -> Result<()> {
        let count = u32::try_from(values.len()).ok().filter(|&count| count <= self.len());
        let count = count.ok_or_else(|| self.outside(u32::try_from(values.len()).unwrap_or(u32::MAX)))?;
        let indices: Vec<u32> = (0..count).collect();
        self.handle.update_many(slice_as_bytes(&indices), slice_as_bytes(values))
    }

    /// Copies of all values in order, with as few system calls as the kernel allows. Not of one moment.
    ///
    /// # Errors
    /// If the map may not be read.
    pub fn to_vec(&self) -> Result<Vec<V>> {
        let mut values = Vec::new();
        let mut scan = Scan::new(&self.handle);
        while let Some(element) = scan.next() {
            values.extend(from_bytes::<V>(element?.1));
        }
        Ok(values)
    }

    fn outside(&self, index: u32) -> Error {
        self.handle.invalid(format_args!("there is no element {index}: it has {}", self.len()))
    }
}
