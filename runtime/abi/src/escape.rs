//! Escaping of untrusted text before it is shown: names in objects, paths, and output of other programs and the kernel.
//!
//! Invisible characters are written as Rust escapes, such as `\n`, `\u{1b}` or `\u{202e}`. A name then cannot begin a
//! new line, which cargo might take for a directive, control a terminal, or change the order in which a line is shown.
//! Backslashes are not escaped, because source lines contain many. The result need not be parsed again, and escaping
//! twice has no further effect.
//!
//! The generator and the runtime share this module. It does not interpret the text.

use core::fmt::{self, Display, Write};

/// Text as one line: all invisible characters are escaped, including line feeds and tabs.
///
/// ```
/// use skelgen_abi::escape::Line;
/// assert_eq!(Line("a\nb\u{1b}[31m").to_string(), r"a\nb\u{1b}[31m");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Line<T>(pub T);

/// Text of several lines: all invisible characters except line feeds and tabs are escaped.
///
/// ```
/// use skelgen_abi::escape::Lines;
/// assert_eq!(Lines("1\ta\r\n2").to_string(), "1\ta\\r\n2");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Lines<T>(pub T);

impl<T: Display> Display for Line<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping { out: f, keeps_lines: false }, "{}", self.0)
    }
}

impl<T: Display> Display for Lines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping { out: f, keeps_lines: true }, "{}", self.0)
    }
}

/// Returns whether a character is visible or a space. Control characters, format characters, line separators and
/// unassigned characters are invisible. A combining mark is visible.
#[must_use]
pub fn is_visible(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    // The standard library escapes a mark only if nothing precedes it.
    let mut text = [b'a', 0, 0, 0, 0];
    let len = 1 + c.encode_utf8(&mut text[1..]).len();
    core::str::from_utf8(&text[..len]).is_ok_and(|text| text.escape_debug().nth(1) == Some(c))
}

/// A writer that escapes text. It is not generic, so that a binary contains its code only once.
struct Escaping<'o> {
    out: &'o mut dyn Write,
    /// Whether line feeds and tabs are not escaped.
    keeps_lines: bool,
}

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut written = 0;
        for (at, c) in text.char_indices() {
            if is_visible(c) || self.keeps_lines && matches!(c, '\n' | '\t') {
                continue;
            }
            self.out.write_str(&text[written..at])?;
            write!(self.out, "{}", c.escape_debug())?;
            written = at + c.len_utf8();
        }
        self.out.write_str(&text[written..])
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn only_invisible_characters_are_escaped() {
        for seen in [' ', '~', '\\', '"', '\'', '`', 'ü', 'ш', '語', '🦀', '\u{301}', '\u{e31}', '…', '\u{fffd}']
        {
            assert!(is_visible(seen), "{seen:?}");
            assert_eq!(Line(seen).to_string(), seen.to_string());
        }
        let invisible =
            ('\0'..' ').chain('\u{7f}'..='\u{a0}').chain('\u{200b}'..='\u{200f}').chain('\u{2028}'..='\u{202e}');
        let more = ('\u{2066}'..='\u{2069}').chain([
            '\u{61c}',
            '\u{ad}',
            '\u{180e}',
            '\u{2060}',
            '\u{feff}',
            '\u{e0041}',
            '\u{fff9}',
        ]);
        for hidden in invisible.chain(more) {
            let escaped = Line(hidden).to_string();
            assert!(!is_visible(hidden) && escaped.starts_with('\\') && escaped.is_ascii(), "{hidden:?}");
            assert!(escaped.chars().all(is_visible));
        }
    }

    #[test]
    fn escaping_twice_has_no_effect() {
        let text = "a\u{301}\\\u{202e}\r\n\0\t\u{9b}x";
        let once = Line(text).to_string();
        assert_eq!(once, "a\u{301}\\\\u{202e}\\r\\n\\0\\t\\u{9b}x");
        assert_eq!(Line(&once).to_string(), once);
        assert_eq!(Lines(text).to_string(), "a\u{301}\\\\u{202e}\\r\n\\0\t\\u{9b}x");
    }
}
