//! The promise that generated code makes about its programs.
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
    /// The instructions must be ones that the user of this process wants to load into the kernel: compiled from their own source, and
    /// described by these tables as the generator wrote them.
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
