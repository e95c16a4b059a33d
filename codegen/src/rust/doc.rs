//! Comments in the generated file that contain names of an object.
//!
//! A comment is written as one [`Line`], so that a name cannot end the comment and the compiler accepts it: a carriage
//! return or a character that changes the text direction is an error in a comment. Names are in code spans, which they
//! cannot end, so that rustdoc does not interpret them as Markdown or HTML.

use std::fmt::{self, Display, Write};

use proc_macro2::{Literal, TokenStream};
use quote::{ToTokens, TokenStreamExt};
use skelgen_abi::escape::Line;

/// A line of documentation.
#[derive(Debug, Clone, Default)]
pub(super) struct Doc(String);

impl Doc {
    /// Creates a line. The text begins with a space.
    pub(super) fn new(line: impl Display) -> Self {
        Self(Line(line).to_string())
    }
}

impl ToTokens for Doc {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.append(Literal::string(&self.0));
    }
}

/// The text of the line, without the comment mark.
impl Display for Doc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text in a code span, with backticks escaped.
#[derive(Debug, Clone, Copy)]
pub(super) struct InCode<T>(pub(super) T);

impl<T: Display> Display for InCode<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(InSpan(f), "{}", Line(&self.0))
    }
}

/// A writer that escapes backticks.
struct InSpan<'o, W>(&'o mut W);

impl<W: Write> Write for InSpan<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (index, part) in text.split('`').enumerate() {
            if index > 0 {
                self.0.write_str("\\u{60}")?;
            }
            self.0.write_str(part)?;
        }
        Ok(())
    }
}
