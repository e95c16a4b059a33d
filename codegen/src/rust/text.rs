//! Output of text, one indented line at a time.
//!
//! This module does not interpret the text.

use std::fmt::{self, Write};

use crate::error::{Code, Error, Result};

/// One level of indentation.
const INDENT: &str = "    ";

/// A text output with indentation.
pub(super) struct Text<'a> {
    out: &'a mut dyn Write,
    depth: usize,
    /// Whether an empty line is needed before the next item.
    separate: bool,
}

impl<'a> Text<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, depth: 0, separate: false }
    }

    /// Writes text unchanged.
    pub(super) fn raw(&mut self, text: &str) -> Result<()> {
        self.out.write_str(text).map_err(refused)
    }

    /// Writes one line.
    pub(super) fn line(&mut self, line: fmt::Arguments<'_>) -> Result<()> {
        self.separate = false;
        self.indent()?;
        self.out.write_fmt(line).map_err(refused)?;
        self.raw("\n")
    }

    /// Writes a line, and indents the following lines until [`Self::close`].
    pub(super) fn open(&mut self, line: fmt::Arguments<'_>) -> Result<()> {
        self.line(line)?;
        self.depth += 1;
        Ok(())
    }

    /// Writes the line that ends a block of [`Self::open`].
    pub(super) fn close(&mut self, line: &str) -> Result<()> {
        self.depth = self.depth.saturating_sub(1);
        self.line(format_args!("{line}"))?;
        self.separate = true;
        Ok(())
    }

    /// Begins an item, after an empty line if another item precedes it.
    pub(super) fn begin_item(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.separate, true) { self.raw("\n") } else { Ok(()) }
    }

    /// Separates the next item from the preceding text.
    pub(super) fn separate(&mut self) {
        self.separate = true;
    }

    fn indent(&mut self) -> Result<()> {
        (0..self.depth).try_for_each(|_| self.raw(INDENT))
    }
}

/// A text buffer of pieces. A growing `String` would take up to three times the memory of its text.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    full: Vec<String>,
    last: String,
}

/// The size of a piece, in bytes.
const PIECE: usize = 1 << 15;

impl Pieces {
    pub(crate) fn into_string(mut self) -> String {
        if self.full.is_empty() {
            return self.last;
        }
        self.full.push(self.last);
        self.full.concat()
    }
}

impl Write for Pieces {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.last.len() + text.len() > PIECE && !self.last.is_empty() {
            self.full.push(std::mem::replace(&mut self.last, String::with_capacity(PIECE)));
        }
        self.last.push_str(text);
        Ok(())
    }
}

/// Replaces a formatting error. The owner of the output knows the cause.
fn refused(_: fmt::Error) -> Error {
    Error::new(Code::Io, "cannot write the text")
}
