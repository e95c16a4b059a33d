//! Equivalence of types: the same name, kind, and members at the same offsets, regardless of the target types of
//! pointers. Linking can leave equivalent types in a table.

use std::collections::BTreeMap;

use crate::btf::{Btf, Composite, Kind, TypeId};

/// Numbers of types: equivalent types have the same number. Numbers depend on the order of lookups, so they must not
/// appear in the output.
pub(super) struct Canon<'a> {
    btf: &'a Btf,
    known: BTreeMap<TypeId, u32>,
    numbers: BTreeMap<Content<'a>, u32>,
}

/// The content of a type. Contained types are represented by their numbers.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Content<'a> {
    Opaque(Option<u64>),
    Int { size: u32, bits: u8, bit_offset: u8, signed: bool, bool: bool },
    Pointer,
    Float(u32),
    Array(u32, u32),
    Composite { union: bool, name: &'a str, size: u32, members: Vec<(&'a str, u32, u8, u32)> },
    Enum { name: &'a str, size: u32, signed: bool, values: Vec<(&'a str, i64)> },
}

impl<'a> Canon<'a> {
    pub(super) fn new(btf: &'a Btf) -> Self {
        Self { btf, known: BTreeMap::new(), numbers: BTreeMap::new() }
    }

    /// Returns the number of a type.
    pub(super) fn number(&mut self, id: TypeId) -> u32 {
        let btf = self.btf;
        let id = btf.resolve(id);
        if let Some(known) = self.known.get(&id) {
            return *known;
        }
        let content = match &btf.get(id).kind {
            Kind::Int(int) => Content::Int {
                size: int.size,
                bits: int.bits,
                bit_offset: int.bit_offset,
                signed: int.signed,
                bool: int.bool,
            },
            Kind::Ptr(_) => Content::Pointer,
            Kind::Float(size) => Content::Float(*size),
            Kind::Array { element, len, .. } => Content::Array(self.number(*element), *len),
            Kind::Struct(it) => self.composite(false, btf.name(id), it),
            Kind::Union(it) => self.composite(true, btf.name(id), it),
            Kind::Enum(it) => Content::Enum {
                name: btf.name(id),
                size: it.size,
                signed: it.signed,
                values: it.values.iter().map(|(name, value)| (btf.str(*name), *value)).collect(),
            },
            _ => Content::Opaque(btf.size_of(id)),
        };
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(content).or_insert(next);
        self.known.insert(id, number);
        number
    }

    fn composite(&mut self, union: bool, name: &'a str, it: &'a Composite) -> Content<'a> {
        let mut members = Vec::with_capacity(it.members.len());
        for member in &it.members {
            let ty = self.number(member.ty);
            members.push((self.btf.str(member.name), member.bit_offset, member.bit_size, ty));
        }
        Content::Composite { union, name, size: it.size, members }
    }
}

/// Returns a hash of a type's content that does not depend on the table: its size, the names, offsets and types of its
/// members, and its values. With `deep`, includes the content of its members' types.
pub(super) fn fingerprint(btf: &Btf, id: TypeId, deep: bool) -> u32 {
    let mut hash = Fnv(0x811c_9dc5);
    hash.ty(btf, id, if deep { 3 } else { 1 });
    hash.0
}

/// A 32-bit FNV-1a hash. It only needs to distinguish a few types of the same name.
struct Fnv(u32);

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }

    fn ty(&mut self, btf: &Btf, id: TypeId, depth: u32) {
        let id = btf.resolve(id);
        self.bytes(btf.name(id).as_bytes());
        self.bytes(&btf.size_of(id).unwrap_or(0).to_le_bytes());
        let Some(depth) = depth.checked_sub(1) else { return };
        match &btf.get(id).kind {
            Kind::Struct(it) | Kind::Union(it) => {
                for member in &it.members {
                    self.bytes(btf.str(member.name).as_bytes());
                    self.bytes(&member.bit_offset.to_le_bytes());
                    self.bytes(&[member.bit_size]);
                    self.ty(btf, member.ty, depth);
                }
            }
            Kind::Enum(it) => {
                for (name, value) in &it.values {
                    self.bytes(btf.str(*name).as_bytes());
                    self.bytes(&value.to_le_bytes());
                }
            }
            // An array does not add a level to its elements.
            Kind::Array { element, .. } => self.ty(btf, *element, depth + 1),
            _ => {}
        }
    }
}
