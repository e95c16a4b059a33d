//! Attaching programs to tracepoints, raw tracepoints, and the target that they were loaded for.

use super::{Link, c_string, pmu};
use crate::error::{Errno, LinuxVersion, Result, Subject};
use crate::kernel::causes;
use crate::program::Program;
use crate::sys::{link as sys, perf};

impl Program {
    /// Attaches to a raw tracepoint, by its name without category. The program reads the cookie with
    /// `bpf_get_attach_cookie` (Linux 6.10); 0 means no cookie, as in the kernel.
    ///
    /// # Errors
    /// If the program was not loaded, the kernel has no such tracepoint, or rejects the program.
    pub fn attach_raw_tracepoint(&self, name: &str, cookie: u64) -> Result<Link> {
        let fd = sys::raw_tracepoint(self.fd()?, Some(&c_string(name)?), cookie);
        fd.map(|fd| Link::new(fd, self.name())).map_err(|errno| {
            let error = self.refused(format_args!("raw tracepoint `{name}`"), errno);
            match errno.raw() {
                libc::ENOENT => error.about_part(Subject::Symbol(name)).with_help(
                    "neither the kernel nor a loaded module has this tracepoint; set another with `set_attach_target` before \
                     loading",
                ),
                libc::EINVAL | libc::E2BIG if cookie != 0 => causes::since(error, LinuxVersion::new(6, 10), "cookies of raw tracepoints need Linux 6.10"),
                _ => error,
            }
        })
    }

    /// Attaches to a tracepoint, by its category and name: its directories in `/sys/kernel/tracing/events`. The program
    /// reads the cookie with `bpf_get_attach_cookie` (Linux 5.15); 0 means no cookie, as in the kernel.
    ///
    /// ```no_run
    /// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// let link = program.attach_tracepoint("sched", "sched_switch", 42)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded, the kernel has no such tracepoint, or rejects the program.
    pub fn attach_tracepoint(&self, category: &str, name: &str, cookie: u64) -> Result<Link> {
        let what = format!("tracepoint `{category}/{name}`");
        let program = self.fd()?;
        let id = pmu::tracepoint_id(category, name).map_err(|error| self.attaching(error))?;
        let event = perf::tracepoint(id)
            .map_err(|errno| pmu::refused_event(self.refused(format_args!("{what} (its perf event)"), errno), errno))?;
        pmu::attach(program, event, cookie)
            .map(|fd| Link::new(fd, self.name()))
            .map_err(|errno| self.refused_with_cookie(what, cookie, errno))
    }

    /// Attaches to the kernel function or tracepoint that the program was loaded for (`fentry`, `fexit`, `fmod_ret`,
    /// `fsession`, `tp_btf`, `lsm`). The program reads the cookie with `bpf_get_attach_cookie` (Linux 6.0, for `tp_btf`
    /// 6.10); 0 means no cookie, as in the kernel.
    ///
    /// # Errors
    /// If the program was not loaded or the kernel rejects it.
    pub fn attach_trace(&self, cookie: u64) -> Result<Link> {
        let fd = self.fd()?;
        let created = match sys::create(fd, 0, self.expected_attach_type(), 0, (0, cookie)) {
            // Kernels before about 5.16 attach these without LINK_CREATE.
            Err(error) if error.raw() == libc::EINVAL => sys::raw_tracepoint(fd, None, cookie),
            result => result,
        };
        created.map(|fd| Link::new(fd, self.name())).map_err(|errno| {
            let error = self.refused("the target it was loaded for", errno);
            match errno.raw() {
                libc::EINVAL | libc::E2BIG if cookie != 0 => {
                    let needed = if self.expected_attach_type() == crate::uapi::AttachType::TRACE_RAW_TP {
                        (6, 10)
                    } else {
                        (6, 0)
                    };
                    let needed = LinuxVersion::new(needed.0, needed.1);
                    causes::since(error, needed, "cookies of tracing programs need Linux 6.0, those of `tp_btf` 6.10")
                }
                libc::EBUSY => {
                    error.note("the program is already attached, or the function has the maximum number of programs")
                }
                _ => error,
            }
        })
    }

    /// Creates the error of a program that attaches by a perf event.
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
