//! The attach functions of skeletons: a function for each kind of target that a section name can state.
//!
//! A skeleton refers to the attach function of each of its programs, so that a binary contains only the functions that it uses. A setting
//! that changes how a program attaches (`OpenProgram::set_type`) adds `ANY`. To add an attach function, write it here, add a line for it in
//! `any`, and add its name in the generator's `rust/parts.rs`.

use super::attach::malformed;
use super::{
    Kprobe, KprobeMulti, Ksyscall, Link, RawTracepoint, Trace, TraceMulti, Tracepoint, Uprobe, UprobeMulti, Usdt,
};
use crate::abi::Attach;
use crate::error::{Error, Result, Step, Subject};
use crate::program::Program;
use crate::sys::link as sys;

/// Attaches a loaded program to this target. Targets without attach cookies accept only the cookie 0.
pub type Way = fn(&Program, Attach<&str>, u64) -> Result<Link>;

/// An attach function that a setting has added to a program.
pub(crate) struct Added(pub(super) Way);

/// The attach function of programs whose settings determine the kind of target.
pub(crate) static ANY: Added = Added(any);

/// Attaches to a target of any kind.
///
/// # Errors
/// If the program cannot attach automatically, or the kernel rejects the attachment.
pub(super) fn any(program: &Program, attach: Attach<&str>, cookie: u64) -> Result<Link> {
    let way: Way = match attach {
        Attach::Needs(_) | Attach::Target(_) | Attach::Never(_) => never,
        Attach::Iter => iter,
        Attach::RawTracepoint(_) => raw_tracepoint,
        Attach::Tracing => tracing,
        Attach::Tracepoint { .. } => tracepoint,
        Attach::Kprobe { .. } => kprobe,
        Attach::Ksyscall { .. } => ksyscall,
        Attach::KprobeMulti { .. } => kprobe_multi,
        Attach::Uprobe { .. } => uprobe,
        Attach::UprobeMulti { .. } => uprobe_multi,
        Attach::TracingMulti { .. } => tracing_multi,
        Attach::Usdt { .. } => usdt,
    };
    way(program, attach, cookie)
}

/// Returns the error for a program that cannot attach automatically.
pub fn never(program: &Program, attach: Attach<&str>, _: u64) -> Result<Link> {
    Err(not_automatic(program, attach))
}

/// Creates an iterator.
pub fn iter(program: &Program, attach: Attach<&str>, cookie: u64) -> Result<Link> {
    match attach {
        Attach::Iter if cookie == 0 => {
            sys::create_iter(program.fd()?, &[]).map(|fd| Link::new(fd, program.name())).map_err(|errno| {
                let error = program.refused("its iterator", errno);
                match errno.raw() {
                    libc::EBADF | libc::EINVAL => {
                        error.with_help("iterators over map elements need the map: pass it to `attach_iter`")
                    }
                    _ => error,
                }
            })
        }
        Attach::Iter => Err(program.attaching(Error::invalid("iterators do not support cookies"))),
        other => Err(not_automatic(program, other)),
    }
}

/// Attaches to a raw tracepoint.
pub fn raw_tracepoint(program: &Program, attach: Attach<&str>, cookie: u64) -> Result<Link> {
    match attach {
        Attach::RawTracepoint(name) => program.attach_raw_tracepoint(RawTracepoint::new(name).cookie(cookie)),
        other => Err(not_automatic(program, other)),
    }
}

/// Attaches to the function, tracepoint or hook that the program was loaded for.
pub fn tracing(program: &Program, attach: Attach<&str>, cookie: u64) -> Result<Link> {
    match attach {
        Attach::Tracing => match program.attach_trace(Trace::new().cookie(cookie)) {
            // A program that was opened by its pin or id has no section, so it is unknown whether it is an iterator.
            // This request is an error for every other tracing program.
            Err(error)
                if program.section().is_none() && error.errno().is_some_and(|errno| errno.raw() == libc::EINVAL) =>
            {
                sys::create_iter(program.fd()?, &[]).map(|fd| Link::new(fd, program.name())).map_err(|_| error)
            }
            result => result,
        },
        other => Err(not_automatic(program, other)),
    }
}

/// Attaches to a tracepoint.
pub fn tracepoint(program: &Program, attach: Attach<&str>, cookie: u64) -> Result<Link> {
    match attach {
        Attach::Tracepoint { category, name } => {
            program.attach_tracepoint(Tracepoint::new(category, name).cookie(cookie))
        }
        other => Err(not_automatic(program, other)),
    }
}

/// Attaches to a kernel function by a kprobe.
pub fn kprobe(program: &Program, attach: Attach<&str>, cookie: u64) -> Result<Link> {
    match attach {
        Attach::Kprobe { function, offset, at_return } => {
            program.attach_kprobe(Kprobe::new(function).offset(offset).at_return(at_return).cookie(cookie))
        }
        other => Err(not_automatic(program, other)),
    }
}

/// Attaches to a system call by a kprobe.
pub fn ksyscall(program: &Program, attach: Attach<&str>, cookie: u64) -> Result<Link> {
    match attach {
        Attach::Ksyscall { name, at_return } => {
            program.attach_ksyscall(Ksyscall::new(name).at_return(at_return).cookie(cookie))
        }
        other => Err(not_automatic(program, other)),
    }
}

/// Attaches to the kernel functions that match a pattern.
pub fn kprobe_multi(program: &Program, attach: Attach<&str>, cookie: u64) -> Result<Link> {
    match attach {
        Attach::KprobeMulti { pattern, at_return } => {
            program.attach_kprobe_multi(KprobeMulti::pattern(pattern).cookies(cookies(&cookie)).at_return(at_return))
        }
        other => Err(not_automatic(program, other)),
    }
}

/// Attaches to a function of an executable or shared library.
pub fn uprobe(program: &Program, attach: Attach<&str>, cookie: u64) -> Result<Link> {
    match attach {
        Attach::Uprobe { path, function, offset, at_return } => {
            let probe = if function.is_empty() { Uprobe::at(path, 0) } else { Uprobe::new(path, function) };
            program.attach_uprobe(probe.offset(offset).at_return(at_return).cookie(cookie))
        }
        other => Err(not_automatic(program, other)),
    }
}

/// Attaches to the functions of an executable or shared library that match a pattern.
pub fn uprobe_multi(program: &Program, attach: Attach<&str>, cookie: u64) -> Result<Link> {
    match attach {
        Attach::UprobeMulti { path, pattern, at_return } => {
            let patterns = [pattern];
            program.attach_uprobe_multi(
                UprobeMulti::functions(path, &patterns).cookies(cookies(&cookie)).at_return(at_return),
            )
        }
        other => Err(not_automatic(program, other)),
    }
}

/// Attaches to the kernel functions that match a pattern, as a tracing program.
pub fn tracing_multi(program: &Program, attach: Attach<&str>, cookie: u64) -> Result<Link> {
    match attach {
        Attach::TracingMulti { pattern } => {
            program.attach_trace_multi(TraceMulti::functions(&[pattern]).cookies(cookies(&cookie)))
        }
        other => Err(not_automatic(program, other)),
    }
}

/// Attaches to a USDT probe.
pub fn usdt(program: &Program, attach: Attach<&str>, cookie: u64) -> Result<Link> {
    match attach {
        Attach::Usdt { path, provider, name } => program.attach_usdt(Usdt::new(path, provider, name).cookie(cookie)),
        other => Err(not_automatic(program, other)),
    }
}

/// Returns the cookies of a request: none if the cookie is 0.
fn cookies(cookie: &u64) -> &[u64] {
    if *cookie == 0 { &[] } else { std::slice::from_ref(cookie) }
}

/// Creates the error for a program that cannot attach automatically.
fn not_automatic(program: &Program, attach: Attach<&str>) -> Error {
    match attach {
        Attach::Needs(what) if program.section().is_none() => needs(program, what).with_help(
            "call the method of `Program` that matches the program's type (`attach_kprobe`, `attach_cgroup`, `attach_xdp` …)",
        ),
        Attach::Needs(what) => needs(program, what).with_help(
            "call the matching method of `Program` (`attach_cgroup`, `attach_xdp` …), and disable auto-attach with \
             `set_autoattach(false)` before loading",
        ),
        Attach::Target(way) => {
            let error = needs(program, way.needs());
            match malformed(program, way) {
                Some(malformed) => error.with_help(format_args!(
                    "the section names an invalid target: {malformed}; set a valid one with `set_attach_target` before loading"
                )),
                None => error.with_help(format_args!(
                    "set the target with `set_attach_target` before loading ({}), or disable auto-attach with `set_autoattach(false)`",
                    way.form()
                )),
            }
        }
        Attach::Never(how) => Error::invalid(format_args!("{} cannot be attached: it runs {how}", program.label()))
            .during(Step::Attach)
            .about(Subject::Program(program.name())),
        _ => Error::malformed("the skeleton's attach function does not match the target in its load plan")
            .during(Step::Attach)
            .about(Subject::Program(program.name())),
    }
}

/// Creates the error for a program that cannot attach automatically.
fn needs(program: &Program, what: &str) -> Error {
    Error::invalid(format_args!("{} cannot attach automatically: it needs {what}", program.label()))
        .during(Step::Attach)
        .about(Subject::Program(program.name()))
}
