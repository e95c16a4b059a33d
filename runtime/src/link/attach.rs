//! Attaches programs the way their sections say.

use std::ffi::CString;
use std::fs::read_to_string;
use std::os::fd::{AsFd, BorrowedFd};

use super::Link;
use crate::abi::{Attach, Program};
use crate::error::{Errno, Error, Result};
use crate::open::OpenProgram;
use crate::sys::{link as sys, perf};
use crate::uapi::{AttachType, ProgramType};

/// The PMU of kprobes in sysfs (Linux 4.17).
const KPROBE_PMU: &str = "/sys/bus/event_source/devices/kprobe";
/// The two places where tracefs can be.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// How a program attaches: as its section says, or, where that leaves open to what, as what the user chose before the load says.
pub(crate) fn way(open: &OpenProgram) -> Attach {
    match (open.definition.attach, open.program_type) {
        (Attach::Needs(_), ProgramType::TRACING | ProgramType::LSM | ProgramType::EXT)
            if open.target.is_some() || open.target_program.is_some() =>
        {
            if open.attach_type == AttachType::TRACE_ITER {
                Attach::Iter
            } else {
                Attach::Tracing
            }
        }
        (Attach::Needs(_), kind) if open.target.is_some() => match kind {
            ProgramType::RAW_TRACEPOINT | ProgramType::RAW_TRACEPOINT_WRITABLE => Attach::RawTracepoint(""),
            ProgramType::TRACEPOINT => Attach::Tracepoint { category: "", name: "" },
            ProgramType::KPROBE if is_kprobe(open.definition) => {
                Attach::Kprobe { function: "", offset: 0, at_return: open.definition.section.contains("kretprobe") }
            }
            _ => open.definition.attach,
        },
        (attach, kind) if fits(attach, kind) => attach,
        _ => Attach::Needs("what programs of the type attach to that was chosen for it"),
    }
}

/// Whether a program is one of a single kernel function that its section does not name.
fn is_kprobe(program: &Program) -> bool {
    ["kprobe", "kretprobe"].contains(&program.section.trim_start_matches('?').trim_end_matches('/'))
}

/// Whether a program whose section leaves open what it attaches to can be told before the load.
fn takes_target(program: &Program) -> bool {
    match program.program_type {
        ProgramType::RAW_TRACEPOINT | ProgramType::RAW_TRACEPOINT_WRITABLE | ProgramType::TRACEPOINT => true,
        ProgramType::KPROBE => is_kprobe(program),
        _ => false,
    }
}

/// Whether a program attaches so if it is loaded as this type, which need not be that of its section.
fn fits(attach: Attach, kind: ProgramType) -> bool {
    match attach {
        Attach::RawTracepoint(_) => {
            matches!(kind, ProgramType::RAW_TRACEPOINT | ProgramType::RAW_TRACEPOINT_WRITABLE)
        }
        Attach::Tracing | Attach::Iter => matches!(kind, ProgramType::TRACING | ProgramType::LSM | ProgramType::EXT),
        Attach::Tracepoint { .. } => kind == ProgramType::TRACEPOINT,
        Attach::Kprobe { .. } => kind == ProgramType::KPROBE,
        Attach::Needs(_) | Attach::Never(_) => true,
    }
}

/// Attaches a loaded program as this type; `target` replaces the name that its section has.
pub(crate) fn attach(
    program: &'static Program,
    (attach, attach_type): (Attach, AttachType),
    fd: BorrowedFd<'_>,
    target: Option<&str>,
) -> Result<Link> {
    let name = program.name;
    let refused =
        |what: String| move |errno| Error::refused(format_args!("attaching program `{name}` to {what}"), errno);
    let fd = match attach {
        Attach::Needs(what) => {
            return Err(Error::invalid(format_args!(
                "program `{name}` (section `{}`) cannot attach by itself: it needs {what}",
                program.section
            ))
            .note(if takes_target(program) {
                "choose it with `set_attach_target` before loading, or let it be with `set_autoattach(false)`"
            } else {
                "attach it yourself, and switch it off with `set_autoattach(false)` before loading"
            }));
        }
        Attach::Never(how) => {
            return Err(Error::invalid(format_args!(
                "program `{name}` (section `{}`) is not attached: it runs {how}",
                program.section
            )));
        }
        Attach::RawTracepoint(tracepoint) => {
            let tracepoint = target.unwrap_or(tracepoint);
            sys::raw_tracepoint(fd, Some(&c_string(tracepoint)?), 0).map_err(|errno| {
                let error = refused(format!("raw tracepoint `{tracepoint}`"))(errno);
                match errno.raw() {
                    libc::ENOENT => error.note(
                        "the kernel has no such tracepoint, nor has a module that is loaded; choose another with `set_attach_target` \
                         before loading",
                    ),
                    _ => error,
                }
            })?
        }
        Attach::Tracing => match sys::create(fd, 0, attach_type, 0, 0) {
            // Kernels before 5.16 or so attach these without LINK_CREATE.
            Err(error) if error.raw() == libc::EINVAL => sys::raw_tracepoint(fd, None, 0),
            result => result,
        }
        .map_err(refused("what it was loaded for".to_owned()))?,
        Attach::Iter => sys::create_iter(fd, &[]).map_err(refused("the iterator it was loaded for".to_owned()))?,
        Attach::Tracepoint { category, name } => {
            let (category, name) = match target {
                None => (category, name),
                Some(target) => target.split_once('/').ok_or_else(|| {
                    Error::invalid(format_args!(
                        "attaching program `{}`: its target `{target}` is no tracepoint, which would be `category/name`",
                        program.name
                    ))
                })?,
            };
            let what = format!("tracepoint `{category}/{name}`");
            let event = perf::tracepoint(tracepoint_id(program.name, category, name)?)
                .map_err(refused(format!("{what} (opening its perf event)")))?;
            perf_link(fd, event, refused(what))?
        }
        Attach::Kprobe { function, offset, at_return } => {
            let function = target.unwrap_or(function);
            let what =
                format!("{} of kernel function `{function}`", if at_return { "the return" } else { "the entry" });
            let (event_type, return_bit) = kprobe_pmu(program.name)?;
            let event = perf::kprobe(event_type, at_return.then_some(return_bit), &c_string(function)?, offset)
                .map_err(refused(format!("{what} (opening its perf event)")))?;
            perf_link(fd, event, refused(what))?
        }
    };
    Ok(Link::new(fd, name))
}

/// Attaches to a perf event: by a link where the kernel has them (5.15), else to the event itself.
fn perf_link(
    program: BorrowedFd<'_>,
    event: std::os::fd::OwnedFd,
    refused: impl Fn(Errno) -> Error,
) -> Result<std::os::fd::OwnedFd> {
    match sys::create_perf(program, event.as_fd(), 0) {
        Ok(link) => {
            perf::enable(event.as_fd()).map_err(refused)?;
            Ok(link)
        }
        Err(error) if error.raw() == libc::EINVAL => {
            perf::attach(event.as_fd(), program).map_err(refused)?;
            Ok(event)
        }
        Err(error) => Err(refused(error)),
    }
}

fn tracepoint_id(program: &str, category: &str, name: &str) -> Result<u64> {
    let context = || format!("attaching program `{program}`: the id of tracepoint `{category}/{name}`");
    let mut failed = None;
    for root in TRACEFS {
        match read_to_string(format!("{root}/events/{category}/{name}/id")) {
            Ok(text) => {
                return text.trim().parse().map_err(|_| Error::invalid(format_args!("{} is no number", context())));
            }
            Err(error) => failed = Some(failed.unwrap_or(error)),
        }
    }
    Err(failed
        .map_or_else(|| Error::invalid(context()), |error| Error::io(context(), &error))
        .note("the kernel has no such tracepoint, or tracefs is not mounted at /sys/kernel/tracing"))
}

/// The type of the kprobe PMU, and the bit of its configuration that means a return.
fn kprobe_pmu(program: &str) -> Result<(u32, u32)> {
    let read = |file: &str| {
        let path = format!("{KPROBE_PMU}/{file}");
        read_to_string(&path).map_err(|error| {
            Error::io(format_args!("attaching program `{program}`: reading {path}"), &error)
                .note("the kernel has no kprobes (CONFIG_KPROBE_EVENTS), or none through perf events (Linux 4.17)")
        })
    };
    let bad = |file: &str| Error::invalid(format_args!("{KPROBE_PMU}/{file} cannot be understood"));
    let event_type = read("type")?.trim().parse().map_err(|_| bad("type"))?;
    let format = read("format/retprobe")?;
    let bit = format.trim().strip_prefix("config:").and_then(|bit| bit.parse().ok());
    Ok((event_type, bit.ok_or_else(|| bad("format/retprobe"))?))
}

fn c_string(name: &str) -> Result<CString> {
    CString::new(name).map_err(|_| Error::invalid(format_args!("the name {name:?} holds a zero byte")))
}
