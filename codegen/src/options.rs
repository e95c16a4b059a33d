//! The options of a generated file.
//!
//! To add an option, add a field here with its default, a method of [`Builder`] and a command-line argument, and
//! handle it in its phase. No other source file needs to name the option, except goldens and tests.

use crate::PercpuForm;
use crate::builder::Builder;
use crate::rust::{Layout, Style};
use crate::skeleton::MapChoices;

/// How a skeleton loads its object.
///
/// # Examples
/// ```
/// let mut options = skelgen::Options::for_file("counters.bpf.o");
/// options.loader = skelgen::Loader::Program;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loader {
    /// The process makes a system call for each map and program. Works with every object, on every kernel that can load it.
    #[default]
    SystemCalls,
    /// One BPF program in the kernel makes all requests: the process creates a map with the steps of the load, loads this
    /// program and runs it. Requires Linux 6.9.
    Program,
}

/// The options of a generated file.
///
/// New releases may add options, each with a default. Create values with [`Options::for_file`] and set fields.
///
/// # Examples
/// ```
/// let mut options = skelgen::Options::for_file("counters.bpf.o");
/// options.types.push("event".to_owned());
/// options.optional_maps.push("debug_log".to_owned());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The object's name: the name of the generated module, and the prefix of the kernel's names for global data.
    pub name: String,
    /// How the generated text is used: as a module's file (`mod NAME;`) or by `include!`.
    pub layout: Layout,
    /// How programs access percpu global data: directly, by emulation, or as the running kernel supports (the default).
    pub percpu: PercpuForm,
    /// Whether the process loads the object with system calls (the default), or one program in the kernel does.
    pub loader: Loader,
    /// Types to generate even if no variable or map uses them, named as in C: `event` or `struct event`.
    pub types: Vec<String>,
    /// Whether to generate the context types of programs, such as `struct xdp_md`.
    pub contexts: bool,
    /// The path of the runtime crate for the generated file.
    pub runtime: String,
    /// Names of maps that a load may omit (`OpenMap::set_autocreate`). Their handles are `Option`s.
    pub optional_maps: Vec<String>,
    /// Names of maps whose type or sizes are set before the load (`OpenMap::set_map_type`). Their handles accept any
    /// map type.
    pub untyped_maps: Vec<String>,
    /// Types of the records in ring buffers, user ring buffers and perf event arrays whose map definition does not
    /// state the type: names of a map and of a type (`("events", "struct event")`).
    pub records: Vec<(String, String)>,
}

impl Options {
    /// Returns the default options for an object with this file name. The object's name is the part before the first
    /// dot.
    ///
    /// # Examples
    /// ```
    /// assert_eq!(skelgen::Options::for_file("src/bpf/counters.bpf.o").name, "counters");
    /// ```
    #[must_use]
    pub fn for_file(path: impl AsRef<std::path::Path>) -> Self {
        let file = path.as_ref().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = file.split('.').find(|part| !part.is_empty()).unwrap_or("object").to_owned();
        Self {
            name,
            layout: Layout::File,
            percpu: PercpuForm::default(),
            loader: Loader::default(),
            types: Vec::new(),
            contexts: false,
            runtime: "::skelgen_runtime".to_owned(),
            optional_maps: Vec::new(),
            untyped_maps: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Returns the maps that options name.
    pub(crate) fn named_maps(&self) -> impl Iterator<Item = &String> {
        self.optional_maps.iter().chain(&self.untyped_maps).chain(self.records.iter().map(|(map, _)| map))
    }

    pub(crate) fn map_choices(&self) -> MapChoices<'_> {
        MapChoices { optional: &self.optional_maps, untyped: &self.untyped_maps, records: &self.records }
    }

    pub(crate) fn style(&self) -> Style<'_> {
        Style { layout: self.layout, runtime: &self.runtime }
    }
}

/// The methods of the build step that set options. They apply to all of its inputs.
impl Builder {
    /// Sets how programs access percpu global data. With the default, [`PercpuForm::Either`], skeletons contain code
    /// for direct access and for emulation, and the runtime chooses by the features of the running kernel. With
    /// [`PercpuForm::Native`], skeletons are smaller, but those with percpu data require Linux 7.3.
    #[must_use]
    pub fn percpu(mut self, form: PercpuForm) -> Self {
        self.options.percpu = form;
        self
    }

    /// Sets how skeletons load their objects. With [`Loader::Program`], one BPF program in the kernel creates the maps and
    /// loads the programs (Linux 6.9). The skeleton has the same methods, but a load fails if settings were changed other
    /// than initial values, numbers of elements and which programs are loaded.
    ///
    /// A loader program cannot create pins, arenas or struct_ops maps, replace functions of other programs, or read the
    /// kernel's configuration: such objects are rejected. Types of kernel functions and variables are checked by the verifier alone.
    ///
    /// # Examples
    /// ```
    /// let builder = skelgen::Builder::new().source("src/bpf/snoop.bpf.c").loader(skelgen::Loader::Program);
    /// ```
    #[must_use]
    pub fn loader(mut self, loader: Loader) -> Self {
        self.options.loader = loader;
        self
    }

    /// Adds a type to generate even if no variable or map uses it, such as the type of a ring buffer's records. The
    /// name is as in C: `event` or `struct event`.
    ///
    /// clang keeps only the types of global variables, maps and function parameters. A global
    /// `const struct event *unused;` keeps `struct event`.
    #[must_use]
    pub fn type_named(mut self, name: impl Into<String>) -> Self {
        self.options.types.push(name.into());
        self
    }

    /// Makes a map's handle an `Option`, so that a load can omit the map with `OpenMap::set_autocreate(false)`, for
    /// example on kernels without its map type.
    #[must_use]
    pub fn optional_map(mut self, name: impl Into<String>) -> Self {
        self.options.optional_maps.push(name.into());
        self
    }

    /// Makes a map's handle untyped, so that its type and sizes can be set before the load with `OpenMap::set_map_type`
    /// and `set_value_size`. An example is a ring buffer that becomes a perf event array on older kernels.
    /// `<PerfEventArray>::try_from(OwnedFd::from(map))` creates a typed handle. A map whose keys or values have no size
    /// in the object always has an untyped handle.
    #[must_use]
    pub fn untyped_map(mut self, name: impl Into<String>) -> Self {
        self.options.untyped_maps.push(name.into());
        self
    }

    /// Sets the type of the records in a ring buffer, user ring buffer or perf event array, named as in C: `event`,
    /// `struct event` or `__u64`. The map's handle then has this type: `RingBuf<types::event>`.
    ///
    /// The option is not necessary if the map's definition states the type: `__type(value, struct event)`. libbpf and
    /// the kernel reject such definitions; skelgen and cilium/ebpf set the size that the kernel requires. With the
    /// option, the same source can be loaded by all of them. An input without the map or the type is not changed.
    ///
    /// # Examples
    /// ```
    /// let builder = skelgen::Builder::new().source("src/bpf/snoop.bpf.c").record("events", "struct event");
    /// ```
    #[must_use]
    pub fn record(mut self, map: impl Into<String>, ty: impl Into<String>) -> Self {
        self.options.records.push((map.into(), ty.into()));
        self
    }

    /// Generates the context types of programs, such as `struct xdp_md`.
    #[must_use]
    pub fn context_types(mut self) -> Self {
        self.options.contexts = true;
        self
    }

    /// Sets the path of the runtime crate, for a crate with a different name or a re-export of it. The default is
    /// `::skelgen_runtime`.
    #[must_use]
    pub fn runtime(mut self, path: impl Into<String>) -> Self {
        self.options.runtime = path.into();
        self
    }
}

/// The command-line arguments that set options.
#[cfg(feature = "cli")]
pub(crate) mod args {
    use clap::{Args, ValueEnum};

    use super::{Loader, Options};
    use crate::PercpuForm;

    #[derive(Args, Clone, Copy)]
    pub(crate) struct FormArgs {
        /// How programs access percpu global data
        #[arg(long, value_enum, default_value_t = Percpu::Either)]
        percpu: Percpu,
    }

    /// How programs access percpu global data.
    #[derive(Clone, Copy, ValueEnum)]
    enum Percpu {
        /// Directly, which requires Linux 7.3
        Native,
        /// By emulation, with the copies of all CPUs in an array
        Emulated,
        /// Directly or by emulation, chosen at load time by the kernel's features
        Either,
    }

    impl FormArgs {
        pub(crate) fn put_into(self, options: &mut Options) {
            options.percpu = match self.percpu {
                Percpu::Native => PercpuForm::Native,
                Percpu::Emulated => PercpuForm::Emulated,
                Percpu::Either => PercpuForm::Either,
            };
        }
    }

    #[derive(Args)]
    pub(crate) struct TypeArgs {
        /// Type to write, named as in C (`event`, `struct event`), with the types it contains. `gen` writes the type in
        /// addition to those of variables and maps; `types` writes only these types. Can be repeated
        #[arg(long = "type", value_name = "NAME")]
        names: Vec<String>,
        /// Path of the runtime crate, if it has a different name
        #[arg(long, value_name = "PATH", default_value = "::skelgen_runtime")]
        runtime: String,
    }

    impl TypeArgs {
        pub(crate) fn put_into(self, options: &mut Options) {
            options.types = self.names;
            options.runtime = self.runtime;
        }
    }

    /// How the skeleton loads the object.
    #[derive(Clone, Copy, ValueEnum)]
    enum LoaderArg {
        /// With a system call for each map and program
        Syscalls,
        /// With one program in the kernel, which requires Linux 6.9
        Program,
    }

    #[derive(Args)]
    pub(crate) struct SkeletonArgs {
        /// How the skeleton loads the object
        #[arg(long, value_enum, default_value_t = LoaderArg::Syscalls)]
        loader: LoaderArg,
        /// Also write the context types of programs
        #[arg(long)]
        contexts: bool,
        /// Map that a load can omit with `set_autocreate(false)`; its handle is an `Option`. Can be repeated
        #[arg(long = "optional-map", value_name = "NAME")]
        optional_maps: Vec<String>,
        /// Map whose type and sizes can be set before the load with `set_map_type`; its handle accepts any map type.
        /// Can be repeated
        #[arg(long = "untyped-map", value_name = "NAME")]
        untyped_maps: Vec<String>,
        /// Type of the records in a ring buffer, user ring buffer or perf event array, named as in C (`event`, `struct
        /// event`). Can be repeated
        #[arg(long = "record", value_name = "MAP=TYPE", value_parser = record)]
        records: Vec<(String, String)>,
    }

    /// Parses the argument of `--record`.
    pub(crate) fn record(text: &str) -> Result<(String, String), &'static str> {
        match text.split_once('=') {
            Some((map, ty)) if !map.is_empty() && !ty.is_empty() => Ok((map.to_owned(), ty.to_owned())),
            _ => Err("expected the names of a map and of a type, such as `events=event`"),
        }
    }

    impl SkeletonArgs {
        pub(crate) fn put_into(self, options: &mut Options) {
            options.loader = match self.loader {
                LoaderArg::Syscalls => Loader::SystemCalls,
                LoaderArg::Program => Loader::Program,
            };
            options.contexts = self.contexts;
            options.optional_maps = self.optional_maps;
            options.untyped_maps = self.untyped_maps;
            options.records = self.records;
        }
    }
}
