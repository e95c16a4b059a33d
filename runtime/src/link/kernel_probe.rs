//! Attaching programs to kernel functions: to one function, to many with one link, and to the function of a system
//! call.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io::{BufRead, BufReader};

use super::{Link, c_string, pattern, pmu};
use crate::error::{Errno, Error, Result, Step, Subject};
use crate::kernel::{causes, syscalls, tracefs};
use crate::program::Program;
use crate::sys::{link as sys, perf};
use crate::uapi::AttachType;

/// A kprobe: an instruction of a kernel function, or its return.
///
/// ```no_run
/// use skelgen_runtime::link::Kprobe;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let link = program.attach_kprobe(Kprobe::new("do_unlinkat").at_return(true).cookie(7))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Kprobe<'a> {
    function: &'a str,
    offset: u64,
    at_return: bool,
    cookie: u64,
}

impl<'a> Kprobe<'a> {
    /// Creates a probe of the entry of this function.
    pub const fn new(function: &'a str) -> Self {
        Self { function, offset: 0, at_return: false, cookie: 0 }
    }

    /// Sets the offset of the instruction from the function's entry, in bytes; 0 by default.
    pub const fn offset(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// Sets whether the program runs when the function returns, instead of at an instruction; `false` by default.
    pub const fn at_return(self, at_return: bool) -> Self {
        Self { at_return, ..self }
    }

    /// Sets the cookie: the number that the program reads with `bpf_get_attach_cookie` (Linux 5.15). The default, 0,
    /// means no cookie and is accepted by all kernels.
    pub const fn cookie(self, cookie: u64) -> Self {
        Self { cookie, ..self }
    }
}

/// A kprobe on the kernel's function for a system call, or on its return.
///
/// ```no_run
/// use skelgen_runtime::link::Ksyscall;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let link = program.attach_ksyscall(Ksyscall::new("nanosleep").at_return(true))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Ksyscall<'a> {
    name: &'a str,
    at_return: bool,
    cookie: u64,
}

impl<'a> Ksyscall<'a> {
    /// Creates a probe of the entry of a system call, by its name in the manual pages.
    pub const fn new(name: &'a str) -> Self {
        Self { name, at_return: false, cookie: 0 }
    }

    /// Sets whether the program runs when the system call returns, instead of at its entry; `false` by default.
    pub const fn at_return(self, at_return: bool) -> Self {
        Self { at_return, ..self }
    }

    /// Sets the cookie: the number that the program reads with `bpf_get_attach_cookie` (Linux 5.15). The default, 0,
    /// means no cookie and is accepted by all kernels.
    pub const fn cookie(self, cookie: u64) -> Self {
        Self { cookie, ..self }
    }
}

/// Kernel functions to attach to with one link (Linux 5.18).
///
/// In names, `*` matches any characters and `?` matches one.
///
/// ```no_run
/// use skelgen_runtime::link::KprobeMulti;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let reads = program.attach_kprobe_multi(KprobeMulti::pattern("vfs_read*"))?;
/// let two = KprobeMulti::functions(&["vfs_open", "vfs_write"]).cookies(&[1, 2]);
/// let both = program.attach_kprobe_multi(two)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct KprobeMulti<'a> {
    functions: &'a [&'a str],
    /// A pattern in addition to `functions`.
    pattern: Option<&'a str>,
    cookies: &'a [u64],
    at_return: bool,
}

impl<'a> KprobeMulti<'a> {
    /// Creates probes of the functions that have one of these names or match one of these patterns.
    pub const fn functions(functions: &'a [&'a str]) -> Self {
        Self { functions, pattern: None, cookies: &[], at_return: false }
    }

    /// Creates probes of all functions that match a pattern.
    pub const fn pattern(pattern: &'a str) -> Self {
        Self { functions: &[], pattern: Some(pattern), cookies: &[], at_return: false }
    }

    /// Sets the cookies: the numbers that the program reads with `bpf_get_attach_cookie`, one for each function;
    /// patterns are not accepted with cookies. None by default.
    pub const fn cookies(self, cookies: &'a [u64]) -> Self {
        Self { cookies, ..self }
    }

    /// Sets whether the program runs when the functions return, instead of at their entries; `false` by default. A `kprobe.session`
    /// program always runs at both.
    pub const fn at_return(self, at_return: bool) -> Self {
        Self { at_return, ..self }
    }
}

impl Program {
    /// Attaches to a kernel function by kprobe.
    ///
    /// # Errors
    /// If the program was not loaded, the kernel has no such function or cannot probe it, or the kernel rejects the
    /// program.
    pub fn attach_kprobe(&self, probe: Kprobe<'_>) -> Result<Link> {
        let program = self.fd()?;
        let Kprobe { function, offset, at_return, cookie } = probe;
        if function.is_empty() {
            return Err(self.attaching(Error::invalid("the name of the function is empty")));
        }
        let what = match (at_return, offset) {
            (true, _) => format!("the return of kernel function `{function}`"),
            (false, 0) => format!("the entry of kernel function `{function}`"),
            (false, offset) => format!("offset {offset:#x} of kernel function `{function}`"),
        };
        let probes = pmu::Probes::of("kprobe").map_err(|error| self.attaching(error))?;
        let config = if at_return { probes.return_bit } else { 0 };
        let name = c_string(function).map_err(|error| self.attaching(error))?;
        let event = perf::Probe { event_type: probes.event_type, config, name: &name, offset, pid: None };
        let event = perf::probe(&event).map_err(|errno| {
            let error = self.refused(format_args!("{what} (opening the perf event)"), errno);
            match causes::no_kprobe(function, offset, errno.raw()) {
                Some(why) if no_such_function(errno) => error.about_part(Subject::Symbol(function)).note(why),
                Some(why) => error.note(why),
                None => pmu::refused_event(error, errno),
            }
        })?;
        pmu::attach((program, self.name()), event, cookie)
            .map_err(|errno| self.refused_with_cookie(what, cookie, errno))
    }

    /// Attaches to the kernel's function for a system call.
    ///
    /// # Errors
    /// If the program was not loaded, the kernel has no such system call, or rejects the program.
    pub fn attach_ksyscall(&self, probe: Ksyscall<'_>) -> Result<Link> {
        let Ksyscall { name, at_return, cookie } = probe;
        let mut failed = None;
        for function in syscalls::names(name) {
            match self.attach_kprobe(Kprobe::new(&function).at_return(at_return).cookie(cookie)) {
                Err(error) if error.errno().is_some_and(no_such_function) => {
                    failed = Some(failed.unwrap_or(error));
                }
                result => return result,
            }
        }
        let error = failed.unwrap_or_else(|| self.attaching(Error::not_found("no function name was tried")));
        Err(error.note(format_args!("the kernel has no function for the system call `{name}`")))
    }

    /// Attaches to many kernel functions with one link, as a `kprobe.multi` or `kprobe.session` program.
    ///
    /// # Errors
    /// If the program was not loaded as such a program, a function that is named does not exist or cannot be probed, no
    /// function matches a pattern, the cookies are set for a pattern or their number is not the number of functions, or
    /// the kernel rejects the program.
    pub fn attach_kprobe_multi(&self, probes: KprobeMulti<'_>) -> Result<Link> {
        let program = self.fd()?;
        let within = |error: Error| self.attaching(error);
        let patterns = || probes.functions.iter().copied().chain(probes.pattern);
        if patterns().any(str::is_empty) {
            return Err(within(Error::invalid("the name of a function is empty")));
        }
        let is_pattern = patterns().any(pattern::is_pattern);
        if is_pattern && !probes.cookies.is_empty() {
            return Err(within(Error::invalid("cookies require function names; patterns cannot have cookies")));
        }
        let found = match is_pattern {
            true => find(&patterns().collect::<Vec<_>>()).map_err(within)?,
            false => {
                let names = patterns().map(c_string).collect::<Result<_>>().map_err(within)?;
                Functions { names, addresses: Vec::new() }
            }
        };
        let names: Vec<_> = found.names.iter().map(CString::as_c_str).collect();
        let functions = sys::Functions { names: &names, addresses: &found.addresses, cookies: probes.cookies };
        let types = [AttachType::TRACE_KPROBE_MULTI, AttachType::TRACE_KPROBE_SESSION];
        let request = |attach_type| {
            let at_return = probes.at_return && attach_type != AttachType::TRACE_KPROBE_SESSION;
            sys::create_kprobe_multi(program, attach_type, &functions, at_return)
        };
        self.with_attach_type(&types, request)?
            .map(|fd| Link::new(fd, self.name()))
            .map_err(|errno| {
                let count = names.len().max(found.addresses.len());
                let of = patterns().collect::<Vec<_>>().join("`, `");
                let error = self.refused(format_args!("{count} kernel functions (`{of}`)"), errno);
                match errno.raw() {
                    libc::EINVAL => error.with_help(
                        "the program must be in section `kprobe.multi` (Linux 5.18) or `kprobe.session` (6.10); if there are \
                         cookies, their number must equal the number of functions",
                    ),
                    libc::ESRCH | libc::ENOENT => error.with_help(
                        "a function does not exist or cannot be probed: /sys/kernel/tracing/available_filter_functions lists the functions \
                         that can be probed",
                    ),
                    libc::EOPNOTSUPP => error.note("the kernel is built without fprobes (CONFIG_FPROBE)"),
                    _ => error,
                }
            })
    }
}

fn no_such_function(errno: Errno) -> bool {
    [libc::ENOENT, libc::EADDRNOTAVAIL].contains(&errno.raw())
}

/// Functions in a request to the kernel: by names or by addresses.
#[derive(Debug, Default)]
struct Functions {
    names: Vec<CString>,
    addresses: Vec<u64>,
}

/// The prefix of the names in `available_filter_functions` of functions whose code the kernel has freed.
const DROPPED: &[u8] = b"__ftrace_invalid_address__";

/// Returns every function that can be probed and that matches one of the patterns: by address if the kernel lists
/// addresses (6.5), since names are not unique; otherwise by name.
fn find(patterns: &[&str]) -> Result<Functions> {
    let mut found = Functions::default();
    let wanted = |name: &[u8]| {
        !name.starts_with(DROPPED) && patterns.iter().any(|pattern| pattern::matches(pattern.as_bytes(), name))
    };
    if let Ok(file) = tracefs::open("available_filter_functions_addrs") {
        let mut addresses = BTreeSet::new();
        each_line(file, |words| {
            if let [address, name, ..] = words {
                if wanted(name) {
                    let address = std::str::from_utf8(address)
                        .ok()
                        .and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok());
                    addresses.extend(address);
                }
            }
        })?;
        // Without privileges the kernel shows addresses as zero.
        addresses.remove(&0);
        found.addresses.extend(addresses);
    }
    if found.addresses.is_empty() {
        let names = names(patterns)?.into_iter().filter(|name| wanted(name));
        found.names.extend(names.filter_map(|name| CString::new(name).ok()));
    }
    if found.addresses.is_empty() && found.names.is_empty() {
        return Err(Error::not_found(format_args!("no kernel function matches `{}`", patterns.join("` or `")))
            .during(Step::FindSymbol)
            .with_help(format_args!("/sys/kernel/tracing/{LIST} lists the functions that can be probed")));
    }
    Ok(found)
}

/// Returns the names of all functions that can be probed and that match one of the patterns.
pub(super) fn names(patterns: &[&str]) -> Result<BTreeSet<Vec<u8>>> {
    let mut names = BTreeSet::new();
    let file = tracefs::open(LIST).map_err(|error| unreadable(&error))?;
    each_line(file, |words| {
        if let [name, ..] = words {
            if patterns.iter().any(|pattern| pattern::matches(pattern.as_bytes(), name)) {
                names.insert(name.to_vec());
            }
        }
    })?;
    Ok(names)
}

const LIST: &str = "available_filter_functions";

fn unreadable(error: &std::io::Error) -> Error {
    Error::io(format_args!("cannot read {LIST} of tracefs"), error)
        .note(causes::no_tracing_file(error, "CONFIG_DYNAMIC_FTRACE"))
}

fn each_line(file: std::fs::File, mut take: impl FnMut(&[&[u8]])) -> Result<()> {
    let mut lines = BufReader::with_capacity(64 << 10, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line).map_err(|error| unreadable(&error))? == 0 {
            return Ok(());
        }
        let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
        take(&words);
    }
}
