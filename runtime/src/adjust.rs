//! BTF that a kernel does not take, made into what it takes: what is newer than it gives way to the nearest that is older.
//!
//! Every type keeps its id, so whatever refers to types goes on doing so, and every type keeps the size of its values. Strings keep
//! their places; new ones come after them. A layout of kinds (Linux 7.1) is left out, as older kernels reject the longer header, and no
//! kernel accepts kinds that it does not know. Knows bytes and what a kernel may lack; no kernel.

mod contexts;
#[cfg(test)]
mod tests;

use crate::btf::format::{HEADER, Header, Layout};
use crate::btf::kind;

pub(crate) use contexts::with_contexts;

/// Bytes of the header that is written, which every kernel accepts.
const WRITTEN_HEADER: usize = 24;

/// What BTF may hold that a kernel does not take, by the age of the first that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Feature {
    /// Functions and their types (5.0).
    Functions,
    /// Variables and sections (5.2).
    Sections,
    /// Functions that are not static (5.6).
    GlobalFunctions,
    /// Floating-point numbers (5.13).
    Floats,
    /// Sections without variables (5.14).
    EmptySections,
    /// Tags of declarations (5.16).
    DeclarationTags,
    /// Tags of types (5.17).
    TypeTags,
    /// Enumerations of 64 bits, and those with a sign (6.0).
    Enumerations,
    /// Names of sections that begin with `?` (6.10).
    OddNames,
    /// Tags that are any attribute (6.15).
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

    /// The smallest BTF that has it.
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

/// The same BTF without what `lacks` says of, which is asked only about what is there. Nothing if nothing needs to change or the
/// bytes make no sense.
pub(crate) fn adjusted(btf: &[u8], mut lacks: impl FnMut(Feature) -> bool) -> Option<Vec<u8>> {
    let sections = sections(btf)?;
    let records = records(&sections)?;
    let types = Vec::with_capacity(sections.types.len());
    let changed = sections.header_len != WRITTEN_HEADER;
    let mut out = Adjusted { types, strings: sections.strings.to_vec(), changed };
    for record in &records {
        out.add(record, &records, &mut lacks)?;
    }
    out.changed.then(|| written(&out.types, &out.strings)).flatten()
}

/// A type.
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
    /// A word of what follows the first twelve bytes.
    fn word(&self, index: usize) -> Option<u32> {
        word(self.bytes, 12 + index * 4)
    }
}

struct Adjusted {
    types: Vec<u8>,
    strings: Vec<u8>,
    changed: bool,
}

impl Adjusted {
    /// Adds a type as the kernel takes it.
    fn add(&mut self, record: &Record<'_>, all: &[Record<'_>], lacks: &mut impl FnMut(Feature) -> bool) -> Option<()> {
        let Record { name, flag, count, size_or_type, .. } = *record;
        match record.kind {
            kind::FUNC if lacks(Feature::Functions) => self.write(name, kind::TYPEDEF, 0, size_or_type, &[]),
            kind::FUNC_PROTO if lacks(Feature::Functions) => self.stand_in(0),
            // How a function is linked stands where other kinds have a count.
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
            // A struct without members has the size; C has none of such a name.
            kind::DATASEC if count == 0 && lacks(Feature::EmptySections) => {
                self.write(0, kind::STRUCT, 0, size_or_type, &[]);
            }
            kind::DATASEC if self.string(name).first() == Some(&b'?') && lacks(Feature::OddNames) => {
                let name = self.renamed(name, |byte| byte == b'?')?;
                self.changed = true;
                self.copy(record, name);
            }
            // The same, as nothing else says that nobody knows what the bytes are.
            kind::FLOAT if lacks(Feature::Floats) => self.write(0, kind::STRUCT, 0, size_or_type, &[]),
            // What no kernel accepts, and tags on it.
            kind if !is_known(kind) => self.stand_in(0),
            kind::DECL_TAG if !is_known(kind_of(all, size_or_type)?) => self.stand_in(0),
            // Nothing refers to tags of declarations.
            kind::DECL_TAG if lacks(Feature::DeclarationTags) => self.stand_in(0),
            // A modifier that means nothing to whoever only looks at sizes.
            kind::TYPE_TAG if lacks(Feature::TypeTags) => {
                self.write(0, kind::CONST, 0, size_or_type, &[]);
            }
            // The number that it is, without names for its values.
            kind::ENUM64 if lacks(Feature::Enumerations) => self.integer(name, size_or_type, flag),
            // The flag says of an enumeration that it has a sign, of a tag that it is any attribute. The kernel looks for a few tags
            // only, none of which is the name of an attribute, and wants tags before other modifiers: so it stays one.
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

    /// An integer of this many bytes.
    fn integer(&mut self, name: u32, size: u32, signed: bool) {
        self.write(name, kind::INT, 0, size, &[u32::from(signed) << 24 | size.saturating_mul(8) & 0xff]);
    }

    /// What is no value, and is of one byte so that it fits wherever a section has it.
    fn stand_in(&mut self, name: u32) {
        self.integer(name, 1, false);
    }

    fn string(&self, offset: u32) -> &[u8] {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.strings.get(offset..)).unwrap_or_default();
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    /// A new string: this one with `_` for what must not be in it.
    fn renamed(&mut self, offset: u32, bad: impl Fn(u8) -> bool) -> Option<u32> {
        let name: Vec<u8> = self.string(offset).iter().map(|&byte| if bad(byte) { b'_' } else { byte }).collect();
        let at = u32::try_from(self.strings.len()).ok()?;
        self.strings.extend_from_slice(&name);
        self.strings.push(0);
        Some(at)
    }
}

/// The parts of a file of BTF.
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

/// Whether a kind is known here.
const fn is_known(kind: u32) -> bool {
    kind <= kind::ENUM64
}

/// The kind of a type.
fn kind_of(all: &[Record<'_>], id: u32) -> Option<u32> {
    match usize::try_from(id).ok()?.checked_sub(1) {
        Some(index) => Some(all.get(index)?.kind),
        None => Some(kind::VOID),
    }
}

/// The types one by one.
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

/// A file of BTF.
fn written(types: &[u8], strings: &[u8]) -> Option<Vec<u8>> {
    let (types_len, strings_len) = (u32::try_from(types.len()).ok()?, u32::try_from(strings.len()).ok()?);
    let mut bytes = Vec::with_capacity(WRITTEN_HEADER + types.len() + strings.len());
    bytes.extend_from_slice(&0xeb9f_u16.to_ne_bytes());
    // Version 1, no flags.
    bytes.extend_from_slice(&[1, 0]);
    for field in [u32::try_from(WRITTEN_HEADER).ok()?, 0, types_len, types_len, strings_len] {
        bytes.extend_from_slice(&field.to_ne_bytes());
    }
    bytes.extend_from_slice(types);
    bytes.extend_from_slice(strings);
    Some(bytes)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|&word| u32::from_ne_bytes(word))
}
