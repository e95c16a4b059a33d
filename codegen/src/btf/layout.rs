//! The layout of kinds that Linux 7.1 and later write into BTF: how long the types of each kind are, so that a reader can step over
//! kinds that it does not know.
//!
//! An entry is `struct btf_layout` of `linux/btf.h`, four bytes, and its position is the number of the kind. Knows no types.

use super::parse::range;

/// Bytes of an entry.
const ENTRY: usize = 4;

/// A layout of kinds; empty if the BTF has none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Layout<'data>(&'data [u8]);

impl<'data> Layout<'data> {
    /// The layout at this offset behind the header.
    pub(super) fn parse(body: &'data [u8], offset: u32, len: u32) -> Result<Self, String> {
        if len == 0 {
            return Ok(Self::default());
        }
        let bytes = range(body, offset, len).ok_or("its layout of kinds goes beyond its end")?;
        if offset % 4 != 0 || bytes.len() % ENTRY != 0 {
            return Err("its layout of kinds is not aligned to four bytes".to_owned());
        }
        Ok(Self(bytes))
    }

    /// How many bytes follow the first twelve of a type of this kind, which has `count` elements.
    pub(super) fn tail_len(&self, kind: u32, count: u32) -> Result<usize, String> {
        let entry = usize::try_from(kind).ok().and_then(|kind| self.0.chunks_exact(ENTRY).nth(kind));
        // Kind 0 is `void`, which no type of a table is.
        let Some(&[info, element, ..]) = entry.filter(|_| kind != 0) else {
            return Err(format!(
                "kind {kind} is unknown, and the BTF has no layout of it by which it could be skipped"
            ));
        };
        if info % 4 != 0 || element % 4 != 0 {
            return Err(format!("kind {kind} is unknown, and its layout of {info} and {element} bytes is not aligned"));
        }
        let elements = usize::try_from(count).ok().and_then(|count| count.checked_mul(element.into()));
        elements
            .and_then(|elements| elements.checked_add(info.into()))
            .ok_or_else(|| format!("kind {kind} is unknown, and its {count} elements of {element} bytes are too long"))
    }
}
