//! What is where in a plain struct, to be compared with what a map's BTF says of its keys and values.
//!
//! Knows Rust's side; the comparison is [`crate::map::bind`]'s.

use std::fmt;

/// Where the fields of a struct are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The struct's name.
    pub name: &'static str,
    /// Its size in bytes.
    pub size: usize,
    /// Its fields by rising offset.
    pub fields: &'static [LayoutField],
}

/// A field of a struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayoutField {
    /// Its name.
    pub name: &'static str,
    /// Where it begins, in bytes.
    pub offset: usize,
    /// Its size in bytes.
    pub size: usize,
    /// What is where in it, if it is a struct that says so or an array of such structs.
    pub layout: Option<&'static Layout>,
}

impl LayoutField {
    /// Whether it is there only to fill space: its name begins with `_`.
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
