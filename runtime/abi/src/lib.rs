//! What the generator `skelgen` and the skeletons' runtime `skelgen-runtime` share: one set of types and tables, so that neither mirrors
//! the other.
//!
//! | module | what it holds |
//! |---|---|
//! | [`map_types`] | what the kernel requires of a map's definition, by type |
//! | [`plan`] | an object's load plan as constant tables and one blob: what a generated file holds and the runtime executes |
//! | [`opcode`], [`helper`] | the numbers of instructions and of the kernel's helpers |
//! | [`escape`] | text that may hold anything, made fit for a line or a terminal |
//! | [`uapi`] | the numbers of `linux/bpf.h` |
//!
//! It depends on nothing and makes no system call. Use it through those two crates: its items are theirs, and it
//! changes with them.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod escape;
pub mod helper;
pub mod map_types;
pub mod opcode;
pub mod plan;
pub mod uapi;
