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
    /// A name that was set before an input was added.
    pub(crate) misplaced_name: Option<String>,
    pub(crate) clang: Option<OsString>,
    pub(crate) clang_args: Vec<OsString>,
    pub(crate) vmlinux: Option<PathBuf>,
    pub(crate) bundled_headers: bool,
    pub(crate) out_dir: Option<PathBuf>,
    pub(crate) checked_in: Option<PathBuf>,
    pub(crate) options: Options,
}

/// An input of the build step: a C source or an object.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) path: PathBuf,
    pub(crate) is_source: bool,
    /// The name of its module, if it differs from the name of the file.
    pub(crate) name: Option<String>,
}

impl Builder {
    /// Creates a build step without inputs.
    #[must_use]
    pub fn new() -> Self {
        let options = Options { layout: Layout::Module, ..Options::for_file("") };
        Self {
            inputs: Vec::new(),
            misplaced_name: None,
            clang: None,
            clang_args: Vec::new(),
            bundled_headers: false,
            vmlinux: None,
            out_dir: None,
            checked_in: None,
            options,
        }
    }

    /// Adds a C source, which is compiled with clang. `counters.bpf.c` becomes the module `counters`.
    ///
    /// The compiler gets the byte order of the machine that cargo builds for, the macro that `bpf_tracing.h` needs
    /// (`-D__TARGET_ARCH_x86`), and the directories of the machine's own headers (`asm/types.h`). Without cargo, these
    /// are the settings of the machine that runs the build. [`clang_args`](Self::clang_args) can override all of them.
    /// Paths below the package's directory are relative in the object, so it does not depend on where the package is.
    ///
    /// Programs can include `bpf/bpf_helpers.h`, `bpf_helper_defs.h`, `bpf_tracing.h`, `bpf_core_read.h`, `bpf_endian.h`
    /// and `usdt.bpf.h`: those of libbpf if they are installed, else those of skelgen, which define the same names.
    #[must_use]
    pub fn source(self, path: impl Into<PathBuf>) -> Self {
        self.input(path.into(), true)
    }

    /// Adds a BPF object. `counters.bpf.o` becomes the module `counters`.
    #[must_use]
    pub fn object(self, path: impl Into<PathBuf>) -> Self {
        self.input(path.into(), false)
    }

    fn input(mut self, path: PathBuf, is_source: bool) -> Self {
        self.inputs.push(Input { path, is_source, name: None });
        self
    }

    /// Sets the module name of the input that was added last. The default is the name of the input's file.
    ///
    /// # Examples
    /// ```
    /// let builder = skelgen::Builder::new().source("src/bpf/main.bpf.c").name("counters");
    /// ```
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        match self.inputs.last_mut() {
            Some(input) => input.name = Some(name.into()),
            None => self.misplaced_name = Some(name.into()),
        }
        self
    }

    /// Sets the compiler for sources: a path, or a name to look up in `PATH`. The default is the environment variable
    /// `CLANG`, or `clang` if that is not set.
    #[must_use]
    pub fn clang(mut self, program: impl Into<OsString>) -> Self {
        self.clang = Some(program.into());
        self
    }

    /// Adds arguments for the compiler, after those of the build step. The arguments in the environment variable
    /// `SKELGEN_CLANG_ARGS`, which spaces separate, come last. A later argument overrides an earlier one.
    ///
    /// # Examples
    /// ```
    /// let builder = skelgen::Builder::new().source("src/bpf/counters.bpf.c").clang_args(["-Isrc/bpf", "-DMAX_CPUS=64"]);
    /// ```
    #[must_use]
    pub fn clang_args(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.clang_args.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Uses skelgen's BPF headers even if libbpf's are installed, so that an object does not depend on the libbpf of the
    /// machine. Directories in [`clang_args`](Self::clang_args) (`-I`) still precede them.
    #[must_use]
    pub fn bundled_headers(mut self) -> Self {
        self.bundled_headers = true;
        self
    }

    /// Sets the kernel whose types the header `vmlinux.h` has: its BTF (such as a copy of `/sys/kernel/btf/vmlinux`), its
    /// ELF file, or its compressed image (such as `/boot/vmlinuz-6.1.0`, which `gzip`, `xz`, `zstd` or `lz4`
    /// decompresses). Writes the header to the output directory.
    ///
    /// By default the header is written with the types of the running kernel if a source includes `vmlinux.h` and no
    /// directory of [`Builder::clang_args`] has it. Accesses to these types are CO-RE relocations: the program also
    /// runs on kernels whose types have other layouts.
    ///
    /// # Examples
    /// ```
    /// let builder = skelgen::Builder::new().source("src/bpf/counters.bpf.c").vmlinux("kernel/6.1.btf");
    /// ```
    #[must_use]
    pub fn vmlinux(mut self, kernel: impl Into<PathBuf>) -> Self {
        self.vmlinux = Some(kernel.into());
        self
    }

    /// Sets the output directory. The default is cargo's `OUT_DIR`.
    #[must_use]
    pub fn out_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.out_dir = Some(path.into());
        self
    }

    /// Sets a directory of the package with a copy of each skeleton, for builds without a compiler: where clang cannot
    /// be run, and on docs.rs (`DOCS_RS`), these copies are used. Builds with a compiler do not read them, unless the
    /// environment variable `SKELGEN_CHECKED_IN` is set:
    ///
    /// - `write`: generates the skeletons and replaces the copies. Only with this value does a build write to the
    ///   directory.
    /// - `verify`: a copy that differs from the generated skeleton is an error ([`Code::OutOfDate`](crate::Code)).
    ///   Another version of clang can generate other instructions, so use the version that wrote the files.
    /// - `use`: uses the copies and does not read the inputs.
    ///
    /// # Examples
    /// ```no_run
    /// // build.rs. `SKELGEN_CHECKED_IN=write cargo build` writes src/bpf/counters.skel.rs.
    /// fn main() -> Result<(), skelgen::Error> {
    ///     skelgen::Builder::new().source("src/bpf/counters.bpf.c").checked_in("src/bpf").build()
    /// }
    /// ```
    #[must_use]
    pub fn checked_in(mut self, directory: impl Into<PathBuf>) -> Self {
        self.checked_in = Some(directory.into());
        self
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}
