//! The one error type of the runtime: what was being done, to what, what the kernel said, and what can be done about it.

use std::fmt;

use crate::escape::{Line, Lines};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What failed, why, and what can be done about it.
///
/// Its `Display` is one line that names the step and the error number, then notes, details and the end of the verifier's log where
/// there are some. It can be printed to a terminal whatever names it holds: characters that cannot be seen are escaped.
///
/// ```
/// use skelgen_runtime::Error;
///
/// fn explain(error: &Error) -> String {
///     match (error.impossible_cpu(), error.errno()) {
///         (Some(cpu), _) => format!("this machine has no CPU {cpu}"),
///         (None, Some(errno)) => format!("the kernel says {errno}; {}", error.advice().unwrap_or("no more is known")),
///         (None, None) => error.to_string(),
///     }
/// }
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    /// One line, escaped.
    context: String,
    errno: Option<Errno>,
    cpu: Option<u32>,
    /// Lines below all others, escaped.
    details: Option<String>,
    /// Escaped; the first is the advice.
    notes: Vec<String>,
    /// As the kernel wrote it.
    log: Option<String>,
}

impl Error {
    /// A request of the kernel that it refused.
    pub(crate) fn refused(context: impl fmt::Display, errno: Errno) -> Self {
        Self::new(context, Some(errno))
    }

    /// Something that could not be done without asking the kernel.
    pub(crate) fn invalid(context: impl fmt::Display) -> Self {
        Self::new(context, None)
    }

    fn new(context: impl fmt::Display, errno: Option<Errno>) -> Self {
        let context = Line(context).to_string();
        Self(Box::new(Inner { context, errno, cpu: None, details: None, notes: Vec::new(), log: None }))
    }

    /// A CPU that cannot be, `ERANGE` to the kernel.
    pub(crate) fn no_cpu(context: impl fmt::Display, cpu: u32) -> Self {
        let mut this = Self::refused(format_args!("{context}: there is no CPU {cpu}"), Errno(libc::ERANGE));
        this.0.cpu = Some(cpu);
        this
    }

    /// A file that could not be read.
    pub(crate) fn io(context: impl fmt::Display, error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Self::refused(context, Errno(number)),
            None => Self::invalid(format_args!("{context}: {error}")),
        }
    }

    /// The same, with where in a larger piece of work it happened.
    #[must_use]
    pub(crate) fn within(mut self, place: impl fmt::Display) -> Self {
        self.0.context = format!("{}: {}", Line(place), self.0.context);
        self
    }

    /// The same, with what can be done about it.
    #[must_use]
    pub(crate) fn note(mut self, note: impl fmt::Display) -> Self {
        self.0.notes = vec![Line(note).to_string()];
        self
    }

    /// Adds an earlier error as a note, behind the notes that there are.
    #[must_use]
    pub(crate) fn after(mut self, what: &str, earlier: &str) -> Self {
        self.0.notes.push(format!("{what}: {}", Lines(earlier)));
        self
    }

    /// Sets lines to show below the notes. Whatever is put into one of them must be one line.
    #[must_use]
    pub(crate) fn details(mut self, lines: impl fmt::Display) -> Self {
        self.0.details = Some(Lines(lines).to_string());
        self
    }

    /// The same, with the verifier's log.
    #[allow(dead_code, reason = "for the executor of plans")]
    #[must_use]
    pub(crate) fn log(mut self, log: String) -> Self {
        self.0.log = Some(log);
        self
    }

    /// What the kernel answered, if it was asked; or would have answered, where that is known without asking.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        self.0.errno
    }

    /// The CPU that was asked for but is not a possible one, if that is what is wrong.
    #[must_use]
    pub fn impossible_cpu(&self) -> Option<u32> {
        self.0.cpu
    }

    /// What can be done about it, where that is known.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.0.notes.first().map(String::as_str)
    }

    /// Returns the whole log of the verifier, if a program or BTF was refused, as the kernel wrote it: it may hold control
    /// characters, which `Display` of the error escapes.
    #[must_use]
    pub fn verifier_log(&self) -> Option<&str> {
        self.0.log.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { context, errno, cpu: _, details, notes, log } = &*self.0;
        f.write_str(context)?;
        if let Some(errno) = errno {
            write!(f, ": {errno}")?;
        }
        for note in notes {
            write!(f, "\n  note: {note}")?;
        }
        if let Some(details) = details {
            write!(f, "\n{details}")?;
        }
        match log {
            Some(log) => fmt_log(f, log),
            None => Ok(()),
        }
    }
}

/// As for people: a `main` that returns this error shows it by its `Debug`, as does `unwrap`.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How many lines of a log are shown: what is wrong stands at its end, and the whole can have millions.
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

impl std::error::Error for Error {}

/// An error number of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

impl Errno {
    /// The error number of the last system call of this thread.
    pub(crate) fn last() -> Self {
        Self(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    /// The error of this number.
    #[must_use]
    pub const fn from_raw(number: i32) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// The name of the number (`EPERM`), or `None` for one that bpf() and its like are not known to give.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            libc::EPERM => "EPERM",
            libc::ENOENT => "ENOENT",
            libc::ESRCH => "ESRCH",
            libc::EINTR => "EINTR",
            libc::EIO => "EIO",
            libc::ENXIO => "ENXIO",
            libc::E2BIG => "E2BIG",
            libc::EBADF => "EBADF",
            libc::EAGAIN => "EAGAIN",
            libc::ENOMEM => "ENOMEM",
            libc::EACCES => "EACCES",
            libc::EFAULT => "EFAULT",
            libc::EBUSY => "EBUSY",
            libc::EEXIST => "EEXIST",
            libc::EXDEV => "EXDEV",
            libc::ENODEV => "ENODEV",
            libc::ENOTDIR => "ENOTDIR",
            libc::EISDIR => "EISDIR",
            libc::EINVAL => "EINVAL",
            libc::ENFILE => "ENFILE",
            libc::EMFILE => "EMFILE",
            libc::EFBIG => "EFBIG",
            libc::ENOSPC => "ENOSPC",
            libc::EROFS => "EROFS",
            libc::EPIPE => "EPIPE",
            libc::EDOM => "EDOM",
            libc::ERANGE => "ERANGE",
            libc::EDEADLK => "EDEADLK",
            libc::ENAMETOOLONG => "ENAMETOOLONG",
            libc::ENOSYS => "ENOSYS",
            libc::ELOOP => "ELOOP",
            libc::EPROTO => "EPROTO",
            libc::EOVERFLOW => "EOVERFLOW",
            libc::EMSGSIZE => "EMSGSIZE",
            libc::EPROTONOSUPPORT => "EPROTONOSUPPORT",
            libc::EOPNOTSUPP => "EOPNOTSUPP",
            libc::ENETDOWN => "ENETDOWN",
            libc::ENOBUFS => "ENOBUFS",
            libc::ENOTCONN => "ENOTCONN",
            libc::ETIMEDOUT => "ETIMEDOUT",
            libc::EALREADY => "EALREADY",
            libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
            libc::EILSEQ => "EILSEQ",
            libc::ESTALE => "ESTALE",
            libc::ECANCELED => "ECANCELED",
            libc::EKEYREJECTED => "EKEYREJECTED",
            // Internal to the kernel, which lets it slip for some attachments it cannot do.
            524 => "ENOTSUPP",
            _ => return None,
        })
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name, then what it means.
impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = std::io::Error::from_raw_os_error(self.0).to_string();
        match self.name() {
            // The standard library appends the number, which the name says better.
            Some(name) => write!(f, "{name} ({})", meaning.split(" (os error").next().unwrap_or(&meaning)),
            None => f.write_str(&meaning),
        }
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind = error.errno().map_or(std::io::ErrorKind::Other, |errno| Self::from_raw_os_error(errno.0).kind());
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names come from objects, `/proc` and `/sys`, and a log holds names of the object's types and functions.
    #[test]
    fn errors_can_be_shown_on_a_terminal() {
        let hostile = "x\ncargo::warning=\r\u{1b}]0;\u{7}\u{9b}\u{202e}\t\0";
        let earlier = Error::invalid(format_args!("BTF `{hostile}`")).log(format!("before {hostile}"));
        let error = Error::refused(format_args!("map `{hostile}`"), Errno(libc::EINVAL))
            .within(format_args!("object `{hostile}`"))
            .note(format_args!("the kernel has `{hostile}`"))
            .details(format_args!("    1  {}\n    2", Line(hostile)))
            .after("before", &earlier.to_string())
            .log(format!("1:\tr0 = 0\n{hostile}\n2: exit\n"));
        for shown in [error.to_string(), format!("{error:?}"), error.advice().unwrap_or_default().to_owned()] {
            assert!(shown.chars().all(|c| crate::escape::is_visible(c) || "\n\t".contains(c)), "{shown:?}");
            assert!(!shown.starts_with("cargo::"), "{shown}");
        }
        let text = error.to_string();
        let lines: Vec<&str> = text.lines().collect();
        let escaped = Line(hostile).to_string();
        assert_eq!(lines[0], format!("object `{escaped}`: map `{escaped}`: EINVAL (Invalid argument)"));
        assert_eq!(lines[1], format!("  note: the kernel has `{escaped}`"));
        assert!(text.contains("\n    1:\tr0 = 0\n"), "{text}");
        assert_eq!(error.verifier_log().map(|log| log.contains(hostile)), Some(true));
    }
}
