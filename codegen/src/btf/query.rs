//! Questions about types: what is behind the modifiers, how large, how aligned, where.

use std::collections::HashMap;

use super::{Btf, Kind, Type, TypeId};

/// Size of a pointer in bytes.
const POINTER: u32 = 8;

impl Btf {
    /// How many types there are, `void` among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether there is no type but `void`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.types.len() <= 1
    }

    /// The type of this id, if the table has it.
    #[must_use]
    pub fn try_get(&self, id: TypeId) -> Option<&Type> {
        self.types.get(id.index())
    }

    /// The first type from this one on that is not a typedef, `const`, `volatile`, `restrict` or a type tag.
    ///
    /// # Panics
    /// If the id is not of this table.
    #[must_use]
    pub fn resolve(&self, mut id: TypeId) -> TypeId {
        while let Some(next) = self.modified(id) {
            id = next;
        }
        id
    }

    /// The type that this typedef, modifier or type tag is about.
    fn modified(&self, id: TypeId) -> Option<TypeId> {
        match self.get(id).kind {
            Kind::Typedef(next) | Kind::Volatile(next) | Kind::Const(next) | Kind::Restrict(next) => Some(next),
            Kind::TypeTag { ty: next, .. } => Some(next),
            _ => None,
        }
    }

    /// The size of a value of this type in bytes; for a variable that of its type. `None` if there are no values, as of `void`,
    /// functions and forward declarations, or no memory could hold them.
    ///
    /// # Panics
    /// If the id is not of this table.
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

    /// The alignment of a value of this type in bytes, a power of two; `None` where there are no values.
    ///
    /// BTF does not tell it: it is what the members ask for, or 1 where the members' offsets show that the struct is packed. A
    /// greater one that the source demands is not seen.
    ///
    /// # Panics
    /// If the id is not of this table.
    #[must_use]
    pub fn align_of(&self, id: TypeId) -> Option<u32> {
        self.align_with(id, &mut HashMap::new())
    }

    /// `known` keeps structs that contain the same ones again and again from taking exponential time.
    fn align_with(&self, mut id: TypeId, known: &mut HashMap<TypeId, Option<u32>>) -> Option<u32> {
        loop {
            id = self.resolve(id);
            return match &self.get(id).kind {
                Kind::Array { element: next, .. } | Kind::Var { ty: next, .. } => {
                    id = *next;
                    continue;
                }
                Kind::Int(int) => Some(int.size),
                Kind::Enum(enumeration) if enumeration.size > 0 => Some(enumeration.size),
                // Of 12 bytes, the four that 12 is a multiple of.
                Kind::Float(size) => Some(size & size.wrapping_neg()),
                Kind::Ptr(_) => Some(POINTER),
                Kind::Struct(composite) | Kind::Union(composite) => {
                    if let Some(align) = known.get(&id) {
                        return *align;
                    }
                    let mut most = Some(1);
                    for member in &composite.members {
                        let align = self.align_with(member.ty, known);
                        let packed =
                            align.is_some_and(|align| member.bit_size == 0 && member.bit_offset % (align * 8) != 0);
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

    /// The first type of this name whose kind is one of those wanted.
    #[must_use]
    pub fn find(&self, wanted: impl Fn(&Kind) -> bool, name: &str) -> Option<TypeId> {
        self.iter().find(|(_, ty)| wanted(&ty.kind) && self.str(ty.name) == name).map(|(id, _)| id)
    }

    /// The section of variables of this name.
    #[must_use]
    pub fn datasec(&self, name: &str) -> Option<TypeId> {
        self.find(|kind| matches!(kind, Kind::Datasec(_)), name)
    }
}

impl TypeId {
    /// The id as an index.
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}
