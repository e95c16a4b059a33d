//! The names that generated files use without a path, so that they mean the same in every crate: in one without a standard library
//! of its own (`no_std`), and in one without a prelude.

pub use std::os::fd::{AsFd, OwnedFd};
pub use std::path::Path;
pub use std::prelude::rust_2024::*;
