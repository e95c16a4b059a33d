//! Where an error occurred: the step, and its subjects.
//!
//! This module does not depend on the causes of errors.

use std::fmt;
use std::path::{Path, PathBuf};

/// The operation during which an error occurred. Returned by [`Error::step`](crate::Error::step).
///
/// It is the innermost step that is set. If a type of the kernel is not found while a program is loaded, the step is
/// [`FindSymbol`](Self::FindSymbol) and the [subjects](crate::Error::subjects) are the type and the program.
///
/// ```
/// use skelgen_runtime::{Error, error::Step};
///
/// /// Returns whether loading failed, as opposed to attaching.
/// fn is_of_load(error: &Error) -> bool {
///     !matches!(error.step(), Step::Attach | Step::Detach)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Checking settings and arguments, before any request.
    Check,
    /// Probing whether the running kernel has a feature.
    Probe,
    /// Reading the information that the kernel publishes in `/proc`, `/sys` or its own BTF.
    ReadKernel,
    /// Creating or examining a BPF token.
    UseToken,
    /// Finding a function, variable, type, tracepoint or USDT probe.
    FindSymbol,
    /// Relocating a program to the kernel's types (CO-RE).
    Relocate,
    /// Loading the object's BTF.
    LoadBtf,
    /// Creating a map, or reusing an existing one.
    CreateMap,
    /// Writing the initial contents of a map, and freezing it.
    FillMap,
    /// Assembling and loading a program.
    LoadProgram,
    /// Pinning a map, program or link.
    Pin,
    /// Opening a pinned object, or a handle of a map.
    Open,
    /// Attaching a program or a `struct_ops` map.
    Attach,
    /// Replacing the program of a link.
    UpdateLink,
    /// Detaching a program.
    Detach,
    /// Reading elements or records of a map, or waiting for them.
    ReadMap,
    /// Writing or removing elements of a map.
    WriteMap,
    /// Running a program, or an iterator.
    RunProgram,
    /// Reading the output of a program from a stream.
    ReadStream,
    /// Reading the kernel's description of a map, program, link or attach target.
    ReadInfo,
}

/// The subject of an error. Returned by [`Error::subject`](crate::Error::subject).
///
/// Names are as the object or the caller wrote them and can contain any character.
///
/// ```
/// use skelgen_runtime::{Error, error::Subject};
///
/// fn failed_program(error: &Error) -> Option<&str> {
///     error.subjects().find_map(|subject| match subject {
///         Subject::Program(name) => Some(name),
///         _ => None,
///     })
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Subject<'a> {
    /// A map, a section of global data, an arena or a `struct_ops` map of the object.
    Map(&'a str),
    /// A program of the object, or a link by the name that [`Link::name`](crate::Link::name) returns.
    Program(&'a str),
    /// A variable of the object, such as an option of the kernel's configuration.
    Variable(&'a str),
    /// A symbol: a function, variable, type, tracepoint or USDT probe of the kernel, of a module, of a user-space binary, or (for programs
    /// that replace functions) of a BPF program.
    Symbol(&'a str),
    /// A kernel module.
    Module(&'a str),
    /// A file or directory.
    Path(&'a Path),
    /// A network interface, by its index.
    Interface(u32),
    /// A network interface, by the name that was looked up.
    InterfaceName(&'a str),
    /// A CPU, by its number.
    Cpu(u32),
    /// A process, by its id.
    Process(u32),
    /// A program, map, link or BTF object of the running system, by its id.
    Id(u32),
}

impl Subject<'_> {
    pub(super) fn to_owned(self) -> Owned {
        match self {
            Self::Map(name) => Owned::Map(name.into()),
            Self::Program(name) => Owned::Program(name.into()),
            Self::Variable(name) => Owned::Variable(name.into()),
            Self::Symbol(name) => Owned::Symbol(name.into()),
            Self::Module(name) => Owned::Module(name.into()),
            Self::Path(path) => Owned::Path(path.into()),
            Self::Interface(index) => Owned::Interface(index),
            Self::InterfaceName(name) => Owned::InterfaceName(name.into()),
            Self::Cpu(number) => Owned::Cpu(number),
            Self::Process(id) => Owned::Process(id),
            Self::Id(id) => Owned::Id(id),
        }
    }
}

/// A subject in owned form.
pub(super) enum Owned {
    Map(String),
    Program(String),
    Variable(String),
    Symbol(String),
    Module(String),
    Path(PathBuf),
    Interface(u32),
    InterfaceName(String),
    Cpu(u32),
    Process(u32),
    Id(u32),
}

impl Owned {
    pub(super) fn borrow(&self) -> Subject<'_> {
        match self {
            Self::Map(name) => Subject::Map(name),
            Self::Program(name) => Subject::Program(name),
            Self::Variable(name) => Subject::Variable(name),
            Self::Symbol(name) => Subject::Symbol(name),
            Self::Module(name) => Subject::Module(name),
            Self::Path(path) => Subject::Path(path),
            Self::Interface(index) => Subject::Interface(*index),
            Self::InterfaceName(name) => Subject::InterfaceName(name),
            Self::Cpu(number) => Subject::Cpu(*number),
            Self::Process(id) => Subject::Process(*id),
            Self::Id(id) => Subject::Id(*id),
        }
    }
}

/// A version of Linux: `LinuxVersion::new(6, 9)` is 6.9.
///
/// ```
/// use skelgen_runtime::error::LinuxVersion;
///
/// assert!(LinuxVersion::new(6, 9) < LinuxVersion::new(6, 12));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinuxVersion {
    major: u16,
    minor: u16,
}

impl LinuxVersion {
    /// Creates a version from its numbers.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// Returns the major version.
    #[must_use]
    pub const fn major(self) -> u16 {
        self.major
    }

    /// Returns the minor version.
    #[must_use]
    pub const fn minor(self) -> u16 {
        self.minor
    }
}

impl fmt::Display for LinuxVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
