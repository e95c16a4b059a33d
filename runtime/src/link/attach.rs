//! Attaching programs to the targets that their section names state.

use super::Link;
use super::ways::{self, Way};
use crate::abi::{Attach, Malformed, TargetKind};
use crate::error::{Errno, Error, Result, Step, Subject};
use crate::program::Program;
use crate::uapi::AttachType;

/// Returns why the target in a program's section is not valid; `None` if it is valid or the section has no target.
pub(super) fn malformed(program: &Program, way: TargetKind) -> Option<Malformed> {
    let (_, text) = program.section()?.split_once('/')?;
    way.parse(text).err()
}

impl Program {
    /// Returns the attach target: the one that the user set, or else that of the section.
    pub(super) fn attach_target(&self) -> Result<Attach<&str>> {
        let attach = self.way();
        match (self.target(), attach.target_kind()) {
            (Some(text), Some(way)) => way.parse(text).map_err(|malformed| {
                Error::invalid(format_args!(
                    "cannot attach {}: its attach target {text:?} is not valid: {malformed}",
                    self.label()
                ))
                .with_help("correct the argument of `set_attach_target`")
                .during(Step::Attach)
                .about(Subject::Program(self.name()))
            }),
            _ => Ok(attach),
        }
    }

    /// Returns the attach function that a setting added, if one did.
    pub(super) fn added_way(&self) -> Option<Way> {
        self.parts().iter().find_map(|part| part.downcast_ref().map(|ways::Added(way)| *way))
    }

    /// Calls `request` with the program's attach type. The outer error means that the attach type is unknown; the inner
    /// result is the result of `request`.
    ///
    /// If the attach type is unknown, calls `request` with each of `possible` in turn. The kernel must reject every wrong
    /// type with `EINVAL` before it attaches anything, so `possible` must not contain types that the kernel treats alike.
    pub(super) fn with_attach_type<T>(
        &self,
        possible: &[AttachType],
        mut request: impl FnMut(AttachType) -> Result<T, Errno>,
    ) -> Result<Result<T, Errno>> {
        let mut result = Err(Errno::from_raw(libc::EINVAL));
        for &attach_type in self.known_attach_types(possible)? {
            result = request(attach_type);
            if !result.as_ref().is_err_and(|errno| errno.raw() == libc::EINVAL) {
                break;
            }
        }
        Ok(result)
    }

    /// Returns the attach types to try, at least one. The kernel must reject all but the program's own.
    ///
    /// # Errors
    /// If the attach type is unknown and the kernel does not distinguish the possible ones.
    pub(super) fn known_attach_types<'t>(&'t self, possible: &'t [AttachType]) -> Result<&'t [AttachType]> {
        let types = self.attach_types(possible);
        if types.is_empty() {
            let error = Error::invalid(format_args!(
                "cannot attach program `{}`: the kernel does not report which attach type it was loaded with",
                self.name()
            ));
            return Err(error
                .during(Step::Attach)
                .about(Subject::Program(self.name()))
                .with_help("set the attach type with `set_attach_type`"));
        }
        Ok(types)
    }

    /// Returns the program's attach type, for requests in which the kernel accepts attach types other than the
    /// program's own.
    ///
    /// # Errors
    /// If the attach type is unknown.
    pub(super) fn stated_attach_type(&self) -> Result<AttachType> {
        self.known_attach_types(&[]).map(|types| types.first().copied().unwrap_or_default())
    }

    /// Returns the program's name and section as text, for error messages.
    pub(super) fn label(&self) -> String {
        match self.section() {
            Some(section) => format!("program `{}` (section `{section}`)", self.name()),
            None => format!("program `{}`", self.name()),
        }
    }

    /// Attaches the program to the target that its section name states, or that
    /// [`set_attach_target`](crate::OpenProgram::set_attach_target) set.
    ///
    /// # Errors
    /// If the program was not loaded, its target is not valid or must be passed to a method such as
    /// [`attach_xdp`](Self::attach_xdp), or the kernel rejects the attachment.
    pub fn attach(&self) -> Result<Link> {
        self.attach_with_cookie(0)
    }

    /// Attaches the program as [`attach`](Self::attach) does, with a cookie: a number that the program reads with
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
    /// Those of [`attach`](Self::attach), or if the kernel does not support cookies for this program type.
    pub fn attach_with_cookie(&self, cookie: u64) -> Result<Link> {
        ways::any(self, self.attach_target()?, cookie)
    }

    /// Creates the error for an attachment of this program that the kernel rejected.
    pub(super) fn refused(&self, to: impl std::fmt::Display, errno: Errno) -> Error {
        super::refused(self.name(), to, errno)
    }

    /// Creates the error for an attachment of this program that needs a second file descriptor, which could not be
    /// duplicated.
    pub(super) fn not_attached(&self, to: &str, error: &std::io::Error) -> Error {
        let error = Error::io(format_args!("cannot attach program `{}` to {to}", self.name()), error);
        error.during(Step::Attach).about(Subject::Program(self.name()))
    }

    /// Converts the id of the process that a probe is limited to into the type that requests to the kernel use; `None` is
    /// every process.
    ///
    /// # Errors
    /// If the id is out of range, or 0: some requests treat 0 as the calling process, others as every process.
    pub(super) fn process_id(&self, id: Option<u32>) -> Result<Option<i32>> {
        let Some(id) = id else { return Ok(None) };
        match i32::try_from(id) {
            Ok(0) => Err(self.attaching(no_process())),
            Ok(id) => Ok(Some(id)),
            Err(_) => Err(self.attaching(Error::not_found("the process id is out of range"))),
        }
    }

    /// Adds to an error that this program could not be attached.
    pub(super) fn attaching(&self, error: Error) -> Error {
        let error = error.during(Step::Attach).about(Subject::Program(self.name()));
        error.within(format_args!("cannot attach program `{}`", self.name()))
    }
}

/// Creates the error for the process id 0, which does not exist.
pub(super) fn no_process() -> Error {
    Error::invalid("no process or thread has the id 0").with_help("pass `std::process::id()` for this process")
}
