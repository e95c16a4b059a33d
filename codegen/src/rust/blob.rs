//! The blob at the end of the generated file, in lines of about a hundred columns.

use super::text::Text;
use crate::error::Result;

const COLUMNS: usize = 100;

/// Writes the static that contains the blob, without indentation, because its lines are long.
pub(super) fn write(bytes: &[u8], text: &mut Text<'_>) -> Result<()> {
    text.raw(&format!(
        "\n\
         /// BTF, instructions, their records and initial values, at the offsets of the spans above.\n\
         static BLOB: rt::generated::abi::Blob<[u8; {}]> = rt::generated::abi::Blob(*b\"\\\n",
        bytes.len()
    ))?;
    let mut line = String::with_capacity(COLUMNS + 8);
    for (index, &byte) in bytes.iter().enumerate() {
        match byte {
            b'\\' => line.push_str("\\\\"),
            b'"' => line.push_str("\\\""),
            b'\n' => line.push_str("\\n"),
            0 => line.push_str("\\0"),
            // If a build script prints the file, cargo would take such a line for a directive.
            b'c' if line.is_empty() && bytes[index..].starts_with(b"cargo:") => line.push_str("\\x63"),
            // A space at the beginning of a line is part of the indentation that the string literal skips.
            b' ' if line.is_empty() => line.push_str("\\x20"),
            b' '..=b'~' => line.push(char::from(byte)),
            _ => line.extend(["\\x", digit(byte >> 4), digit(byte & 15)]),
        }
        if line.len() >= COLUMNS {
            line.push_str("\\\n");
            text.raw(&line)?;
            line.clear();
        }
    }
    text.raw(&line)?;
    text.raw("\");\n")
}

/// Returns a hexadecimal digit.
fn digit(value: u8) -> &'static str {
    let at = usize::from(value & 15);
    &"0123456789abcdef"[at..=at]
}
