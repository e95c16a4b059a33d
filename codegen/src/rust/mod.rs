//! The generated file as text.

pub mod tables;

/// What the generated text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The contents of a module's own file, for `mod counters;`.
    File,
    /// A module with its contents, for `include!`.
    Module,
}
