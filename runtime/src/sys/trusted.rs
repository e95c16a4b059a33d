//! The promise of generated code that its programs may be loaded into the kernel.
//!
//! # Safety
//! Programs run in the kernel with the rights of the process that loads them, and can write to memory that the process shares with them.
//! This crate cannot check where the programs come from: the caller of `Trusted::new` guarantees it.

use crate::abi;

/// An object whose programs are trusted to be loaded into the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Trusted(&'static abi::Object);

impl Trusted {
    /// Declares an object as trusted.
    ///
    /// # Safety
    /// The object's instructions must be compiled from source code that the caller trusts to run in the kernel, and its tables must be
    /// the unmodified output of the generator.
    #[must_use]
    pub const unsafe fn new(object: &'static abi::Object) -> Self {
        Self(object)
    }

    /// Returns the object.
    #[must_use]
    pub const fn object(&self) -> &'static abi::Object {
        self.0
    }
}
