//! Directives of a build script to cargo: lines of standard output.
//!
//! All directives are printed here. Text is printed as one [`Line`], so that it cannot contain another directive. A
//! path that cannot be printed unchanged is rejected: if it were escaped, cargo would watch another file. This module
//! does not know skeletons.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use skelgen_abi::escape::Line;

use crate::error::{Code, Diagnostic, Error, Result};

/// The directives of one build script.
pub(super) struct Directives {
    /// The output directory of the script, with symbolic links resolved.
    out_dir: Option<PathBuf>,
    /// The directives that were already printed.
    printed: BTreeSet<String>,
}

impl Directives {
    /// Creates an empty set of directives. Files in `out_dir` are not watched.
    pub(super) fn new(out_dir: Option<&Path>) -> Self {
        Self { out_dir: out_dir.and_then(|path| path.canonicalize().ok()), printed: BTreeSet::new() }
    }

    /// Prints a warning that cargo shows to the user.
    pub(super) fn warn(&mut self, line: impl Display) -> Result<()> {
        self.print("warning", &Line(line).to_string())
    }

    /// Makes cargo rerun the script if this environment variable changes.
    pub(super) fn watch_variable(&mut self, name: &str) -> Result<()> {
        self.print("rerun-if-env-changed", name)
    }

    /// Makes cargo rerun the script if this file changes. Skips files in the script's output directory: they are newer
    /// than the run that wrote them, so every build would rerun the script.
    ///
    /// # Errors
    /// [`Code::BadPath`] if a directive cannot contain the path.
    pub(super) fn watch(&mut self, path: &Path) -> Result<()> {
        let file = path.canonicalize();
        if let (Some(out_dir), Ok(file)) = (&self.out_dir, &file) {
            if file.starts_with(out_dir) {
                return Ok(());
            }
        }
        let line = directive_path(path).map_err(|why| unwatchable(path, why))?;
        self.print("rerun-if-changed", line)
    }

    /// Prints a directive whose value is one line.
    fn print(&mut self, key: &str, value: &str) -> Result<()> {
        let line = format!("cargo::{key}={value}\n");
        if self.printed.contains(&line) {
            return Ok(());
        }
        io::stdout()
            .lock()
            .write_all(line.as_bytes())
            .map_err(|error| Error::new(Code::Io, format!("cannot write to standard output: {error}")))?;
        self.printed.insert(line);
        Ok(())
    }
}

/// Returns the path as text for a directive, or why that is impossible: cargo reads lines of UTF-8 and removes trailing
/// spaces.
fn directive_path(path: &Path) -> Result<&str, &'static str> {
    let text = path.to_str().ok_or("it is not UTF-8")?;
    if text.contains(char::is_control) {
        return Err("it contains a control character, such as a line feed");
    }
    if text.trim_end() != text {
        return Err("it ends with a space");
    }
    if text.contains(changes_display) {
        return Err("it contains a line separator or a bidirectional control character");
    }
    Ok(text)
}

/// Returns whether a character separates lines or paragraphs, or changes the direction of the following text. Other
/// invisible characters, such as spaces and joiners, are legitimate in names of some writing systems.
fn changes_display(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn unwatchable(path: &Path, why: &str) -> Diagnostic {
    Diagnostic::new(Code::BadPath, format!("cargo cannot watch `{}`: {why}", path.display()))
        .with_help("rename the file or its directory; directives to cargo are lines of text")
}
