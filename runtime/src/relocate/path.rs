//! The parsed access spec of a relocation, in the object's types and in the kernel's: a type, an enumerator, or a field and its path.

use super::record::{Record, RelocationKind};
use crate::btf::{Types, kind};
use crate::error::{Error, Result};

/// The maximum number of steps to a field (`BPF_CORE_SPEC_MAX_LEN` of libbpf and Linux).
pub(super) const MAX_DEPTH: usize = 64;

/// The target of a relocation (`struct bpf_core_spec` of Linux).
#[derive(Debug)]
pub(super) enum Spec<'a> {
    /// A type.
    Type { id: u32 },
    /// An enumerator.
    Enumerator { name: &'a str, value: u64 },
    /// A field, or an element of an array.
    Field(Path<'a>),
}

/// The path to a field.
#[derive(Debug)]
pub(super) struct Path<'a> {
    /// Named members and elements of arrays. Anonymous structs and unions add no step.
    pub(super) steps: Vec<Step<'a>>,
    /// The number of levels, including those of anonymous members.
    pub(super) depth: usize,
    /// The field's offset from the beginning of the first type, in bits.
    pub(super) bit_offset: u64,
}

/// A step of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'a> {
    /// For a member, the struct that has it; for an element, the element's type.
    pub(super) type_id: u32,
    /// The index of the member or element.
    pub(super) index: u32,
    /// The member's name; `None` for an element.
    pub(super) name: Option<&'a str>,
}

impl<'a> Spec<'a> {
    /// Parses the access string of a record against the object's types.
    pub(super) fn parse(types: &'a Types, record: &Record, relocation: RelocationKind) -> Result<Self> {
        let access = types.string(record.access);
        let bad = || Error::malformed(format_args!("access string `{access}` is not valid for the type"));
        if !types.has(record.type_id) || record.type_id == 0 {
            return Err(Error::malformed(format_args!("the object has no type {}", record.type_id)));
        }
        if relocation.concerns_type() {
            return if access == "0" { Ok(Self::Type { id: record.type_id }) } else { Err(bad()) };
        }
        let indexes =
            access.split(':').map(|index| index.parse::<u32>().ok().filter(|&index| index <= i32::MAX as u32));
        let indexes: Vec<u32> =
            indexes.collect::<Option<_>>().filter(|all: &Vec<u32>| all.len() <= MAX_DEPTH).ok_or_else(bad)?;
        let first = *indexes.first().ok_or_else(bad)?;
        let root = types.resolve(record.type_id);
        if relocation.concerns_enumerator() {
            let found = types.enumerators(root).nth(usize::try_from(first).unwrap_or(usize::MAX));
            let (name, value) = found.filter(|_| indexes.len() == 1).ok_or_else(bad)?;
            return Ok(Self::Enumerator { name, value });
        }
        let mut path = Path::new(types, root, first).ok_or_else(bad)?;
        let mut id = root;
        for &index in &indexes[1..] {
            id = types.resolve(id);
            if let Some(member) = types.member(id, index) {
                path.bit_offset += u64::from(member.bit_offset);
                if !member.name.is_empty() {
                    path.steps.push(Step { type_id: id, index, name: Some(member.name) });
                }
                path.depth += 1;
                id = member.ty;
            } else if types.kind(id) == kind::ARRAY {
                id = path.element(types, id, index).ok_or_else(bad)?;
            } else {
                return Err(bad());
            }
        }
        Ok(Self::Field(path))
    }

    /// Returns the offset of a field in bits; 0 for types and enumerators.
    pub(super) fn bit_offset(&self) -> u64 {
        match self {
            Self::Field(path) => path.bit_offset,
            Self::Type { .. } | Self::Enumerator { .. } => 0,
        }
    }
}

impl Path<'_> {
    /// Creates the path to element `index` of an array of this type.
    pub(super) fn new(types: &Types, root: u32, index: u32) -> Option<Self> {
        let bit_offset = bits(types, root, index)?;
        Some(Self { steps: vec![Step { type_id: root, index, name: None }], depth: 1, bit_offset })
    }

    /// Adds an element of an array to the path, and returns the element's type.
    pub(super) fn element(&mut self, types: &Types, array: u32, index: u32) -> Option<u32> {
        let (element, count) = types.array(array)?;
        if index >= count && !self.is_flexible(types, count) {
            return None;
        }
        let element = types.resolve(element);
        self.bit_offset = self.bit_offset.checked_add(bits(types, element, index)?)?;
        self.steps.push(Step { type_id: element, index, name: None });
        self.depth += 1;
        Some(element)
    }

    /// Returns whether an array of `count` elements, at the end of the path, is a flexible array: the last member of its struct, without a
    /// length.
    fn is_flexible(&self, types: &Types, count: u32) -> bool {
        let last = self.steps.last().filter(|step| step.name.is_some());
        count == 0 && last.is_some_and(|step| step.index + 1 == types.count(step.type_id))
    }
}

/// Returns the size of `count` values of a type in bits.
fn bits(types: &Types, id: u32, count: u32) -> Option<u64> {
    types.size(id)?.checked_mul(8)?.checked_mul(count.into()).filter(|&bits| bits <= u32::MAX.into())
}
