//! Whether two files mean the same by a name: comparison of the declarations of functions, variables and maps.
//!
//! Files are compiled on their own, so each has its own copy of a type. Types that a value contains are compared
//! completely; types behind pointers only by kind and name, because files can declare a struct without its members, and
//! because the definition of a kernel type may come from headers of different kernels. Modifiers and typedefs do not
//! matter.

use std::collections::HashSet;

use crate::btf::{Btf, Composite, Enum, Kind, TypeId};

/// The maximum number of pointers on the way to a type. The parser limits how deeply values nest, but not pointers, and
/// the comparison is recursive. No source has a type like this.
const MAX_POINTERS: usize = 256;

/// A type in its table.
#[derive(Clone, Copy)]
pub(super) struct Typed<'a> {
    pub(super) btf: &'a Btf,
    pub(super) id: TypeId,
}

/// A disagreement about a part of a declaration: its two spellings. The part is empty for the declaration itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) part: String,
    pub(super) spellings: [String; 2],
}

/// Compares two declarations of a function or variable, given by their types.
pub(super) fn values(one: Typed<'_>, other: Typed<'_>) -> Result<(), Difference> {
    Comparison::default().whole(one, other)
}

/// Compares two definitions of a map, given by the types of the variables: each attribute must be the same.
pub(super) fn maps(one: Typed<'_>, other: Typed<'_>) -> Result<(), Difference> {
    Comparison::default().definitions(one, other)
}

impl<'a> Typed<'a> {
    fn at(self, id: TypeId) -> Self {
        Self { id, ..self }
    }

    fn resolved(self) -> Self {
        self.at(self.btf.resolve(self.id))
    }

    fn kind(self) -> &'a Kind {
        &self.btf.get(self.id).kind
    }

    fn name(self) -> &'a str {
        self.btf.name(self.id)
    }

    fn members(self) -> Option<&'a Composite> {
        match self.kind() {
            Kind::Struct(composite) | Kind::Union(composite) => Some(composite),
            _ => None,
        }
    }

    /// Returns the C spelling of the type.
    fn spelling(self) -> String {
        self.btf.declaration(self.id, "")
    }
}

/// A comparison in progress.
#[derive(Default)]
struct Comparison {
    /// The pairs of types that are compared completely, or being compared.
    whole: HashSet<(TypeId, TypeId)>,
    /// The pairs of types behind pointers.
    shapes: HashSet<(TypeId, TypeId)>,
    /// The number of pointers on the way to the current types.
    pointers: usize,
}

impl Comparison {
    /// Compares types that values contain.
    fn whole(&mut self, one: Typed<'_>, other: Typed<'_>) -> Result<(), Difference> {
        let (one, other) = (one.resolved(), other.resolved());
        if !self.whole.insert((one.id, other.id)) {
            return Ok(());
        }
        match (one.kind(), other.kind()) {
            (Kind::Struct(_), Kind::Struct(_)) | (Kind::Union(_), Kind::Union(_)) => self.composites(one, other),
            (Kind::Enum(left), Kind::Enum(right)) => {
                let values = |typed: Typed<'_>, it: &Enum| -> Vec<(String, i64)> {
                    it.values.iter().map(|(name, value)| (typed.btf.str(*name).to_owned(), *value)).collect()
                };
                let declared = left.size == 0 || right.size == 0;
                let same = declared || left.size == right.size && values(one, left) == values(other, right);
                differ_unless(one.name() == other.name() && same, one, other)
            }
            (Kind::Array { element, len, .. }, Kind::Array { element: others, len: length, .. }) => {
                // A declaration without a length accepts any.
                if len != length && *len != 0 && *length != 0 {
                    return differ_unless(false, one, other);
                }
                self.whole(one.at(*element), other.at(*others))
            }
            (Kind::Func { proto, .. }, Kind::Func { proto: others, .. }) => {
                self.whole(one.at(*proto), other.at(*others))
            }
            (Kind::Var { ty, .. }, Kind::Var { ty: others, .. }) => self.whole(one.at(*ty), other.at(*others)),
            (Kind::FuncProto { .. }, Kind::FuncProto { .. }) => self.prototypes(one, other, Self::whole),
            _ => self.leaves(one, other),
        }
    }

    fn composites(&mut self, one: Typed<'_>, other: Typed<'_>) -> Result<(), Difference> {
        let (Some(left), Some(right)) = (one.members(), other.members()) else {
            return differ_unless(false, one, other);
        };
        differ_unless(one.name() == other.name(), one, other)?;
        if left.size != right.size || left.members.len() != right.members.len() {
            let count = |it: &Composite| format!("{} bytes with {} members", it.size, it.members.len());
            return Err(Difference { part: one.spelling(), spellings: [count(left), count(right)] });
        }
        for (mine, theirs) in left.members.iter().zip(&right.members) {
            let names = [one.btf.str(mine.name), other.btf.str(theirs.name)];
            let part = || format!("a member of `{}`", one.spelling());
            if names[0] != names[1] || (mine.bit_offset, mine.bit_size) != (theirs.bit_offset, theirs.bit_size) {
                let [before, after] = [mine.bit_offset, theirs.bit_offset];
                let spellings = [
                    format!("{} at bit {before}", one.btf.declaration(mine.ty, names[0])),
                    format!("{} at bit {after}", other.btf.declaration(theirs.ty, names[1])),
                ];
                return Err(Difference { part: part(), spellings });
            }
            self.whole(one.at(mine.ty), other.at(theirs.ty)).map_err(|inner| match &inner.part[..] {
                "" => Difference {
                    part: part(),
                    spellings: [one.btf.declaration(mine.ty, names[0]), other.btf.declaration(theirs.ty, names[1])],
                },
                _ => inner,
            })?;
        }
        Ok(())
    }

    fn prototypes(
        &mut self,
        one: Typed<'_>,
        other: Typed<'_>,
        compare: fn(&mut Self, Typed<'_>, Typed<'_>) -> Result<(), Difference>,
    ) -> Result<(), Difference> {
        let (Kind::FuncProto { returns, params }, Kind::FuncProto { returns: others, params: parameters }) =
            (one.kind(), other.kind())
        else {
            return differ_unless(false, one, other);
        };
        differ_unless(params.len() == parameters.len(), one, other)?;
        let of_whole = |inner: Difference| if inner.part.is_empty() { difference(one, other) } else { inner };
        compare(self, one.at(*returns), other.at(*others)).map_err(of_whole)?;
        for (mine, theirs) in params.iter().zip(parameters) {
            compare(self, one.at(mine.ty), other.at(theirs.ty)).map_err(of_whole)?;
        }
        Ok(())
    }

    /// Compares types behind pointers.
    fn shape(&mut self, one: Typed<'_>, other: Typed<'_>) -> Result<(), Difference> {
        let (one, other) = (one.resolved(), other.resolved());
        if !self.shapes.insert((one.id, other.id)) {
            return Ok(());
        }
        match (one.kind(), other.kind()) {
            (Kind::Struct(_), Kind::Struct(_) | Kind::Fwd { union: false })
            | (Kind::Union(_), Kind::Union(_) | Kind::Fwd { union: true })
            | (Kind::Fwd { union: false }, Kind::Struct(_))
            | (Kind::Fwd { union: true }, Kind::Union(_))
            | (Kind::Enum(_), Kind::Enum(_)) => differ_unless(one.name() == other.name(), one, other),
            (Kind::Array { element, len, .. }, Kind::Array { element: others, len: length, .. }) => {
                differ_unless(len == length, one, other)?;
                self.shape(one.at(*element), other.at(*others))
            }
            (Kind::FuncProto { .. }, Kind::FuncProto { .. }) => self.prototypes(one, other, Self::shape),
            _ => self.leaves(one, other),
        }
    }

    /// Compares types that contain no others, and pointers.
    fn leaves(&mut self, one: Typed<'_>, other: Typed<'_>) -> Result<(), Difference> {
        match (one.kind(), other.kind()) {
            (Kind::Void, Kind::Void) => Ok(()),
            (Kind::Ptr(to), Kind::Ptr(others)) => {
                differ_unless(self.pointers < MAX_POINTERS, one, other)?;
                self.pointers += 1;
                let found = self.shape(one.at(*to), other.at(*others));
                self.pointers -= 1;
                found.map_err(|inner| if inner.part.is_empty() { difference(one, other) } else { inner })
            }
            // Sources declare integers of either signedness for the other, also of bool and char.
            (Kind::Int(left), Kind::Int(right)) => differ_unless(left.size == right.size, one, other),
            (Kind::Float(left), Kind::Float(right)) => differ_unless(left == right, one, other),
            (Kind::Fwd { union: left }, Kind::Fwd { union: right }) => {
                differ_unless(left == right && one.name() == other.name(), one, other)
            }
            _ => differ_unless(false, one, other),
        }
    }

    fn definitions(&mut self, one: Typed<'_>, other: Typed<'_>) -> Result<(), Difference> {
        let [one, other] = [one, other].map(|typed| match typed.kind() {
            Kind::Var { ty, .. } => typed.at(*ty).resolved(),
            _ => typed.resolved(),
        });
        let (Some(left), Some(right)) = (one.members(), other.members()) else {
            return differ_unless(false, one, other);
        };
        fn attributes<'a>(typed: Typed<'a>, composite: &'a Composite) -> Vec<(&'a str, TypeId)> {
            let mut list: Vec<_> = composite.members.iter().map(|it| (typed.btf.str(it.name), it.ty)).collect();
            list.sort_by_key(|(name, _)| *name);
            list
        }
        let (left, right) = (attributes(one, left), attributes(other, right));
        for (mine, theirs) in [(&left, &right), (&right, &left)] {
            let absent = mine.iter().find(|(name, _)| !theirs.iter().any(|(other, _)| other == name));
            if let Some((name, _)) = absent {
                let spell = |list: &[(&str, TypeId)]| match list.iter().any(|(other, _)| other == name) {
                    true => "set".to_owned(),
                    false => "not set".to_owned(),
                };
                return Err(Difference { part: attribute(name), spellings: [spell(&left), spell(&right)] });
            }
        }
        for ((name, mine), (_, theirs)) in left.into_iter().zip(right) {
            let (mine, theirs) = (one.at(mine), other.at(theirs));
            self.attributes(name, mine, theirs).map_err(|inner| match &inner.part[..] {
                "" => Difference { part: attribute(name), spellings: [value(mine), value(theirs)] },
                _ => inner,
            })?;
        }
        Ok(())
    }

    /// Compares the values of an attribute: pointers to types, to arrays whose length is a number, or arrays of pointers
    /// to the definition of the inner maps.
    fn attributes(&mut self, name: &str, one: Typed<'_>, other: Typed<'_>) -> Result<(), Difference> {
        let (one, other) = (one.resolved(), other.resolved());
        match (one.kind(), other.kind()) {
            (Kind::Ptr(to), Kind::Ptr(others)) => {
                let (one, other) = (one.at(*to), other.at(*others));
                match (one.resolved().kind(), other.resolved().kind()) {
                    (Kind::Array { len, .. }, Kind::Array { len: length, .. }) if name != "key" && name != "value" => {
                        differ_unless(len == length, one, other)
                    }
                    _ => self.whole(one, other),
                }
            }
            (Kind::Array { element, .. }, Kind::Array { element: others, .. }) if name == "values" => {
                self.shape(one.at(*element), other.at(*others))
            }
            // `__ulong` writes the number as an enumerator.
            _ => self.whole(one, other),
        }
    }
}

fn attribute(name: &str) -> String {
    format!("attribute `{name}`")
}

/// Returns the number or the type that an attribute of a map is set to.
fn value(attribute: Typed<'_>) -> String {
    let typed = attribute.resolved();
    let Kind::Ptr(to) = typed.kind() else { return typed.spelling() };
    match typed.at(*to).resolved().kind() {
        Kind::Array { len, element, .. } if matches!(typed.at(*element).resolved().kind(), Kind::Int(_)) => {
            len.to_string()
        }
        _ => typed.at(*to).spelling(),
    }
}

fn difference(one: Typed<'_>, other: Typed<'_>) -> Difference {
    Difference { part: String::new(), spellings: [one.spelling(), other.spelling()] }
}

fn differ_unless(same: bool, one: Typed<'_>, other: Typed<'_>) -> Result<(), Difference> {
    if same { Ok(()) } else { Err(difference(one, other)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::{Int, StringRef, Type};

    /// Returns an integer behind this number of pointers.
    fn pointers(number: u32) -> (Btf, TypeId) {
        let mut btf = Btf::default();
        let name = btf.add_string("int");
        let int = Int { size: 4, bits: 32, bit_offset: 0, signed: true, char: false, bool: false };
        let mut last = btf.push(Type { name, kind: Kind::Int(int) });
        for _ in 0..number {
            last = btf.push(Type { name: StringRef(0), kind: Kind::Ptr(last) });
        }
        (btf, last)
    }

    #[test]
    fn long_chains_of_pointers_do_not_agree_and_do_not_overflow_the_stack() {
        for (number, agree) in [(3, true), (200, true), (200_000, false)] {
            let (one, other) = (pointers(number), pointers(number));
            let [one, other] = [&one, &other].map(|(btf, id)| Typed { btf, id: *id });
            assert_eq!(values(one, other).is_ok(), agree, "{number}");
        }
    }
}
