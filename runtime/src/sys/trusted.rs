//! The promise that generated code makes.
//!
//! # Safety
//! Programs act inside the kernel with the rights of the process that loads them, and may write to memory that the process
//! shares with them. Whose programs they are is something that only the one who made the tables can know.

use crate::abi;

/// An object whose programs may be loaded into the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Trusted(&'static abi::Object);

impl Trusted {
    /// Trusts an object.
    ///
    /// # Safety
    /// The instructions must be ones that whoever runs this process wants to have in the kernel: compiled from their own
    /// source, and described by these tables as the generator left them.
    #[must_use]
    pub const unsafe fn new(object: &'static abi::Object) -> Self {
        Self(object)
    }

    /// The object.
    #[must_use]
    pub const fn object(&self) -> &'static abi::Object {
        self.0
    }
}
