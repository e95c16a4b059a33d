//! Queries about types: modifiers, size, alignment and lookup by name.

use std::collections::HashMap;

use super::{Btf, Kind, Member, Type, TypeId};

/// The size of a pointer, in bytes.
const POINTER: u32 = 8;

impl Btf {
    /// Returns the number of types, including `void`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Returns whether `void` is the only type.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.types.len() <= 1
    }

    /// Returns the length of the string table in bytes.
    pub(crate) fn strings_len(&self) -> usize {
        self.strings.len()
    }

    /// Returns the approximate size of the table in the kernel's format, in bytes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let parts = |ty: &Type| match &ty.kind {
            Kind::Struct(composite) | Kind::Union(composite) => composite.members.len(),
            Kind::Enum(enumeration) => enumeration.values.len(),
            Kind::FuncProto { params, .. } => params.len(),
            Kind::Datasec(section) => section.vars.len(),
            _ => 0,
        };
        let types: usize = self.types.iter().map(|ty| 1 + parts(ty)).sum();
        12 * types as u64 + self.strings.len() as u64
    }

    /// Returns the type with this id, if the table has it.
    #[must_use]
    pub fn try_get(&self, id: TypeId) -> Option<&Type> {
        self.types.get(id.index())
    }

    /// Returns the type after skipping typedefs, `const`, `volatile`, `restrict` and type tags.
    ///
    /// # Panics
    /// If the id is not in this table.
    #[must_use]
    pub fn resolve(&self, mut id: TypeId) -> TypeId {
        while let Some(next) = self.modified(id) {
            id = next;
        }
        id
    }

    /// Returns the type that a typedef, modifier or type tag refers to.
    fn modified(&self, id: TypeId) -> Option<TypeId> {
        match self.get(id).kind {
            Kind::Typedef(next) | Kind::Volatile(next) | Kind::Const(next) | Kind::Restrict(next) => Some(next),
            Kind::TypeTag { ty: next, .. } => Some(next),
            _ => None,
        }
    }

    /// Returns the size of a value of this type in bytes; for a variable, the size of its type. Returns `None` for
    /// types without values, such as `void`, functions and forward declarations, and for types that exceed the address
    /// space.
    ///
    /// # Panics
    /// If the id is not in this table.
    #[must_use]
    pub fn size_of(&self, mut id: TypeId) -> Option<u64> {
        let mut count = 1_u64;
        loop {
            id = self.resolve(id);
            let size = match &self.get(id).kind {
                Kind::Array { element, len, .. } => {
                    count = count.checked_mul(u64::from(*len))?;
                    id = *element;
                    continue;
                }
                Kind::Var { ty, .. } => {
                    id = *ty;
                    continue;
                }
                Kind::Int(int) => int.size,
                Kind::Ptr(_) => POINTER,
                Kind::Struct(composite) | Kind::Union(composite) => composite.size,
                Kind::Enum(enumeration) if enumeration.size > 0 => enumeration.size,
                Kind::Float(size) => *size,
                Kind::Datasec(section) => section.size,
                _ => return None,
            };
            return count.checked_mul(u64::from(size));
        }
    }

    /// Returns the alignment of a value of this type in bytes, a power of two; `None` for types without values.
    ///
    /// BTF does not record alignment. It is derived from the members, and is 1 if their offsets show that the struct is
    /// packed. A greater alignment in the source is not detected.
    ///
    /// # Panics
    /// If the id is not in this table.
    #[must_use]
    pub fn align_of(&self, id: TypeId) -> Option<u32> {
        self.align_with(id, &mut HashMap::new())
    }

    /// Returns the alignment as [`Btf::align_of`] does. `known` caches the alignments of structs and unions: many
    /// structs share members, so a search without the cache would take exponential time.
    ///
    /// # Panics
    /// If the id is not in this table.
    pub fn align_with(&self, mut id: TypeId, known: &mut HashMap<TypeId, Option<u32>>) -> Option<u32> {
        loop {
            id = self.resolve(id);
            return match &self.get(id).kind {
                Kind::Array { element: next, .. } | Kind::Var { ty: next, .. } => {
                    id = *next;
                    continue;
                }
                Kind::Int(int) => Some(int.size),
                Kind::Enum(enumeration) if enumeration.size > 0 => Some(enumeration.size),
                // The largest power of two that divides the size, such as 4 for the 12 bytes of an x87 number.
                Kind::Float(size) => Some(size & size.wrapping_neg()),
                Kind::Ptr(_) => Some(POINTER),
                Kind::Struct(composite) | Kind::Union(composite) => {
                    if let Some(align) = known.get(&id) {
                        return *align;
                    }
                    let mut most = Some(1);
                    for member in &composite.members {
                        let align = self.align_with(member.ty, known);
                        let packed = match member.bit_size {
                            0 => align.is_some_and(|align| member.bit_offset % (align * 8) != 0),
                            _ => self.straddles(member),
                        };
                        most = if packed {
                            None
                        } else {
                            most.zip(align).map(|(most, align): (u32, u32)| most.max(align))
                        };
                        if most.is_none() {
                            break;
                        }
                    }
                    let align = most.filter(|align| composite.size % align == 0).unwrap_or(1);
                    known.insert(id, Some(align));
                    Some(align)
                }
                _ => None,
            };
        }
    }

    /// Returns whether a bitfield crosses the boundary between two units of its type, which is possible only in a
    /// packed struct.
    fn straddles(&self, member: &Member) -> bool {
        self.size_of(member.ty).is_some_and(|size| {
            let unit = size.saturating_mul(8).max(1);
            u64::from(member.bit_offset) % unit + u64::from(member.bit_size) > unit
        })
    }

    /// Returns the first type of this name whose kind satisfies `wanted`.
    #[must_use]
    pub fn find(&self, wanted: impl Fn(&Kind) -> bool, name: &str) -> Option<TypeId> {
        self.iter().find(|(_, ty)| wanted(&ty.kind) && self.str(ty.name) == name).map(|(id, _)| id)
    }

    /// Returns the data section of this name.
    #[must_use]
    pub fn datasec(&self, name: &str) -> Option<TypeId> {
        self.find(|kind| matches!(kind, Kind::Datasec(_)), name)
    }
}

impl TypeId {
    /// Returns the id as an index.
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}
