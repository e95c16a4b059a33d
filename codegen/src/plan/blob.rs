//! The blob: everything long, each piece at a multiple of eight bytes, equal pieces once.

use std::collections::HashMap;

use crate::error::{Code, Error, Result};
use skelgen_runtime::abi::Span;

/// A growing blob.
#[derive(Default)]
pub(super) struct BlobBuilder {
    bytes: Vec<u8>,
    /// Looked up only, never walked, so that its order cannot show.
    known: HashMap<Vec<u8>, Span>,
}

impl BlobBuilder {
    /// Adds a piece, or finds it if it is there.
    pub(super) fn add(&mut self, piece: Vec<u8>) -> Result<Span> {
        if piece.is_empty() {
            return Ok(Span::EMPTY);
        }
        if let Some(&span) = self.known.get(&piece) {
            return Ok(span);
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let span = u32::try_from(self.bytes.len()).ok().zip(u32::try_from(piece.len()).ok());
        let Some((offset, len)) = span.filter(|(offset, len)| offset.checked_add(*len).is_some()) else {
            return Err(Error::new(Code::TooLarge, "the object's instructions and data are more than 4 GiB"));
        };
        let span = Span::new(offset, len);
        self.bytes.extend_from_slice(&piece);
        self.known.insert(piece, span);
        Ok(span)
    }

    /// The bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
