//! The kind layout that Linux 7.1 and later write into BTF: the size of the types of each kind, so that readers can
//! skip unknown kinds.
//!
//! An entry is `struct btf_layout` of `linux/btf.h`, four bytes, and its index is the kind's number. This module does
//! not know types.

use super::parse::range;

/// The size of an entry, in bytes.
const ENTRY: usize = 4;

/// A kind layout; empty if the BTF has none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Layout<'data>(&'data [u8]);

impl<'data> Layout<'data> {
    /// Parses the kind layout at this offset after the header.
    pub(super) fn parse(body: &'data [u8], offset: u32, len: u32) -> Result<Self, String> {
        if len == 0 {
            return Ok(Self::default());
        }
        let bytes = range(body, offset, len).ok_or("its kind layout ends after the section")?;
        if offset % 4 != 0 || bytes.len() % ENTRY != 0 {
            return Err("the offset or length of its kind layout is not a multiple of 4".to_owned());
        }
        Ok(Self(bytes))
    }

    /// Returns the size in bytes of a type of this kind with `count` elements, without the twelve bytes that all types
    /// have.
    pub(super) fn tail_len(&self, kind: u32, count: u32) -> Result<usize, String> {
        let entry = usize::try_from(kind).ok().and_then(|kind| self.0.chunks_exact(ENTRY).nth(kind));
        // Kind 0 is `void`, which is not in the type section.
        let Some(&[info, element, ..]) = entry.filter(|_| kind != 0) else {
            return Err(format!("kind {kind} is unknown, and the BTF has no kind layout that gives its size"));
        };
        if info % 4 != 0 || element % 4 != 0 {
            return Err(format!(
                "kind {kind} is unknown, and its entry in the kind layout is invalid: {info} bytes per type and {element} per \
                 element, not multiples of 4"
            ));
        }
        let elements = usize::try_from(count).ok().and_then(|count| count.checked_mul(element.into()));
        elements.and_then(|elements| elements.checked_add(info.into())).ok_or_else(|| {
            format!("kind {kind} is unknown, and the size of a type with {count} elements of {element} bytes overflows")
        })
    }
}
