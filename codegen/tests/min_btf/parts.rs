//! The types, members and enumerators of BTF, as values that can be compared.

use std::collections::BTreeSet;

use skelgen::unstable::btf::{Btf, Kind};

/// A type, a member or an enumerator.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The number of a kind, the name of the type, and its size if it has its own.
    Type(u32, String, Option<u32>),
    /// The name of the type and of the member, and its offset and size in bits.
    Member(String, String, (u32, u8)),
    /// The name of the type and of the enumerator, and its number.
    Enumerator(String, String, i64),
}

/// Returns the types, members and enumerators of BTF.
pub(crate) fn parts(btf: &Btf) -> BTreeSet<Part> {
    let mut found = BTreeSet::new();
    for (id, ty) in btf.iter() {
        let name = btf.name(id).to_owned();
        let size = match &ty.kind {
            Kind::Struct(it) | Kind::Union(it) => {
                for member in &it.members {
                    let bits = (member.bit_offset, member.bit_size);
                    found.insert(Part::Member(name.clone(), btf.str(member.name).to_owned(), bits));
                }
                Some(it.size)
            }
            Kind::Enum(it) => {
                for (value, number) in &it.values {
                    found.insert(Part::Enumerator(name.clone(), btf.str(*value).to_owned(), *number));
                }
                Some(it.size)
            }
            Kind::Int(it) => Some(it.size),
            _ => None,
        };
        found.insert(Part::Type(ty.kind.number(), name, size));
    }
    found
}
