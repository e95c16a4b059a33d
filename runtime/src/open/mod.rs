//! An object before it is loaded: its settings, maps and programs, which can still be changed.
//!
//! Each setting starts with the value that the object defines. Unchanged settings need no memory. This module makes no
//! system calls. Settings that need a part of the executor that the object may not need are in `execute/settings.rs`.

mod log;
mod struct_ops;
mod way;

use std::any::Any;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::abi;
use crate::error::{Error, Result};
use crate::interface::{Interface, IntoInterface};
use crate::kernel::btf_set::BtfSet;
use crate::map::NewMap;
use crate::uapi::{AttachType, MapFlags, MapType, ProgramFlags, ProgramType, map_flags};

pub use log::LoadEvent;
pub(crate) use log::Log;
pub use struct_ops::OpenStructOps;
pub(crate) use way::way;

/// The default bpffs: used for pins unless `set_pin_dir` is called, and for the token unless `set_token_path` is
/// called.
pub(crate) const BPFFS: &str = "/sys/fs/bpf";

/// A part of the executor that a setting needs. Its type is hidden, because this module does not depend on the executor.
pub(crate) type Part = &'static (dyn Any + Send + Sync);

/// Options for the load of a whole object: the field `options` of an open skeleton, or
/// [`OpenObject::options_mut`](crate::OpenObject::options_mut) of any object.
///
/// ```no_run
/// # mod counters {
/// #     pub struct Open { pub options: skelgen_runtime::LoadOptions }
/// #     impl Open { pub fn load(self) -> skelgen_runtime::Result<()> { Ok(()) } }
/// #     pub fn open() -> Open { Open { options: skelgen_runtime::LoadOptions::new() } }
/// # }
/// # fn f() -> skelgen_runtime::Result<()> {
/// let mut open = counters::open();
/// open.options.set_pin_dir("/sys/fs/bpf/counters");
/// open.options.set_log(|event| eprintln!("{event}"));
/// let skeleton = open.load()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct LoadOptions {
    pub(crate) log_level: u32,
    pub(crate) log_size: Option<usize>,
    pub(crate) kernel_btf: Option<PathBuf>,
    pub(crate) btf_set: Option<BtfSet>,
    pub(crate) pin_dir: Option<PathBuf>,
    pub(crate) token: Option<OwnedFd>,
    pub(crate) token_path: Option<PathBuf>,
    pub(crate) percpu: abi::PercpuForm,
    pub(crate) kconfig: Option<Vec<u8>>,
    pub(crate) log: Option<Log>,
    /// The parts of the executor that these options need.
    pub(crate) parts: Vec<Part>,
}

impl LoadOptions {
    /// Creates options with every setting at its default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the log level of the verifier for programs that it accepts: 0, the default, disables the log; 1 logs its
    /// decisions, 2 each instruction, 4 only statistics. If the verifier rejects a program, the error always has the
    /// log.
    pub fn set_log_level(&mut self, level: u32) -> &mut Self {
        self.log_level = level;
        self
    }

    /// Sets the maximum size of a verifier log in bytes; 64 MiB by default, and at least 128 bytes, the kernel's
    /// minimum. Kernels since 6.4 keep the end of a longer log, which contains the cause of a rejection; older ones
    /// keep the beginning. The size never changes whether a program loads.
    pub fn set_log_size(&mut self, bytes: usize) -> &mut Self {
        self.log_size = Some(bytes);
        self
    }

    /// Sets the directory, in a bpffs, for the pins of maps with `LIBBPF_PIN_BY_NAME`; `/sys/fs/bpf` by default. The
    /// load creates the directory if it does not exist, and removes it again on error.
    ///
    /// A process that is killed while it pins can leave some of the pins. The next load reuses the pinned maps, with
    /// their content, and creates the others.
    pub fn set_pin_dir(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.pin_dir = Some(path.into());
        self
    }

    /// Sets whether programs access percpu global data directly ([`PercpuForm::Native`](abi::PercpuForm::Native)) or by
    /// emulation ([`PercpuForm::Emulated`](abi::PercpuForm::Emulated)). By default this depends on the features of the
    /// running kernel; set it only for tests and comparisons. The load fails if the skeleton was not generated with
    /// this form.
    pub fn set_percpu(&mut self, form: abi::PercpuForm) -> &mut Self {
        self.percpu = form;
        self
    }

    /// Sets a BPF token to load with (Linux 6.9). `BPF_TOKEN_CREATE` creates tokens in a user namespace for a bpffs
    /// that was mounted with delegation.
    pub fn set_token(&mut self, token: OwnedFd) -> &mut Self {
        self.token = Some(token);
        self.token_path = None;
        self
    }

    /// Sets the mount point of a bpffs from which a BPF token is created for this load.
    ///
    /// If neither this nor [`Self::set_token`] is called, the environment variable `LIBBPF_BPF_TOKEN_PATH` sets the
    /// path. Without that, a load in a user namespace creates a token from `/sys/fs/bpf` when the kernel first rejects a
    /// request with `EPERM`, if that bpffs delegates rights. So a container in which `/sys/fs/bpf` is a bpffs with
    /// delegation needs no setting.
    pub fn set_token_path(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.token_path = Some(path.into());
        self.token = None;
        self
    }

    /// Sets kernel configuration options that override those of the running kernel: lines such as `CONFIG_HZ=250`, as
    /// in a kernel's `.config`.
    ///
    /// Other options are read from `/boot/config-RELEASE`, then from `/proc/config.gz`, then from
    /// `/lib/modules/RELEASE/config`.
    pub fn set_kconfig(&mut self, text: impl Into<Vec<u8>>) -> &mut Self {
        self.kconfig = Some(text.into());
        self
    }

    /// Sets a function that is called with each step of the load after it is done: created maps, loaded programs,
    /// feature probes with their answers, and changes for this kernel. Without it, a load records nothing.
    ///
    /// The function is called by the thread that loads. To collect events, send them through a channel, or add them to a list behind a
    /// mutex. With the crate `tracing` or `log`, pass each event to one of their macros, such as `tracing::debug!`, with the values that you
    /// want to filter by as fields.
    ///
    /// # Examples
    /// ```no_run
    /// use skelgen_runtime::{LoadEvent, LoadOptions};
    ///
    /// # struct Open { options: LoadOptions }
    /// # fn f(mut open: Open) {
    /// open.options.set_log(|event| eprintln!("{event}"));
    ///
    /// // Warn about what was changed for an older kernel, and ignore the rest.
    /// open.options.set_log(|event| match event {
    ///     LoadEvent::MapChanged { .. } | LoadEvent::ProgramChanged { .. } => eprintln!("warning: {event}"),
    ///     _ => {}
    /// });
    /// # }
    /// ```
    /// The first call prints lines such as
    /// ```text
    /// BTF: loaded, 1440 bytes, sanitized
    /// map `counts`: created: hash, 4-byte keys, 8-byte values, 1024 entries
    /// probe: this kernel supports CO-RE relocation: no
    /// program `on_exec`: relocated in user space
    /// program `on_exec`: loaded: tracepoint, 42 instructions, 1.3ms
    /// ```
    pub fn set_log(&mut self, log: impl Fn(&LoadEvent<'_>) + Send + Sync + 'static) -> &mut Self {
        self.log = Some(Log::new(log));
        self
    }

    pub(crate) fn pin_path(&self, map: &OpenMap) -> Option<PathBuf> {
        let by_name = || {
            let dir = self.pin_dir.as_deref().unwrap_or_else(|| Path::new(BPFFS));
            map.definition.pin_by_name.then(|| dir.join(&*map.definition.name))
        };
        map.pin_path.clone().or_else(by_name)
    }
}

/// The initial bytes of a section, if the user changed them.
type Value = Box<dyn AsRef<[u8]> + Send + Sync>;

/// The template of the inner maps of a map of maps, as the user set it.
#[derive(Debug)]
pub(crate) enum Inner {
    Map(OwnedFd),
    Definition(NewMap<'static>),
}

/// The program that a map is exclusive to.
#[derive(Clone, Debug)]
pub(crate) enum Exclusive {
    /// The program with this hash.
    Hash([u8; 32]),
    /// A program of the object, by its name.
    #[cfg(feature = "exclusive-maps")]
    Program(String),
}

/// A map before it is created.
///
/// ```
/// use skelgen_runtime::OpenObject;
///
/// /// Prints the settings of maps and programs.
/// fn show(open: &impl OpenObject) {
///     for map in open.maps() {
///         println!("{} {} {:?} {:?}", map.autocreate(), map.extra(), map.numa_node(), map.pin_path());
///     }
///     println!("{:?}", open.program("count").map(|program| program.autoattach()));
/// }
/// ```
pub struct OpenMap {
    pub(crate) definition: &'static abi::Map,
    /// The definition of the map to create: the object's, with the user's changes.
    pub(crate) row: abi::Map,
    /// The parts of the executor that these settings need.
    pub(crate) parts: Vec<Part>,
    pub(crate) autocreate: bool,
    pub(crate) reuse: Option<OwnedFd>,
    /// The template of the inner maps of a map of maps, as the object defines it.
    template: Option<&'static abi::Map>,
    /// The template of the inner maps, if the user set one.
    pub(crate) inner: Option<Inner>,
    /// The program that the map is exclusive to.
    pub(crate) exclusive: Option<Exclusive>,
    /// The index of the network interface that the map is offloaded to, or 0.
    pub(crate) ifindex: u32,
    pub(crate) pin_path: Option<PathBuf>,
    pub(crate) value: Option<Value>,
    /// Function members of a struct_ops map whose program the user set, by name.
    pub(crate) programs: Vec<(String, Option<&'static str>)>,
    /// Whether the skeleton's `attach` registers the struct_ops map.
    pub(crate) autoattach: bool,
}

impl OpenMap {
    /// Creates the map with this index in `object`, with the object's settings.
    ///
    /// # Panics
    /// If the object has no map with this index, because the generated code is inconsistent.
    #[doc(hidden)]
    #[must_use]
    pub fn new(object: &'static abi::Object, index: u32) -> Self {
        let definition = usize::try_from(index).ok().and_then(|index| object.maps.get(index));
        let Some(definition) = definition else {
            panic!("object `{}` has no map {index}", object.name);
        };
        let template = definition.inner.and_then(|index| object.maps.get(usize::try_from(index).ok()?));
        Self { template, ..Self::of(definition) }
    }

    /// Sets the initial value of the section. With `None`, the map keeps the object's value. For generated code.
    pub(crate) fn set_initial<V: AsRef<[u8]> + Send + Sync + 'static>(&mut self, value: Option<V>) {
        self.value = value.map(|value| Box::new(value) as Value);
    }

    pub(crate) fn of(definition: &'static abi::Map) -> Self {
        Self {
            definition,
            row: definition.clone(),
            parts: Vec::new(),
            autocreate: definition.struct_ops.as_ref().is_none_or(|table| table.autocreate),
            reuse: None,
            template: None,
            inner: None,
            exclusive: None,
            ifindex: 0,
            pin_path: None,
            value: None,
            programs: Vec::new(),
            autoattach: true,
        }
    }

    /// Returns the name in the source.
    #[must_use]
    pub fn name(&self) -> &'static str {
        &self.definition.name
    }

    /// Returns the type.
    #[must_use]
    pub fn map_type(&self) -> MapType {
        self.row.map_type
    }

    /// Sets the type, such as an LRU hash map instead of a hash map. The skeleton's handle must support both types; if
    /// it does not, generate an untyped handle (`Builder::untyped_map`, `skelgen gen --untyped-map`).
    pub fn set_map_type(&mut self, map_type: MapType) -> &mut Self {
        self.row.map_type = map_type;
        self
    }

    /// Returns the size of a key in bytes.
    #[must_use]
    pub fn key_size(&self) -> u32 {
        self.row.key_size
    }

    /// Sets the size of a key in bytes. A handle with a Rust type for keys supports only the object's size; for other
    /// sizes, generate an untyped handle (`Builder::untyped_map`, `skelgen gen --untyped-map`).
    pub fn set_key_size(&mut self, bytes: u32) -> &mut Self {
        self.row.key_size = bytes;
        self
    }

    /// Returns the size of a value in bytes.
    #[must_use]
    pub fn value_size(&self) -> u32 {
        self.row.value_size
    }

    /// Sets the size of a value in bytes. For handles, see [`Self::set_key_size`]; a map whose values have no size in
    /// the object has an untyped handle.
    ///
    /// For a section of global data, this is its size. Bytes after its variables are zero; read them with `tail()`. The
    /// load fails if the section is shorter than its variables.
    pub fn set_value_size(&mut self, bytes: u32) -> &mut Self {
        self.row.value_size = bytes;
        self
    }

    /// Returns the maximum number of elements; for a ring buffer, the size in bytes.
    #[must_use]
    pub fn max_entries(&self) -> u32 {
        self.row.max_entries
    }

    /// Sets the maximum number of elements; for a ring buffer, the size in bytes, which is rounded up to a power of two
    /// and at least one page.
    pub fn set_max_entries(&mut self, count: u32) -> &mut Self {
        self.row.max_entries = count;
        self
    }

    /// Returns the flags of the map.
    pub fn flags(&self) -> MapFlags {
        MapFlags::from_bits(self.row.flags)
    }

    /// Sets the flags of the map, replacing those of the object.
    ///
    /// ```
    /// use skelgen_runtime::{OpenMap, uapi::MapFlags};
    ///
    /// fn allocate_late(map: &mut OpenMap) {
    ///     map.set_flags(map.flags() | MapFlags::NO_PREALLOC);
    /// }
    /// ```
    pub fn set_flags(&mut self, flags: MapFlags) -> &mut Self {
        self.row.flags = flags.bits();
        self
    }

    /// Returns the NUMA node of the map's memory, or `None` if the kernel chooses.
    #[must_use]
    pub fn numa_node(&self) -> Option<u32> {
        self.flags().contains(MapFlags::NUMA_NODE).then_some(self.row.numa_node)
    }

    /// Sets the NUMA node of the map's memory.
    pub fn set_numa_node(&mut self, node: u32) -> &mut Self {
        self.row.numa_node = node;
        self.row.flags |= map_flags::NUMA_NODE;
        self
    }

    /// Returns the type-specific setting of the map (`map_extra`).
    #[must_use]
    pub fn extra(&self) -> u64 {
        self.row.extra
    }

    /// Sets the type-specific setting of the map (`map_extra`), such as the number of hash functions of a Bloom filter.
    pub fn set_extra(&mut self, extra: u64) -> &mut Self {
        self.row.extra = extra;
        self
    }

    /// Returns the network interface that was set with [`Self::set_interface`].
    #[must_use]
    #[doc(alias = "ifindex")]
    pub fn interface(&self) -> Option<Interface> {
        (self.ifindex != 0).then(|| Interface::from_index(self.ifindex))
    }

    /// Sets the network interface to create the map for (offload, Linux 4.16). The map is in the memory of the device, and only programs
    /// that are loaded for the same interface can use it ([`OpenProgram::set_interface`]).
    ///
    /// Drivers that support offload accept only array and hash maps. With another driver or map type, the load fails. The kernel requires
    /// `CAP_SYS_ADMIN`.
    ///
    /// # Examples
    /// ```no_run
    /// # fn f(map: &mut skelgen_runtime::OpenMap) -> skelgen_runtime::Result<()> {
    /// map.set_interface("eth0")?;
    /// assert!(map.interface().is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If `interface` is a name that no interface has.
    #[doc(alias = "set_ifindex")]
    pub fn set_interface(&mut self, interface: impl IntoInterface) -> Result<&mut Self> {
        let found = interface
            .into_interface()
            .map_err(|error| error.within(format_args!("cannot set the interface of map `{}`", self.name())));
        self.ifindex = found?.index();
        Ok(self)
    }

    /// Returns whether the map is created.
    #[must_use]
    pub fn autocreate(&self) -> bool {
        self.autocreate
    }

    /// Sets whether the map is created. A skeleton has a handle of each map, so its load fails if a map is not created.
    /// Exceptions are maps that were declared optional at generation (`Builder::optional_map`, `skelgen gen
    /// --optional-map`).
    ///
    /// A program that uses a map that is not created can be loaded only if the verifier finds the use unreachable, for
    /// example because of a constant in `.rodata`.
    pub fn set_autocreate(&mut self, autocreate: bool) -> &mut Self {
        self.autocreate = autocreate;
        self
    }

    /// Returns the template of the inner maps of a map of maps: the one that [`Self::set_inner_definition`] set, or the
    /// one that the BPF source defines. Returns `None` if there is neither, or it was set by [`Self::set_inner_map`].
    #[must_use]
    pub fn inner_definition(&self) -> Option<NewMap<'static>> {
        match (&self.inner, self.template) {
            (Some(Inner::Definition(definition)), _) => Some(definition.clone()),
            (None, Some(template)) => Some(NewMap::of_row(template)),
            (Some(Inner::Map(_)), _) | (None, None) => None,
        }
    }

    /// Makes the map exclusive to the program with this hash (Linux 6.18): the kernel rejects all other programs that use
    /// the map.
    ///
    /// [`NewMap::exclusive_hash`] describes the hash.
    ///
    /// ```
    /// use skelgen_runtime::OpenMap;
    ///
    /// fn reserve(secrets: &mut OpenMap, hash: [u8; 32]) {
    ///     secrets.set_exclusive_hash(hash);
    /// }
    /// ```
    pub fn set_exclusive_hash(&mut self, hash: [u8; 32]) -> &mut Self {
        self.exclusive = Some(Exclusive::Hash(hash));
        self
    }

    /// Returns the sizes of keys and values of the template that the object defines, in bytes.
    pub(crate) fn template_sizes(&self) -> Option<(u32, u32)> {
        self.template.map(|template| (template.key_size, template.value_size))
    }

    /// Returns the path that was set with [`Self::set_pin_path`].
    #[must_use]
    pub fn pin_path(&self) -> Option<&Path> {
        self.pin_path.as_deref()
    }
}

impl fmt::Debug for OpenMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenMap")
            .field("name", &self.definition.name)
            .field("map_type", &self.row.map_type)
            .field("key_size", &self.row.key_size)
            .field("value_size", &self.row.value_size)
            .field("max_entries", &self.row.max_entries)
            .field("flags", &self.flags())
            .field("autocreate", &self.autocreate)
            .finish_non_exhaustive()
    }
}

/// A program before it is loaded.
///
/// ```no_run
/// # fn f(open: &mut impl skelgen_runtime::OpenObject) -> skelgen_runtime::Result<()> {
/// for program in open.programs_mut() {
///     // Load what this kernel can load, and report the others.
///     program.set_optional(true);
/// }
/// if let Some(program) = open.program_mut("on_open") {
///     program.set_attach_target("do_sys_openat2");
/// }
/// # Ok(())
/// # }
/// ```
pub struct OpenProgram {
    pub(crate) definition: &'static abi::Program,
    /// The parts of the executor that these settings need.
    pub(crate) parts: Vec<Part>,
    pub(crate) program_type: ProgramType,
    pub(crate) attach_type: AttachType,
    pub(crate) autoload: bool,
    /// Whether the load continues without the program if it cannot be loaded.
    pub(crate) optional: bool,
    pub(crate) autoattach: bool,
    pub(crate) target: Option<String>,
    pub(crate) target_program: Option<(OwnedFd, String)>,
    pub(crate) log_level: Option<u32>,
    pub(crate) flags: u32,
    pub(crate) ifindex: u32,
}

impl OpenProgram {
    /// Creates the program with this index in `object`, with the object's settings.
    ///
    /// # Panics
    /// If the object has no program with this index, because the generated code is inconsistent.
    #[doc(hidden)]
    #[must_use]
    pub fn new(object: &'static abi::Object, index: u32) -> Self {
        let definition = usize::try_from(index).ok().and_then(|index| object.programs.get(index));
        let Some(definition) = definition else {
            panic!("object `{}` has no program {index}", object.name);
        };
        Self::of(definition)
    }

    pub(crate) fn of(definition: &'static abi::Program) -> Self {
        Self {
            definition,
            parts: Vec::new(),
            program_type: definition.program_type,
            attach_type: definition.expected_attach_type,
            autoload: definition.autoload,
            optional: false,
            autoattach: true,
            target: None,
            target_program: None,
            log_level: None,
            flags: definition.flags,
            ifindex: 0,
        }
    }

    /// Returns a copy of the settings.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        let target_program = match &self.target_program {
            Some((fd, function)) => Some((self.duplicate(fd.as_fd())?, function.clone())),
            None => None,
        };
        let target = self.target.clone();
        Ok(Self { target, target_program, parts: self.parts.clone(), ..*self })
    }

    pub(crate) fn duplicate(&self, program: BorrowedFd<'_>) -> Result<OwnedFd> {
        program.try_clone_to_owned().map_err(|error| {
            Error::io(format_args!("cannot set the attach target of program `{}`", self.name()), &error)
        })
    }

    /// Returns the name of the program's function.
    #[must_use]
    pub fn name(&self) -> &'static str {
        &self.definition.name
    }

    /// Returns the name of the program's section.
    #[must_use]
    pub fn section(&self) -> &'static str {
        &self.definition.section
    }

    /// Returns whether the program will be loaded.
    #[must_use]
    pub fn autoload(&self) -> bool {
        self.autoload
    }

    /// Sets whether the program is loaded.
    pub fn set_autoload(&mut self, autoload: bool) -> &mut Self {
        self.autoload = autoload;
        self
    }

    /// Sets whether the program is optional. By default all programs are required: if one cannot be loaded or attached, the whole
    /// load or attachment fails.
    ///
    /// An optional program that the kernel rejects, or whose attach target the kernel does not have, is left out of the load;
    /// [`Program::load_error`](crate::Program::load_error) returns the reason. An optional program that cannot be attached is listed in
    /// `left()` of the skeleton's links.
    ///
    /// ```
    /// use skelgen_runtime::OpenObject;
    ///
    /// /// Requires two programs; all others are loaded only if this kernel supports them.
    /// fn require(open: &mut impl OpenObject, required: [&str; 2]) {
    ///     for program in open.programs_mut() {
    ///         program.set_optional(!required.contains(&program.name()));
    ///     }
    /// }
    /// ```
    pub fn set_optional(&mut self, optional: bool) -> &mut Self {
        self.optional = optional;
        self
    }

    /// Returns whether the skeleton's `attach` attaches the program.
    #[must_use]
    pub fn autoattach(&self) -> bool {
        self.autoattach
    }

    /// Sets whether the skeleton's `attach` attaches the program.
    pub fn set_autoattach(&mut self, autoattach: bool) -> &mut Self {
        self.autoattach = autoattach;
        self
    }

    /// Returns the type that the program will be loaded as.
    #[must_use]
    pub fn program_type(&self) -> ProgramType {
        self.program_type
    }

    /// Sets the verifier log level for this program, see [`LoadOptions::set_log_level`].
    pub fn set_log_level(&mut self, level: u32) -> &mut Self {
        self.log_level = Some(level);
        self
    }

    /// Returns the flags of the program.
    pub fn flags(&self) -> ProgramFlags {
        ProgramFlags::from_bits(self.flags)
    }

    /// Sets the flags of the program, replacing those of the object.
    pub fn set_flags(&mut self, flags: ProgramFlags) -> &mut Self {
        self.flags = flags.bits();
        self
    }

    /// Sets the network interface to load the program for: to run on the device (offload, Linux 4.13), or with the
    /// device's metadata ([`ProgramFlags::XDP_DEV_BOUND_ONLY`], Linux 6.3).
    ///
    /// ```no_run
    /// # fn f(program: &mut skelgen_runtime::OpenProgram) -> skelgen_runtime::Result<()> {
    /// program.set_interface("eth0")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If `interface` is a name that no interface has.
    #[doc(alias = "set_ifindex")]
    pub fn set_interface(&mut self, interface: impl IntoInterface) -> Result<&mut Self> {
        let found = interface
            .into_interface()
            .map_err(|error| error.within(format_args!("cannot set the interface of program `{}`", self.name())));
        self.ifindex = found?.index();
        Ok(self)
    }
}

impl fmt::Debug for OpenProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenProgram")
            .field("name", &self.definition.name)
            .field("section", &self.definition.section)
            .field("autoload", &self.autoload)
            .field("autoattach", &self.autoattach)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
