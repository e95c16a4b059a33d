//! Keys of types: everything that distinguishes types except the types that they refer to.

use crate::btf::{Kind, Member, StringRef, Type};

/// A declaration tag, as a part of the key of the type that has it: name, component, and whether it is an attribute.
pub(super) type Tag = [u32; 3];

/// The keys of several types, in one list of words.
#[derive(Debug, Default)]
pub(super) struct Keys {
    words: Vec<u32>,
    ends: Vec<usize>,
}

impl Keys {
    /// Adds the key of a type with these declaration tags, which are sorted. `extra` distinguishes types whose keys would
    /// be equal.
    ///
    /// A key begins with the kind and the name, and no key is the beginning of another.
    pub(super) fn push(
        &mut self,
        ty: &Type,
        tags: &[Tag],
        extra: Option<u32>,
        mut string: impl FnMut(StringRef) -> u32,
    ) {
        let words = &mut self.words;
        words.extend([ty.kind.number(), string(ty.name)]);
        let mut list = |words: &mut Vec<u32>, items: &mut dyn ExactSizeIterator<Item = (StringRef, [u32; 2])>| {
            words.push(count(items.len()));
            items.for_each(|(name, [one, two])| words.extend([string(name), one, two]));
        };
        match &ty.kind {
            Kind::Void
            | Kind::Ptr(_)
            | Kind::Typedef(_)
            | Kind::Volatile(_)
            | Kind::Const(_)
            | Kind::Restrict(_)
            | Kind::Datasec(_)
            | Kind::Unknown(_) => {}
            Kind::Int(int) => {
                let flags = u32::from(int.signed) | u32::from(int.char) << 1 | u32::from(int.bool) << 2;
                words.extend([int.size, int.bits.into(), int.bit_offset.into(), flags]);
            }
            Kind::Array { len, .. } => words.push(*len),
            Kind::Struct(it) | Kind::Union(it) => {
                words.extend([it.size, it.bitfields.into()]);
                list(words, &mut it.members.iter().map(member));
            }
            Kind::Enum(it) => {
                words.extend([it.size, it.signed.into()]);
                list(words, &mut it.values.iter().map(|(name, value)| (*name, halves(*value))));
            }
            Kind::Fwd { union } => words.push((*union).into()),
            Kind::FuncProto { params, .. } => list(words, &mut params.iter().map(|it| (it.name, [0, 0]))),
            Kind::Func { linkage, .. } | Kind::Var { linkage, .. } => words.push(*linkage as u32),
            Kind::Float(size) => words.push(*size),
            Kind::DeclTag { component, attribute, .. } => {
                words.extend([component.unwrap_or(u32::MAX), (*attribute).into()]);
            }
            Kind::TypeTag { attribute, .. } => words.push((*attribute).into()),
        }
        words.push(count(tags.len()));
        words.extend(tags.iter().flatten());
        words.extend(extra);
        self.ends.push(words.len());
    }

    /// Returns the keys in the order in which they were added.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.words[start..*end])
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn member(member: &Member) -> (StringRef, [u32; 2]) {
    (member.name, [member.bit_offset, member.bit_size.into()])
}

fn halves(value: i64) -> [u32; 2] {
    let [b0, b1, b2, b3, b4, b5, b6, b7] = value.to_le_bytes();
    [u32::from_le_bytes([b0, b1, b2, b3]), u32::from_le_bytes([b4, b5, b6, b7])]
}
