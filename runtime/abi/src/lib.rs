//! Types and tables that the generator `skelgen` and the runtime `skelgen-runtime` share.
//!
//! | module | contents |
//! |---|---|
//! | [`map_types`] | the kernel's requirements on map definitions, by map type |
//! | [`plan`] | an object's load plan as constant tables and one blob, which the runtime executes |
//! | [`opcode`], [`helper`], [`relocation`] | the numbers of opcodes, kernel helpers and kinds of CO-RE relocations |
//! | [`loader`] | the step table of the loader program, which executes a load in the kernel |
//! | [`escape`] | escaping of untrusted text for a line or a terminal |
//! | [`attr`] | the layout of requests, as the kernel's `union bpf_attr` defines it |
//! | [`uapi`] | the constants of `linux/bpf.h` |
//!
//! The crate has no dependencies and makes no system calls. Use its items through those two crates, whose versions it
//! shares.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod attr;
pub mod escape;
pub mod helper;
pub mod loader;
pub mod map_types;
pub mod opcode;
pub mod plan;
pub mod relocation;
pub mod uapi;
