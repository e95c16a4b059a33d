//! The end of the file, as text: the one `unsafe` expression with its comment, and the blob in lines of about a hundred columns.

use std::fmt::Write;

const COLUMNS: usize = 100;

/// The static that holds the blob.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut text = format!(
        "/// The object as this process loads it.\n\
         // SAFETY: the instructions were compiled from the source of whoever builds this program, and are its own code: they act\n\
         // with its rights and may write to memory that it shares with them.\n\
         static OBJECT: rt::Trusted = unsafe {{ rt::Trusted::new(&TABLES) }};\n\n\
         /// BTF, instructions, their records and initial values, found by the spans above.\n\
         static BLOB: rt::abi::Blob<[u8; {}]> = rt::abi::Blob(*b\"\\\n",
        bytes.len()
    );
    let mut column = 0;
    for &byte in bytes {
        let from = text.len();
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'"' => text.push_str("\\\""),
            b'\n' => text.push_str("\\n"),
            0 => text.push_str("\\0"),
            // A space at the beginning of a line would be taken for indentation.
            b' ' if column == 0 => text.push_str("\\x20"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => drop(write!(text, "\\x{byte:02x}")),
        }
        column += text.len() - from;
        if column >= COLUMNS {
            text.push_str("\\\n");
            column = 0;
        }
    }
    text.push_str("\");\n");
    text
}
