//! Passes over the strings and the types of BTF, in pieces, which find the wanted names.

use super::Wanted;
use crate::abi::SymbolKind;
use crate::btf::format::{Gap, Layout};

/// The result of scanning a piece.
pub(super) enum Progress {
    /// Nothing is left to find, or nothing more can be found.
    Done,
    /// This many bytes were scanned; the other bytes are the beginning of an incomplete string or type.
    Used(usize),
}

/// A scan of strings for wanted names.
pub(super) struct StringScan {
    /// The lengths of the wanted names: bit n is set if a name has n bytes (modulo 64).
    lengths: u64,
    /// The offset of the next piece.
    offset: u32,
    left: usize,
}

impl StringScan {
    pub(super) fn new(wanted: &[Wanted<'_>], offset: u32) -> Self {
        let (mut lengths, mut left) = (0, 0);
        for wanted in wanted.iter().filter(|wanted| wanted.name_offset.is_none()) {
            lengths |= 1 << (wanted.name.len() % 64);
            left += 1;
        }
        Self { lengths, offset, left }
    }

    pub(super) fn scan(&mut self, piece: &[u8], wanted: &mut [Wanted<'_>]) -> Progress {
        if self.left == 0 {
            return Progress::Done;
        }
        let mut begin = 0;
        let (words, rest) = piece.as_chunks_of_eight();
        for (at, word) in words.enumerate() {
            let mut zeros = zero_bytes(word);
            while zeros != 0 {
                let end = at * 8 + zeros.trailing_zeros() as usize / 8;
                zeros &= zeros - 1;
                if self.ends(piece, begin, end, wanted) {
                    return Progress::Done;
                }
                begin = end + 1;
            }
        }
        for end in piece.len() - rest.len()..piece.len() {
            if piece[end] == 0 {
                if self.ends(piece, begin, end, wanted) {
                    return Progress::Done;
                }
                begin = end + 1;
            }
        }
        self.offset = self.offset.wrapping_add(u32::try_from(begin).unwrap_or(u32::MAX));
        Progress::Used(begin)
    }

    /// Compares one string with the wanted names. Returns whether all wanted names are found now.
    #[inline]
    fn ends(&mut self, piece: &[u8], begin: usize, end: usize, wanted: &mut [Wanted<'_>]) -> bool {
        self.lengths & (1 << ((end - begin) % 64)) != 0 && self.compare(&piece[begin..end], begin, wanted)
    }

    fn compare(&mut self, string: &[u8], begin: usize, wanted: &mut [Wanted<'_>]) -> bool {
        for wanted in wanted {
            if wanted.name_offset.is_none() && wanted.name.as_bytes() == string {
                wanted.name_offset = u32::try_from(begin).ok().and_then(|begin| self.offset.checked_add(begin));
                self.left -= 1;
            }
        }
        self.left == 0
    }
}

/// A split of bytes into words of eight bytes, lowest byte first.
trait Words {
    fn as_chunks_of_eight(&self) -> (impl Iterator<Item = u64>, &[u8]);
}

impl Words for [u8] {
    fn as_chunks_of_eight(&self) -> (impl Iterator<Item = u64>, &[u8]) {
        let chunks = self.chunks_exact(8);
        let rest = chunks.remainder();
        (chunks.map(|chunk| chunk.first_chunk().map_or(0, |&bytes| u64::from_le_bytes(bytes))), rest)
    }
}

/// Returns a word in which the top bit of each byte is set that is zero in `word`, and all other bits are clear.
fn zero_bytes(word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    !(((word & LOW) + LOW) | word | LOW)
}

/// A scan of types for wanted names.
pub(super) struct TypeScan {
    /// Bit n is set if a wanted name has an offset whose remainder modulo 4096 is n.
    filter: [u64; 64],
    /// The id of the last type that was scanned.
    pub(super) id: u32,
    left: usize,
    pub(super) stop_early: bool,
    /// The type that could not be skipped.
    pub(super) gap: Option<Gap>,
}

impl TypeScan {
    pub(super) fn new(wanted: &[Wanted<'_>], base: u32) -> Self {
        let (mut filter, mut left) = ([0; 64], 0);
        for wanted in wanted {
            if let (Some(offset), None) = (wanted.name_offset, wanted.id) {
                filter[offset as usize % 4096 / 64] |= 1 << (offset % 64);
                left += 1;
            }
        }
        Self { filter, id: base, left, stop_early: true, gap: None }
    }

    pub(super) fn scan(&mut self, piece: &[u8], layout: &Layout, wanted: &mut [Wanted<'_>]) -> Progress {
        let mut at = 0;
        while self.left != 0 || !self.stop_early {
            let Some(&head) = piece.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
                return Progress::Used(at);
            };
            let word = u64::from_ne_bytes(head);
            let (name, info) = if cfg!(target_endian = "little") {
                (word as u32, (word >> 32) as u32)
            } else {
                ((word >> 32) as u32, word as u32)
            };
            // Since 7.1 the count has 24 bits and the kind seven; older kernels leave the additional bits zero.
            let (kind, count) = (info >> 24 & 0x7f, (info & 0xff_ffff) as usize);
            let Some(tail) = layout.tail_len(kind, count) else {
                self.gap = Some(Gap { id: self.id.wrapping_add(1), kind });
                return Progress::Done;
            };
            let end = at + 12 + tail;
            if end > piece.len() {
                return Progress::Used(at);
            }
            self.id = self.id.wrapping_add(1);
            if self.filter[name as usize % 4096 / 64] & 1 << (name % 64) != 0 {
                self.compare(name, kind, wanted);
            }
            at = end;
        }
        Progress::Done
    }

    fn compare(&mut self, name: u32, kind: u32, wanted: &mut [Wanted<'_>]) {
        for wanted in wanted {
            if wanted.id.is_none() && wanted.name_offset == Some(name) && number(wanted.kind) == kind {
                wanted.id = Some(self.id);
                self.left -= 1;
            }
        }
    }
}

/// Returns the number of a kind (`BTF_KIND_*` of `linux/btf.h`).
fn number(kind: SymbolKind) -> u32 {
    match kind {
        SymbolKind::Struct => 4,
        SymbolKind::Typedef => 8,
        SymbolKind::Function => 12,
        SymbolKind::Variable => 14,
        // No type has this kind (`BTF_KIND_UNKN`): addresses are looked up in `/proc/kallsyms`.
        SymbolKind::Address => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_bytes_are_exact() {
        assert_eq!(zero_bytes(0x0100_ff80_0001_007f), 0x0080_0000_8000_8000);
        assert_eq!(zero_bytes(u64::MAX), 0);
        assert_eq!(zero_bytes(0), 0x8080_8080_8080_8080);
    }
}
