//! Settings that need a part of the executor, whether or not the object needs it.
//!
//! These methods belong to the types of the module `open`, which is below the executor. They are here because each adds its part to the
//! load, so that a binary that never calls them does not contain the part.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use super::{relocate, reuse, symbols, templates};
use crate::error::{Error, Result};
use crate::kernel::btf_set::BtfSet;
use crate::link::ways;
use crate::map::NewMap;
#[cfg(feature = "exclusive-maps")]
use crate::open::Exclusive;
use crate::open::{Inner, LoadOptions, OpenMap, OpenProgram};
use crate::uapi::{AttachType, ProgramType};

impl LoadOptions {
    /// Sets a BTF file for CO-RE relocation, instead of /sys/kernel/btf/vmlinux: for kernels without BTF of their own
    /// (before 5.4, or without CONFIG_DEBUG_INFO_BTF).
    ///
    /// The file is raw BTF, like /sys/kernel/btf/vmlinux, not an ELF file. Attach targets and kernel functions are
    /// still looked up in the kernel's own BTF, because the kernel identifies them by ids of that BTF.
    pub fn set_kernel_btf(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.kernel_btf = Some(path.into());
        self.parts.push(&relocate::PART);
        self
    }

    /// Sets BTF files to choose from on kernels without BTF of their own: programs with CO-RE relocations are relocated to
    /// the file for the running kernel. On kernels with /sys/kernel/btf/vmlinux, and after
    /// [`set_kernel_btf`](Self::set_kernel_btf), the set is not used.
    ///
    /// The names are those of the BTFHub archive: `ID/VERSION_ID/ARCHITECTURE/RELEASE`, with the distribution and version
    /// of os-release(5), the architecture as `x86_64` or `arm64`, and the release of `uname -r`; an ending `.btf` is
    /// ignored. If no name has the running distribution, for example in a container, a name with the architecture and
    /// release of the kernel is chosen.
    ///
    /// `skelgen min-btf OBJECT --btf FILE` writes a file of a few kilobytes with the types that an object needs of a
    /// kernel.
    ///
    /// # Errors
    /// The load fails with [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) if the set is used and has no file
    /// for the running kernel.
    ///
    /// # Examples
    /// ```
    /// static BTF: &[(&str, &[u8])] = &[
    ///     // In a program: include_bytes!("btf/debian/12/x86_64/6.1.0-50-cloud-amd64.btf")
    ///     ("debian/12/x86_64/6.1.0-50-cloud-amd64", b""),
    /// ];
    /// let mut options = skelgen_runtime::LoadOptions::new();
    /// options.set_btf_set(BTF);
    /// ```
    pub fn set_btf_set(&mut self, files: &'static [(&'static str, &'static [u8])]) -> &mut Self {
        self.btf_set = Some(BtfSet(files));
        self.parts.push(&relocate::PART);
        self
    }
}

impl OpenMap {
    /// Sets the template of the inner maps of a map of maps: a map with the type, sizes and flags of the maps that will
    /// be inserted. It replaces the template that the BPF source defines, and is required if the source has no
    /// `__array(values, …)` or does not set all sizes.
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
        self.inner = Some(Inner::Map(template));
        self.parts.push(&templates::PART);
        Ok(self)
    }

    /// Sets the template of the inner maps of a map of maps by its definition. It replaces the one that the BPF source
    /// defines, and is required if the source has none, or leaves sizes to the user.
    ///
    /// The load creates a map with this definition, using the load's token, and closes it after it has created the
    /// outer map. A definition that [`Self::inner_definition`] returned keeps the types of the object, unless the size
    /// of keys or values is changed.
    ///
    /// # Examples
    /// ```
    /// use skelgen_runtime::OpenMap;
    /// use skelgen_runtime::map::NewMap;
    /// use skelgen_runtime::uapi::MapType;
    ///
    /// /// Doubles the size of the inner maps, or defines them if the source does not.
    /// fn enlarge(outer: &mut OpenMap) {
    ///     let inner = match outer.inner_definition() {
    ///         Some(inner) => {
    ///             let count = inner.get_max_entries();
    ///             inner.max_entries(2 * count)
    ///         }
    ///         None => NewMap::new("inner", 64).map_type(MapType::HASH).key_size(4).value_size(8),
    ///     };
    ///     outer.set_inner_definition(inner);
    /// }
    /// ```
    pub fn set_inner_definition(&mut self, template: NewMap<'static>) -> &mut Self {
        self.inner = Some(Inner::Definition(template));
        self.parts.push(&templates::PART);
        self
    }

    /// Makes the map exclusive to a program of the same object (Linux 6.18): the kernel rejects all other programs that
    /// use the map, of this load and of others. Needs the feature `exclusive-maps` of this crate.
    ///
    /// The load computes the hash of the program before it creates the map. CO-RE relocations of the program are applied
    /// in user space, because the kernel hashes relocated instructions. The load fails if the object has no such program
    /// or it is not loaded.
    ///
    /// ```
    /// use skelgen_runtime::OpenMap;
    ///
    /// fn reserve(secrets: &mut OpenMap) {
    ///     secrets.set_exclusive_program("on_login");
    /// }
    /// ```
    #[cfg(feature = "exclusive-maps")]
    pub fn set_exclusive_program(&mut self, name: impl Into<String>) -> &mut Self {
        self.exclusive = Some(Exclusive::Program(name.into()));
        self.parts.push(&relocate::PART);
        self
    }

    /// Reuses an existing map instead of creating one. The load neither initializes nor freezes the map.
    pub fn reuse_fd(&mut self, fd: OwnedFd) -> &mut Self {
        self.reuse = Some(fd);
        self.parts.push(&reuse::PART);
        self
    }

    /// Uses the map that is pinned at this path of a bpffs, or creates the map and pins it there. The load creates missing directories of
    /// the path, and removes them again on error.
    pub fn set_pin_path(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.pin_path = Some(path.into());
        self.parts.push(&reuse::PART);
        self
    }
}

impl OpenProgram {
    /// Sets the type of the program, and its attach type if the kernel requires one for the load, instead of those that
    /// the section determines.
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
        self.parts.push(&ways::ANY);
        self
    }

    /// Sets a function of another BPF program to load the program for: to replace it (`freplace`), or to run at its
    /// entry or exit (`fentry`, `fexit`). `function` is its name in the other program's source. The other program must
    /// have been loaded with BTF.
    ///
    /// # Errors
    /// If the program's file descriptor cannot be duplicated.
    pub fn set_attach_program(&mut self, program: impl AsFd, function: impl Into<String>) -> Result<&mut Self> {
        self.target_program = Some((self.duplicate(program.as_fd())?, function.into()));
        self.parts.push(&symbols::PART);
        Ok(self)
    }

    /// Replaces the attach target of the section name. The new target must be of the same kind: a kernel function, an
    /// LSM hook, the name of a tracepoint (`category/name` if the section has that form) or of an iterator (`task`).
    pub fn set_attach_target(&mut self, name: impl Into<String>) -> &mut Self {
        self.target = Some(name.into());
        self.parts.push(&symbols::PART);
        self
    }
}
