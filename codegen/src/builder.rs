//! The settings of the build step: its inputs, its compiler and its output.
//!
//! The settings of generated files are [`Options`]; their methods are in `options.rs`. This module does not build
//! anything, `build.rs` does.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::options::Options;
use crate::rust::Layout;

/// The build step of a build.rs: compiles BPF sources or reads objects, and generates their skeletons.
///
/// Each input becomes a module. Options that name maps or types apply to all inputs; at least one input must have the
/// named item.
///
/// # Examples
/// ```no_run
/// // build.rs
/// fn main() -> Result<(), skelgen::Error> {
///     skelgen::Builder::new().source("src/bpf/counters.bpf.c").build()
/// }
/// ```
///
/// `skelgen_runtime::include_skeleton!("counters")` then includes the module `counters`.
#[derive(Debug, Clone)]
pub struct Builder {
    pub(crate) inputs: Vec<Input>,
    pub(crate) clang: Option<OsString>,
    pub(crate) clang_args: Vec<OsString>,
    pub(crate) out_dir: Option<PathBuf>,
    pub(crate) options: Options,
}

/// An input of the build step.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    Source(PathBuf),
    Object(PathBuf),
}

impl Builder {
    /// Creates a build step without inputs.
    #[must_use]
    pub fn new() -> Self {
        let options = Options { layout: Layout::Module, ..Options::for_file("") };
        Self { inputs: Vec::new(), clang: None, clang_args: Vec::new(), out_dir: None, options }
    }

    /// Adds a C source, which is compiled with clang. `counters.bpf.c` becomes the module `counters`.
    #[must_use]
    pub fn source(mut self, path: impl Into<PathBuf>) -> Self {
        self.inputs.push(Input::Source(path.into()));
        self
    }

    /// Adds a BPF object. `counters.bpf.o` becomes the module `counters`.
    #[must_use]
    pub fn object(mut self, path: impl Into<PathBuf>) -> Self {
        self.inputs.push(Input::Object(path.into()));
        self
    }

    /// Sets the compiler for sources: a path, or a name to look up in `PATH`. The default is the environment variable
    /// `CLANG`, or `clang` if that is not set.
    #[must_use]
    pub fn clang(mut self, program: impl Into<OsString>) -> Self {
        self.clang = Some(program.into());
        self
    }

    /// Adds an argument for the compiler, after `-g -O2 --target=bpf`.
    ///
    /// # Examples
    /// ```
    /// let builder = skelgen::Builder::new().source("src/bpf/counters.bpf.c").clang_arg("-Isrc/bpf").clang_arg("-DMAX_CPUS=64");
    /// ```
    #[must_use]
    pub fn clang_arg(mut self, argument: impl Into<OsString>) -> Self {
        self.clang_args.push(argument.into());
        self
    }

    /// Sets the output directory. The default is cargo's `OUT_DIR`.
    #[must_use]
    pub fn out_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.out_dir = Some(path.into());
        self
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}
