//! Attaching programs as their sections state.

use super::{Kprobe, KprobeMulti, Ksyscall, Link, Uprobe, UprobeMulti, Usdt};
use crate::abi::{Attach, Malformed, TargetKind};
use crate::error::{Error, Result, Step, Subject};
use crate::program::Program;
use crate::sys::link as sys;

/// Attaches a loaded program in this way. Ways without cookies accept only 0.
fn attach(program: &Program, attach: Attach<&str>, cookie: u64) -> Result<Link> {
    let within = |error: Error| program.attaching(error);
    let cookies = [cookie];
    let cookies = if cookie == 0 { &[][..] } else { &cookies };
    match attach {
        Attach::Needs(what) => Err(needs(program, what).with_help(
            "call the matching method of `Program` (`attach_cgroup`, `attach_xdp` …), and disable auto-attach with \
             `set_autoattach(false)` before loading",
        )),
        Attach::Target(way) => {
            let error = needs(program, way.needs());
            Err(match malformed(program, way) {
                Some(malformed) => error.with_help(format_args!(
                    "the target in its section is not valid: {malformed}; set another with `set_attach_target` before loading"
                )),
                None => error.with_help(format_args!(
                    "set it with `set_attach_target` before loading ({}), or disable auto-attach with `set_autoattach(false)`",
                    way.form()
                )),
            })
        }
        Attach::Never(how) => Err(Error::invalid(format_args!(
            "program `{}` (section `{}`) does not attach: it runs {how}",
            program.name(),
            program.section()
        ))
        .during(Step::Attach)
        .about(Subject::Program(program.name()))),
        Attach::Iter if cookie == 0 => {
            sys::create_iter(program.fd()?, &[]).map(|fd| Link::new(fd, program.name())).map_err(|errno| {
                let error = program.refused("the iterator it was loaded for", errno);
                match errno.raw() {
                    libc::EBADF | libc::EINVAL => {
                        error.with_help("iterators over map elements need the map: pass it to `attach_iter`")
                    }
                    _ => error,
                }
            })
        }
        Attach::Iter => Err(within(Error::invalid("iterators do not support cookies"))),
        Attach::RawTracepoint(name) => program.attach_raw_tracepoint(name, cookie),
        Attach::Tracing => program.attach_trace(cookie),
        Attach::Tracepoint { category, name } => program.attach_tracepoint(category, name, cookie),
        Attach::Kprobe { function, offset, at_return } => {
            program.attach_kprobe(Kprobe::new(function).offset(offset).at_return(at_return).cookie(cookie))
        }
        Attach::Ksyscall { name, at_return } => {
            program.attach_ksyscall(Ksyscall::new(name).at_return(at_return).cookie(cookie))
        }
        Attach::KprobeMulti { pattern, at_return } => {
            program.attach_kprobe_multi(KprobeMulti::pattern(pattern).cookies(cookies).at_return(at_return))
        }
        Attach::Uprobe { path, function, offset, at_return } => {
            program.attach_uprobe(Uprobe::new(path, function).offset(offset).at_return(at_return).cookie(cookie))
        }
        Attach::UprobeMulti { path, pattern, at_return } => {
            let patterns = [pattern];
            program.attach_uprobe_multi(UprobeMulti::functions(path, &patterns).cookies(cookies).at_return(at_return))
        }
        Attach::TracingMulti { pattern } => program.attach_trace_multi(&[pattern], cookies),
        Attach::Usdt { path, provider, name } => program.attach_usdt(Usdt::new(path, provider, name).cookie(cookie)),
    }
}

/// Returns what is wrong with the target in a program's section, if the section has one.
pub(super) fn malformed(program: &Program, way: TargetKind) -> Option<Malformed> {
    let (_, text) = program.section().split_once('/')?;
    way.parse(text).err()
}

/// Creates the error of a program that cannot attach automatically.
fn needs(program: &Program, what: &str) -> Error {
    Error::invalid(format_args!(
        "program `{}` (section `{}`) cannot attach automatically: it needs {what}",
        program.name(),
        program.section()
    ))
    .during(Step::Attach)
    .about(Subject::Program(program.name()))
}

impl Program {
    /// Returns the attach target: the one that the user set, or else that of the section.
    pub(super) fn attach_target(&self) -> Result<Attach<&str>> {
        let attach = self.way();
        match (self.target(), attach.target_kind()) {
            (Some(text), Some(way)) => way.parse(text).map_err(|malformed| {
                Error::invalid(format_args!(
                    "cannot attach program `{}` (section `{}`): its attach target {text:?} is not valid: {malformed}",
                    self.name(),
                    self.section()
                ))
                .with_help("correct the argument of `set_attach_target`")
                .during(Step::Attach)
                .about(Subject::Program(self.name()))
            }),
            _ => Ok(attach),
        }
    }

    /// Attaches the program as its section states.
    ///
    /// # Errors
    /// If the program was not loaded, cannot attach automatically, or the kernel rejects it.
    pub fn attach(&self) -> Result<Link> {
        self.attach_with_cookie(0)
    }

    /// Attaches the program as its section states, with a cookie: a number that the program reads with
    /// `bpf_get_attach_cookie`, to distinguish its attachments (Linux 5.15 for probes and tracepoints, 6.0 for tracing
    /// programs, 6.10 for raw tracepoints). 0 means no cookie, as in the kernel.
    ///
    /// ```no_run
    /// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// let links = [program.attach_with_cookie(1)?, program.attach_with_cookie(2)?];
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded, cannot attach automatically, or the kernel rejects it.
    pub fn attach_with_cookie(&self, cookie: u64) -> Result<Link> {
        attach(self, self.attach_target()?, cookie)
    }

    /// Creates the error of this program, which the kernel rejected.
    pub(super) fn refused(&self, to: impl std::fmt::Display, errno: crate::Errno) -> Error {
        super::refused(self.name(), to, errno)
    }

    /// Creates the error of a file descriptor that cannot be duplicated to attach this program.
    pub(super) fn not_attached(&self, to: &str, error: &std::io::Error) -> Error {
        let error = Error::io(format_args!("cannot attach program `{}` to {to}", self.name()), error);
        error.during(Step::Attach).about(Subject::Program(self.name()))
    }

    /// Adds this program to an error that prevented its attachment.
    pub(super) fn attaching(&self, error: Error) -> Error {
        let error = error.during(Step::Attach).about(Subject::Program(self.name()));
        error.within(format_args!("cannot attach program `{}`", self.name()))
    }
}
