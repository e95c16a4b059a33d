//! Sanitized BTF: the object's BTF without the kinds and flags that an older kernel rejects.
//!
//! Each type that is too new is replaced by the nearest older kind. Types keep their ids, so that references to them
//! stay valid, and values keep their sizes. Strings keep their offsets; new strings are appended. A kind layout (Linux
//! 7.1) is removed, because older kernels reject the longer header. Types of kinds that no kernel knows are always
//! replaced.
//!
//! This module does not probe the running kernel: the caller determines which features the kernel lacks.

mod contexts;
#[cfg(test)]
mod tests;

use crate::btf::format::{HEADER, Header, Layout, SHORT, written};
use crate::btf::kind;

pub(crate) use contexts::with_contexts;

/// A feature of BTF that older kernels reject, ordered by the Linux version that added it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Feature {
    /// `BTF_KIND_FUNC` and `BTF_KIND_FUNC_PROTO` (5.0).
    Functions,
    /// `BTF_KIND_VAR` and `BTF_KIND_DATASEC` (5.2).
    Sections,
    /// Functions with global linkage (5.6).
    GlobalFunctions,
    /// `BTF_KIND_FLOAT` (5.13).
    Floats,
    /// Sections without variables (5.14).
    EmptySections,
    /// `BTF_KIND_DECL_TAG` (5.16).
    DeclarationTags,
    /// `BTF_KIND_TYPE_TAG` (5.17).
    TypeTags,
    /// `BTF_KIND_ENUM64`, and signed enumerations (6.0).
    Enumerations,
    /// Section names that begin with `?` (6.10).
    OddNames,
    /// Tags with the flag for arbitrary attributes (6.15).
    Attributes,
}

impl Feature {
    pub(crate) const ALL: [Self; 10] = [
        Self::Functions,
        Self::Sections,
        Self::GlobalFunctions,
        Self::Floats,
        Self::EmptySections,
        Self::DeclarationTags,
        Self::TypeTags,
        Self::Enumerations,
        Self::OddNames,
        Self::Attributes,
    ];

    /// Returns the smallest BTF that has the feature.
    pub(crate) fn example(self) -> Vec<u8> {
        const FLAG: u32 = 1 << 31;
        // Strings: 1 is "a", 3 is ".a", 6 is "?.a".
        let strings = b"\0a\0.a\0?.a\0";
        let int = [1, kind::INT << 24, 4, 1 << 24 | 32];
        let variable = [1, kind::VAR << 24, 1, 0];
        let section = |name| [name, kind::DATASEC << 24 | 1, 4, 2, 0, 4];
        let prototype = [0, kind::FUNC_PROTO << 24 | 1, 0, 1, 1];
        let words = match self {
            Self::Functions => [&int[..], &prototype, &[1, kind::FUNC << 24, 2]].concat(),
            Self::GlobalFunctions => [&int[..], &prototype, &[1, kind::FUNC << 24 | 1, 2]].concat(),
            Self::Sections => [&int[..], &variable, &section(3)].concat(),
            Self::EmptySections => vec![3, kind::DATASEC << 24, 4],
            Self::OddNames => [&int[..], &variable, &section(6)].concat(),
            Self::Floats => vec![1, kind::FLOAT << 24, 4],
            Self::DeclarationTags => [&int[..], &variable, &[1, kind::DECL_TAG << 24, 2, u32::MAX]].concat(),
            Self::TypeTags => [&int[..], &[1, kind::TYPE_TAG << 24, 1], &[0, kind::PTR << 24, 2]].concat(),
            Self::Enumerations => vec![1, kind::ENUM64 << 24, 8],
            Self::Attributes => [&int[..], &[1, FLAG | kind::TYPE_TAG << 24, 1], &[0, kind::PTR << 24, 2]].concat(),
        };
        let types: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        written(&types, strings).unwrap_or_default()
    }
}

/// Returns the BTF without the features that the kernel lacks, or `None` if nothing changes or the bytes are malformed. `lacks` is called
/// only for features that the BTF has.
pub(crate) fn sanitized(btf: &[u8], mut lacks: impl FnMut(Feature) -> bool) -> Option<Vec<u8>> {
    let sections = sections(btf)?;
    let records = records(&sections)?;
    let types = Vec::with_capacity(sections.types.len());
    let changed = sections.header_len != SHORT;
    let mut out = Sanitized { types, strings: sections.strings.to_vec(), changed };
    for record in &records {
        out.add(record, &records, &mut lacks)?;
    }
    out.changed.then(|| written(&out.types, &out.strings)).flatten()
}

/// A type record.
#[derive(Clone, Copy)]
struct Record<'a> {
    name: u32,
    kind: u32,
    flag: bool,
    count: u32,
    size_or_type: u32,
    bytes: &'a [u8],
}

impl Record<'_> {
    /// Returns a word of the data after the first twelve bytes.
    fn word(&self, index: usize) -> Option<u32> {
        word(self.bytes, 12 + index * 4)
    }
}

struct Sanitized {
    types: Vec<u8>,
    strings: Vec<u8>,
    changed: bool,
}

impl Sanitized {
    /// Adds a type or, if the kernel does not accept it, an older type that replaces it.
    fn add(&mut self, record: &Record<'_>, all: &[Record<'_>], lacks: &mut impl FnMut(Feature) -> bool) -> Option<()> {
        let Record { name, flag, count, size_or_type, .. } = *record;
        match record.kind {
            kind::FUNC if lacks(Feature::Functions) => self.write(name, kind::TYPEDEF, 0, size_or_type, &[]),
            kind::FUNC_PROTO if lacks(Feature::Functions) => self.stand_in(0),
            // The field that counts members in other kinds is the linkage of a function.
            kind::FUNC if count != 0 && lacks(Feature::GlobalFunctions) => {
                self.write(name, kind::FUNC, 0, size_or_type, &[]);
            }
            kind::VAR if lacks(Feature::Sections) => self.stand_in(name),
            kind::DATASEC if lacks(Feature::Sections) => {
                let name = self.renamed(name, |byte| byte == b'.' || byte == b'?')?;
                let mut members = Vec::new();
                for entry in 0..usize::try_from(count).ok()? {
                    let (variable, offset) = (record.word(entry * 3)?, record.word(entry * 3 + 1)?);
                    let index = usize::try_from(variable).ok()?.checked_sub(1)?;
                    members.extend_from_slice(&[all.get(index)?.name, variable, offset.checked_mul(8)?]);
                }
                self.write(name, kind::STRUCT, count, size_or_type, &members);
            }
            // A struct without members can have the section's size. It has no name, since a section's name is not valid for a struct.
            kind::DATASEC if count == 0 && lacks(Feature::EmptySections) => {
                self.write(0, kind::STRUCT, 0, size_or_type, &[]);
            }
            kind::DATASEC if self.string(name).first() == Some(&b'?') && lacks(Feature::OddNames) => {
                let name = self.renamed(name, |byte| byte == b'?')?;
                self.changed = true;
                self.copy(record, name);
            }
            // A struct without members has the same size, and does not describe its bytes.
            kind::FLOAT if lacks(Feature::Floats) => self.write(0, kind::STRUCT, 0, size_or_type, &[]),
            // No kernel accepts unknown kinds. A tag on a type of unknown kind is replaced as well.
            kind if !is_known(kind) => self.stand_in(0),
            kind::DECL_TAG if !is_known(kind_of(all, size_or_type)?) => self.stand_in(0),
            // No type refers to a declaration tag.
            kind::DECL_TAG if lacks(Feature::DeclarationTags) => self.stand_in(0),
            // `const` is a modifier as well, and does not change the size.
            kind::TYPE_TAG if lacks(Feature::TypeTags) => {
                self.write(0, kind::CONST, 0, size_or_type, &[]);
            }
            // An integer of the enumeration's size replaces it. The names of the values are lost.
            kind::ENUM64 if lacks(Feature::Enumerations) => self.integer(name, size_or_type, flag),
            // The flag of an enumeration means signed, that of a tag an arbitrary attribute. The copy of an attribute
            // is still a tag: kernels evaluate only tags with certain names, which attributes do not have, and require
            // tags before other modifiers.
            kind::ENUM if flag && lacks(Feature::Enumerations) => self.copy_without_flag(record),
            kind::TYPE_TAG | kind::DECL_TAG if flag && lacks(Feature::Attributes) => self.copy_without_flag(record),
            _ => self.copy(record, name),
        }
        Some(())
    }

    fn copy(&mut self, record: &Record<'_>, name: u32) {
        self.types.extend_from_slice(&name.to_ne_bytes());
        self.types.extend_from_slice(&record.bytes[4..]);
    }

    fn copy_without_flag(&mut self, record: &Record<'_>) {
        self.changed = true;
        self.types.extend_from_slice(&record.bytes[..4]);
        self.types.extend_from_slice(&(record.kind << 24 | record.count).to_ne_bytes());
        self.types.extend_from_slice(&record.bytes[8..]);
    }

    fn write(&mut self, name: u32, kind: u32, count: u32, size_or_type: u32, tail: &[u32]) {
        self.changed = true;
        for word in [name, kind << 24 | count, size_or_type].iter().chain(tail) {
            self.types.extend_from_slice(&word.to_ne_bytes());
        }
    }

    /// Adds an integer of `size` bytes.
    fn integer(&mut self, name: u32, size: u32, signed: bool) {
        self.write(name, kind::INT, 0, size, &[u32::from(signed) << 24 | size.saturating_mul(8) & 0xff]);
    }

    /// Replaces a type without a size by an integer of one byte, which is valid at every use of the type.
    fn stand_in(&mut self, name: u32) {
        self.integer(name, 1, false);
    }

    fn string(&self, offset: u32) -> &[u8] {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.strings.get(offset..)).unwrap_or_default();
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    /// Appends a copy of the string with `bad` bytes replaced by `_`, and returns the offset of the copy.
    fn renamed(&mut self, offset: u32, bad: impl Fn(u8) -> bool) -> Option<u32> {
        let name: Vec<u8> = self.string(offset).iter().map(|&byte| if bad(byte) { b'_' } else { byte }).collect();
        let at = u32::try_from(self.strings.len()).ok()?;
        self.strings.extend_from_slice(&name);
        self.strings.push(0);
        Some(at)
    }
}

/// The parts of a BTF file.
struct Sections<'a> {
    header_len: usize,
    types: &'a [u8],
    strings: &'a [u8],
    layout: Layout,
}

fn sections(btf: &[u8]) -> Option<Sections<'_>> {
    let header = Header::parse(&btf[..btf.len().min(HEADER)], btf.len() as u64).ok()?;
    Some(Sections {
        header_len: usize::try_from(word(btf, 4)?).ok()?,
        types: header.types.of(btf)?,
        strings: header.strings.of(btf)?,
        layout: Layout::parse(header.layout.of(btf)?),
    })
}

/// Returns whether this module knows the kind.
const fn is_known(kind: u32) -> bool {
    kind <= kind::LAST
}

/// Returns the kind of a type.
fn kind_of(all: &[Record<'_>], id: u32) -> Option<u32> {
    match usize::try_from(id).ok()?.checked_sub(1) {
        Some(index) => Some(all.get(index)?.kind),
        None => Some(kind::VOID),
    }
}

/// Splits the types into records.
fn records<'a>(sections: &Sections<'a>) -> Option<Vec<Record<'a>>> {
    let mut records = Vec::new();
    let mut rest = sections.types;
    while !rest.is_empty() {
        let info = word(rest, 4)?;
        let (kind, count) = (info >> 24 & 0x7f, info & 0xff_ffff);
        let len = sections.layout.tail_len(kind, usize::try_from(count).ok()?)?.checked_add(12)?;
        let (bytes, after) = rest.split_at_checked(len)?;
        let (name, size_or_type) = (word(bytes, 0)?, word(bytes, 8)?);
        records.push(Record { name, kind, flag: info >> 31 != 0, count, size_or_type, bytes });
        rest = after;
    }
    Some(records)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|&word| u32::from_ne_bytes(word))
}
