//! What a build script tells cargo: a directive is one line of standard output.
//!
//! All of them are printed here. Text is printed as one [`Line`], so that no name begins a directive of its own. A path is printed as
//! it is or not at all: one that a line cannot hold is an error, because cargo would watch another file. Knows nothing of skeletons.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use skelgen_abi::escape::Line;

use crate::error::{Code, Diagnostic, Error, Result};

/// The directives of one build script.
pub(super) struct Directives {
    /// The directory that the script writes to, without links.
    out_dir: Option<PathBuf>,
    /// What was said already.
    said: BTreeSet<String>,
}

impl Directives {
    /// None yet. Nothing in `out_dir` will be watched.
    pub(super) fn new(out_dir: Option<&Path>) -> Self {
        Self { out_dir: out_dir.and_then(|path| path.canonicalize().ok()), said: BTreeSet::new() }
    }

    /// Has cargo show this line to whoever builds.
    pub(super) fn warn(&mut self, line: impl Display) -> Result<()> {
        self.say("warning", &Line(line).to_string())
    }

    /// Has cargo run the script again if this variable of the environment changes.
    pub(super) fn watch_variable(&mut self, name: &str) -> Result<()> {
        self.say("rerun-if-env-changed", name)
    }

    /// Has cargo run the script again if this file changes. A file in the directory that the script writes to is one that it made
    /// itself: it is newer than the run that made it, so the script would run in every build.
    ///
    /// # Errors
    /// [`Code::BadPath`] if a directive cannot hold the path.
    pub(super) fn watch(&mut self, path: &Path) -> Result<()> {
        let file = path.canonicalize();
        if let (Some(out_dir), Ok(file)) = (&self.out_dir, &file) {
            if file.starts_with(out_dir) {
                return Ok(());
            }
        }
        let line = expressible(path).map_err(|why| unwatchable(path, why))?;
        self.say("rerun-if-changed", line)
    }

    /// Prints a directive. `value` is one line.
    fn say(&mut self, key: &str, value: &str) -> Result<()> {
        let line = format!("cargo::{key}={value}\n");
        if self.said.contains(&line) {
            return Ok(());
        }
        io::stdout()
            .lock()
            .write_all(line.as_bytes())
            .map_err(|error| Error::new(Code::Io, format!("cannot write to standard output: {error}")))?;
        self.said.insert(line);
        Ok(())
    }
}

/// The path as a directive holds it, or why none can: cargo reads lines of UTF-8, and leaves out spaces at their end.
fn expressible(path: &Path) -> Result<&str, &'static str> {
    let text = path.to_str().ok_or("it is not UTF-8")?;
    if text.contains(char::is_control) {
        return Err("it holds a control character, such as a line feed");
    }
    if text.trim_end() != text {
        return Err("it ends with a space");
    }
    if text.contains(is_disguise) {
        return Err("it holds a character that changes how the rest of a line is shown");
    }
    Ok(text)
}

/// Separators of lines and paragraphs, and what changes the direction of text until it is changed back. Other characters that cannot be
/// seen, such as spaces and joiners of scripts that have these, are in names that people use.
fn is_disguise(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn unwatchable(path: &Path, why: &str) -> Diagnostic {
    Diagnostic::new(Code::BadPath, format!("cargo cannot watch `{}`: {why}", path.display()))
        .note("rename the file or its directory: a build script names what cargo is to watch in lines of text")
}
