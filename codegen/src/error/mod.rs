//! The error type of the generator: a list of diagnostics, each with a stable code and a location in the object.
//!
//! Phases collect diagnostics in a [`Reporter`] and continue as far as they can, so that one run reports all problems.
//! A phase that reported an error returns no value, so later phases never process damaged input. Fields contain names
//! and paths unchanged; the `Display` of a diagnostic escapes them ([`Line`]). This module does not depend on any
//! phase.

mod code;
#[cfg(any(feature = "cli", test))]
mod find;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
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

/// Returns every code, in numeric order, for tests that check all codes.
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

    /// Returns the line with the `skelgen explain` commands that explain this error.
    pub(crate) fn advice(&self) -> String {
        let codes: BTreeSet<Code> = self.diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
        let commands: Vec<String> = codes.iter().map(|code| format!("`skelgen explain {code}`")).collect();
        format!("run {} for an explanation", commands.join(", "))
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
        write!(f, "\n{}", self.advice())
    }
}

/// Prints the same text as `Display`, because a build.rs whose `main` returns this error prints it with `Debug`.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

/// A diagnostic: a problem, its location, and what to do about it.
///
/// Its `Display` is the text that `skelgen` prints, with invisible characters escaped. The texts that its methods
/// return contain names unchanged, as the object has them.
///
/// ```
/// let error = skelgen::generate(b"not ELF", &skelgen::Options::for_file("text.o")).unwrap_err();
/// let diagnostic = &error.diagnostics()[0];
/// println!("{}: {}", diagnostic.code(), diagnostic.message());
/// assert!(diagnostic.help().is_some());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// Boxed to keep `Result`s small.
    pub(crate) location: Box<Location>,
    /// What to do about the problem.
    pub(crate) help: Option<String>,
    /// The lines that another program, such as a compiler, printed about the problem.
    pub(crate) output: Option<String>,
}

impl Diagnostic {
    /// Returns the code of the mistake.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// Returns the problem, in one sentence without a full stop.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the location of the mistake in the object or its source, with the parts that are known.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Returns what to do about the problem, if that is known.
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

    /// Sets what to do about the problem, instead of the help text of the code.
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Sets the lines that another program, such as a compiler, printed about the problem.
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
        if let Some(excerpt) = self.location.line.as_ref().and_then(SourceLine::excerpt) {
            let count = |text: &str| text.chars().count();
            let (before, marked) =
                (count(&excerpt.text[..excerpt.marked.start]), count(&excerpt.text[excerpt.marked.clone()]));
            write!(f, "\n   |  {}\n   |  {:before$}{}", excerpt.text, "", "^".repeat(marked))?;
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
///
/// ```no_run
/// # fn f(diagnostic: &skelgen::Diagnostic) {
/// let location = diagnostic.location();
/// if let (Some(section), Some(insn)) = (&location.section, location.insn) {
///     println!("instruction {insn} of {section}");
/// }
/// # }
/// ```
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
    /// Returns whether all fields are unknown.
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
///
/// ```no_run
/// # fn f(diagnostic: &skelgen::Diagnostic) {
/// if let Some(line) = &diagnostic.location().line {
///     println!("{}:{}:{}", line.file, line.line, line.column);
/// }
/// # }
/// ```
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

/// A source line as diagnostics quote it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Excerpt {
    /// The text without surrounding spaces, with invisible characters escaped.
    pub(crate) text: String,
    /// The range of bytes to underline: the word at the column, or the whole line if the column is not in the text.
    pub(crate) marked: Range<usize>,
}

impl SourceLine {
    /// Returns the line to quote, if its text is known.
    pub(crate) fn excerpt(&self) -> Option<Excerpt> {
        let text = self.text.as_deref()?.replace('\t', " ");
        let trimmed = text.trim();
        let skipped = text.len() - text.trim_start().len();
        let column = usize::try_from(self.column).ok()?.checked_sub(skipped + 1);
        // Columns count bytes.
        let from = column.filter(|&column| column < trimmed.len() && trimmed.is_char_boundary(column));
        let (before, rest) = trimmed.split_at(from.unwrap_or(0));
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let len = if from.is_some() { word.max(first) } else { rest.len() };
        let (before, marked, after) = (Line(before), Line(&rest[..len]), Line(&rest[len..]));
        let (before, marked) = (before.to_string(), marked.to_string());
        let range = before.len()..before.len() + marked.len();
        Some(Excerpt { text: format!("{before}{marked}{after}"), marked: range })
    }
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

    /// Returns whether no diagnostic was reported.
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

    /// Ends the phase and returns its value if no diagnostic was reported.
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
    fn source_lines_are_underlined_at_the_column() {
        let line = |text: &str, column| SourceLine { file: "a.c".into(), line: 7, column, text: Some(text.to_owned()) };
        let marked = |text, column| {
            let excerpt = line(text, column).excerpt().expect("it has a text");
            (excerpt.text[excerpt.marked.clone()].to_owned(), excerpt.text)
        };
        assert_eq!(marked("\tcall_it(x);  ", 2), ("call_it".into(), "call_it(x);".into()));
        assert_eq!(marked("  return *p + 1;", 10), ("*".into(), "return *p + 1;".into()));
        assert_eq!(marked("  return 0;", 0), ("return 0;".into(), "return 0;".into()));
        assert_eq!(marked("  return 0;", 99).0, "return 0;");
        assert_eq!(marked("a\u{1b}b", 2).0, r"\u{1b}");
        assert_eq!(marked("ü = 1;", 2).0, "ü = 1;", "the column is inside a character");
        assert_eq!(marked("", 1).0, "");
        let error = Error::from(Diagnostic::new(Code::BadName, "it is wrong").line(line("\tcall_it(x);", 2)));
        let text = error.to_string();
        assert!(text.contains("\n  --> a.c:7:2\n   |  call_it(x);\n   |  ^^^^^^^\n"), "{text}");
    }

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
