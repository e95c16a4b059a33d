//! Why a request failed: the notes and help of errors.
//!
//! One error number has many causes: a file system that is not mounted, a kernel that was built without the feature, a capability that the
//! process lacks. Each function here examines the running system after a failure and returns the cause that it finds. If several causes
//! remain, the text names all of them. This module does not know programs or plans. Its functions never fail, and only read.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::{kallsyms, tracefs};
use crate::error::{Error, LinuxVersion};

/// Adds help that states the required Linux version. If the running kernel is older than `since`, the error's kind becomes
/// `Unsupported`.
pub(crate) fn since(error: Error, since: LinuxVersion, help: impl std::fmt::Display) -> Error {
    let error = error.with_help(help);
    if older_than(since).is_some() { error.needs(since) } else { error }
}

/// Explains the rejection of a pin relative to the descriptor of a directory.
pub(crate) fn relative_pin(error: Error) -> Error {
    const RELATIVE: LinuxVersion = LinuxVersion::new(6, 5);
    match error.errno() {
        Some(errno) if errno.raw() == libc::EINVAL && older_than(RELATIVE).is_some() => error
            .needs(RELATIVE)
            .note(format_args!("pin paths relative to a directory's file descriptor require Linux {RELATIVE}")),
        _ => error,
    }
}

/// Adds help to an `EPERM` of a load or a map's creation: the capabilities that it requires.
pub(crate) fn advise(error: Error) -> Error {
    if error.errno().is_none_or(|errno| errno.raw() != libc::EPERM) {
        return error;
    }
    error.with_help(
        "this requires the capabilities CAP_BPF and, depending on the program or map, CAP_PERFMON or CAP_NET_ADMIN (CAP_SYS_ADMIN \
        before Linux 5.8); before 5.11 also a sufficient limit on locked memory (`ulimit -l`); lockdown or a seccomp filter \
        can forbid it as well",
    )
}

/// Returns the running kernel's version if it is known and older than `since`. Only for error texts: a distribution's kernel may have
/// features of later versions.
pub(crate) fn older_than(since: LinuxVersion) -> Option<LinuxVersion> {
    super::version().ok().filter(|running| *running < since)
}

/// Returns why sysfs does not have the perf event source `name` (`kprobe`, `uprobe`).
pub(crate) fn no_event_source(name: &str, error: &std::io::Error) -> String {
    if let Some(why) = no_sysfs(error) {
        return why;
    }
    if !Path::new("/sys/bus/event_source/devices").is_dir() {
        return "the kernel is built without perf events (CONFIG_PERF_EVENTS)".to_owned();
    }
    // A kernel has this function if and only if it has perf events of this kind.
    if Symbol::find(&format!("perf_{name}_init")).is_some_and(|symbol| symbol.functions > 0) {
        return format!("the kernel has {name}s, but the sysfs at /sys is incomplete in this mount namespace");
    }
    format!(
        "the kernel has no perf events for {name}s: it is built without CONFIG_{}_EVENTS or older than Linux 4.17",
        name.to_uppercase()
    )
}

/// Returns why a file of tracefs cannot be opened. `option` is the configuration option that adds the file.
pub(crate) fn no_tracing_file(error: &std::io::Error, option: &str) -> String {
    no_tracefs(error).unwrap_or_else(|| format!("tracefs is mounted, but the kernel is built without {option}"))
}

/// Returns why tracefs does not have the tracepoint.
pub(crate) fn no_tracepoint(category: &str, name: &str, error: &std::io::Error) -> String {
    if let Some(why) = no_tracefs(error) {
        return why;
    }
    let events =
        |path: &str| tracefs::DIRECTORIES.iter().any(|root| Path::new(&format!("{root}/events/{path}")).is_dir());
    match (events(category), category) {
        (true, _) => format!(
            "the kernel has tracepoints of category `{category}`, but none called `{name}`: see /sys/kernel/tracing/events/{category}"
        ),
        (false, "syscalls") => "the kernel is built without CONFIG_FTRACE_SYSCALLS".to_owned(),
        (false, _) => {
            format!("the kernel has no tracepoints of category `{category}`; if a module has them, load it first")
        }
    }
}

/// Returns why sysfs does not have the kernel's BTF.
pub(crate) fn no_btf(error: &std::io::Error) -> String {
    no_sysfs(error).unwrap_or_else(|| "the kernel is built without CONFIG_DEBUG_INFO_BTF".to_owned())
}

/// Returns why a function is neither in the BTF of the kernel nor in that of a module; `None` if no cause is found.
pub(crate) fn not_in_btf(name: &str) -> Option<String> {
    let (module, function) = name.split_once(':').map_or((None, name), |(module, name)| (Some(module), name));
    let symbol = Symbol::find(function)?;
    if let Some(module) = symbol.modules.iter().find(|found| module.is_none_or(|module| module == found.as_str())) {
        let what = format!("module `{module}` is loaded and has the function");
        return Some(match Path::new(&format!("/sys/kernel/btf/{module}")).exists() {
            true => format!("{what}, but the module's BTF does not: attach a kprobe to the function instead"),
            false => format!(
                "{what}, but the module has no BTF (the module or the kernel is built without CONFIG_DEBUG_INFO_BTF_MODULES, or the module and \
                 the kernel are from different builds): attach a kprobe to the function instead"
            ),
        });
    }
    match module {
        Some(module) if !Path::new(&format!("/sys/module/{module}")).exists() && Path::new("/sys/module").exists() => {
            Some(format!("module `{module}` is not loaded"))
        }
        None if symbol.functions > 0 => Some(
            "the kernel has the function, but its BTF does not: attach a kprobe to the function instead".to_owned(),
        ),
        _ => symbol.other_names(),
    }
}

/// Returns why the kernel does not permit this process to open perf events.
pub(crate) fn no_perf_rights(errno: i32) -> String {
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let mode = lockdown.split(['[', ']']).nth(1).filter(|mode| *mode != "none");
    let has_right = capabilities().is_none_or(|set| set & (PERFMON | SYS_ADMIN) != 0);
    match (mode, has_right) {
        (Some(mode), true) => {
            format!("kernel lockdown (`{mode}`) forbids perf events; lockdown can be changed only at boot")
        }
        (None, true) if errno == libc::EPERM => {
            "the process has CAP_PERFMON or CAP_SYS_ADMIN, so a seccomp filter or a security module forbids perf events"
                .to_owned()
        }
        (None, true) => {
            "a security module forbids perf events, or the process is not in the initial user namespace".to_owned()
        }
        (_, false) => {
            let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
            let paranoid = match paranoid.trim() {
                "" => String::new(),
                level => format!(" (/proc/sys/kernel/perf_event_paranoid is {level})"),
            };
            format!("the process has neither CAP_PERFMON nor CAP_SYS_ADMIN, one of which is required{paranoid}")
        }
    }
}

/// Returns why the kernel rejected a kprobe with this error number.
pub(crate) fn no_kprobe(function: &str, offset: u64, errno: i32) -> Option<String> {
    match errno {
        libc::EILSEQ => Some(format!(
            "offset {offset:#x} lies inside an instruction: pass the offset of an instruction's first byte, from a disassembly of the running kernel"
        )),
        libc::EADDRNOTAVAIL => Some(match Symbol::find(function) {
            Some(Symbol { functions, .. }) if functions > 1 => format!(
                "the kernel has {functions} functions of that name, and a kprobe requires exactly one: use `kprobe.multi`, which attaches to all of them"
            ),
            _ => "the kernel does not have exactly one function of that name".to_owned(),
        }),
        libc::ENOENT => Some(match Symbol::find(function) {
            None => "the kernel has no function of that name (/proc/kallsyms, which lists them, cannot be read)".to_owned(),
            Some(symbol) if symbol.functions > 0 => {
                "/proc/kallsyms has the function, but the kernel does not find it: it may be in a module that is being loaded or unloaded".to_owned()
            }
            Some(symbol) if symbol.others > 0 => NO_FUNCTION.to_owned(),
            Some(symbol) => symbol.other_names().unwrap_or_else(|| {
                "the kernel has no function of that name: it may have been inlined, have a different name in this version, or be in a module that is \
                 not loaded; /proc/kallsyms lists the functions"
                    .to_owned()
            }),
        }),
        // Kernels without CONFIG_KALLSYMS_ALL do not list their variables.
        libc::EINVAL => Some(if Symbol::find(function).is_some_and(|symbol| symbol.functions == 0) {
            NO_FUNCTION.to_owned()
        } else if is_blacklisted(function) {
            "the function is on the kernel's list of functions that must not be probed (/sys/kernel/debug/kprobes/blacklist)".to_owned()
        } else if is_traced(function) == Some(false) {
            // Some kernels list variables as code (7.3: `jiffies`).
            "the kernel has the symbol, but cannot trace it: it is not a function, or it is marked as not traceable (`notrace`, `noinstr`); \
             /sys/kernel/tracing/available_filter_functions lists the traceable functions"
                .to_owned()
        } else if offset != 0 {
            format!("offset {offset:#x} is outside of the kernel's code, or at an instruction that the kernel patches at run time")
        } else {
            "the kernel does not accept a kprobe at this address: the function is on the kprobe blacklist (/sys/kernel/debug/kprobes/blacklist), or begins with an \
             instruction that the kernel patches at run time"
                .to_owned()
        }),
        _ => None,
    }
}

const NO_FUNCTION: &str = "the kernel's symbol of that name is a variable, not a function";

/// Returns why a file in sysfs cannot be read; `None` if the kernel does not have it.
fn no_sysfs(error: &std::io::Error) -> Option<String> {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) if !Path::new("/sys/kernel").is_dir() => Some(
            "sysfs is not mounted at /sys in this process's mount namespace (`mount -t sysfs sysfs /sys`)".to_owned(),
        ),
        Some(libc::ENOENT | libc::ENOTDIR) => None,
        _ => Some("the file exists, but this process has no permission to read it".to_owned()),
    }
}

/// Returns why a file in tracefs cannot be opened; `None` if the kernel does not have it.
fn no_tracefs(error: &std::io::Error) -> Option<String> {
    if tracefs::DIRECTORIES.iter().any(|root| Path::new(&format!("{root}/events")).is_dir()) {
        return match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => None,
            _ => Some(
                "tracefs is mounted, but this process has no permission to read it: run as root, or mount tracefs with other permissions"
                    .to_owned(),
            ),
        };
    }
    // Without permission to search it, a directory appears to be empty.
    if let Some(libc::EACCES | libc::EPERM) = error.raw_os_error() {
        return Some(
            "this process has no permission to read tracefs: run as root, or mount tracefs with other permissions"
                .to_owned(),
        );
    }
    Some(if !Path::new("/sys/kernel").is_dir() {
        "sysfs is not mounted at /sys in this process's mount namespace, and neither is tracefs".to_owned()
    } else if !tracefs::DIRECTORIES.iter().any(|root| Path::new(root).is_dir()) {
        "the kernel is built without tracefs (CONFIG_TRACING)".to_owned()
    } else {
        "tracefs is not mounted at /sys/kernel/tracing (`mount -t tracefs tracefs /sys/kernel/tracing`)".to_owned()
    })
}

/// `CAP_SYS_ADMIN` and `CAP_PERFMON`, as bits.
const SYS_ADMIN: u64 = 1 << 21;
const PERFMON: u64 = 1 << 38;

/// Returns the effective capabilities of this thread, from /proc.
fn capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// The entries of `/proc/kallsyms` with one name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Symbol {
    /// The number of functions.
    functions: usize,
    /// The number of variables and other symbols.
    others: usize,
    /// The modules that have a function of the name.
    modules: Vec<String>,
    /// Some functions with a suffix after a dot, which compilers add to parts and copies of a function.
    variants: Vec<String>,
}

impl Symbol {
    /// Looks up a name; `None` if the file cannot be read.
    fn find(name: &str) -> Option<Self> {
        let mut found = Self::default();
        kallsyms::each(|line| found.note(line, name)).ok()?;
        Some(found)
    }

    fn note(&mut self, line: kallsyms::Line<'_>, wanted: &str) {
        const MOST: usize = 3;
        let Some(rest) = line.name.strip_prefix(wanted.as_bytes()) else { return };
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        match (rest.first(), line.is_code()) {
            (None, true) => {
                self.functions += 1;
                self.modules.extend(line.module.map(text));
            }
            (None, false) => self.others += 1,
            (Some(b'.'), true) if self.variants.len() < MOST => self.variants.push(text(line.name)),
            _ => {}
        }
    }

    /// Returns a sentence with the variants, if there are any.
    fn other_names(&self) -> Option<String> {
        let names = self.variants.join("`, `");
        (!names.is_empty())
            .then(|| format!("it may be inlined; /proc/kallsyms has `{names}`, whose arguments may differ"))
    }
}

/// Returns whether a function is on the kernel's kprobe blacklist; `false` if the list cannot be read.
fn is_blacklisted(function: &str) -> bool {
    // `0xSTART-0xEND NAME`.
    let list = fs::read_to_string("/sys/kernel/debug/kprobes/blacklist").unwrap_or_default();
    list.lines().any(|line| line.split_ascii_whitespace().nth(1) == Some(function))
}

/// Returns whether the kernel lists a function as traceable; `None` if the list cannot be read.
fn is_traced(function: &str) -> Option<bool> {
    let list = tracefs::open("available_filter_functions").ok()?;
    let mut lines = BufReader::with_capacity(64 << 10, list);
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line).ok()? == 0 {
            return Some(false);
        }
        if line.split(u8::is_ascii_whitespace).next() == Some(function.as_bytes()) {
            return Some(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_of_a_name() {
        let text =
            b"0000000000000000 t wanted.isra.0\n0 T wanted\n0 t wanted\t[module]\n0 d wanted\n0 t wanted_too\n\n0 t\n\
            0 t wanted.part.1\n0 t wanted.cold\n0 t wanted.constprop.2\n";
        let mut found = Symbol::default();
        kallsyms::each_of(&text[..], |line| found.note(line, "wanted")).unwrap();
        assert_eq!((found.functions, found.others, &found.modules[..]), (2, 1, &["module".to_owned()][..]));
        assert_eq!(found.variants, ["wanted.isra.0", "wanted.part.1", "wanted.cold"]);
        assert!(found.other_names().unwrap().contains("`wanted.isra.0`, `wanted.part.1`"));
    }

    #[test]
    fn offsets_inside_an_instruction_are_named() {
        assert!(no_kprobe("f", 1, libc::EILSEQ).unwrap().contains("offset 0x1 lies inside an instruction"));
        assert_eq!(no_kprobe("f", 1, libc::EBUSY), None);
    }

    #[test]
    fn missing_files_are_not_reported_as_forbidden() {
        let missing = std::io::Error::from_raw_os_error(libc::ENOENT);
        if Path::new("/sys/kernel").is_dir() {
            assert_eq!(no_sysfs(&missing), None);
        }
        let forbidden = std::io::Error::from_raw_os_error(libc::EACCES);
        assert!(no_sysfs(&forbidden).unwrap().contains("no permission"));
    }
}
