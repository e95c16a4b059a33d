//! The one error type of the generator: a list of diagnostics, each with a stable code and the place in the object it is about.
//!
//! Phases collect diagnostics in a [`Reporter`] and go on as far as they can, so that one run shows all that is wrong; a phase
//! that reported an error returns no value, so nothing runs on a bad one. Fields hold names and paths as they are; the `Display` of
//! a diagnostic escapes them ([`Line`]), whatever it is printed to. This module knows nothing of any phase.

mod code;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use skelgen_abi::escape::{Line, Lines};

pub use code::{Code, UnknownCode};

/// What was wrong with the input: one diagnostic or more.
///
/// ```
/// let error = skelgen::error::Error::new(skelgen::error::Code::NotElf, "the file begins with `#!/bin/sh`");
/// assert_eq!(error.diagnostics()[0].code.as_str(), "SK0101");
/// ```
#[derive(Clone)]
pub struct Error {
    diagnostics: Vec<Diagnostic>,
}

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of one diagnostic without a place.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Diagnostic::new(code, message).into()
    }

    /// The same, about this file. What is about reading or writing names a file itself.
    #[must_use]
    pub fn in_file(mut self, path: &Path) -> Self {
        for diagnostic in self.diagnostics.iter_mut().filter(|diagnostic| diagnostic.code != Code::Io) {
            diagnostic.location.file.get_or_insert_with(|| path.display().to_string());
        }
        self
    }

    /// Returns the code of the first diagnostic.
    ///
    /// ```
    /// use skelgen::error::Code;
    ///
    /// let error = skelgen::generate(b"#!/bin/sh", &skelgen::Options::for_file("a.o")).unwrap_err();
    /// assert_eq!(error.code(), Code::NotElf);
    /// ```
    #[must_use]
    pub fn code(&self) -> Code {
        self.diagnostics[0].code
    }

    /// Returns the diagnostics, in the order they were found; there is at least one.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

impl From<Diagnostic> for Error {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { diagnostics: vec![diagnostic] }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        let codes: BTreeSet<Code> = self.diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
        let mut commands = codes.iter().map(|code| format!("`skelgen explain {code}`"));
        write!(f, "\nrun {}", commands.next().unwrap_or_default())?;
        commands.try_for_each(|command| write!(f, ", {command}"))?;
        f.write_str(" for what it means and what to do")
    }
}

/// As for people: a build.rs whose `main` returns this error shows it by its `Debug`.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

/// One thing that is wrong, where, and what to do about it.
///
/// ```
/// use skelgen::error::{Code, Diagnostic};
///
/// let diagnostic = Diagnostic::new(Code::NotElf, "the file begins with `#!/bin/sh`").section(".text").insn(3);
/// assert_eq!(diagnostic.location.section.as_deref(), Some(".text"));
/// assert!(diagnostic.to_string().starts_with("error[SK0101]: the file begins"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// Which of the known mistakes it is.
    pub code: Code,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where; boxed, because errors travel in results whose other side is small.
    pub location: Box<Location>,
    /// What to do about it.
    pub note: Option<String>,
    /// What another program, such as a compiler, printed about it: lines.
    pub output: Option<String>,
}

impl Diagnostic {
    /// A diagnostic without a place; its note is the code's own.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let note = code.help().map(str::to_owned);
        Self { code, message: message.into(), location: Box::default(), note, output: None }
    }

    /// The same, in this section.
    #[must_use]
    pub fn section(mut self, name: impl Into<String>) -> Self {
        self.location.section = Some(name.into());
        self
    }

    /// The same, at this byte of the section (or of the file, if no section is named).
    #[must_use]
    pub fn offset(mut self, bytes: u64) -> Self {
        self.location.offset = Some(bytes);
        self
    }

    /// The same, at this instruction of the section, counted in slots of eight bytes.
    #[must_use]
    pub fn insn(mut self, index: usize) -> Self {
        self.location.insn = Some(index);
        self
    }

    /// The same, from this line of source.
    #[must_use]
    pub fn line(mut self, line: SourceLine) -> Self {
        self.location.line = Some(line);
        self
    }

    /// The same, with this note instead of the code's own.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Sets what another program printed about it.
    #[must_use]
    pub fn output(mut self, lines: impl Into<String>) -> Self {
        self.output = Some(lines.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code.as_str(), Line(&self.message))?;
        if !self.location.is_empty() {
            write!(f, "\n  --> {}", self.location)?;
        }
        if let Some(SourceLine { text: Some(text), .. }) = &self.location.line {
            write!(f, "\n   |  {}", Line(text.trim().replace('\t', " ")))?;
        }
        for line in self.output.iter().flat_map(|output| output.lines()) {
            write!(f, "\n   |  {}", Lines(line))?;
        }
        if let Some(note) = &self.note {
            write!(f, "\n  = note: {}", Line(note))?;
        }
        Ok(())
    }
}

/// A place in the object; what is not known is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Location {
    /// The object, or the source it is compiled from, where it is one of several.
    pub file: Option<String>,
    /// Name of the ELF section.
    pub section: Option<String>,
    /// Offset in the section, or in the file where no section is named, in bytes.
    pub offset: Option<u64>,
    /// Instruction in the section, counted in slots of eight bytes.
    pub insn: Option<usize>,
    /// Line of the source.
    pub line: Option<SourceLine>,
}

impl Location {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if let Some(file) = &self.file {
            write!(f, "{}", Line(file))?;
            separator = ", ";
        }
        if let Some(section) = &self.section {
            write!(f, "{separator}section {}", Line(section))?;
            separator = ", ";
        }
        if let Some(insn) = self.insn {
            write!(f, "{separator}instruction {insn}")?;
            separator = ", ";
        }
        if let Some(offset) = self.offset {
            write!(f, "{separator}byte {offset:#x}")?;
            separator = ", ";
        }
        if let Some(line) = &self.line {
            write!(f, "{separator}{}:{}:{}", Line(&line.file), line.line, line.column)?;
        }
        Ok(())
    }
}

/// A line of the source the object was compiled from, as its `.BTF.ext` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceLine {
    /// The file, as the compiler named it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// The line's text, if the object has it.
    pub text: Option<String>,
}

/// Collects the diagnostics of one phase.
///
/// ```
/// use skelgen::error::{Code, Diagnostic, Reporter};
///
/// let mut reporter = Reporter::default();
/// reporter.report(Diagnostic::new(Code::BadName, "one"));
/// reporter.report(Diagnostic::new(Code::BadName, "another"));
/// assert_eq!(reporter.finish(()).unwrap_err().diagnostics().len(), 2);
/// ```
#[derive(Debug, Default)]
pub struct Reporter {
    diagnostics: Vec<Diagnostic>,
}

impl Reporter {
    /// Nothing reported yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a diagnostic.
    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Takes the value out of `result`, or takes its error in and returns `None`.
    pub fn take<T>(&mut self, result: Result<T, impl Into<Error>>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.diagnostics.extend(error.into().diagnostics);
                None
            }
        }
    }

    /// Ends the phase: its value if nothing was reported, else all that was.
    ///
    /// # Errors
    /// What was reported.
    pub fn finish<T>(self, value: T) -> Result<T> {
        if self.diagnostics.is_empty() { Ok(value) } else { Err(Error { diagnostics: self.diagnostics }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_offered_for_explanation_once() {
        let mut reporter = Reporter::new();
        reporter.report(Diagnostic::new(Code::BadName, "one"));
        reporter.report(Diagnostic::new(Code::BadMap, "two"));
        reporter.report(Diagnostic::new(Code::BadName, "three"));
        let error = reporter.finish(()).unwrap_err();
        assert_eq!(error.code(), Code::BadName);
        let text = error.to_string();
        assert_eq!(text.matches("error[SK0601]").count(), 2, "{text}");
        let last = text.lines().last().unwrap_or_default();
        assert_eq!(last, "run `skelgen explain SK0302`, `skelgen explain SK0601` for what it means and what to do");
        assert_eq!(text.matches("skelgen explain").count(), 2, "{text}");
    }
}
