//! Plain data, and memory that is shared between programs and this process.
//!
//! [`plain`]: types for which every bit pattern is valid. [`string_of`] and [`chars_of`]: C strings. [`Decoder`]: the
//! parts of a record. [`cell`]: values in memory that programs write at the same time. [`initial`]: a section of global
//! data before it is loaded; after the load, its map has a handle in `map`.

mod atomic;
mod cell;
mod chars;
mod decoder;
mod fields;
mod initial;
mod layout;
mod part;
mod plain;
mod shared;
pub(crate) mod words;

pub use cell::Cell;
pub use chars::{Char, chars_of, string_of};
pub use decoder::Decoder;
pub use fields::Fields;
pub use initial::Initial;
pub use layout::{Layout, LayoutField};
pub use part::{BitField, get_bits, get_part, set_bits, set_part};
pub use plain::{
    Bool, MapData, Plain, Ptr, Unaligned, as_bytes, as_bytes_mut, check_layout, from_bytes, is_alignment, label, show,
    size_of_plain, zeroed,
};

pub(crate) use initial::zeroed_box;
pub(crate) use plain::{from_prefix, holds, slice_as_bytes};
pub(crate) use shared::Shared;
