//! An object before it is loaded: what can still be changed.
//!
//! Each value starts as the object defines it and allocates no memory for what is not changed. This module makes no
//! system calls.

mod struct_ops;
mod way;

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::abi;
use crate::error::{Error, Result};
use crate::uapi::{AttachType, MapFlags, MapType, ProgramFlags, ProgramType, map_flags};

pub use struct_ops::OpenStructOps;
pub(crate) use way::way;

/// The usual mount point of the bpffs: maps with `LIBBPF_PIN_BY_NAME` are pinned there and a token is created from it,
/// unless set otherwise.
pub(crate) const BPFFS: &str = "/sys/fs/bpf";

/// Options for the load of a whole object.
#[derive(Debug, Default)]
pub struct LoadOptions {
    pub(crate) log_level: u32,
    pub(crate) log_size: Option<usize>,
    pub(crate) kernel_btf: Option<PathBuf>,
    pub(crate) pin_dir: Option<PathBuf>,
    pub(crate) token: Option<OwnedFd>,
    pub(crate) token_path: Option<PathBuf>,
    pub(crate) percpu: abi::PercpuForm,
    pub(crate) kconfig: Option<Vec<u8>>,
}

impl LoadOptions {
    /// Creates options with every setting at its default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the verifier log level for programs that it accepts: 0, the default, disables the log; 1 logs its
    /// decisions, 2 each instruction, 4 only statistics. The log of a program that it rejects is always kept.
    pub fn set_log_level(&mut self, level: u32) -> &mut Self {
        self.log_level = level;
        self
    }

    /// Sets the maximum size of a verifier log in bytes; 64 MiB by default, and at least 128 bytes, the kernel's
    /// minimum. Kernels since 6.4 keep the end of a longer log, which contains the cause of a rejection. Older ones
    /// keep the beginning, and reject a program whose log was requested and does not fit.
    pub fn set_log_size(&mut self, bytes: usize) -> &mut Self {
        self.log_size = Some(bytes);
        self
    }

    /// Sets a BTF file to relocate programs with CO-RE relocations to, instead of /sys/kernel/btf/vmlinux: for kernels
    /// without BTF of their own (before 5.4, or without CONFIG_DEBUG_INFO_BTF).
    ///
    /// The file is raw BTF, like /sys/kernel/btf/vmlinux, not an ELF file. Attach targets and kernel functions are
    /// still looked up in the kernel's own BTF, because the kernel identifies them by its ids.
    pub fn set_kernel_btf(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.kernel_btf = Some(path.into());
        self
    }

    /// Sets the directory in a bpffs in which maps that are pinned by name are pinned; `/sys/fs/bpf` by default. The
    /// load creates the directory if it does not exist, and removes it again on error.
    ///
    /// A process that is killed while it pins can leave some of the pins. The next load uses those, with their content,
    /// and creates the others.
    pub fn set_pin_dir(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.pin_dir = Some(path.into());
        self
    }

    /// Sets the form in which percpu global data is loaded, instead of the one that the running kernel supports: for
    /// tests and comparisons.
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
    /// path. Without that, a process in a user namespace tries `/sys/fs/bpf`, and loads without a token if it cannot
    /// create one. So a container with a delegating bpffs mounted there needs no setting.
    pub fn set_token_path(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.token_path = Some(path.into());
        self.token = None;
        self
    }

    /// Sets kernel configuration that overrides that of the running kernel: lines such as `CONFIG_HZ=250`, as in a
    /// kernel's `.config`.
    ///
    /// Other options are read from `/boot/config-RELEASE`, then from `/proc/config.gz`, then from
    /// `/lib/modules/RELEASE/config`.
    pub fn set_kconfig(&mut self, text: impl Into<Vec<u8>>) -> &mut Self {
        self.kconfig = Some(text.into());
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

/// The initial bytes of a section, if they are not the object's own.
type Value = Box<dyn AsRef<[u8]> + Send + Sync>;

/// A map before it is created.
pub struct OpenMap {
    pub(crate) definition: &'static abi::Map,
    /// The definition with the user's changes, which the map is created with.
    pub(crate) row: abi::Map,
    pub(crate) autocreate: bool,
    pub(crate) reuse: Option<OwnedFd>,
    /// The template of the inner maps of a map of maps, if the user set one.
    pub(crate) inner: Option<OwnedFd>,
    pub(crate) pin_path: Option<PathBuf>,
    pub(crate) value: Option<Value>,
    /// Function members of a struct_ops map whose program the user set, by name.
    pub(crate) programs: Vec<(String, Option<&'static str>)>,
    /// Whether the skeleton's `attach` registers the struct_ops map.
    pub(crate) autoattach: bool,
}

impl OpenMap {
    /// Creates the map with this index, as the object defines it.
    ///
    /// # Panics
    /// If the object has no such map: the generated code is inconsistent.
    #[doc(hidden)]
    #[must_use]
    pub fn new(object: &'static abi::Object, index: u32) -> Self {
        let definition = usize::try_from(index).ok().and_then(|index| object.maps.get(index));
        let Some(definition) = definition else {
            panic!("object `{}` has no map {index}", object.name);
        };
        Self::of(definition)
    }

    /// Creates a section of global data of `len` bytes. `value` is the initial value, if it is not the object's own.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub(crate) fn section<V: AsRef<[u8]> + Send + Sync + 'static>(
        object: &'static abi::Object,
        index: u32,
        len: u32,
        value: Option<V>,
    ) -> Self {
        let mut map = Self::new(object, index);
        map.row.value_size = len;
        map.with_initial(value)
    }

    /// Returns the map with this initial value of its section, if it is not the object's own; for generated code.
    pub(crate) fn with_initial<V: AsRef<[u8]> + Send + Sync + 'static>(mut self, value: Option<V>) -> Self {
        self.value = value.map(|value| Box::new(value) as Value);
        self
    }

    pub(crate) fn of(definition: &'static abi::Map) -> Self {
        Self {
            definition,
            row: definition.clone(),
            autocreate: definition.struct_ops.as_ref().is_none_or(|table| table.autocreate),
            reuse: None,
            inner: None,
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

    /// Sets the size of a value in bytes. The bytes of a larger section beyond its initial value are zero. For handles,
    /// see [`Self::set_key_size`]; a map whose values have no size in the object has an untyped handle.
    pub fn set_value_size(&mut self, bytes: u32) -> &mut Self {
        self.row.value_size = bytes;
        self
    }

    /// Returns the maximum number of elements; of a ring buffer the size in bytes.
    #[must_use]
    pub fn max_entries(&self) -> u32 {
        self.row.max_entries
    }

    /// Sets the maximum number of elements; of a ring buffer the size in bytes, which is rounded up to a power of two
    /// of whole pages.
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

    /// Sets the NUMA node of the map's memory.
    pub fn set_numa_node(&mut self, node: u32) -> &mut Self {
        self.row.numa_node = node;
        self.row.flags |= map_flags::NUMA_NODE;
        self
    }

    /// Sets the extra value of the map type (`map_extra`).
    pub fn set_extra(&mut self, extra: u64) -> &mut Self {
        self.row.extra = extra;
        self
    }

    /// Sets whether the map is created. A skeleton has a handle of each of its maps and cannot be loaded without one of
    /// them, except for maps that were declared optional at generation (`Builder::optional_map`, `skelgen gen
    /// --optional-map`).
    ///
    /// A program that uses a map which is not created loads if the verifier finds that code unreachable, because of a
    /// constant in `.rodata`.
    pub fn set_autocreate(&mut self, autocreate: bool) -> &mut Self {
        self.autocreate = autocreate;
        self
    }

    /// Sets the template of the inner maps of a map of maps: a map of the kind that will be inserted. It replaces the
    /// one that the BPF source defines, and is required if the source has no `__array(values, …)`, or leaves sizes to
    /// the user.
    ///
    /// The verifier uses the template's type, sizes and flags. The template itself is not inserted, and may be closed
    /// after the load.
    ///
    /// # Errors
    /// If the file descriptor cannot be duplicated. The load fails if it is not a map.
    ///
    /// # Examples
    /// ```
    /// use skelgen_runtime::{OpenMap, Result, map::Array};
    ///
    /// fn choose_inner(outer: &mut OpenMap, template: &Array<u64>) -> Result<()> {
    ///     outer.set_inner_map(template)?.set_max_entries(64);
    ///     Ok(())
    /// }
    /// ```
    pub fn set_inner_map(&mut self, template: impl AsFd) -> Result<&mut Self> {
        let template = template.as_fd().try_clone_to_owned().map_err(|error| {
            Error::io(
                format_args!("map `{}`: cannot duplicate the template of its inner maps", &*self.definition.name),
                &error,
            )
        })?;
        self.inner = Some(template);
        Ok(self)
    }

    /// Uses this map instead of a new one. Its content is not initialized, and it is not frozen.
    pub fn reuse_fd(&mut self, fd: OwnedFd) -> &mut Self {
        self.reuse = Some(fd);
        self
    }

    /// Uses the map that is pinned at this path of a bpffs, or creates the map and pins it there.
    pub fn set_pin_path(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.pin_path = Some(path.into());
        self
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
pub struct OpenProgram {
    pub(crate) definition: &'static abi::Program,
    pub(crate) program_type: ProgramType,
    pub(crate) attach_type: AttachType,
    pub(crate) autoload: bool,
    pub(crate) autoattach: bool,
    pub(crate) target: Option<String>,
    pub(crate) target_program: Option<(OwnedFd, String)>,
    pub(crate) log_level: Option<u32>,
    pub(crate) flags: u32,
    pub(crate) ifindex: u32,
}

impl OpenProgram {
    /// Creates the program with this index, as the object defines it.
    ///
    /// # Panics
    /// If the object has no such program: the generated code is inconsistent.
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
            program_type: definition.program_type,
            attach_type: definition.expected_attach_type,
            autoload: definition.autoload,
            autoattach: true,
            target: None,
            target_program: None,
            log_level: None,
            flags: definition.flags,
            ifindex: 0,
        }
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

    /// Sets the type of the program, and the attach type if the kernel must know it at load, replacing what the section
    /// states about both.
    ///
    /// ```
    /// use skelgen_runtime::OpenProgram;
    /// use skelgen_runtime::uapi::{AttachType, ProgramType};
    ///
    /// fn choose(filter: &mut OpenProgram, connect: &mut OpenProgram) {
    ///     filter.set_type(ProgramType::SOCKET_FILTER, None);
    ///     connect.set_type(ProgramType::CGROUP_SOCK_ADDR, AttachType::CGROUP_INET4_CONNECT);
    /// }
    /// ```
    pub fn set_type(&mut self, program_type: ProgramType, attach_type: impl Into<Option<AttachType>>) -> &mut Self {
        self.program_type = program_type;
        self.attach_type = attach_type.into().unwrap_or(AttachType(0));
        self
    }

    /// Sets a function of another BPF program to load the program for: to replace it (`freplace`), or to run at its
    /// entry or exit (`fentry`, `fexit`). The function has its name in the source; the other program must have been
    /// loaded with BTF.
    ///
    /// # Errors
    /// If the program's file descriptor cannot be duplicated.
    pub fn set_attach_program(&mut self, program: impl AsFd, function: impl Into<String>) -> Result<&mut Self> {
        let fd = program.as_fd().try_clone_to_owned();
        let fd = fd.map_err(|error| {
            Error::io(format_args!("cannot set the attach target of program `{}`", self.name()), &error)
        })?;
        self.target_program = Some((fd, function.into()));
        Ok(self)
    }

    /// Sets another attach target of the same kind: a kernel function, an LSM hook, the name of a tracepoint
    /// (`category/name` if the section has that form) or of an iterator (`task`).
    pub fn set_attach_target(&mut self, name: impl Into<String>) -> &mut Self {
        self.target = Some(name.into());
        self
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

    /// Sets the network device to load the program for (offload, or device-bound metadata).
    pub fn set_ifindex(&mut self, ifindex: u32) -> &mut Self {
        self.ifindex = ifindex;
        self
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
