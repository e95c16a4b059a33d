//! Attaching programs to functions and instructions of ELF files.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::search::resolve;
use super::{Link, elf, pattern, pmu, symbols};
use crate::error::{Errno, Error, LinuxVersion, Result, Step, Subject};
use crate::kernel::causes;
use crate::program::Program;
use crate::sys::{c_path, shown};
use crate::sys::{link as sys, perf};
use crate::uapi::AttachType;

/// A uprobe: a function or an instruction of an ELF file.
///
/// A path without a directory is searched for in the directories of libraries (`.so`) or programs.
///
/// ```no_run
/// use skelgen_runtime::link::Uprobe;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let lines = program.attach_uprobe(Uprobe::new("/bin/bash", "readline").at_return(true))?;
/// let mallocs = program.attach_uprobe(Uprobe::new("libc.so.6", "malloc").pid(1234))?;
/// let there = program.attach_uprobe(Uprobe::at("/usr/bin/server", 0x1149))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Uprobe<'a> {
    path: &'a Path,
    from: From<'a>,
    offset: u64,
    at_return: bool,
    pid: Option<u32>,
    cookie: u64,
    ref_ctr_offset: u64,
}

/// The reference point of a uprobe's offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From<'a> {
    /// The entry of a function.
    Function(&'a str),
    /// The beginning of the file.
    Beginning,
    /// An address, as in the file's symbol table.
    Address(u64),
}

impl<'a> Uprobe<'a> {
    fn of(path: &'a (impl AsRef<Path> + ?Sized), from: From<'a>) -> Self {
        let path = path.as_ref();
        Self { path, from, offset: 0, at_return: false, pid: None, cookie: 0, ref_ctr_offset: 0 }
    }

    /// Creates a probe of the entry of a function of this file, in every process.
    ///
    /// `function` is `NAME`, or `NAME@VERSION` for one version of the function. The name of a function of C++ or Rust is
    /// the mangled name.
    pub fn new(path: &'a (impl AsRef<Path> + ?Sized), function: &'a str) -> Self {
        Self::of(path, From::Function(function))
    }

    /// Creates a probe of the instruction at this offset of the file, in bytes, in every process.
    pub fn at(path: &'a (impl AsRef<Path> + ?Sized), offset: u64) -> Self {
        Self { offset, ..Self::of(path, From::Beginning) }
    }

    /// Creates a probe of the instruction at this address of the file, as disassemblers and `nm` print it, in every
    /// process. For an address of a process, see [`FileSymbols::offset_of`](super::FileSymbols::offset_of).
    ///
    /// ```no_run
    /// use skelgen_runtime::link::Uprobe;
    /// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// let link = program.attach_uprobe(Uprobe::at_address("/usr/bin/server", 0x401149))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn at_address(path: &'a (impl AsRef<Path> + ?Sized), address: u64) -> Self {
        Self::of(path, From::Address(address))
    }

    /// Sets the offset of the instruction in bytes: from the function's entry or, after [`at`](Self::at), from the
    /// beginning of the file or, after [`at_address`](Self::at_address), from the address.
    pub const fn offset(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// Sets whether the program runs when the function returns, instead of at an instruction; `false` by default.
    pub const fn at_return(self, at_return: bool) -> Self {
        Self { at_return, ..self }
    }

    /// Limits the probe to the process with this id; `None`, the default, is all processes.
    pub fn pid(self, pid: impl Into<Option<u32>>) -> Self {
        Self { pid: pid.into(), ..self }
    }

    /// Sets the cookie: the number that the program reads with `bpf_get_attach_cookie` (Linux 5.15). The default, 0,
    /// means no cookie and is accepted by all kernels.
    pub const fn cookie(self, cookie: u64) -> Self {
        Self { cookie, ..self }
    }

    /// Sets the file offset, in bytes, of a reference counter (the semaphore of a USDT probe; Linux 4.20). The default,
    /// 0, means no counter.
    pub const fn ref_ctr_offset(self, offset: u64) -> Self {
        Self { ref_ctr_offset: offset, ..self }
    }
}

/// Functions or instructions of an ELF file to attach to with one link (Linux 6.6).
///
/// A path without a directory is searched for in the directories of libraries (`.so`) or programs. The file can also be
/// an open file, for example of a different mount namespace.
///
/// ```no_run
/// use skelgen_runtime::link::UprobeMulti;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let all = program.attach_uprobe_multi(UprobeMulti::functions("libssl.so.3", &["SSL_*"]))?;
/// let two = UprobeMulti::offsets("/usr/bin/server", &[0x1149, 0x1200]).cookies(&[1, 2]).pid(1234);
/// let two = program.attach_uprobe_multi(two)?;
/// # Ok(())
/// # }
/// ```
///
/// ```
/// use skelgen_runtime::{Link, Program, link::UprobeMulti};
///
/// /// Attaches to two instructions of a file that is open, even if its path in this mount namespace leads elsewhere.
/// fn attach(program: &Program, file: &std::fs::File) -> skelgen_runtime::Result<Link> {
///     program.attach_uprobe_multi(UprobeMulti::offsets_of(file, &[0x1000, 0x1040]))
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct UprobeMulti<'a> {
    file: ProbedFile<'a>,
    functions: &'a [&'a str],
    /// Offsets in the file, if `functions` is empty.
    offsets: &'a [u64],
    cookies: &'a [u64],
    ref_ctr_offsets: &'a [u64],
    at_return: bool,
    pid: Option<u32>,
}

/// The file of probes.
#[derive(Clone, Copy, Debug)]
enum ProbedFile<'a> {
    Path(&'a Path),
    Open(BorrowedFd<'a>),
}

impl PartialEq for ProbedFile<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Path(path), Self::Path(other)) => path == other,
            (Self::Open(file), Self::Open(other)) => file.as_raw_fd() == other.as_raw_fd(),
            _ => false,
        }
    }
}

impl Eq for ProbedFile<'_> {}

impl<'a> UprobeMulti<'a> {
    fn new(file: ProbedFile<'a>) -> Self {
        Self { file, functions: &[], offsets: &[], cookies: &[], ref_ctr_offsets: &[], at_return: false, pid: None }
    }

    fn at_path(path: &'a (impl AsRef<Path> + ?Sized)) -> Self {
        Self::new(ProbedFile::Path(path.as_ref()))
    }

    /// Creates probes of the functions of this file that have one of these names, in all processes. In a name, `*`
    /// matches any characters and `?` matches one character.
    pub fn functions(path: &'a (impl AsRef<Path> + ?Sized), functions: &'a [&'a str]) -> Self {
        Self { functions, ..Self::at_path(path) }
    }

    /// Creates probes of the instructions at these offsets of the file, in bytes, in every process.
    pub fn offsets(path: &'a (impl AsRef<Path> + ?Sized), offsets: &'a [u64]) -> Self {
        Self { offsets, ..Self::at_path(path) }
    }

    /// Creates probes as [`functions`](Self::functions) does, but of a file that is open for reading, for example a file
    /// of another mount namespace, or a file that another file may replace at its path. A file opened with `O_PATH` is
    /// rejected.
    ///
    /// The kernel accepts the descriptor since Linux 7.2. With an older kernel, `/proc` must be mounted.
    ///
    /// ```no_run
    /// # fn f(program: &skelgen_runtime::Program) -> Result<(), Box<dyn std::error::Error>> {
    /// use skelgen_runtime::link::UprobeMulti;
    ///
    /// // The libc of a process in a container.
    /// let libc = std::fs::File::open("/proc/1234/root/usr/lib/libc.so.6")?;
    /// let link = program.attach_uprobe_multi(UprobeMulti::functions_of(&libc, &["malloc", "free"]))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn functions_of(file: &'a (impl AsFd + ?Sized), functions: &'a [&'a str]) -> Self {
        Self { functions, ..Self::new(ProbedFile::Open(file.as_fd())) }
    }

    /// Creates probes as [`offsets`](Self::offsets) does, of an open file; see [`functions_of`](Self::functions_of).
    pub fn offsets_of(file: &'a (impl AsFd + ?Sized), offsets: &'a [u64]) -> Self {
        Self { offsets, ..Self::new(ProbedFile::Open(file.as_fd())) }
    }

    /// Sets the cookies: the numbers that the program reads with `bpf_get_attach_cookie`, one for each function or
    /// offset; patterns are not accepted with cookies. None by default.
    pub const fn cookies(self, cookies: &'a [u64]) -> Self {
        Self { cookies, ..self }
    }

    /// Sets the file offsets of reference counters, see [`Uprobe::ref_ctr_offset`]: one for each function or offset;
    /// patterns are not accepted with counters. None by default.
    pub const fn ref_ctr_offsets(self, offsets: &'a [u64]) -> Self {
        Self { ref_ctr_offsets: offsets, ..self }
    }

    /// Sets whether the program runs when the functions return, instead of at an instruction; `false` by default. A `uprobe.session`
    /// program always runs at both.
    pub const fn at_return(self, at_return: bool) -> Self {
        Self { at_return, ..self }
    }

    /// Limits the probes to the process with this id; `None`, the default, is all processes.
    pub fn pid(self, pid: impl Into<Option<u32>>) -> Self {
        Self { pid: pid.into(), ..self }
    }
}

impl Program {
    /// Attaches to a function or an instruction of an ELF file. The function is looked up in the dynamic symbols and,
    /// unless the file was stripped, in all symbols.
    ///
    /// # Errors
    /// If the program was not loaded, the file cannot be read or has no such function, the process id is 0, or the kernel
    /// rejects the program.
    pub fn attach_uprobe(&self, probe: Uprobe<'_>) -> Result<Link> {
        self.attach_uprobe_by(probe, pmu::attach)
    }

    /// Attaches to an instruction of an ELF file by a link, so that the program reads the cookie, even if it is 0.
    pub(super) fn attach_uprobe_with_cookie(&self, probe: Uprobe<'_>) -> Result<Link> {
        self.attach_uprobe_by(probe, |program, event, cookie| pmu::attach_with_cookie(program, event.as_fd(), cookie))
    }

    fn attach_uprobe_by(
        &self,
        probe: Uprobe<'_>,
        attach: impl FnOnce(pmu::Named<'_>, OwnedFd, u64) -> Result<Link, Errno>,
    ) -> Result<Link> {
        let program = self.fd()?;
        let within = |error: Error| self.attaching(error);
        let path = resolve(probe.path).map_err(within)?;
        let begin = match probe.from {
            From::Address(address) => find_address(&path, address).map_err(within)?,
            From::Beginning => 0,
            From::Function("") => return Err(within(Error::invalid("the name of the function is empty"))),
            From::Function(function) => find_each(&path, &[function]).map_err(within)?[0],
        };
        let too_far = || {
            within(Error::invalid(format_args!(
                "offset {:#x} from the function or address overflows the offset in the file",
                probe.offset
            )))
        };
        let offset = begin.checked_add(probe.offset).ok_or_else(too_far)?;
        let probes = pmu::Probes::of("uprobe").map_err(within)?;
        let mut config = if probe.at_return { probes.return_bit } else { 0 };
        if probe.ref_ctr_offset != 0 {
            let shift = probes.counter_shift.filter(|_| u32::try_from(probe.ref_ctr_offset).is_ok());
            config |= shift.and_then(|shift| probe.ref_ctr_offset.checked_shl(shift)).ok_or_else(|| {
                within(
                    Error::unsupported(format_args!(
                        "the kernel does not support a reference counter at offset {:#x} of the file",
                        probe.ref_ctr_offset
                    ))
                    .note("reference counters need Linux 4.20 and a file offset below 4 GiB"),
                )
            })?;
        }
        let pid = self.process_id(probe.pid)?;
        let of_return = if probe.at_return { "the return of " } else { "" };
        let what = match probe.from {
            From::Function(name) => format!("{of_return}`{name}` at offset {offset:#x} of {}", path.display()),
            From::Beginning | From::Address(_) => format!("offset {offset:#x} of {}", path.display()),
        };
        let name = c_path(&path).map_err(within)?;
        let event = perf::Probe { event_type: probes.event_type, config, name: &name, offset, pid };
        let event = perf::probe(&event).map_err(|errno| {
            let error = self.refused(format_args!("{what} (opening the perf event)"), errno);
            match errno.raw() {
                libc::EINVAL => error.with_help(
                    "the offset must be the beginning of an instruction in a regular file, and the kernel must support uprobes (CONFIG_UPROBES)",
                ),
                libc::ESRCH => error.note("the process does not exist"),
                _ => pmu::refused_event(error, errno),
            }
        })?;
        attach((program, self.name()), event, probe.cookie)
            .map_err(|errno| self.refused_with_cookie(what, probe.cookie, errno))
    }

    /// Attaches to many functions or instructions of an ELF file with one link, as a `uprobe.multi` or `uprobe.session`
    /// program.
    ///
    /// # Errors
    /// If the program was not loaded as such a program, the file cannot be read or lacks a function, the cookies or
    /// counters are set for a pattern or their number is not the number of functions, the process id is 0, or the kernel
    /// rejects the program.
    pub fn attach_uprobe_multi(&self, probes: UprobeMulti<'_>) -> Result<Link> {
        let program = self.fd()?;
        let within = |error: Error| self.attaching(error);
        let (path, open) = match probes.file {
            ProbedFile::Path(path) => (resolve(path).map_err(within)?, None),
            ProbedFile::Open(file) => (PathBuf::from(shown("fd", file)), Some(file)),
        };
        let is_pattern = probes.functions.iter().any(|function| pattern::is_pattern(function));
        if probes.functions.contains(&"") {
            return Err(within(Error::invalid("the name of a function is empty")));
        }
        if is_pattern && !(probes.cookies.is_empty() && probes.ref_ctr_offsets.is_empty()) {
            return Err(within(Error::invalid(
                "cookies and reference counters require function names; patterns cannot have them",
            )));
        }
        let found = match (probes.functions, is_pattern) {
            ([], _) => probes.offsets.to_vec(),
            (patterns, true) => find_all(&path, patterns).map_err(within)?,
            (names, false) => find_each(&path, names).map_err(within)?,
        };
        let name = c_path(&path).map_err(within)?;
        // The kernel treats 0 as every process.
        let pid = self.process_id(probes.pid)?.map_or(0, i32::unsigned_abs);
        let points = |file| sys::Places {
            file,
            offsets: &found,
            ref_ctr_offsets: probes.ref_ctr_offsets,
            cookies: probes.cookies,
            pid,
        };
        let types = [AttachType::TRACE_UPROBE_MULTI, AttachType::TRACE_UPROBE_SESSION];
        let request = |attach_type| {
            let at_return = probes.at_return && attach_type != AttachType::TRACE_UPROBE_SESSION;
            let create = |file| sys::create_uprobe_multi(program, attach_type, &points(file), at_return);
            match open.map(|file| create(sys::File::Open(file))) {
                // Kernels before 7.2 reject the descriptor.
                None => create(sys::File::Path(&name)),
                Some(Err(errno)) if errno.raw() == libc::EINVAL => create(sys::File::Path(&name)),
                Some(result) => result,
            }
        };
        self.with_attach_type(&types, request)?
            .map(|fd| Link::new(fd, self.name()))
            .map_err(|errno| {
                let error = self.refused(format_args!("{} offsets in {}", found.len(), path.display()), errno);
                match errno.raw() {
                    libc::EINVAL => error.note(
                        "the program must be in section `uprobe.multi` (Linux 6.6) or `uprobe.session` (6.13); if there are \
                         cookies or counters, their number must equal the number of offsets",
                    ),
                    libc::ESRCH => error.note("the process does not exist"),
                    libc::EBADF if open.is_some() => error.note("the file must be open for reading"),
                    libc::ENOENT if open.is_some() => {
                        causes::since(error, OPEN_FILES, "mount /proc: for kernels before Linux 7.2, an open file is passed as a path in /proc")
                    }
                    _ => error,
                }
            })
    }
}

/// The first Linux version that accepts the descriptor of a file.
const OPEN_FILES: LinuxVersion = LinuxVersion::new(7, 2);

/// Returns the file offset of this address.
fn find_address(path: &Path, address: u64) -> Result<u64> {
    elf::read_file(path, "an address", |elf| Ok(elf.offset_of(address)))?.ok_or_else(|| {
        Error::not_found(format_args!("{} has no bytes for address {address:#x}", path.display()))
            .during(Step::FindSymbol)
            .about(Subject::Path(path))
            .with_help("pass the address in the file, as `nm` and `objdump -d` print it, not the address in a process")
    })
}

/// Returns the file offset of each of these functions.
fn find_each(path: &Path, names: &[&str]) -> Result<Vec<u64>> {
    let found = elf::read_file(path, "functions", |elf| symbols::find_each(elf, names))?;
    found.map_err(|unfound| {
        let error = Error::not_found(format_args!("{} {}", path.display(), unfound.what)).during(Step::FindSymbol);
        error.about(Subject::Path(path)).note(unfound.note)
    })
}

/// Returns the file offsets of the functions that match one of the patterns; at least one.
fn find_all(path: &Path, patterns: &[&str]) -> Result<Vec<u64>> {
    let offsets = elf::read_file(path, "functions", |elf| symbols::find_all(elf, patterns))?;
    if offsets.is_empty() {
        let patterns = patterns.join("` or `");
        return Err(Error::not_found(format_args!("{} has no function that matches `{patterns}`", path.display()))
            .during(Step::FindSymbol)
            .about(Subject::Path(path)));
    }
    Ok(offsets)
}
