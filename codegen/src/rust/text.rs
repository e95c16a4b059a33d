//! Where the text goes: items as tokens, formatted one at a time, and lines that are text already.
//!
//! Tokens and what a formatter makes of them take hundreds of times the memory of the text. So only one item is tokens at a time,
//! and of an item with many fields, methods or values only some of these. Knows nothing of what it writes.

use std::fmt::{self, Write};

use proc_macro2::TokenStream;
use quote::quote;

use super::doc::Doc;
use super::macros;
use crate::error::{Code, Error, Result};

/// Columns of one level of indentation.
const INDENT: &str = "    ";

/// How many parts of an item are tokens at a time.
const PARTS: usize = 4;

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
        let text = format(tokens)?;
        self.item_begins()?;
        self.lines(&text)
    }

    /// One item with any number of parts in braces at its end, such as fields or methods: `doc` and what `item` makes of all of them,
    /// formatted as if it were made at once.
    pub(super) fn item_of_parts(
        &mut self,
        doc: &[Doc],
        parts: impl Iterator<Item = TokenStream>,
        item: impl Fn(&[TokenStream]) -> TokenStream,
    ) -> Result<()> {
        let mut parts = parts.peekable();
        let mut some: Vec<TokenStream> = parts.by_ref().take(PARTS).collect();
        let first = item(&some);
        let first = quote!(#(#[doc = #doc])* #first);
        if parts.peek().is_none() {
            return self.items(first);
        }
        // Without parts, the braces stand at the end of the last line before them.
        let head = format(item(&[]))?.lines().count();
        self.item_begins()?;
        let (mut from, mut before, mut next) = (0, String::new(), first);
        loop {
            let text = format(next)?;
            let last = parts.peek().is_none();
            let count = text.lines().count();
            let until = if last { count } else { count.saturating_sub(1) };
            for line in text.lines().take(until).skip(from) {
                if from > 0 && macros::is_apart(&before, line) {
                    self.raw("\n")?;
                }
                // Only what begins the text can have to stand apart from what is not in it.
                before.clear();
                self.lines(line)?;
                self.raw("\n")?;
            }
            if last {
                return Ok(());
            }
            before.extend(text.lines().take(until).last());
            from = head;
            some.clear();
            some.extend(parts.by_ref().take(PARTS));
            next = item(&some);
        }
    }

    /// Begins an item whose lines are text already.
    pub(super) fn item_begins(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.apart, true) { self.raw("\n") } else { Ok(()) }
    }

    /// Lets what comes next follow without an empty line.
    pub(super) fn join(&mut self) {
        self.apart = false;
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

/// Items as text.
fn format(tokens: TokenStream) -> Result<String> {
    let file = syn::parse2(tokens)
        .map_err(|error| Error::new(Code::BadName, format!("the object's names make no valid Rust: {error}")))?;
    Ok(macros::lay_out(&prettyplease::unparse(&file)))
}

/// Whoever takes the text knows better why.
fn refused(_: fmt::Error) -> Error {
    Error::new(Code::Io, "the text cannot be written")
}
