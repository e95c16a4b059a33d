//! Handles of loaded programs. The module `link` attaches them.

mod code;
mod info;
mod opened;
mod stream;
mod test_run;

pub use self::code::{ProgramFunction, ProgramLine};
pub use self::info::{ProgramInfo, ProgramTag};
pub use self::stream::{ProgramStream, Stream};
pub use self::test_run::{TestRun, TestRunResult};

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use crate::abi;
use crate::error::{Error, LinuxVersion, Result, Step, Subject};
use crate::kernel::causes;
use crate::open::{self, OpenProgram, Part};
use crate::pins::PinPath;
use crate::sys;
use crate::uapi::{AttachType, ProgramType};

/// The USDT specifications of an object, which its programs share. Only the code that attaches programs to USDT probes knows their type, so
/// that a binary without USDT programs does not contain the code of the specifications.
pub(crate) type SharedSpecs = Arc<dyn Any + Send + Sync>;

/// A program of a loaded object, or a program that was opened from a pin, an id or a file descriptor. A program of an
/// object is not loaded if its auto-load is off.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::{Program, link::XdpMode};
///
/// let program = Program::open_pinned("/sys/fs/bpf/count")?;
/// let link = program.attach_xdp("eth0", XdpMode::Auto)?;
/// println!("{} ({}): {} runs", program.name(), program.id()?, program.info()?.run_count);
/// # Ok(())
/// # }
/// ```
pub struct Program {
    name: Cow<'static, str>,
    /// `None` if no skeleton defines the program.
    section: Option<&'static str>,
    program_type: ProgramType,
    /// The attach type that the program was loaded with, 0 if it has none; `None` if the attach type is unknown.
    attach_type: Option<AttachType>,
    attach: abi::Attach<&'static str>,
    fd: Option<OwnedFd>,
    optional: bool,
    autoattach: bool,
    target: Option<String>,
    log: Option<String>,
    /// The kernel's hash of the program's instructions, if it is known.
    #[cfg(feature = "exclusive-maps")]
    hash: Option<[u8; 32]>,
    /// The reason why the program was left out of the load.
    load_error: Option<Error>,
    /// The specifications from which the object's programs read the arguments of USDT probes.
    usdt_specs: Option<SharedSpecs>,
    /// The parts of the executor and the attach function that the settings of the program added.
    parts: Vec<Part>,
}

impl Program {
    /// Creates the handle of the program that was opened with these settings.
    pub(crate) fn new(open: OpenProgram, fd: Option<OwnedFd>, log: Option<String>) -> Self {
        let attach = open::way(&open);
        let OpenProgram { definition, program_type, attach_type, optional, autoattach, target, parts, .. } = open;
        Self {
            name: Cow::Borrowed(&definition.name),
            section: Some(&definition.section),
            program_type,
            attach_type: Some(attach_type),
            attach,
            fd,
            optional,
            autoattach,
            target,
            log,
            #[cfg(feature = "exclusive-maps")]
            hash: None,
            load_error: None,
            usdt_specs: None,
            parts,
        }
    }

    /// Returns the parts of the executor and the attach function that the settings of the program added.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Returns the name of the program's function. For a program that no skeleton defines, returns its
    /// [`ProgramInfo::name`], or `id N` if the program has no name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the name of the program's section, or `None` if no skeleton defines the program: the kernel does not
    /// report sections.
    #[must_use]
    pub fn section(&self) -> Option<&str> {
        self.section
    }

    /// Returns the program's type.
    #[must_use]
    pub fn program_type(&self) -> ProgramType {
        self.program_type
    }

    /// Returns the attach type that the program was loaded with. Returns `None` if the program has no attach type or
    /// the attach type is unknown. The kernel does not report attach types: that of a program without a skeleton is known
    /// only if the program type has exactly one, or after [`set_attach_type`](Self::set_attach_type).
    #[must_use]
    pub fn attach_type(&self) -> Option<AttachType> {
        // Number 0 is an attach type (cgroup ingress) only for programs of type `cgroup_skb`. For other programs it
        // means none.
        let means_something = |own: &AttachType| *own != AttachType(0) || self.program_type == ProgramType::CGROUP_SKB;
        self.attach_type.filter(means_something)
    }

    /// Returns the attach types for requests: the program's expected attach type, which is 0 if the program has none;
    /// if the attach type is unknown, the `possible` ones.
    pub(crate) fn attach_types<'t>(&'t self, possible: &'t [AttachType]) -> &'t [AttachType] {
        self.attach_type.as_ref().map_or(possible, std::slice::from_ref)
    }

    /// Returns how the program attaches automatically.
    pub(crate) fn way(&self) -> abi::Attach<&'static str> {
        self.attach
    }

    /// Returns the program with the USDT specifications of its object.
    pub(crate) fn with_usdt_specs(self, usdt_specs: Option<SharedSpecs>) -> Self {
        Self { usdt_specs, ..self }
    }

    /// Returns the program with the reason why it was not loaded.
    pub(crate) fn with_load_error(self, load_error: Option<Error>) -> Self {
        Self { load_error, ..self }
    }

    /// Returns whether the skeleton's `attach` continues if the program cannot be attached.
    pub(crate) fn is_optional(&self) -> bool {
        self.optional
    }

    /// Returns the USDT specifications of the program's object.
    pub(crate) fn usdt_specs<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(self.usdt_specs.as_ref()?).downcast().ok()
    }

    /// Returns the attach target that the user set.
    pub(crate) fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// Returns whether the skeleton's `attach` attaches the program.
    pub(crate) fn autoattaches(&self) -> bool {
        self.autoattach
    }

    /// Returns whether the program was loaded: `false` if auto-load is off, or the program was left out, for which
    /// [`Self::load_error`] returns the reason. A program of struct_ops maps is loaded if one of the maps is created.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.fd.is_some()
    }

    /// Returns why the program was left out of the load: it is [optional](crate::OpenProgram::set_optional) and cannot
    /// be loaded, or it is the value of a struct_ops member that this kernel's struct lacks.
    #[must_use]
    pub fn load_error(&self) -> Option<&Error> {
        self.load_error.as_ref()
    }

    /// Returns the program with the kernel's hash of its instructions, if it is known.
    #[cfg(feature = "exclusive-maps")]
    pub(crate) fn with_hash(self, hash: Option<[u8; 32]>) -> Self {
        Self { hash, ..self }
    }

    /// Returns the hash by which maps are exclusive to the program, for
    /// [`NewMap::exclusive_hash`](crate::map::NewMap::exclusive_hash). Needs the feature `exclusive-maps` of this crate.
    ///
    /// The same program has the same hash in each load on a kernel, as long as constants in its instructions and the
    /// kernel's symbols stay the same. Returns `None` if the program was not loaded, or the kernel has relocated it
    /// (CO-RE); [`OpenMap::set_exclusive_program`](crate::OpenMap::set_exclusive_program) relocates in user space.
    ///
    /// ```
    /// use skelgen_runtime::{OpenMap, Program};
    ///
    /// /// Makes a map of the next load exclusive to the program of the previous one.
    /// fn keep(previous: &Program, secrets: &mut OpenMap) {
    ///     if let Some(hash) = previous.hash() {
    ///         secrets.set_exclusive_hash(hash);
    ///     }
    /// }
    /// ```
    #[cfg(feature = "exclusive-maps")]
    #[must_use]
    pub fn hash(&self) -> Option<[u8; 32]> {
        self.hash
    }

    /// Returns the program's file descriptor.
    ///
    /// # Errors
    /// If the program was not loaded.
    pub fn fd(&self) -> Result<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd).ok_or_else(|| {
            let error = Error::not_loaded(format_args!("program `{}` was not loaded", self.name()))
                .about(Subject::Program(self.name()));
            match &self.load_error {
                Some(reason) => error.note(format_args!("the program was left out of the load: {}", reason.headline())),
                None => error.with_help("auto-load of the program is off; call `set_autoload(true)` before loading"),
            }
        })
    }

    /// Returns the verifier's log, if a log level was set. If the kernel rejected the object's BTF and the program was
    /// loaded without it, the log of the BTF is included.
    #[must_use]
    pub fn verifier_log(&self) -> Option<&str> {
        self.log.as_deref()
    }

    /// Binds a map to the program: the map stays in the kernel as long as the program does, even if the program does not use it
    /// (Linux 5.10).
    ///
    /// Sections of metadata that tools read (`.rodata` variables whose names begin with `bpf_metadata_`) are bound when an object is loaded.
    ///
    /// ```no_run
    /// # fn f(program: &skelgen_runtime::Program, build: &skelgen_runtime::map::Untyped) -> skelgen_runtime::Result<()> {
    /// program.bind_map(build)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded, or the kernel rejects the map.
    pub fn bind_map(&self, map: impl AsFd) -> Result<()> {
        sys::prog::bind_map(self.fd()?, map.as_fd()).map_err(|errno| {
            Error::refused(format_args!("cannot bind a map to program `{}`", self.name()), errno)
                .during(Step::LoadProgram)
                .about(Subject::Program(self.name()))
        })
    }

    /// Associates the program with a struct_ops map (`BPF_PROG_ASSOC_STRUCT_OPS`, Linux 7.0). Kfuncs that the program
    /// calls then operate on this map's kernel struct: for example, kfuncs of sched_ext that a `syscall` program calls
    /// operate on this scheduler. The association cannot be changed; the map stays in the kernel as long as the program
    /// does. The kernel itself associates the programs of a struct_ops map with the map.
    ///
    /// ```no_run
    /// # use skelgen_runtime::{Program, Result, link::StructOps};
    /// # fn f(set_limit: &Program, scheduler: &StructOps) -> Result<()> {
    /// set_limit.associate_struct_ops(scheduler.fd()?)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded or has type `struct_ops`, `map` is not a struct_ops map, the program is already
    /// associated with another map (kind [`Busy`](crate::ErrorKind::Busy)), or the kernel is older than Linux 7.0.
    pub fn associate_struct_ops(&self, map: impl AsFd) -> Result<()> {
        sys::prog::associate(self.fd()?, map.as_fd()).map_err(|errno| {
            let what = format!("cannot associate program `{}` with a struct_ops map", self.name());
            let error = Error::refused(what, errno).during(Step::Attach).about(Subject::Program(self.name()));
            match errno.raw() {
                libc::EBUSY => error.note("the program is already associated with another struct_ops map"),
                libc::EINVAL if self.program_type == ProgramType::STRUCT_OPS => {
                    error.note("the kernel associates programs of struct_ops maps with their map")
                }
                libc::EINVAL => causes::since(
                    error,
                    LinuxVersion::new(7, 0),
                    "`map` must be a struct_ops map, and the kernel Linux 7.0 or later",
                ),
                _ => error,
            }
        })
    }

    /// Pins the program to a path in a bpffs. The program stays loaded until the file is removed.
    ///
    /// # Errors
    /// If the program was not loaded, the path is not in a bpffs, or the file exists.
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<()> {
        self.pin_to(&PinPath::new(path.as_ref()))
    }

    /// Pins the program to a path relative to the descriptor of a directory in a bpffs (Linux 6.5). The descriptor stays
    /// valid if the directory is renamed. The bpffs need not be mounted in this mount namespace.
    ///
    /// ```no_run
    /// # fn f(program: &skelgen_runtime::Program) -> Result<(), Box<dyn std::error::Error>> {
    /// let dir = std::fs::File::open("/sys/fs/bpf/service")?;
    /// program.pin_at(&dir, "firewall")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Self::pin`]. Also if `dir` is not a directory, or the kernel is older than Linux 6.5.
    pub fn pin_at(&self, dir: impl AsFd, path: impl AsRef<Path>) -> Result<()> {
        self.pin_to(&PinPath::at(dir.as_fd(), path.as_ref())).map_err(causes::relative_pin)
    }

    fn pin_to(&self, pin: &PinPath<'_>) -> Result<()> {
        let doing = format!("cannot pin program `{}` to {}", self.name(), pin.shown().display());
        pin.pin(self.fd()?, doing).map_err(|error| error.about(Subject::Program(self.name())))
    }

    /// Returns the program's file descriptor, or `None` if the program was not loaded.
    #[must_use]
    pub fn into_fd(self) -> Option<OwnedFd> {
        self.fd
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("name", &self.name())
            .field("section", &self.section())
            .field("fd", &self.fd)
            .finish_non_exhaustive()
    }
}
