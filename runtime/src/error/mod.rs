//! The error type of the runtime: kind, step, subjects, error number, required Linux version, help, source and verifier log.
//!
//! Programs match these parts; people read the `Display`. To create an error, call a constructor named after its kind (`Error::not_found`),
//! or `Error::refused` with the kernel's error number, from which the kind follows (`kind.rs`). Outer callers add the step and the subjects
//! (`Error::during`, `Error::about`). This module does not depend on maps, programs or links.

mod errno;
#[cfg(test)]
pub(crate) mod golden;
mod kind;
mod subject;
#[cfg(test)]
mod tests;

use std::{fmt, io};

pub use self::errno::Errno;
pub use self::kind::ErrorKind;
pub use self::subject::{LinuxVersion, Step, Subject};
use crate::escape::{Line, Lines};

/// The result of fallible operations in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error of every fallible operation in this crate: what failed, why, and what to do next.
///
/// `Display` writes one line with what failed and the error number, then `help` and `note` lines, details, and the end of the verifier
/// log, each only if the error has it. The text is safe to print to a terminal, because invisible characters in names are escaped. Its
/// wording can change in any version. Match [`kind`](Self::kind), [`step`](Self::step) and the other parts instead.
///
/// ```
/// use skelgen_runtime::error::{Error, ErrorKind, Subject};
///
/// /// What a monitoring tool does if a program cannot be loaded or attached.
/// fn fall_back(error: &Error) -> Option<String> {
///     match error.kind() {
///         ErrorKind::NotPermitted => Some("run it as root".into()),
///         ErrorKind::Unsupported => {
///             let version = error.needs_linux()?;
///             Some(format!("needs Linux {version} or later"))
///         }
///         ErrorKind::NotFound => match error.subject()? {
///             Subject::Symbol(name) => Some(format!("this kernel has no {name}: leave the program out")),
///             _ => None,
///         },
///         // Also if the program calls a weak kernel function that this kernel lacks without testing it with `bpf_ksym_exists`.
///         ErrorKind::VerifierRejected => Some("leave the program out".into()),
///         _ => None,
///     }
/// }
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    /// One line, escaped.
    context: String,
    errno: Option<Errno>,
    /// The kind, if it does not follow from the error number.
    kind: Option<ErrorKind>,
    step: Option<Step>,
    /// From the innermost to the outermost.
    subjects: Vec<subject::Owned>,
    needs_linux: Option<LinuxVersion>,
    /// Lines after the notes, escaped.
    details: Option<String>,
    notes: Vec<Note>,
    /// Help that is shown if there are no notes, escaped.
    general_help: Option<String>,
    /// As the kernel wrote it.
    log: Option<String>,
    source: Option<io::Error>,
}

/// A `help` or `note` line.
struct Note {
    is_help: bool,
    /// Escaped.
    text: String,
}

/// Constructors and builders.
impl Error {
    /// Creates the error for a request that the kernel rejected. Its kind follows from the error number and the step.
    pub(crate) fn refused(context: impl fmt::Display, errno: Errno) -> Self {
        Self::new(None, &context, Some(errno))
    }

    /// Creates the error for an invalid setting of the caller or the object.
    pub(crate) fn invalid(context: impl fmt::Display) -> Self {
        Self::new(Some(ErrorKind::InvalidInput), &context, None)
    }

    /// Creates the error for malformed data: BTF, a file in `/proc` or `/sys`, or the skeleton's own tables.
    pub(crate) fn malformed(context: impl fmt::Display) -> Self {
        Self::new(Some(ErrorKind::Malformed), &context, None)
    }

    /// Creates the error for a mismatch.
    pub(crate) fn mismatch(context: impl fmt::Display) -> Self {
        Self::new(Some(ErrorKind::Mismatch), &context, None)
    }

    /// Creates the error for a symbol, map or file that does not exist.
    pub(crate) fn not_found(context: impl fmt::Display) -> Self {
        Self::new(Some(ErrorKind::NotFound), &context, None)
    }

    /// Creates the error for a map or program that was left out of the load.
    pub(crate) fn not_loaded(context: impl fmt::Display) -> Self {
        Self::new(Some(ErrorKind::NotLoaded), &context, None)
    }

    /// Creates the error for a request that the running kernel does not support.
    pub(crate) fn unsupported(context: impl fmt::Display) -> Self {
        Self::new(Some(ErrorKind::Unsupported), &context, None)
    }

    /// Creates an error of a kind without a constructor of its own.
    pub(crate) fn of(kind: ErrorKind, context: impl fmt::Display) -> Self {
        Self::new(Some(kind), &context, None)
    }

    /// The generic constructors call this function, so that a binary contains its code only once.
    #[cold]
    #[inline(never)]
    fn new(kind: Option<ErrorKind>, context: &dyn fmt::Display, errno: Option<Errno>) -> Self {
        Self(Box::new(Inner {
            context: Line(context).to_string(),
            errno,
            kind,
            step: None,
            subjects: Vec::new(),
            needs_linux: None,
            details: None,
            notes: Vec::new(),
            general_help: None,
            log: None,
            source: None,
        }))
    }

    /// Creates the error for a CPU that is not possible; the error number is `ERANGE`, which the kernel returns for it.
    pub(crate) fn no_cpu(context: impl fmt::Display, cpu: u32) -> Self {
        Self::refused(
            format_args!("{context}: CPU {cpu} is not possible (/sys/devices/system/cpu/possible)"),
            Errno::from_raw(libc::ERANGE),
        )
        .with_kind(ErrorKind::NoSuchCpu)
        .about(Subject::Cpu(cpu))
    }

    /// Creates the error for a file that could not be read or written. `error` becomes the
    /// [source](std::error::Error::source).
    pub(crate) fn io(context: impl fmt::Display, error: &io::Error) -> Self {
        Self::of_io(&context, error)
    }

    #[cold]
    #[inline(never)]
    fn of_io(context: &dyn fmt::Display, error: &io::Error) -> Self {
        let (mut this, source) = match error.raw_os_error() {
            Some(number) => (Self::refused(context, Errno::from_raw(number)), io::Error::from_raw_os_error(number)),
            None => {
                let kind = match error.kind() {
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => ErrorKind::Malformed,
                    io::ErrorKind::NotFound => ErrorKind::NotFound,
                    io::ErrorKind::InvalidInput => ErrorKind::InvalidInput,
                    _ => ErrorKind::Io,
                };
                let source = io::Error::new(error.kind(), error.to_string());
                (Self::of(kind, format_args!("{context}: {error}")), source)
            }
        };
        this.0.source = Some(source);
        this
    }

    /// Prepends the outer operation to the first line, as `WORK: …`.
    #[must_use]
    pub(crate) fn within(self, work: impl fmt::Display) -> Self {
        self.prefixed(&work)
    }

    #[cold]
    #[inline(never)]
    fn prefixed(mut self, work: &dyn fmt::Display) -> Self {
        self.0.context = format!("{}: {}", Line(work), self.0.context);
        self
    }

    /// Sets the step, unless an inner function has already set one.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub(crate) fn during(mut self, step: Step) -> Self {
        self.0.step.get_or_insert(step);
        self
    }

    /// Adds an outer subject, after those that are set.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub(crate) fn about(mut self, subject: Subject<'_>) -> Self {
        if self.subjects().all(|known| known != subject) {
            self.0.subjects.push(subject.to_owned());
        }
        self
    }

    /// Adds an inner subject, before those that are set.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub(crate) fn about_part(mut self, subject: Subject<'_>) -> Self {
        self.0.subjects.retain(|known| known.borrow() != subject);
        self.0.subjects.insert(0, subject.to_owned());
        self
    }

    /// Sets the kind, if the error number alone does not decide it.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = Some(kind);
        self
    }

    /// Sets the first Linux version that supports the request. Call this only if the running kernel is older.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub(crate) fn needs(mut self, version: LinuxVersion) -> Self {
        self.0.needs_linux = Some(version);
        self.with_kind(ErrorKind::Unsupported)
    }

    /// Adds a fact that explains the error.
    #[must_use]
    pub(crate) fn note(self, note: impl fmt::Display) -> Self {
        self.push(false, &Line(&note as &dyn fmt::Display))
    }

    /// Adds the next step for the user.
    #[must_use]
    pub(crate) fn with_help(self, help: impl fmt::Display) -> Self {
        self.push(true, &Line(&help as &dyn fmt::Display))
    }

    /// Sets help that is shown only if no note is added, now or later.
    #[must_use]
    pub(crate) fn general_help(mut self, help: impl fmt::Display) -> Self {
        self.0.general_help = Some(Line(help).to_string());
        self
    }

    /// Adds an earlier error as a note.
    #[must_use]
    pub(crate) fn after(self, what: &str, earlier: &str) -> Self {
        self.push(false, &format_args!("{what}: {}", Lines(earlier)))
    }

    #[cold]
    #[inline(never)]
    fn push(mut self, is_help: bool, text: &dyn fmt::Display) -> Self {
        self.0.notes.push(Note { is_help, text: text.to_string() });
        self
    }

    /// Sets lines to show after the notes. Values that are formatted into them must not contain line feeds.
    #[must_use]
    pub(crate) fn details(mut self, lines: impl fmt::Display) -> Self {
        self.0.details = Some(Lines(lines).to_string());
        self
    }

    /// Sets the verifier log, if there is one.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub(crate) fn log(mut self, log: Option<String>) -> Self {
        self.0.log = log.or(self.0.log);
        self
    }
}

/// The parts that programs match.
impl Error {
    /// Returns the kind of the error.
    ///
    /// ```
    /// use skelgen_runtime::error::{ErrorKind, Step, Subject};
    ///
    /// let path = "/sys/fs/bpf/there-is-no-such-link";
    /// let error = skelgen_runtime::Link::open_pinned(path).unwrap_err();
    /// assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotPermitted));
    /// assert_eq!(error.step(), Step::Open);
    /// assert_eq!(error.subject(), Some(Subject::Path(path.as_ref())));
    /// ```
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        let has_log = self.0.log.as_ref().is_some_and(|log| !log.trim().is_empty());
        match (self.0.kind, self.0.errno) {
            (Some(kind), _) => kind,
            (None, Some(errno)) => match ErrorKind::of(errno, self.step(), has_log) {
                ErrorKind::Refused if self.0.source.is_some() => ErrorKind::Io,
                kind => kind,
            },
            (None, None) => ErrorKind::Refused,
        }
    }

    /// Returns the operation that failed: the innermost step that is set, or [`Step::Check`] if none is.
    #[must_use]
    pub fn step(&self) -> Step {
        self.0.step.unwrap_or(Step::Check)
    }

    /// Returns the subject of the error, if it has one: the first of [`subjects`](Self::subjects).
    #[must_use]
    pub fn subject(&self) -> Option<Subject<'_>> {
        self.0.subjects.first().map(subject::Owned::borrow)
    }

    /// Returns the subjects of the error, from the innermost to the outermost: a kernel function that was not found, then the program that
    /// was to be attached to it.
    pub fn subjects(&self) -> impl Iterator<Item = Subject<'_>> {
        self.0.subjects.iter().map(subject::Owned::borrow)
    }

    /// Returns the kernel's error number. It is also set if this crate rejects a request that the kernel would reject with this
    /// number.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        self.0.errno
    }

    /// Returns the first version of Linux that supports the request, if the running kernel is older; the kind is then
    /// [`ErrorKind::Unsupported`].
    #[must_use]
    pub fn needs_linux(&self) -> Option<LinuxVersion> {
        self.0.needs_linux
    }

    /// Returns the number of the requested CPU, if it is not possible on this system.
    #[must_use]
    pub fn impossible_cpu(&self) -> Option<u32> {
        let cpu = self.subjects().find_map(|subject| if let Subject::Cpu(cpu) = subject { Some(cpu) } else { None });
        cpu.filter(|_| self.kind() == ErrorKind::NoSuchCpu)
    }

    /// Returns the next step for the user, if it is known: one line of text.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        let specific = self.0.notes.iter().find(|note| note.is_help).map(|note| note.text.as_str());
        specific.or_else(|| self.0.general_help.as_deref().filter(|_| self.0.notes.is_empty()))
    }

    /// Returns the verifier's whole log, if a program or BTF was rejected, as the kernel wrote it. It can contain control characters, which
    /// `Display` of the error escapes.
    #[must_use]
    pub fn verifier_log(&self) -> Option<&str> {
        self.0.log.as_deref()
    }
}

impl Error {
    /// Returns the first line of the error's text, without notes and logs.
    pub(crate) fn headline(&self) -> impl fmt::Display + '_ {
        struct Headline<'e>(&'e Error);
        impl fmt::Display for Headline<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt_headline(f)
            }
        }
        Headline(self)
    }

    fn fmt_headline(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.context)?;
        self.0.errno.map_or(Ok(()), |errno| write!(f, ": {errno}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_headline(f)?;
        for Note { is_help, text } in &self.0.notes {
            write!(f, "\n  {}: {text}", if *is_help { "help" } else { "note" })?;
        }
        if let (Some(help), true) = (&self.0.general_help, self.0.notes.is_empty()) {
            write!(f, "\n  help: {help}")?;
        }
        if let Some(details) = &self.0.details {
            write!(f, "\n{details}")?;
        }
        self.0.log.as_ref().map_or(Ok(()), |log| fmt_log(f, log))
    }
}

/// Writes the same text as `Display`, because `unwrap` and a `main` that returns the error print its `Debug`.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number of log lines that are shown. The cause is at the end of a log, and a whole log can have millions of lines.
const LOG_LINES: usize = 60;

fn fmt_log(f: &mut fmt::Formatter<'_>, log: &str) -> fmt::Result {
    let lines = log.lines().count();
    let skipped = lines.saturating_sub(LOG_LINES);
    match skipped {
        0 => write!(f, "\n  verifier log:")?,
        _ => write!(f, "\n  verifier log, the last {LOG_LINES} of {lines} lines:")?,
    }
    log.lines().skip(skipped).try_for_each(|line| write!(f, "\n    {}", Lines(line)))
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match (error.errno(), error.kind()) {
            (Some(errno), _) => Self::from_raw_os_error(errno.raw()).kind(),
            (None, ErrorKind::InvalidInput) => io::ErrorKind::InvalidInput,
            (None, ErrorKind::Malformed | ErrorKind::Mismatch) => io::ErrorKind::InvalidData,
            (None, ErrorKind::NotFound) => io::ErrorKind::NotFound,
            (None, ErrorKind::NotPermitted) => io::ErrorKind::PermissionDenied,
            (None, ErrorKind::Unsupported) => io::ErrorKind::Unsupported,
            (None, _) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
