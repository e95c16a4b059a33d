//! The output of commands: results to standard output or a file, errors and warnings to standard error. Only terminals
//! get colors.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ColorChoice};
use serde::Serialize;
use skelgen_abi::escape::{Line, is_visible};

use super::input::is_standard;
use super::render;
use super::status::Status;
use crate::error::{Code, Error, Result};
use crate::output;

/// The output of a command, and the exit status of the tool.
#[derive(Debug, Default)]
pub(super) struct Screen {
    status: Status,
    /// Whether something was printed to standard output.
    printed: bool,
}

/// The argument that names an output file.
#[derive(Args)]
pub(super) struct Output {
    /// Output file, or `-` for standard output [default: -]
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

impl Screen {
    /// Returns the exit status, which depends on the errors that were printed.
    pub(super) fn status(&self) -> Status {
        self.status
    }

    /// Prints an error, and sets the exit status to that of a failure.
    pub(super) fn error(&mut self, error: &Error) {
        anstream::eprintln!("{}", render::error(error));
        self.status = self.status.max(Status::Failed);
    }

    /// Sets the exit status to that of an object that will not work.
    pub(super) fn unfit(&mut self) {
        self.status = self.status.max(Status::Unfit);
    }

    /// Prints why the kernel rejected a request, and sets the exit status to that of a rejected object.
    pub(super) fn rejected(&mut self, error: &skelgen_runtime::Error) {
        anstream::eprintln!("error: {error}");
        self.status = self.status.max(Status::Rejected);
    }

    /// Prints lines to standard output immediately. Returns whether standard output still has a reader.
    ///
    /// # Errors
    /// [`Code::Io`].
    pub(super) fn say(&mut self, lines: &str) -> Result<bool> {
        output::to_reader(|out| output::put(out, lines))
    }

    /// Prints a warning about a file.
    pub(super) fn warn(&mut self, file: &Path, warning: &str) {
        eprintln!("warning: {}: {warning}", Line(file.display()));
    }

    /// Prints text to standard output. An empty line separates it from text that was printed before.
    ///
    /// # Errors
    /// [`Code::Io`].
    pub(super) fn print(&mut self, text: &str) -> Result<()> {
        let separator = if std::mem::replace(&mut self.printed, true) { "\n" } else { "" };
        output::to_stdout(|out| output::put(out, separator).and_then(|()| output::put(out, text)))
    }

    /// Prints a value as JSON to standard output.
    ///
    /// # Errors
    /// [`Code::Io`].
    pub(super) fn print_json(&mut self, value: &impl Serialize) -> Result<()> {
        let text = json(value)?;
        output::to_stdout(|out| output::put(out, &text))
    }
}

impl Output {
    /// Writes the text that `produce` writes to the file, or to standard output.
    ///
    /// # Errors
    /// [`Code::Io`], and those of `produce`.
    pub(super) fn write(&self, produce: impl FnOnce(&mut dyn fmt::Write) -> Result<()>) -> Result<()> {
        match &self.output {
            Some(path) if !is_standard(path) => output::to_file(path, produce),
            _ => output::to_stdout(produce),
        }
    }

    /// Writes bytes to the file, or to standard output.
    ///
    /// # Errors
    /// [`Code::Io`].
    pub(super) fn write_bytes(&self, bytes: &[u8]) -> Result<()> {
        output::bytes(self.output.as_deref().filter(|path| !is_standard(path)), bytes)
    }

    /// Writes text to the file, or to standard output.
    ///
    /// # Errors
    /// [`Code::Io`].
    pub(super) fn print(&self, text: &str) -> Result<()> {
        self.write(|out| output::put(out, text))
    }

    /// Writes a value as JSON to the file, or to standard output.
    ///
    /// # Errors
    /// [`Code::Io`].
    pub(super) fn print_json(&self, value: &impl Serialize) -> Result<()> {
        self.print(&json(value)?)
    }
}

/// Returns a value as JSON without invisible characters.
fn json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::new(Code::Io, format!("cannot write JSON: {error}")))?;
    Ok(visible_json(&text) + "\n")
}

/// Sets when colors are used.
pub(super) fn set_color(choice: ColorChoice) {
    match choice {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// Escapes all invisible characters of JSON. Except for line feeds, they occur only in strings.
fn visible_json(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for c in text.chars() {
        if is_visible(c) || c == '\n' {
            visible.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(visible, "\\u{unit:04x}");
            }
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    #[test]
    fn visible_json_has_the_same_values() {
        let names = ["a\u{7f}\u{9b}b", "\n\r\t\u{1b}", "\u{202e}\u{feff}\u{e0041}", "ü\\\"`"];
        let text = serde_json::to_string_pretty(&names).expect("text can be written");
        let visible = super::visible_json(&text);
        assert!(visible.lines().all(|line| line.chars().all(skelgen_abi::escape::is_visible)), "{visible:?}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&visible).expect("it is JSON"), names);
    }
}
