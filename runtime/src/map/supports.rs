//! The maps that a type of handle supports: their types, and the sizes of their keys and values.
//!
//! Each handle declares this once. Opening a map checks the map against the declaration. Creating a map takes unset
//! fields from the declaration. This module does not know handles or requests.

use std::fmt::Write as _;

use crate::error::Result;
use crate::sys::cpus;
use crate::sys::elem::CountCpus;
use crate::uapi::MapType;
use skelgen_abi::map_types::{MapFacts, Size};

/// Returns the CPU count of handles that do not support percpu maps: one.
pub(crate) fn one_cpu() -> Result<cpus::Count> {
    Ok(cpus::Count::ONE)
}

/// The maps that a type of handle supports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Supports {
    /// The map types; empty if all are supported. The first is the default type of maps that the handle creates.
    types: &'static [MapType],
    key_len: Option<usize>,
    value_len: Option<usize>,
    /// Counts the CPUs of percpu maps. It is a function pointer so that an executable without percpu handles does not
    /// contain the code that counts CPUs.
    count: CountCpus,
}

impl Supports {
    /// Maps of any type, with keys and values of any size.
    pub(crate) const ANY: Self = Self { types: &[], key_len: None, value_len: None, count: cpus::count };

    /// Creates the declaration of a handle for maps of these types, and for keys and values of these lengths in bytes;
    /// `None` is any length. The first type is the default.
    pub(crate) const fn new(types: &'static [MapType], key_len: Option<usize>, value_len: Option<usize>) -> Self {
        Self { types, key_len, value_len, count: one_cpu }
    }

    /// Creates the declaration of a handle for percpu maps.
    pub(crate) const fn percpu(types: &'static [MapType], key_len: Option<usize>, value_len: Option<usize>) -> Self {
        Self { count: cpus::count, ..Self::new(types, key_len, value_len) }
    }

    /// Returns the function that counts the CPUs of percpu maps.
    pub(crate) const fn count_cpus(&self) -> CountCpus {
        self.count
    }

    /// Returns the type of maps that the handle creates by default.
    pub(crate) const fn default_type(&self) -> Option<MapType> {
        match self.types {
            [first, ..] => Some(*first),
            [] => None,
        }
    }

    /// Returns the key size of a map of this type that the handle creates, if only one is possible.
    pub(crate) fn key_size(&self, facts: Option<&MapFacts>) -> Option<u32> {
        self.size(self.key_len, facts.map(|facts| facts.key))
    }

    /// Returns the value size of a map of this type that the handle creates, if only one is possible.
    pub(crate) fn value_size(&self, facts: Option<&MapFacts>) -> Option<u32> {
        self.size(self.value_len, facts.map(|facts| facts.value))
    }

    fn size(&self, len: Option<usize>, of_type: Option<Size>) -> Option<u32> {
        match (len, of_type?) {
            (Some(len), _) => u32::try_from(len).ok(),
            (None, Size::OneOf([size])) => Some(*size),
            // The handle is for kernel objects. The largest value has room for every id of an object.
            (None, Size::OneOf([.., largest])) if !self.types.is_empty() => Some(*largest),
            (None, _) => None,
        }
    }

    /// Returns why the handle does not support a map, as a sentence: "the map has type …" or "the keys have …".
    pub(crate) fn mismatch(&self, map_type: MapType, key_len: usize, value_len: usize) -> Option<String> {
        if !self.types.is_empty() && !self.types.contains(&map_type) {
            let mut message = format!("the map has type {map_type}, but the handle is for ");
            for (place, wanted) in self.types.iter().enumerate() {
                // Writing to a string cannot fail.
                let _ = write!(message, "{}{wanted}", if place == 0 { "" } else { ", " });
            }
            return Some(message);
        }
        [("keys", self.key_len, key_len), ("values", self.value_len, value_len)].into_iter().find_map(
            |(what, ours, theirs)| {
                let ours = ours.filter(|&ours| ours != theirs)?;
                Some(format!("the {what} have {theirs} bytes, but their Rust type has {ours} bytes"))
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_decides_what_its_types_leave_open() {
        let facts = |map_type| MapFacts::of(map_type);
        let sockets = Supports::new(&[MapType::SOCKMAP, MapType::SOCKHASH], Some(4), None);
        assert_eq!(sockets.value_size(facts(MapType::SOCKMAP)), Some(8), "room for cookies");
        assert_eq!(Supports::ANY.value_size(facts(MapType::SOCKMAP)), None);
        assert_eq!(Supports::ANY.value_size(facts(MapType::PROG_ARRAY)), Some(4));
        assert_eq!(Supports::ANY.key_size(facts(MapType::RINGBUF)), Some(0));
        assert_eq!(Supports::ANY.key_size(facts(MapType::HASH)), None);
        assert_eq!(Supports::new(&[MapType::HASH], Some(12), None).key_size(facts(MapType::HASH)), Some(12));
    }
}
