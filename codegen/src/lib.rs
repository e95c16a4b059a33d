//! From a BPF object to a Rust skeleton.
//!
//! [`Builder`] is for a build.rs; [`generate()`] makes the text of one file. Generation is a pure function of the object's bytes and the
//! options.
//!
//! ```no_run
//! // build.rs
//! fn main() -> skelgen::Result<()> {
//!     skelgen::Builder::new().source("src/bpf/counters.bpf.c").build()
//! }
//! ```
#![forbid(unsafe_code)]

pub mod btf;
pub mod build;
pub mod elf;
pub mod emulate;
pub mod error;
mod generate;
pub mod insn;
pub mod link;
pub mod model;
mod options;
pub mod output;
pub mod plan;
pub mod rust;
pub mod skeleton;

pub use build::Builder;
pub use error::{Error, Result};
pub use generate::{generate, inspect, plan, types, write};
pub use options::Options;
pub use skelgen_abi::plan::PercpuForm;
