//! The one error type of the generator: a list of diagnostics, each with a stable code and the place in the object it is about.
//!
//! Phases collect diagnostics in a [`Reporter`] and go on as far as they can, so that one run shows all that is wrong; a phase
//! that reported an error returns no value, so nothing runs on a bad one. Fields hold names and paths as they are; the `Display` of
//! a diagnostic escapes them ([`Line`]), whatever it is printed to. This module knows nothing of any phase.

mod code;
#[cfg(any(feature = "cli", test))]
mod find;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use skelgen_abi::escape::{Line, Lines};

pub use code::Code;

/// An error of the generator: one diagnostic or more.
///
/// Its [`code`](Self::code) says which mistake it is about and never changes its meaning; the text is for people and can change.
///
/// ```
/// let error = skelgen::generate(b"#!/bin/sh", &skelgen::Options::for_file("a.o")).unwrap_err();
/// assert_eq!(error.code(), skelgen::Code::NotElf);
/// for diagnostic in error.diagnostics() {
///     eprintln!("{}: {}", diagnostic.code(), diagnostic.message());
/// }
/// ```
#[derive(Clone)]
pub struct Error {
    diagnostics: Vec<Diagnostic>,
}

/// A [`std::result::Result`] whose error is an [`Error`] unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every code, in the order of their numbers: for tests that look for one of each.
#[must_use]
pub fn all_codes() -> &'static [Code] {
    Code::ALL
}

impl Error {
    /// Creates an error of one diagnostic without a location.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Diagnostic::new(code, message).into()
    }

    /// Sets the file that the diagnostics are about. Those about reading and writing name a file themselves.
    pub(crate) fn in_file(mut self, path: &Path) -> Self {
        for diagnostic in self.diagnostics.iter_mut().filter(|diagnostic| diagnostic.code != Code::Io) {
            diagnostic.location.file.get_or_insert_with(|| path.display().to_string());
        }
        self
    }

    /// Returns the code of the first diagnostic.
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

/// One mistake: what is wrong, where, and what to do about it.
///
/// Its `Display` is the form that `skelgen` prints, in which every character that cannot be seen is escaped. The text that its
/// methods return holds names as they are in the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// Boxed, because errors travel in results whose other side is small.
    pub(crate) location: Box<Location>,
    pub(crate) note: Option<String>,
    /// What another program, such as a compiler, printed about it: lines.
    pub(crate) output: Option<String>,
}

impl Diagnostic {
    /// Returns which of the known mistakes it is.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// Returns what is wrong, in one sentence without a full stop.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns where in the object or its source the mistake is, as far as that is known.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Returns what to do about it, if there is more to say than the message does.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Creates a diagnostic without a location; its note is the code's own.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        let note = code.help().map(str::to_owned);
        Self { code, message: message.into(), location: Box::default(), note, output: None }
    }

    /// Sets the section.
    pub(crate) fn section(mut self, name: impl Into<String>) -> Self {
        self.location.section = Some(name.into());
        self
    }

    /// Sets the byte of the section (or of the file, if no section is named).
    pub(crate) fn offset(mut self, bytes: u64) -> Self {
        self.location.offset = Some(bytes);
        self
    }

    /// Sets the instruction of the section, counted in slots of eight bytes.
    pub(crate) fn insn(mut self, index: usize) -> Self {
        self.location.insn = Some(index);
        self
    }

    /// Sets the line of the source.
    pub(crate) fn line(mut self, line: SourceLine) -> Self {
        self.location.line = Some(line);
        self
    }

    /// Sets the note, instead of the code's own.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Sets what another program printed about it.
    pub(crate) fn output(mut self, lines: impl Into<String>) -> Self {
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

/// A location in an object or its source; what is not known is `None`.
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
    fn is_empty(&self) -> bool {
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

/// A line of the source that an object was compiled from, as recorded in `.BTF.ext`.
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
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    diagnostics: Vec<Diagnostic>,
}

impl Reporter {
    /// Nothing reported yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a diagnostic.
    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Whether nothing was reported.
    pub(crate) fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// Takes the value out of `result`, or takes its error in and returns `None`.
    pub(crate) fn take<T>(&mut self, result: Result<T, impl Into<Error>>) -> Option<T> {
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
    pub(crate) fn finish<T>(self, value: T) -> Result<T> {
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
        assert_eq!(error.diagnostics().len(), 3);
        let text = error.to_string();
        assert_eq!(text.matches("error[SK0601]").count(), 2, "{text}");
        let last = text.lines().last().unwrap_or_default();
        assert_eq!(last, "run `skelgen explain SK0302`, `skelgen explain SK0601` for what it means and what to do");
        assert_eq!(text.matches("skelgen explain").count(), 2, "{text}");
    }
}
