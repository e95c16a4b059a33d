//! Layouts of plain structs, to be compared with the keys and values in a map's BTF.
//!
//! This module describes the Rust types; [`crate::map::bind`] compares them with the BTF.

use std::fmt;

/// The layout of a struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The struct's name.
    pub name: &'static str,
    /// The struct's size in bytes.
    pub size: usize,
    /// The struct's fields, sorted by offset.
    pub fields: &'static [LayoutField],
}

/// A field of a struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayoutField {
    /// The field's name.
    pub name: &'static str,
    /// The field's offset in bytes.
    pub offset: usize,
    /// The field's size in bytes.
    pub size: usize,
    /// The layout of the field's type, if the type is a struct with a known layout or an array of such structs.
    pub layout: Option<&'static Layout>,
}

impl LayoutField {
    /// Returns whether the field is padding: its name begins with `_`.
    #[must_use]
    pub fn is_padding(&self) -> bool {
        self.name.starts_with('_')
    }
}

impl fmt::Display for LayoutField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5}  {} ({} bytes)", self.offset, super::label(self.name), self.size)
    }
}
