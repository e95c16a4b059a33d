//! Views of a type, a member and a function in BTF: the public interface for reading them.
//!
//! Views borrow the types that contain them. Each method reads the BTF again. To add a query, add it to `btf/query.rs`,
//! and a method here. This module does not depend on where the types come from.

use std::fmt;

use crate::btf::{self, Types, kind};

/// The maximum depth of nested anonymous structs and unions, as in the kernel.
const MAX_DEPTH: u32 = 32;

/// The maximum number of members that a search looks at. No type of C has that many members; in malformed BTF,
/// anonymous members can contain each other.
const MAX_VISITS: u32 = 1 << 20;

/// A type of a [`Types`](crate::kernel::Types). Its `Display` is its name in C: `struct task_struct`, `u64`, `char [16]`.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// let types = skelgen_runtime::kernel::Types::load()?;
/// if let Some(ty) = types.find("struct task_struct") {
///     println!("{ty}: {:?} bytes, {} members", ty.size(), ty.members().count());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Type<'a> {
    pub(super) types: &'a Types,
    pub(super) id: u32,
    pub(super) module: Option<&'a str>,
}

impl<'a> Type<'a> {
    /// Returns the name without `struct`, `union` or `enum`; empty for derived types, such as pointers, and for
    /// anonymous types.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.types.name(self.id)
    }

    /// Returns the id of the type in its BTF. The ids of a module's own types continue those of the kernel.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns the module that has the type; `None` for a type of the kernel itself, a file or a program.
    #[must_use]
    pub fn module(&self) -> Option<&'a str> {
        self.module
    }

    /// Returns the size of a value in bytes, or `None` for a type without a size, such as `void`, a function, or a
    /// forward-declared struct.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.types.size(self.id)
    }

    /// Returns the type behind typedefs, modifiers (`const`, `volatile`, `restrict`) and type tags.
    #[must_use]
    pub fn resolved(&self) -> Self {
        Self { id: self.types.resolve(self.id), ..*self }
    }

    /// Iterates over the members of a struct or union, also behind a typedef. An anonymous member has no name.
    pub fn members(&self) -> impl Iterator<Item = Member<'a>> + use<'a> {
        let Self { types, id, module } = self.resolved();
        types.members(id).map(move |member| Member { types, member, module, before: 0 })
    }

    /// Returns the member of a struct or union with this name. Members of anonymous structs and unions count as members
    /// of the outer type, as in C. A path (`se.avg.load_avg`) finds a member of a nested struct.
    #[must_use]
    pub fn member(&self, path: &str) -> Option<Member<'a>> {
        let mut names = path.split('.');
        let mut visits = MAX_VISITS;
        let first = find(*self, names.next()?, 0, MAX_DEPTH, &mut visits)?;
        names.try_fold(first, |member, name| find(member.ty(), name, member.bit_offset(), MAX_DEPTH, &mut visits))
    }

    /// Iterates over the names and values of an enum's enumerators, also behind a typedef. Negative values are sign-extended to 64 bits.
    pub fn enumerators(&self) -> impl Iterator<Item = (&'a str, u64)> + use<'a> {
        let Self { types, id, .. } = self.resolved();
        types.enumerators(id)
    }

    /// Returns the value of an enumerator of the enum. Negative values are sign-extended to 64 bits.
    #[must_use]
    pub fn enum_value(&self, enumerator: &str) -> Option<u64> {
        self.enumerators().find_map(|(name, value)| (name == enumerator).then_some(value))
    }

    /// Returns the C declaration of a variable or member of this type: `struct list_head *next` for a name of `next`.
    /// Very long declarations are shortened.
    #[must_use]
    pub fn declaration(&self, name: &str) -> String {
        self.types.declaration(self.id, name)
    }
}

/// Finds the member with this name, also in anonymous members. `before` is the offset in bits of this type from the
/// beginning of the outermost type; `visits` is the maximum number of further members to examine.
fn find<'a>(ty: Type<'a>, name: &str, before: u64, depth: u32, visits: &mut u32) -> Option<Member<'a>> {
    let depth = depth.checked_sub(1).filter(|_| !name.is_empty())?;
    for member in ty.members() {
        *visits = visits.checked_sub(1)?;
        let member = Member { before, ..member };
        let found = match member.name() {
            found if found == name => Some(member),
            "" => find(member.ty(), name, member.bit_offset(), depth, visits),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

impl PartialEq for Type<'_> {
    /// Compares identity: two types are equal if they are the same type of the same BTF.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.types, other.types) && self.id == other.id
    }
}

impl Eq for Type<'_> {}

impl fmt::Display for Type<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.declaration(""))
    }
}

impl fmt::Debug for Type<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Type({self}, id {})", self.id)
    }
}

/// A member of a struct or union. Its `Display` is its declaration in C: `struct list_head *next`, `unsigned int frozen: 1`.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// let types = skelgen_runtime::kernel::Types::load()?;
/// if let Some(member) = types.member("struct task_struct", "tgid") {
///     println!("{member} is at byte {}", member.offset());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Member<'a> {
    types: &'a Types,
    member: btf::Member<'a>,
    module: Option<&'a str>,
    /// The offset in bits of the struct that contains the member, from the beginning of the type that the path began
    /// with.
    before: u64,
}

impl<'a> Member<'a> {
    /// Returns the name; empty for an anonymous struct or union.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.member.name
    }

    /// Returns the type.
    #[must_use]
    pub fn ty(&self) -> Type<'a> {
        Type { types: self.types, id: self.member.ty, module: self.module }
    }

    /// Returns the offset in bytes from the beginning of the type that the path began with; for a bitfield, the offset
    /// of its first byte.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.bit_offset() / 8
    }

    /// Returns the offset in bits from the beginning of the type that the path began with.
    #[must_use]
    pub fn bit_offset(&self) -> u64 {
        self.before.saturating_add(self.member.bit_offset.into())
    }

    /// Returns the number of bits of a bitfield; `None` for other members.
    #[must_use]
    pub fn bit_size(&self) -> Option<u32> {
        Some(self.member.bit_size).filter(|&bits| bits != 0)
    }

    /// Returns the size in bytes; for a bitfield, the size of its type.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.ty().size()
    }
}

impl fmt::Display for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.ty().declaration(self.name()))?;
        self.bit_size().map_or(Ok(()), |bits| write!(f, ": {bits}"))
    }
}

impl fmt::Debug for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Member({self}, bit {})", self.bit_offset())
    }
}

/// A function of the kernel, a module or a program. Its `Display` is its prototype in C.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// let types = skelgen_runtime::kernel::Types::load()?;
/// if let Some(function) = types.function("vfs_read") {
///     for (name, ty) in function.parameters() {
///         println!("{}", ty.declaration(name));
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Function<'a> {
    pub(super) types: &'a Types,
    pub(super) id: u32,
    pub(super) module: Option<&'a str>,
}

impl<'a> Function<'a> {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.types.name(self.id)
    }

    /// Returns the id of the function in its BTF.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns the module that has the function; `None` for a function of the kernel itself, a file or a program.
    #[must_use]
    pub fn module(&self) -> Option<&'a str> {
        self.module
    }

    /// Returns the prototype in C, with the names of its parameters: `s64 bpf_map_sum_elem_count(const struct bpf_map *map)`.
    #[must_use]
    pub fn prototype(&self) -> String {
        self.types.prototype(self.types.referenced(self.id, kind::FUNC).unwrap_or(0), self.name())
    }

    /// Returns whether the function has a declaration tag.
    pub(super) fn is_tagged(&self, tag: &str) -> bool {
        self.types.find_tagged(tag).any(|tagged| tagged == self.id)
    }

    /// Iterates over the names and types of the parameters. The parameters of a variadic function end with one of type
    /// `void`.
    pub fn parameters(&self) -> impl Iterator<Item = (&'a str, Type<'a>)> + use<'a> {
        let Self { types, id, module } = *self;
        let prototype = types.referenced(id, kind::FUNC).unwrap_or(0);
        types.named_parameters(prototype).map(move |(name, id)| (name, Type { types, id, module }))
    }
}

impl fmt::Display for Function<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prototype())
    }
}

impl fmt::Debug for Function<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Function({self}, id {})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::testing::Btf;

    #[test]
    fn members_that_contain_each_other() {
        let mut btf = Btf::new();
        let int = btf.int("int", 4, true);
        let twice = btf.structure("twice", 4, &[("", 2, 0), ("", 2, 0), ("after", int, 0)]);
        let types = btf.types();
        let ty = Type { types: &types, id: twice, module: None };
        assert!(ty.member("missing").is_none());
        let mut btf = Btf::new();
        let int = btf.int("int", 4, true);
        let inner = btf.structure("", 8, &[("one", int, 0), ("two", int, 32)]);
        let outer = btf.structure("outer", 12, &[("", inner, 32), ("path", inner, 0)]);
        let types = btf.types();
        let ty = Type { types: &types, id: outer, module: None };
        assert_eq!(ty.member("two").unwrap().offset(), 8);
        assert_eq!(ty.member("path.two").unwrap().offset(), 4);
    }
}
