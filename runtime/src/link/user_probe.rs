//! Programs of functions and other places in program files.

use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::elf::Fault;
use super::symbols::{self, Function};
use super::{Link, c_path, pattern, pmu};
use crate::error::{Errno, Error, Result};
use crate::program::Program;
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
    /// The function; empty if the offset is one in the file.
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
        self.attach_uprobe_by(probe, pmu::attach_with_cookie)
    }

    fn attach_uprobe_by(
        &self,
        probe: &Uprobe<'_>,
        attach: fn(BorrowedFd<'_>, OwnedFd, u64) -> Result<OwnedFd, Errno>,
    ) -> Result<Link> {
        let program = self.fd()?;
        let within = |error: Error| error.within(format_args!("attaching program `{}`", self.name()));
        let path = resolve(probe.path).map_err(within)?;
        let begin = if probe.function.is_empty() { 0 } else { offset_of(&path, probe.function).map_err(within)? };
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

/// The file of this name: itself if it names a folder, else the first that is found in those for its kind.
pub(super) fn resolve(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().as_bytes().contains(&b'/') {
        return Ok(path.to_owned());
    }
    let name = path.as_os_str().as_bytes();
    let is_library = name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.");
    let (variable, usual): (_, &[&str]) = match is_library {
        true => ("LD_LIBRARY_PATH", &["/usr/lib64", "/usr/lib", "/lib64", "/lib", OWN_LIBRARIES]),
        false => ("PATH", &["/usr/bin", "/usr/sbin", "/bin", "/sbin"]),
    };
    let given = std::env::var_os(variable).unwrap_or_default();
    let mut folders = std::env::split_paths(&given).chain(usual.iter().map(PathBuf::from));
    folders.find_map(|folder| Some(folder.join(path)).filter(|file| file.is_file())).ok_or_else(|| {
        Error::invalid(format_args!("there is no file {}", path.display()))
            .note(format_args!("it was looked for in {} and what {variable} names; give a path", usual.join(", ")))
    })
}

/// Where Debian and its like keep the libraries of this machine.
const OWN_LIBRARIES: &str = if cfg!(target_arch = "x86_64") {
    "/usr/lib/x86_64-linux-gnu"
} else if cfg!(target_arch = "aarch64") {
    "/usr/lib/aarch64-linux-gnu"
} else if cfg!(target_arch = "riscv64") {
    "/usr/lib/riscv64-linux-gnu"
} else if cfg!(target_arch = "s390x") {
    "/usr/lib/s390x-linux-gnu"
} else if cfg!(target_arch = "powerpc64") {
    "/usr/lib/powerpc64le-linux-gnu"
} else {
    "/usr/local/lib"
};

/// The functions of a file whose names are wanted.
fn look(path: &Path, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<Function>> {
    let reading = || format!("looking for functions in {}", path.display());
    let file = File::open(path).map_err(|error| Error::io(reading(), &error))?;
    symbols::functions(&file, wanted).map_err(|fault| match fault {
        Fault::Io(number) => Error::refused(reading(), Errno::from_raw(number)),
        Fault::Bad(why) => Error::invalid(format_args!("{}: {why}", reading())),
    })
}

/// Where the one function of this name begins: of several, the one that counts most.
fn offset_of(path: &Path, name: &str) -> Result<u64> {
    let found = look(path, |symbol| symbol == name.as_bytes())?;
    the_one(path, name, &found)
}

/// Where that one begins, of those that were found; others may be among them.
fn the_one(path: &Path, name: &str, found: &[Function]) -> Result<u64> {
    let found = || found.iter().filter(|function| function.name == name.as_bytes());
    let Some(rank) = found().map(|function| function.rank).max() else {
        return Err(Error::invalid(format_args!("{} has no function `{name}`", path.display())).note(
            "it may have been inlined, or the file may have been stripped of its symbols: then give an offset in the file",
        ));
    };
    let mut offsets: Vec<u64> =
        found().filter(|function| function.rank == rank).map(|function| function.offset).collect();
    offsets.sort_unstable();
    offsets.dedup();
    match offsets[..] {
        [offset] => Ok(offset),
        _ => Err(Error::invalid(format_args!("{} has {} functions `{name}`", path.display(), offsets.len()))
            .note(format_args!("give one of their offsets in the file: {offsets:#x?}"))),
    }
}

fn find_each(path: &Path, names: &[&str]) -> Result<Vec<u64>> {
    let found = look(path, |symbol| names.iter().any(|name| name.as_bytes() == symbol))?;
    names.iter().map(|name| the_one(path, name, &found)).collect()
}

fn find_all(path: &Path, patterns: &[&str]) -> Result<Vec<u64>> {
    let wanted = |name: &[u8]| patterns.iter().any(|pattern| pattern::matches(pattern.as_bytes(), name));
    let mut offsets: Vec<u64> = look(path, wanted)?.iter().map(|function| function.offset).collect();
    offsets.sort_unstable();
    offsets.dedup();
    if offsets.is_empty() {
        let patterns = patterns.join("` or `");
        return Err(Error::invalid(format_args!("{} has no function that is called `{patterns}`", path.display())));
    }
    Ok(offsets)
}
