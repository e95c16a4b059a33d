//! The blob: one array with all instructions, records, BTF and initial values, in deduplicated pieces that are aligned
//! to eight bytes.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::error::{Code, Error, Result};
use skelgen_abi::plan::Span;

/// A blob under construction.
#[derive(Default)]
pub(super) struct BlobBuilder {
    bytes: Vec<u8>,
    /// The pieces by hash. They are only looked up, never iterated, so their order does not affect the output.
    known: HashMap<u64, Vec<Span>>,
}

impl BlobBuilder {
    /// Adds a piece, or finds an equal piece.
    pub(super) fn add(&mut self, piece: &[u8]) -> Result<Span> {
        self.add_parts([piece].into_iter())
    }

    /// Adds a piece that consists of parts, or finds an equal piece.
    pub(super) fn add_parts<P: AsRef<[u8]>>(&mut self, parts: impl Iterator<Item = P>) -> Result<Span> {
        let before = self.bytes.len();
        let begin = before.next_multiple_of(8);
        self.bytes.resize(begin, 0);
        parts.for_each(|part| self.bytes.extend_from_slice(part.as_ref()));
        let (older, piece) = self.bytes.split_at(begin);
        if piece.is_empty() {
            self.bytes.truncate(before);
            return Ok(Span::EMPTY);
        }
        let mut hasher = DefaultHasher::new();
        piece.hash(&mut hasher);
        let equal = self.known.entry(hasher.finish()).or_default();
        let bytes_of = |span: &Span| older.get(span.offset as usize..)?.get(..span.len as usize);
        if let Some(&span) = equal.iter().find(|span| bytes_of(span) == Some(piece)) {
            self.bytes.truncate(before);
            return Ok(span);
        }
        let span = u32::try_from(begin).ok().zip(u32::try_from(piece.len()).ok());
        let Some((offset, len)) = span.filter(|(offset, len)| offset.checked_add(*len).is_some()) else {
            return Err(Error::new(Code::TooLarge, "the object's instructions and data exceed 4 GiB"));
        };
        let span = Span::new(offset, len);
        equal.push(span);
        Ok(span)
    }

    /// Returns the bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
