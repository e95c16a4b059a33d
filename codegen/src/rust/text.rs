//! Where the text goes: items as tokens, formatted one at a time, and lines that are text already.
//!
//! No item needs to know of the others, so only one of them is held in memory as tokens. Knows nothing of what it writes.

use std::fmt::{self, Write};

use proc_macro2::TokenStream;

use super::macros;
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

    /// Lines of text, each indented.
    pub(super) fn lines(&mut self, text: &str) -> Result<()> {
        if self.depth == 0 {
            return self.raw(text);
        }
        for line in text.split_inclusive('\n') {
            if line != "\n" {
                self.indent()?;
            }
            self.raw(line)?;
        }
        Ok(())
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

    /// One item or some, formatted.
    pub(super) fn items(&mut self, tokens: TokenStream) -> Result<()> {
        if tokens.is_empty() {
            return Ok(());
        }
        let file = syn::parse2(tokens)
            .map_err(|error| Error::new(Code::BadName, format!("the object's names make no valid Rust: {error}")))?;
        if std::mem::replace(&mut self.apart, true) {
            self.raw("\n")?;
        }
        self.lines(&macros::lay_out(&prettyplease::unparse(&file)))
    }

    fn indent(&mut self) -> Result<()> {
        (0..self.depth).try_for_each(|_| self.raw(INDENT))
    }
}

/// Whoever takes the text knows better why.
fn refused(_: fmt::Error) -> Error {
    Error::new(Code::Io, "the text cannot be written")
}
