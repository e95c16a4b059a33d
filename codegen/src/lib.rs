//! Generates Rust skeletons from BPF objects.
//!
//! ```no_run
//! // build.rs
//! fn main() -> Result<(), skelgen::Error> {
//!     skelgen::Builder::new().source("src/bpf/counters.bpf.c").build()
//! }
//! ```
//!
//! A skeleton is a Rust module that loads and attaches the programs of one object through the crate
//! [`skelgen-runtime`](https://docs.rs/skelgen-runtime). At run time it needs no libbpf and parses no ELF. The package of
//! the build script above needs both crates, and includes the module by its name:
//!
//! ```toml
//! [dependencies]
//! skelgen-runtime = "0.1"
//!
//! [build-dependencies]
//! skelgen = { version = "0.1", default-features = false }
//! ```
//!
//! ```ignore
//! skelgen_runtime::include_skeleton!("counters"); // in src/main.rs
//!
//! let skeleton = counters::open().load()?;
//! let _links = skeleton.attach()?;
//! ```
//!
//! The first page of `skelgen-runtime` has more that a skeleton does, and the guide, in the directory `codegen/docs` of the
//! repository, begins with a first program.
//!
//! | to | use |
//! |---|---|
//! | generate in a build script, from C or from objects | [`Builder`] |
//! | generate elsewhere, from the bytes of an object | [`generate()`], with [`Options`] |
//! | have the Rust types of an object, without a skeleton | [`types()`] |
//! | see what an object contains and how it is loaded | [`inspect()`], [`plan()`] |
//! | link several objects to one | [`link()`] |
//! | handle errors | [`Error`], its [`Diagnostic`]s and their [`Code`]s |
//!
//! Generation is a pure function of the bytes and the options.
//!
//! | feature | default | contents |
//! |---|---|---|
//! | `cli` | yes | the command-line tool `skelgen`, with more dependencies; a build script can disable it |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod api;
mod btf;
mod build;
mod builder;
mod check;
#[cfg(feature = "cli")]
mod cli;
mod elf;
mod emulate;
mod error;
mod generate;
mod header;
mod insn;
mod link;
mod loader;
mod merge;
mod min_btf;
mod model;
mod options;
mod output;
mod plan;
mod rust;
mod sign;
mod similar;
mod skeleton;

pub use api::{Object, Plan, generate, inspect, link, plan, types};
pub use builder::Builder;
pub use error::{Code, Diagnostic, Error, Location, Result, SourceLine};
pub use options::{Loader, Options};
pub use rust::Layout;
#[doc(inline)]
pub use skelgen_abi::plan::PercpuForm;

/// The phases of the generator, for the tests and tools of this workspace.
///
/// Exempt from semantic versioning: any release may change or remove items. `codegen/api.txt` lists what is stable.
#[doc(hidden)]
pub mod unstable {
    #[cfg(feature = "cli")]
    pub use crate::cli::kernel::{CheckedKernel, Named};
    #[cfg(feature = "cli")]
    pub use crate::cli::{draw, main};
    pub use crate::error::all_codes;
    pub use crate::generate::{Relocations, header, inspect, link, min_btf, plan, relocations, types, write};

    pub use crate::check::{Finding, Kernel, Modules, Severity, Stage, check};

    pub mod btf {
        pub use crate::btf::*;
    }
    pub mod elf {
        pub use crate::elf::*;
    }
    pub mod emulate {
        pub use crate::emulate::*;
    }
    pub mod insn {
        pub use crate::insn::*;
    }
    pub mod link {
        pub use crate::link::*;
    }
    pub mod loader {
        pub use crate::loader::*;
    }
    pub mod merge {
        pub use crate::merge::*;
    }
    pub mod model {
        pub use crate::model::*;
    }
    pub mod plan {
        pub use crate::plan::*;
    }
    pub mod rust {
        pub use crate::rust::*;
    }
    pub mod sign {
        pub use crate::sign::*;
    }
    pub mod skeleton {
        pub use crate::skeleton::*;
    }
}
