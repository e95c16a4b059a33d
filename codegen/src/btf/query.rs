//! Questions about types: what a name stands for, how large a value is.

use super::{Btf, Kind, StringRef, Type, TypeId};

impl Btf {
    /// How many types there are, `void` included.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "`void` is always there")]
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Adds a type.
    pub fn push(&mut self, ty: Type) -> TypeId {
        self.types.push(ty);
        TypeId(u32::try_from(self.types.len() - 1).unwrap_or(u32::MAX))
    }

    /// Adds a string to the end of the table.
    pub fn add_string(&mut self, text: &str) -> StringRef {
        let at = StringRef(u32::try_from(self.strings.len()).unwrap_or(u32::MAX));
        self.strings.push_str(text);
        self.strings.push('\0');
        at
    }

    /// Whether a string begins here or inside another.
    #[must_use]
    pub fn contains_string(&self, string: StringRef) -> bool {
        (string.0 as usize) < self.strings.len() && self.strings.is_char_boundary(string.0 as usize)
    }

    /// The type behind typedefs, qualifiers and tags.
    #[must_use]
    pub fn resolve(&self, mut id: TypeId) -> TypeId {
        while let Kind::Typedef(to)
        | Kind::Volatile(to)
        | Kind::Const(to)
        | Kind::Restrict(to)
        | Kind::TypeTag { ty: to, .. } = self.get(id).kind
        {
            id = to;
        }
        id
    }

    /// Size of a value in bytes; `None` for what has no values, such as functions and declarations.
    #[must_use]
    pub fn size_of(&self, id: TypeId) -> Option<u64> {
        let mut count = 1u64;
        let mut id = self.resolve(id);
        loop {
            let one = match &self.get(id).kind {
                Kind::Int(int) => int.size.into(),
                Kind::Ptr(_) => 8,
                Kind::Array { element, len, .. } => {
                    count = count.checked_mul((*len).into())?;
                    id = self.resolve(*element);
                    continue;
                }
                Kind::Struct(it) | Kind::Union(it) => it.size.into(),
                Kind::Enum(it) => it.size.into(),
                Kind::Float(size) => (*size).into(),
                Kind::Datasec(it) => it.size.into(),
                Kind::Var { ty, .. } => {
                    id = self.resolve(*ty);
                    continue;
                }
                _ => return None,
            };
            return count.checked_mul(one);
        }
    }

    /// The data section of this name.
    #[must_use]
    pub fn datasec(&self, name: &str) -> Option<TypeId> {
        self.iter().find(|(id, ty)| matches!(ty.kind, Kind::Datasec(_)) && self.name(*id) == name).map(|(id, _)| id)
    }
}
