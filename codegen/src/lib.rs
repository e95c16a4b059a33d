//! From a BPF object to a Rust skeleton.
#![forbid(unsafe_code)]

pub mod btf;
pub mod elf;
pub mod error;
pub mod insn;
pub mod model;
