//! The format of BTF that every reader needs: its header, and the lengths of types.
//!
//! Readers skip types of unknown kinds by the sizes in the kind layout, which Linux 7.1 and later add to BTF (`struct
//! btf_layout` of `linux/btf.h`). Callers check that these sizes fit in the BTF. This module does not depend on indexed
//! types or files.

/// The size in bytes of the header up to `str_len`, which every header has.
pub(crate) const SHORT: usize = 24;

/// The size in bytes of the header up to `layout_len`.
pub(crate) const HEADER: usize = 32;

/// The maximum number of kinds: the field has seven bits.
const KINDS: usize = 128;

/// The header of BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) types: Section,
    pub(crate) strings: Section,
    /// The section with the kind layout. Empty if the BTF has no kind layout; at most one entry for each possible kind.
    pub(crate) layout: Section,
}

/// A section. Its offset is from the beginning of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl Section {
    /// Returns the section's bytes.
    pub(crate) fn of<'a>(&self, file: &'a [u8]) -> Option<&'a [u8]> {
        let begin = usize::try_from(self.offset).ok()?;
        file.get(begin..)?.get(..usize::try_from(self.len).ok()?)
    }

    const fn end(&self) -> u64 {
        self.offset + self.len
    }
}

impl Header {
    /// Parses the header of a file of `file_len` bytes. `beginning` has its first [`HEADER`] bytes, or all bytes of a shorter file. The
    /// error states why the file is malformed.
    pub(crate) fn parse(beginning: &[u8], file_len: u64) -> Result<Self, &'static str> {
        let field = |at: usize| {
            beginning.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |&bytes| u32::from_ne_bytes(bytes))
        };
        if file_len == 0 {
            return Err("the BTF is empty");
        }
        // Magic 0xeb9f in native byte order, version 1.
        if beginning.len() < SHORT || beginning[..2] != 0xeb9f_u16.to_ne_bytes() || beginning[2] != 1 {
            return Err("the BTF does not begin with a header of this byte order");
        }
        let section = |at| Section { offset: u64::from(field(4)) + u64::from(field(at)), len: field(at + 4).into() };
        let (types, strings) = (section(8), section(16));
        if (field(4) as usize) < SHORT || types.end().max(strings.end()) > file_len {
            return Err("the BTF is shorter than its header states");
        }
        let mut layout = Section::default();
        if field(4) as usize >= HEADER && beginning.len() >= HEADER {
            layout = section(24);
        }
        // An invalid kind layout is not an error here: types of known kinds can be read without it.
        if layout.len % 4 != 0 || layout.end() > file_len {
            layout = Section::default();
        }
        layout.len = layout.len.min(KINDS as u64 * 4);
        Ok(Self { types, strings, layout })
    }
}

/// The kind layout: the sizes of the types of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout(Vec<[u8; 4]>);

impl Layout {
    /// Parses the entries of a section.
    pub(crate) fn parse(section: &[u8]) -> Self {
        Self(section.chunks_exact(4).take(KINDS).filter_map(|entry| entry.first_chunk().copied()).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of bytes after the first twelve of a type of this kind with `count` elements; `None` if the kind is unknown and
    /// not in the kind layout.
    #[inline]
    pub(crate) fn tail_len(&self, kind: u32, count: usize) -> Option<usize> {
        match kind {
            // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
            2 | 7..=12 | 16 | 18 => Some(0),
            // INT, VAR, DECL_TAG
            1 | 14 | 17 => Some(4),
            // ARRAY
            3 => Some(12),
            // STRUCT, UNION, DATASEC, ENUM64
            4 | 5 | 15 | 19 => count.checked_mul(12),
            // ENUM, FUNC_PROTO
            6 | 13 => count.checked_mul(8),
            _ => self.unknown(kind, count),
        }
    }

    #[cold]
    fn unknown(&self, kind: u32, count: usize) -> Option<usize> {
        let &[info, element, ..] = self.0.get(usize::try_from(kind).ok()?)?;
        // Kind 0 is `void`, which has no type record. All sizes are multiples of four.
        if kind == 0 || info % 4 != 0 || element % 4 != 0 {
            return None;
        }
        count.checked_mul(element.into())?.checked_add(info.into())
    }
}

/// Returns a BTF file with these types and strings, and the header that every kernel reads.
pub(crate) fn written(types: &[u8], strings: &[u8]) -> Option<Vec<u8>> {
    let (types_len, strings_len) = (u32::try_from(types.len()).ok()?, u32::try_from(strings.len()).ok()?);
    let mut bytes = Vec::with_capacity(SHORT + types.len() + strings.len());
    bytes.extend_from_slice(&0xeb9f_u16.to_ne_bytes());
    // Version 1, no flags.
    bytes.extend_from_slice(&[1, 0]);
    for field in [u32::try_from(SHORT).ok()?, 0, types_len, types_len, strings_len] {
        bytes.extend_from_slice(&field.to_ne_bytes());
    }
    bytes.extend_from_slice(types);
    bytes.extend_from_slice(strings);
    Some(bytes)
}

/// The type at which reading ended early, because its kind is unknown and not in the kind layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The id of the type.
    pub(crate) id: u32,
    pub(crate) kind: u32,
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, kind } = self;
        write!(f, "type [{id}] has unknown kind {kind}, and there is no kind layout that gives its size")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(words: &[u32]) -> Vec<u8> {
        let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&[1, 0]);
        bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        bytes
    }

    #[test]
    fn headers() {
        let short = header(&[24, 0, 12, 12, 1]);
        let read = Header::parse(&short, 37).unwrap();
        assert_eq!((read.types.offset, read.strings.offset, read.layout.len), (24, 36, 0));
        assert!(Header::parse(&short, 36).is_err());
        assert_eq!(Header::parse(&[], 0), Err("the BTF is empty"));
        assert!(Header::parse(&short[..23], 37).is_err());
        assert!(Header::parse(&header(&[8, 0, 12, 12, 1]), 37).is_err());
        // Offsets and lengths do not overflow.
        assert!(Header::parse(&header(&[u32::MAX; 7]), u32::MAX.into()).is_err());
        let long = header(&[32, 0, 12, 20, 1, 12, 8]);
        let read = Header::parse(&long, 53).unwrap();
        assert_eq!(read.layout, Section { offset: 44, len: 8 });
        // An invalid kind layout is ignored.
        for layout in [[12, 7], [12, 400], [u32::MAX, 8]] {
            let bytes = header(&[32, 0, 12, 20, 1, layout[0], layout[1]]);
            assert_eq!(Header::parse(&bytes, 53).unwrap().layout.len, 0, "{layout:?}");
        }
        // At most one entry for each kind is read.
        let bytes = header(&[32, 0, 12, 20, 1, 12, 1 << 20]);
        assert_eq!(Header::parse(&bytes, 1 << 21).unwrap().layout.len, 512);
    }

    #[test]
    fn unknown_kinds_need_a_layout() {
        let mut entries = [[0; 4]; 23];
        (entries[20], entries[21], entries[22]) = ([8, 12, 0, 0], [2, 0, 0, 0], [0, 6, 0, 0]);
        let layout = Layout::parse(entries.as_flattened());
        assert_eq!(
            (layout.tail_len(4, 2), layout.tail_len(20, 0), layout.tail_len(20, 3)),
            (Some(24), Some(8), Some(44))
        );
        assert_eq!([21, 22, 23, 127, 0].map(|kind| layout.tail_len(kind, 1)), [None; 5]);
        assert_eq!(layout.tail_len(20, usize::MAX), None);
        assert_eq!(Layout::default().tail_len(20, 0), None);
    }
}
