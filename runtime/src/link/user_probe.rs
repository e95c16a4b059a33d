//! Attaching programs to functions and instructions of ELF files.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::search::resolve;
use super::{Link, elf, pattern, pmu, symbols};
use crate::error::{Errno, Error, Result, Step, Subject};
use crate::program::Program;
use crate::sys::c_path;
use crate::sys::{link as sys, perf};
use crate::uapi::AttachType;

/// A uprobe: a function or an instruction of an ELF file.
///
/// A path without a directory is searched for where libraries (`.so`) or programs are installed.
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
    /// Empty if the offset is relative to the file.
    function: &'a str,
    offset: u64,
    at_return: bool,
    pid: Option<u32>,
    cookie: u64,
    ref_ctr_offset: u64,
}

impl<'a> Uprobe<'a> {
    /// Creates a probe of the entry of a function of this file, in every process.
    ///
    /// The function is a `NAME`, or `NAME@VERSION` for one version of it. Functions of C++ and Rust have their mangled
    /// names.
    pub fn new(path: &'a (impl AsRef<Path> + ?Sized), function: &'a str) -> Self {
        let path = path.as_ref();
        Self { path, function, offset: 0, at_return: false, pid: None, cookie: 0, ref_ctr_offset: 0 }
    }

    /// Creates a probe of the instruction at this offset of the file, in bytes, in every process.
    pub fn at(path: &'a (impl AsRef<Path> + ?Sized), offset: u64) -> Self {
        Self { offset, ..Self::new(path, "") }
    }

    /// Sets the offset of the instruction in bytes: from the function's entry or, after [`at`](Self::at), from the
    /// beginning of the file.
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

    /// Sets the number that the program reads with `bpf_get_attach_cookie` (Linux 5.15). The default, 0, is what a
    /// program without a cookie reads; kernels without cookies accept it too.
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
/// A path without a directory is searched for where libraries (`.so`) or programs are installed.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct UprobeMulti<'a> {
    path: &'a Path,
    functions: &'a [&'a str],
    /// Offsets in the file, if `functions` is empty.
    offsets: &'a [u64],
    cookies: &'a [u64],
    ref_ctr_offsets: &'a [u64],
    at_return: bool,
    pid: Option<u32>,
}

impl<'a> UprobeMulti<'a> {
    fn new(path: &'a (impl AsRef<Path> + ?Sized)) -> Self {
        let path = path.as_ref();
        Self { path, functions: &[], offsets: &[], cookies: &[], ref_ctr_offsets: &[], at_return: false, pid: None }
    }

    /// Creates probes of the functions of this file that match one of these names, in every process. In names, `*`
    /// matches any characters and `?` matches one.
    pub fn functions(path: &'a (impl AsRef<Path> + ?Sized), functions: &'a [&'a str]) -> Self {
        Self { functions, ..Self::new(path) }
    }

    /// Creates probes of the instructions at these offsets of the file, in bytes, in every process.
    pub fn offsets(path: &'a (impl AsRef<Path> + ?Sized), offsets: &'a [u64]) -> Self {
        Self { offsets, ..Self::new(path) }
    }

    /// Sets the numbers that the program reads with `bpf_get_attach_cookie`, one for each function or offset; patterns
    /// are not accepted with cookies. None by default.
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
    /// If the program was not loaded, the file cannot be read or has no such function, or the kernel rejects it.
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
        attach: impl FnOnce(BorrowedFd<'_>, OwnedFd, u64) -> Result<OwnedFd, Errno>,
    ) -> Result<Link> {
        let program = self.fd()?;
        let within = |error: Error| self.attaching(error);
        let path = resolve(probe.path).map_err(within)?;
        let begin = match probe.function {
            "" => 0,
            function => find_each(&path, &[function]).map_err(within)?[0],
        };
        let too_far = || within(Error::invalid(format_args!("offset {} exceeds the maximum file size", probe.offset)));
        let offset = begin.checked_add(probe.offset).ok_or_else(too_far)?;
        let probes = pmu::Probes::of("uprobe").map_err(within)?;
        let mut config = if probe.at_return { probes.return_bit } else { 0 };
        if probe.ref_ctr_offset != 0 {
            let shift = probes.counter_shift.filter(|_| u32::try_from(probe.ref_ctr_offset).is_ok());
            config |= shift.and_then(|shift| probe.ref_ctr_offset.checked_shl(shift)).ok_or_else(|| {
                within(
                    Error::unsupported("the kernel does not support this reference counter")
                        .note("reference counters need Linux 4.20 and offsets of 32 bits"),
                )
            })?;
        }
        let pid = probe.pid.map(i32::try_from).transpose();
        let pid = pid.map_err(|_| within(Error::not_found("the process id is out of range")))?;
        let of_return = if probe.at_return { "the return of " } else { "" };
        let what = match probe.function {
            "" => format!("offset {offset:#x} of {}", path.display()),
            function => format!("{of_return}`{function}` at offset {offset:#x} of {}", path.display()),
        };
        let name = c_path(&path)?;
        let event = perf::Probe { event_type: probes.event_type, config, name: &name, offset, pid };
        let event = perf::probe(&event).map_err(|errno| {
            let error = self.refused(format_args!("{what} (its perf event)"), errno);
            match errno.raw() {
                libc::EINVAL => error.with_help(
                    "the offset must be that of an instruction of a regular file, and the kernel must support uprobes",
                ),
                libc::ESRCH => error.note("the process does not exist"),
                _ => pmu::refused_event(error, errno),
            }
        })?;
        attach(program, event, probe.cookie)
            .map(|fd| Link::new(fd, self.name()))
            .map_err(|errno| self.refused_with_cookie(what, probe.cookie, errno))
    }

    /// Attaches to many functions or instructions of an ELF file with one link, as a `uprobe.multi` or `uprobe.session`
    /// program.
    ///
    /// # Errors
    /// If the program was not loaded as one, the file cannot be read or lacks a function, or the kernel rejects it.
    pub fn attach_uprobe_multi(&self, probes: UprobeMulti<'_>) -> Result<Link> {
        let program = self.fd()?;
        let within = |error: Error| self.attaching(error);
        let path = resolve(probes.path).map_err(within)?;
        let is_pattern = probes.functions.iter().any(|function| pattern::is_pattern(function));
        if is_pattern && !(probes.cookies.is_empty() && probes.ref_ctr_offsets.is_empty()) {
            return Err(within(Error::invalid(
                "cookies and counters need functions by name; patterns are not accepted with them",
            )));
        }
        let found = match (probes.functions, is_pattern) {
            ([], _) => probes.offsets.to_vec(),
            (patterns, true) => find_all(&path, patterns).map_err(within)?,
            (names, false) => find_each(&path, names).map_err(within)?,
        };
        let points = sys::Places {
            path: &c_path(&path)?,
            offsets: &found,
            ref_ctr_offsets: probes.ref_ctr_offsets,
            cookies: probes.cookies,
            pid: probes.pid.unwrap_or(0),
        };
        let at_return = probes.at_return && self.expected_attach_type() != AttachType::TRACE_UPROBE_SESSION;
        sys::create_uprobe_multi(program, self.expected_attach_type(), &points, at_return)
            .map(|fd| Link::new(fd, self.name()))
            .map_err(|errno| {
                let error = self.refused(format_args!("{} offsets in {}", found.len(), path.display()), errno);
                match errno.raw() {
                    libc::EINVAL => error.note(
                        "the program must be of section `uprobe.multi` (Linux 6.6) or `uprobe.session` (6.13), with as many cookies \
                         and counters as offsets",
                    ),
                    libc::ESRCH => error.note("the process does not exist"),
                    _ => error,
                }
            })
    }
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
