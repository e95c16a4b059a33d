//! What a relocation is about, in the object's types and in the kernel's: a type, an enumerator, or a field and the way to it.

use super::record::{Question, Record};
use crate::btf::{Types, kind};
use crate::error::{Error, Result};

/// How deep a field may lie (`BPF_CORE_SPEC_MAX_LEN` of libbpf and Linux).
pub(super) const MAX_DEPTH: usize = 64;

/// What a relocation is about.
#[derive(Debug)]
pub(super) enum Subject<'a> {
    /// A type.
    Type { id: u32 },
    /// An enumerator.
    Enumerator { name: &'a str, value: u64 },
    /// A field, or an element of an array.
    Field(Path<'a>),
}

/// The way to a field.
#[derive(Debug)]
pub(super) struct Path<'a> {
    /// Members with a name and elements of arrays; anonymous structs are passed through without a step.
    pub(super) steps: Vec<Step<'a>>,
    /// How many levels were passed, anonymous ones too.
    pub(super) depth: usize,
    /// Where it is, from the beginning of the first type.
    pub(super) bit_offset: u64,
}

/// A step on the way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'a> {
    /// Of a member the struct that has it, of an element its type.
    pub(super) type_id: u32,
    /// Which member or element.
    pub(super) index: u32,
    /// The member's name; none for an element.
    pub(super) name: Option<&'a str>,
}

impl<'a> Subject<'a> {
    /// What a record is about in the object's types.
    pub(super) fn parse(types: &'a Types, record: &Record, question: Question) -> Result<Self> {
        let access = types.string(record.access);
        let bad = || Error::invalid(format_args!("its path `{access}` leads nowhere"));
        if !types.has(record.type_id) || record.type_id == 0 {
            return Err(Error::invalid(format_args!("the object has no type {}", record.type_id)));
        }
        if question.is_about_type() {
            return if access == "0" { Ok(Self::Type { id: record.type_id }) } else { Err(bad()) };
        }
        let indexes =
            access.split(':').map(|index| index.parse::<u32>().ok().filter(|&index| index <= i32::MAX as u32));
        let indexes: Vec<u32> =
            indexes.collect::<Option<_>>().filter(|all: &Vec<u32>| all.len() <= MAX_DEPTH).ok_or_else(bad)?;
        let first = *indexes.first().ok_or_else(bad)?;
        let root = types.resolve(record.type_id);
        if question.is_about_enumerator() {
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

    /// Where a field begins; nothing else begins anywhere.
    pub(super) fn bit_offset(&self) -> u64 {
        match self {
            Self::Field(path) => path.bit_offset,
            Self::Type { .. } | Self::Enumerator { .. } => 0,
        }
    }
}

impl Path<'_> {
    /// The way to a value of this type, so many after the first.
    pub(super) fn new(types: &Types, root: u32, index: u32) -> Option<Self> {
        let bit_offset = bits(types, root, index)?;
        Some(Self { steps: vec![Step { type_id: root, index, name: None }], depth: 1, bit_offset })
    }

    /// Goes on to an element of an array, and gives its type.
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

    /// Whether an array of so many elements, where the way has come to, is the last member of its struct and has no end.
    fn is_flexible(&self, types: &Types, count: u32) -> bool {
        let last = self.steps.last().filter(|step| step.name.is_some());
        count == 0 && last.is_some_and(|step| step.index + 1 == types.count(step.type_id))
    }
}

/// How many bits so many values of a type are.
fn bits(types: &Types, id: u32, count: u32) -> Option<u64> {
    types.size(id)?.checked_mul(8)?.checked_mul(count.into()).filter(|&bits| bits <= u32::MAX.into())
}
