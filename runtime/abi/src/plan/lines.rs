//! Line records of a function in a compact form.
//!
//! The records of consecutive lines differ little, so a record is stored as its differences from the previous one: about five bytes
//! instead of sixteen. Each word's difference is a number without sign (0, -1, 1, -2 … become 0, 1, 2, 3 …) in groups of seven bits, the
//! least significant group first; the highest bit of a byte is set if another group follows. The form does not depend on the byte order.

use alloc::vec::Vec;

/// A line record (`struct bpf_line_info`): the instruction's index, the offsets of the file's name and of the line's text in
/// the strings of the BTF, and the line's number shifted left by ten bits with the column in the low bits.
pub type Line = [u32; 4];

/// The maximum number of groups of a difference.
const GROUPS: u32 = 5;

/// Encodes line records.
///
/// ```
/// use skelgen_abi::plan::{decode_lines, encode_lines};
/// let lines = [[0, 7, 40, 12 << 10 | 5], [3, 7, 61, 13 << 10 | 9]];
/// let bytes = encode_lines(lines);
/// assert!(decode_lines(&bytes).eq(lines.map(Some)));
/// ```
pub fn encode_lines(lines: impl IntoIterator<Item = Line>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut before = Line::default();
    for line in lines {
        for (word, before) in line.into_iter().zip(before) {
            let difference = word.wrapping_sub(before);
            let mut rest = difference << 1 ^ (difference >> 31).wrapping_neg();
            while rest > 0x7f {
                let [low, ..] = rest.to_le_bytes();
                bytes.push(low | 0x80);
                rest >>= 7;
            }
            let [low, ..] = rest.to_le_bytes();
            bytes.push(low);
        }
        before = line;
    }
    bytes
}

/// Decodes line records. An item is `None` if the bytes are not those of a record; it is the last.
pub fn decode_lines(bytes: &[u8]) -> impl Iterator<Item = Option<Line>> {
    let mut rest = bytes;
    let mut line = Line::default();
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = line.into_iter().map(|word| Some(word.wrapping_add(difference(&mut rest)?)));
        let mut decoded = Line::default();
        for (to, word) in decoded.iter_mut().zip(next) {
            let Some(word) = word else {
                rest = &[];
                return Some(None);
            };
            *to = word;
        }
        line = decoded;
        Some(Some(line))
    })
}

/// Decodes the next difference.
fn difference(rest: &mut &[u8]) -> Option<u32> {
    let mut value = 0_u32;
    for group in 0..GROUPS {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u32::from(byte & 0x7f) << (7 * group);
        if byte & 0x80 == 0 {
            return Some(value >> 1 ^ (value & 1).wrapping_neg());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extreme_records_survive() {
        let lines = [[0; 4], [u32::MAX; 4], [1 << 31, 0, 0x7fff_ffff, 1], [0, u32::MAX, 0x8000_0001, 127]];
        let bytes = encode_lines(lines);
        assert!(bytes.len() <= lines.len() * 20);
        assert!(decode_lines(&bytes).eq(lines.map(Some)));
        assert_eq!(decode_lines(&[]).count(), 0);
    }

    #[test]
    fn consecutive_lines_are_short() {
        let lines = (0..100_u32).map(|line| [line * 3, 9, 1000 + line * 25, (20 + line) << 10 | 5]);
        assert!(encode_lines(lines).len() < 600);
    }

    #[test]
    fn malformed_bytes_end_the_records() {
        for bytes in [&[0x80][..], &[0, 0, 0], &[0xff; 6], &[0, 0, 0, 0, 1]] {
            let decoded: Vec<_> = decode_lines(bytes).collect();
            assert_eq!(decoded.last(), Some(&None), "{bytes:?}");
            assert_eq!(decoded.iter().filter(|line| line.is_none()).count(), 1);
        }
    }
}
