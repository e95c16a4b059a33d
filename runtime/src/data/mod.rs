//! Plain data, and memory that is shared with programs.
//!
//! [`plain`]: types that are only their bytes. [`string_of`] and [`chars_of`]: C's text. [`cell`]: places in memory that programs
//! write at the same time. [`initial`]: a section of global data before it is loaded; once it is, its
//! map has a handle in `map`.

mod atomic;
pub mod cell;
mod chars;
pub mod fields;
pub mod initial;
mod layout;
pub mod part;
pub mod plain;
mod shared;
pub(crate) mod words;

pub use cell::Cell;
pub use chars::{chars_of, string_of};
pub use fields::Fields;
pub use initial::{Initial, InitialBytes};
pub use layout::{Layout, LayoutField};
pub use part::{BitField, get_bits, get_part, set_bits, set_part};
pub use plain::{Bool, Plain, Ptr, Unaligned, zeroed};

pub(crate) use shared::Shared;

#[doc(hidden)]
pub use plain::{check_layout, is_alignment, label, show, size_of_plain};
