//! Attaches programs the way their sections say.

use super::{Kprobe, KprobeMulti, Ksyscall, Link, Uprobe, UprobeMulti, Usdt};
use crate::abi::{Attach, Malformed, Way};
use crate::error::{Error, Result, Step, Subject};
use crate::program::Program;
use crate::sys::link as sys;

/// Attaches a loaded program in this way. Ways without cookies take 0 only.
fn attach(program: &Program, attach: Attach<&str>, cookie: u64) -> Result<Link> {
    let within = |error: Error| program.attaching(error);
    let cookies = [cookie];
    let cookies = if cookie == 0 { &[][..] } else { &cookies };
    match attach {
        Attach::Needs(what) => Err(needs(program, what).with_help(
            "attach it with the method of `Program` for that (`attach_cgroup`, `attach_xdp` …), and switch this off with \
             `set_autoattach(false)` before loading",
        )),
        Attach::Target(way) => {
            let error = needs(program, way.needs());
            Err(match malformed(program, way) {
                Some(malformed) => error.with_help(format_args!(
                    "the target in its section is not valid: {malformed}; choose another with `set_attach_target` before loading"
                )),
                None => error.with_help(format_args!(
                    "choose it with `set_attach_target` before loading ({}), or leave the program out with `set_autoattach(false)`",
                    way.form()
                )),
            })
        }
        Attach::Never(how) => Err(Error::invalid(format_args!(
            "program `{}` (section `{}`) is not attached: it runs {how}",
            program.name(),
            program.section()
        ))
        .during(Step::Attach)
        .about(Subject::Program(program.name()))),
        Attach::Iter if cookie == 0 => sys::create_iter(program.fd()?, &[])
            .map(|fd| Link::new(fd, program.name()))
            .map_err(|errno| {
                let error = program.refused("the iterator it was loaded for", errno);
                match errno.raw() {
                    libc::EBADF | libc::EINVAL => {
                        error.with_help("iterators over elements of a map need the map: `attach_iter` takes it")
                    }
                    _ => error,
                }
            }),
        Attach::Iter => Err(within(Error::invalid("iterators have no cookies"))),
        Attach::RawTracepoint(name) => program.attach_raw_tracepoint(name, cookie),
        Attach::Tracing => program.attach_trace(cookie),
        Attach::Tracepoint { category, name } => program.attach_tracepoint(category, name, cookie),
        Attach::Kprobe { function, offset, at_return } => {
            program.attach_kprobe(Kprobe::new(function).offset(offset).at_return(at_return).cookie(cookie))
        }
        Attach::Ksyscall { name, at_return } => program.attach_ksyscall(Ksyscall::new(name).at_return(at_return).cookie(cookie)),
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
        Attach::Usdt { path, provider, name } => {
            program.attach_usdt(Usdt::new(path, provider, name).cookie(cookie))
        }
    }
}

/// What is wrong with the target that a program's section names, if it names one.
pub(super) fn malformed(program: &Program, way: Way) -> Option<Malformed> {
    let (_, text) = program.section().split_once('/')?;
    way.parse(text).err()
}

/// The error of a program that does not attach by itself.
fn needs(program: &Program, what: &str) -> Error {
    Error::invalid(format_args!(
        "program `{}` (section `{}`) cannot attach by itself: it needs {what}",
        program.name(),
        program.section()
    ))
    .during(Step::Attach)
    .about(Subject::Program(program.name()))
}

impl Program {
    /// What it attaches to: the target that the user chose replaces all of that of its section.
    pub(super) fn attach_target(&self) -> Result<Attach<&str>> {
        let attach = self.way();
        match (self.target(), attach.way()) {
            (Some(text), Some(way)) => way.parse(text).map_err(|malformed| {
                Error::invalid(format_args!(
                    "attaching program `{}` (section `{}`): its attach target {text:?} is not valid: {malformed}",
                    self.name(),
                    self.section()
                ))
                .with_help("`set_attach_target` named it before loading")
                .during(Step::Attach)
                .about(Subject::Program(self.name()))
            }),
            _ => Ok(attach),
        }
    }

    /// Attaches the program the way its section states.
    ///
    /// # Errors
    /// If it was not loaded, cannot attach by itself, or the kernel refuses.
    pub fn attach(&self) -> Result<Link> {
        self.attach_with_cookie(0)
    }

    /// Attaches the program the way its section states, with a cookie: a number that the program reads with `bpf_get_attach_cookie`, by
    /// which it knows for which of its attachments it runs (Linux 5.15 for probes and tracepoints, 6.0 for tracing programs, 6.10 for
    /// raw tracepoints). 0 means no cookie, as in the kernel.
    ///
    /// ```no_run
    /// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// let links = [program.attach_with_cookie(1)?, program.attach_with_cookie(2)?];
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If it was not loaded, cannot attach by itself, or the kernel refuses.
    pub fn attach_with_cookie(&self, cookie: u64) -> Result<Link> {
        attach(self, self.attach_target()?, cookie)
    }

    /// The error of this program, which the kernel does not attach.
    pub(super) fn refused(&self, to: impl std::fmt::Display, errno: crate::Errno) -> Error {
        super::refused(self.name(), to, errno)
    }

    /// The error of a file descriptor that cannot be duplicated to attach this program.
    pub(super) fn not_attached(&self, to: &str, error: &std::io::Error) -> Error {
        let error = Error::io(format_args!("attaching program `{}` to {to}", self.name()), error);
        error.during(Step::Attach).about(Subject::Program(self.name()))
    }

    /// Adds this program to an error that ended its attachment.
    pub(super) fn attaching(&self, error: Error) -> Error {
        let error = error.during(Step::Attach).about(Subject::Program(self.name()));
        error.within(format_args!("attaching program `{}`", self.name()))
    }
}
