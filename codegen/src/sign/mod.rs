//! Signed loader programs: the bytes to be signed, and detached signatures of them.
//!
//! A signature is made elsewhere, for example by `openssl cms`, the kernel's `sign-file` or a hardware security module, so
//! this module knows no private keys. It requires of a signature what the kernel requires, and reports what differs.
//! Whether a key made the signature, only the kernel decides.

mod der;
mod detached;
mod image;

pub use detached::{Algorithm, Detached, Digest, MAX_SIZE, Signer};
pub use image::{Form, Image};
