//! The error type of the generator: a list of diagnostics, each with a stable code and a location in the object.
//!
//! Phases collect diagnostics in a [`Reporter`] and continue as far as they can, so that one run reports everything
//! that is wrong. A phase that reported an error returns no value, so no later phase works on damaged input. Fields
//! contain names and paths unchanged; the `Display` of a diagnostic escapes them ([`Line`]). This module does not
//! depend on any phase.

mod code;
#[cfg(any(feature = "cli", test))]
mod find;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use skelgen_abi::escape::{Line, Lines};

pub use code::Code;

/// An error of the generator: one or more diagnostics.
///
/// Its [`code`](Self::code) identifies the mistake and never changes its meaning. The text is for people and can
/// change.
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

/// Returns every code, in numeric order: for tests that need one of each.
#[must_use]
pub fn all_codes() -> &'static [Code] {
    Code::ALL
}

impl Error {
    /// Creates an error of one diagnostic without a location.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Diagnostic::new(code, message).into()
    }

    /// Sets the file that the diagnostics are about. Diagnostics about reading and writing already name a file.
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

    /// Returns the diagnostics in the order they were found. There is at least one.
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
        f.write_str(" for an explanation")
    }
}

/// Prints the same text as `Display`, because a build.rs whose `main` returns this error prints it with `Debug`.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

/// A diagnostic: what is wrong, where, and what to do about it.
///
/// Its `Display` is the form that `skelgen` prints, with invisible characters escaped. The text that its methods return
/// contains names as they are in the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// Boxed to keep `Result`s small.
    pub(crate) location: Box<Location>,
    /// What to do about it.
    pub(crate) help: Option<String>,
    /// The lines that another program, such as a compiler, printed about it.
    pub(crate) output: Option<String>,
}

impl Diagnostic {
    /// Returns the code of the mistake.
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

    /// Returns what to do about it, if that is known.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Creates a diagnostic without a location, with the help text of its code.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        let help = code.help().map(str::to_owned);
        Self { code, message: message.into(), location: Box::default(), help, output: None }
    }

    /// Sets the section.
    pub(crate) fn section(mut self, name: impl Into<String>) -> Self {
        self.location.section = Some(name.into());
        self
    }

    /// Sets the offset in the section, or in the file if no section is named, in bytes.
    pub(crate) fn offset(mut self, bytes: u64) -> Self {
        self.location.offset = Some(bytes);
        self
    }

    /// Sets the instruction's index in the section, in eight-byte slots.
    pub(crate) fn insn(mut self, index: usize) -> Self {
        self.location.insn = Some(index);
        self
    }

    /// Sets the source line.
    pub(crate) fn line(mut self, line: SourceLine) -> Self {
        self.location.line = Some(line);
        self
    }

    /// Sets what to do about it, instead of the help text of the code.
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Sets the output of another program about it.
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
        if let Some(help) = &self.help {
            write!(f, "\n  = help: {}", Line(help))?;
        }
        Ok(())
    }
}

/// A location in an object or its source. Fields that are not known are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Location {
    /// The object, or its source file if several were compiled.
    pub file: Option<String>,
    /// The ELF section's name.
    pub section: Option<String>,
    /// The offset in the section, or in the file if no section is named, in bytes.
    pub offset: Option<u64>,
    /// The instruction's index in the section, in eight-byte slots.
    pub insn: Option<usize>,
    /// The source line.
    pub line: Option<SourceLine>,
}

impl Location {
    /// Returns whether nothing is known.
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

/// A line of the source that an object was compiled from, as `.BTF.ext` records it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceLine {
    /// The file, as the compiler named it.
    pub file: String,
    /// The line number, from 1.
    pub line: u32,
    /// The column number, from 1.
    pub column: u32,
    /// The line's text, if the object contains it.
    pub text: Option<String>,
}

/// Collects the diagnostics of one phase.
#[derive(Debug, Default)]
pub(crate) struct Reporter {
    diagnostics: Vec<Diagnostic>,
}

impl Reporter {
    /// Creates a reporter without diagnostics.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a diagnostic.
    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Returns whether nothing was reported.
    pub(crate) fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// Returns the value of `result`, or reports its error and returns `None`.
    pub(crate) fn take<T>(&mut self, result: Result<T, impl Into<Error>>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.diagnostics.extend(error.into().diagnostics);
                None
            }
        }
    }

    /// Ends the phase and returns its value if nothing was reported.
    ///
    /// # Errors
    /// All reported diagnostics.
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
        assert_eq!(last, "run `skelgen explain SK0302`, `skelgen explain SK0601` for an explanation");
        assert_eq!(text.matches("skelgen explain").count(), 2, "{text}");
    }
}
