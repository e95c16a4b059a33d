//! Programs of functions and other places in program files.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::search::resolve;
use super::{Link, elf, pattern, pmu, symbols};
use crate::error::{Errno, Error, Result};
use crate::program::Program;
use crate::sys::c_path;
use crate::sys::{link as sys, perf};
use crate::uapi::AttachType;

/// A place in a program file.
///
/// ```no_run
/// use skelgen_runtime::link::Uprobe;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let lines = program.attach_uprobe(&Uprobe { at_return: true, ..Uprobe::new("/bin/bash", "readline") })?;
/// let mallocs = program.attach_uprobe(&Uprobe { pid: Some(1234), ..Uprobe::new("libc.so.6", "malloc") })?;
/// let there = program.attach_uprobe(&Uprobe::at("/usr/bin/server", 0x1149))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uprobe<'a> {
    /// The file. A name without a folder is looked for where libraries (`.so`) or programs are.
    pub path: &'a Path,
    /// The function: `NAME`, or `NAME@VERSION` for one version of it; empty if the offset is one in the file. Names that C++ and Rust
    /// mangle are given as they are in the file.
    pub function: &'a str,
    /// Bytes from the beginning of the function, or of the file.
    pub offset: u64,
    /// At the function's return instead.
    pub at_return: bool,
    /// In this process only, by its id.
    pub pid: Option<u32>,
    /// What the program gets from `bpf_get_attach_cookie` (Linux 5.15); 0 for none.
    pub cookie: u64,
    /// Where in the file a counter is that says whether somebody looks (of USDT probes; Linux 4.20); 0 for none.
    pub ref_ctr_offset: u64,
}

impl<'a> Uprobe<'a> {
    /// The entry of a function of this file, in every process.
    #[must_use]
    pub fn new(path: &'a (impl AsRef<Path> + ?Sized), function: &'a str) -> Self {
        let path = path.as_ref();
        Self { path, function, offset: 0, at_return: false, pid: None, cookie: 0, ref_ctr_offset: 0 }
    }

    /// The instruction at this offset of the file, in every process.
    #[must_use]
    pub fn at(path: &'a (impl AsRef<Path> + ?Sized), offset: u64) -> Self {
        Self { offset, ..Self::new(path, "") }
    }
}

/// Places in a program file to attach to at once (Linux 6.6).
///
/// ```no_run
/// use skelgen_runtime::link::UprobeMulti;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let all = program.attach_uprobe_multi(&UprobeMulti { functions: &["SSL_*"], ..UprobeMulti::new("libssl.so.3") })?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UprobeMulti<'a> {
    /// The file. A name without a folder is looked for where libraries (`.so`) or programs are.
    pub path: &'a Path,
    /// Its functions, by names in which `*` stands for any characters and `?` for one; or these offsets in the file.
    pub functions: &'a [&'a str],
    /// Instructions, by their offsets in the file, if there are no functions.
    pub offsets: &'a [u64],
    /// What the program gets from `bpf_get_attach_cookie`, one for each place; none if the functions are patterns. Empty for none.
    pub cookies: &'a [u64],
    /// Counters that say whether somebody looks, see [`Uprobe`]; one for each place, or empty.
    pub ref_ctr_offsets: &'a [u64],
    /// At the functions' returns instead. Programs of sessions see both.
    pub at_return: bool,
    /// In this process only, by its id.
    pub pid: Option<u32>,
}

impl<'a> UprobeMulti<'a> {
    /// Nothing yet of this file.
    #[must_use]
    pub fn new(path: &'a (impl AsRef<Path> + ?Sized)) -> Self {
        let path = path.as_ref();
        Self { path, functions: &[], offsets: &[], cookies: &[], ref_ctr_offsets: &[], at_return: false, pid: None }
    }
}

impl Program {
    /// Attaches to a place in a program file. Of the file's symbols those are looked at that it has for linking and, unless it was
    /// stripped, for debugging.
    ///
    /// # Errors
    /// If it was not loaded, the file cannot be read or has no such function, or the kernel refuses.
    pub fn attach_uprobe(&self, probe: &Uprobe<'_>) -> Result<Link> {
        self.attach_uprobe_by(probe, pmu::attach)
    }

    /// Attaches to an instruction of a program file; only by a link, without which the program would not get its cookie, even if that is 0.
    pub(super) fn attach_uprobe_with_cookie(&self, probe: &Uprobe<'_>) -> Result<Link> {
        self.attach_uprobe_by(probe, |program, event, cookie| pmu::attach_with_cookie(program, event.as_fd(), cookie))
    }

    fn attach_uprobe_by(
        &self,
        probe: &Uprobe<'_>,
        attach: impl FnOnce(BorrowedFd<'_>, OwnedFd, u64) -> Result<OwnedFd, Errno>,
    ) -> Result<Link> {
        let program = self.fd()?;
        let within = |error: Error| error.within(format_args!("attaching program `{}`", self.name()));
        let path = resolve(probe.path).map_err(within)?;
        let begin = match probe.function {
            "" => 0,
            function => find_each(&path, &[function]).map_err(within)?[0],
        };
        let too_far = || within(Error::invalid(format_args!("offset {} is in no file", probe.offset)));
        let offset = begin.checked_add(probe.offset).ok_or_else(too_far)?;
        let probes = pmu::Probes::of("uprobe").map_err(within)?;
        let mut config = if probe.at_return { probes.return_bit } else { 0 };
        if probe.ref_ctr_offset != 0 {
            let shift = probes.counter_shift.filter(|_| u32::try_from(probe.ref_ctr_offset).is_ok());
            config |= shift.and_then(|shift| probe.ref_ctr_offset.checked_shl(shift)).ok_or_else(|| {
                within(
                    Error::invalid("the kernel takes no such reference counter")
                        .note("they need Linux 4.20 and offsets of 32 bits"),
                )
            })?;
        }
        let pid = probe.pid.map(i32::try_from).transpose();
        let pid = pid.map_err(|_| within(Error::invalid("there can be no process of that id")))?;
        let place = if probe.at_return { "the return of " } else { "" };
        let what = match probe.function {
            "" => format!("offset {offset:#x} of {}", path.display()),
            function => format!("{place}`{function}` at offset {offset:#x} of {}", path.display()),
        };
        let name = c_path(&path)?;
        let event = perf::Probe { event_type: probes.event_type, config, name: &name, offset, pid };
        let event = perf::probe(&event).map_err(|errno| {
            let error = self.refused(format_args!("{what} (opening its perf event)"), errno);
            match errno.raw() {
                libc::EINVAL => error
                    .note("the offset must be that of an instruction of a regular file, or the kernel has no uprobes"),
                libc::ESRCH => error.note("there is no such process"),
                _ => pmu::refused_event(error, errno),
            }
        })?;
        attach(program, event, probe.cookie)
            .map(|fd| Link::new(fd, self.name()))
            .map_err(|errno| self.refused_with_cookie(what, probe.cookie, errno))
    }

    /// Attaches to many places in a program file at once, as a `uprobe.multi` or `uprobe.session` program.
    ///
    /// # Errors
    /// If it was not loaded as one, the file cannot be read or does not have each of the functions, or the kernel refuses.
    pub fn attach_uprobe_multi(&self, probes: &UprobeMulti<'_>) -> Result<Link> {
        let program = self.fd()?;
        let within = |error: Error| error.within(format_args!("attaching program `{}`", self.name()));
        let path = resolve(probes.path).map_err(within)?;
        let is_pattern = probes.functions.iter().any(|function| pattern::is_pattern(function));
        if is_pattern && !(probes.cookies.is_empty() && probes.ref_ctr_offsets.is_empty()) {
            return Err(within(Error::invalid(
                "cookies and counters are for functions by their names, not for patterns",
            )));
        }
        let found = match (probes.functions, is_pattern) {
            ([], _) => probes.offsets.to_vec(),
            (patterns, true) => find_all(&path, patterns).map_err(within)?,
            (names, false) => find_each(&path, names).map_err(within)?,
        };
        let places = sys::Places {
            path: &c_path(&path)?,
            offsets: &found,
            ref_ctr_offsets: probes.ref_ctr_offsets,
            cookies: probes.cookies,
            pid: probes.pid.unwrap_or(0),
        };
        let at_return = probes.at_return && self.attach_type() != AttachType::TRACE_UPROBE_SESSION;
        sys::create_uprobe_multi(program, self.attach_type(), &places, at_return)
            .map(|fd| Link::new(fd, self.name()))
            .map_err(|errno| {
                let error = self.refused(format_args!("{} places in {}", found.len(), path.display()), errno);
                match errno.raw() {
                    libc::EINVAL => error.note(
                        "the program must be of section `uprobe.multi` or `uprobe.session`, on a kernel that knows it (6.6, 6.13), with \
                         as many cookies and counters as places",
                    ),
                    libc::ESRCH => error.note("there is no such process"),
                    _ => error,
                }
            })
    }
}

/// Where each of these functions begins in the file.
fn find_each(path: &Path, names: &[&str]) -> Result<Vec<u64>> {
    let found = elf::read_file(path, "functions", |elf| symbols::find_each(elf, names))?;
    found.map_err(|unfound| Error::invalid(format_args!("{} {}", path.display(), unfound.what)).note(unfound.note))
}

/// Where the functions begin that one of the patterns stands for; at least one.
fn find_all(path: &Path, patterns: &[&str]) -> Result<Vec<u64>> {
    let offsets = elf::read_file(path, "functions", |elf| symbols::find_all(elf, patterns))?;
    if offsets.is_empty() {
        let patterns = patterns.join("` or `");
        return Err(Error::invalid(format_args!("{} has no function that matches `{patterns}`", path.display())));
    }
    Ok(offsets)
}
