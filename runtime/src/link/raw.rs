//! Attaching programs to tracepoints, raw tracepoints, and the target that they were loaded for.

use super::{Link, c_string, pmu};
use crate::error::{Errno, LinuxVersion, Result, Subject};
use crate::kernel::causes;
use crate::program::Program;
use crate::sys::{link as sys, perf};
use crate::uapi::{AttachType, ProgramType};

/// A raw tracepoint of the kernel or a module.
///
/// ```no_run
/// use skelgen_runtime::link::RawTracepoint;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let link = program.attach_raw_tracepoint(RawTracepoint::new("sched_switch"))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct RawTracepoint<'a> {
    name: &'a str,
    cookie: u64,
}

impl<'a> RawTracepoint<'a> {
    /// Creates the target from the name of the tracepoint, without its category.
    pub const fn new(name: &'a str) -> Self {
        Self { name, cookie: 0 }
    }

    /// Sets the cookie: the number that the program reads with `bpf_get_attach_cookie` (Linux 6.10). The default, 0,
    /// means no cookie and is accepted by all kernels.
    pub const fn cookie(self, cookie: u64) -> Self {
        Self { cookie, ..self }
    }
}

/// A tracepoint, as in `/sys/kernel/tracing/events/CATEGORY/NAME`.
///
/// ```no_run
/// use skelgen_runtime::link::Tracepoint;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let link = program.attach_tracepoint(Tracepoint::new("sched", "sched_switch").cookie(42))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Tracepoint<'a> {
    category: &'a str,
    name: &'a str,
    cookie: u64,
}

impl<'a> Tracepoint<'a> {
    /// Creates the target from the category and the name of the tracepoint.
    pub const fn new(category: &'a str, name: &'a str) -> Self {
        Self { category, name, cookie: 0 }
    }

    /// Sets the cookie: the number that the program reads with `bpf_get_attach_cookie` (Linux 5.15). The default, 0,
    /// means no cookie and is accepted by all kernels.
    pub const fn cookie(self, cookie: u64) -> Self {
        Self { cookie, ..self }
    }
}

/// The kernel function or tracepoint that a program was loaded for, with the options of its attachment.
///
/// ```no_run
/// use skelgen_runtime::link::Trace;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let link = program.attach_trace(Trace::new().cookie(42))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Trace {
    cookie: u64,
}

impl Trace {
    /// Creates the target that the program was loaded for.
    pub const fn new() -> Self {
        Self { cookie: 0 }
    }

    /// Sets the cookie: the number that the program reads with `bpf_get_attach_cookie` (Linux 6.0, for `tp_btf` 6.10).
    /// The default, 0, means no cookie and is accepted by all kernels.
    pub const fn cookie(self, cookie: u64) -> Self {
        Self { cookie }
    }
}

impl Program {
    /// Attaches to a raw tracepoint.
    ///
    /// # Errors
    /// If the program was not loaded, the kernel has no such tracepoint, or rejects the program.
    pub fn attach_raw_tracepoint(&self, target: RawTracepoint<'_>) -> Result<Link> {
        let RawTracepoint { name, cookie } = target;
        let program = self.fd()?;
        let c_name = c_string(name).map_err(|error| self.attaching(error))?;
        let fd = sys::raw_tracepoint(program, Some(&c_name), cookie);
        fd.map(|fd| Link::new(fd, self.name())).map_err(|errno| {
            let error = self.refused(format_args!("raw tracepoint `{name}`"), errno);
            match errno.raw() {
                libc::ENOENT => error.about_part(Subject::Symbol(name)).with_help(
                    "neither the kernel nor a loaded module has this tracepoint; set a different one with `set_attach_target` before \
                     loading",
                ),
                libc::EINVAL | libc::E2BIG if cookie != 0 => causes::since(error, LinuxVersion::new(6, 10), "cookies of raw tracepoints need Linux 6.10"),
                _ => error,
            }
        })
    }

    /// Attaches to a tracepoint.
    ///
    /// # Errors
    /// If the program was not loaded, the kernel has no such tracepoint, or rejects the program.
    pub fn attach_tracepoint(&self, target: Tracepoint<'_>) -> Result<Link> {
        let Tracepoint { category, name, cookie } = target;
        let what = format!("tracepoint `{category}/{name}`");
        let program = self.fd()?;
        let id = pmu::tracepoint_id(category, name).map_err(|error| self.attaching(error))?;
        let event = perf::tracepoint(id).map_err(|errno| {
            pmu::refused_event(self.refused(format_args!("{what} (opening the perf event)"), errno), errno)
        })?;
        pmu::attach((program, self.name()), event, cookie).map_err(|errno| {
            let error = self.refused_with_cookie(&what, cookie, errno);
            match errno.raw() {
                libc::EEXIST => error.note(format_args!("the program is already attached to {what}")),
                _ => error,
            }
        })
    }

    /// Attaches to the kernel function or tracepoint that the program was loaded for (`fentry`, `fexit`, `fmod_ret`,
    /// `fsession`, `tp_btf`, `lsm`).
    ///
    /// # Errors
    /// If the program was not loaded, the function or tracepoint has the maximum number of programs, or the kernel
    /// rejects the attachment.
    pub fn attach_trace(&self, target: Trace) -> Result<Link> {
        let Trace { cookie } = target;
        let fd = self.fd()?;
        let created = self.with_attach_type(traced(self.program_type()), |attach_type| {
            sys::create(fd, 0, attach_type, 0, (0, cookie))
        })?;
        let created = match created {
            // Without a cookie, the attach type of the program is used. Kernels before about 5.16 attach
            // tracing programs only by `BPF_RAW_TRACEPOINT_OPEN`.
            Err(error) if error.raw() == libc::EINVAL && cookie == 0 => sys::raw_tracepoint(fd, None, 0),
            result => result,
        };
        created.map(|fd| Link::new(fd, self.name())).map_err(|errno| {
            let error = self.refused("the target that it was loaded for", errno);
            match errno.raw() {
                libc::EINVAL | libc::E2BIG if cookie != 0 => {
                    let needed = if self.attach_type() == Some(AttachType::TRACE_RAW_TP) { (6, 10) } else { (6, 0) };
                    let needed = LinuxVersion::new(needed.0, needed.1);
                    causes::since(error, needed, "cookies of tracing programs need Linux 6.0, those of `tp_btf` 6.10")
                }
                libc::ENOENT => causes::since(
                    error,
                    LinuxVersion::new(5, 13),
                    "before Linux 5.13, a program cannot be attached again after its link was closed; load it again",
                ),
                libc::EBUSY => {
                    error.note("the program is already attached, or the function has the maximum number of programs")
                }
                _ => error,
            }
        })
    }

    /// Creates the error for an attachment by a perf event that the kernel rejected.
    pub(super) fn refused_with_cookie(&self, to: impl std::fmt::Display, cookie: u64, errno: Errno) -> crate::Error {
        let error = self.refused(to, errno);
        match errno.raw() {
            libc::EINVAL | libc::E2BIG if cookie != 0 => {
                causes::since(error, LinuxVersion::new(5, 15), "cookies need Linux 5.15")
            }
            _ => error,
        }
    }
}

/// Returns the attach types of programs of this type that attach to the target that they were loaded for.
const fn traced(program_type: ProgramType) -> &'static [AttachType] {
    match program_type {
        ProgramType::LSM => &[AttachType::LSM_MAC],
        _ => &[
            AttachType::TRACE_FENTRY,
            AttachType::TRACE_FEXIT,
            AttachType::MODIFY_RETURN,
            AttachType::TRACE_RAW_TP,
            AttachType::TRACE_FSESSION,
        ],
    }
}
