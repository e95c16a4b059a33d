//! Where the text goes: a line at a time, indented.
//!
//! Knows nothing of what it writes.

use std::fmt::{self, Write};

use crate::error::{Code, Error, Result};

/// Columns of one level of indentation.
const INDENT: &str = "    ";

/// Text on its way to whoever takes it.
pub(super) struct Text<'a> {
    out: &'a mut dyn Write,
    depth: usize,
    /// Whether an item is to stand apart from what was written before it.
    apart: bool,
}

impl<'a> Text<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, depth: 0, apart: false }
    }

    /// Text as it is.
    pub(super) fn raw(&mut self, text: &str) -> Result<()> {
        self.out.write_str(text).map_err(refused)
    }

    /// One line, given as what `format_args!` makes.
    pub(super) fn line(&mut self, line: fmt::Arguments<'_>) -> Result<()> {
        self.apart = false;
        self.indent()?;
        self.out.write_fmt(line).map_err(refused)?;
        self.raw("\n")
    }

    /// A line, after which everything up to [`Self::close`] is one level deeper.
    pub(super) fn open(&mut self, line: fmt::Arguments<'_>) -> Result<()> {
        self.line(line)?;
        self.depth += 1;
        Ok(())
    }

    /// The line that ends what [`Self::open`] began.
    pub(super) fn close(&mut self, line: &str) -> Result<()> {
        self.depth = self.depth.saturating_sub(1);
        self.line(format_args!("{line}"))?;
        self.apart = true;
        Ok(())
    }

    /// Begins an item: after an empty line, if another ended before it.
    pub(super) fn item_begins(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.apart, true) { self.raw("\n") } else { Ok(()) }
    }

    /// Lets the next item stand apart from what was written last.
    pub(super) fn apart(&mut self) {
        self.apart = true;
    }

    fn indent(&mut self) -> Result<()> {
        (0..self.depth).try_for_each(|_| self.raw(INDENT))
    }
}

/// Text that is kept, in pieces: a `String` that grows takes up to three times the memory of its text.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    full: Vec<String>,
    last: String,
}

/// How long a piece is.
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

/// Whoever takes the text knows better why.
fn refused(_: fmt::Error) -> Error {
    Error::new(Code::Io, "the text cannot be written")
}
