//! BTF: the types of an object, and the records of `.BTF.ext` about its instructions.
//!
//! A [`Btf`] is a table of types with ids, parsed from and written to the kernel's format (Documentation/bpf/btf.rst).
//! It owns its types, because they are changed before they are loaded into the kernel: for example, the sizes of data
//! sections and the offsets of their variables are set. This module does not know ELF, maps or programs.

mod check;
pub mod declaration;
pub mod ext;
mod layout;
mod parse;
mod path;
mod query;
mod rebase;
#[cfg(test)]
mod tests;
pub(crate) mod value;
mod write;

/// The id of a type; 0 is `void`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TypeId(pub u32);

impl TypeId {
    /// The type `void`.
    pub const VOID: Self = Self(0);
}

impl std::fmt::Display for TypeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}]", self.0)
    }
}

/// A string of a [`Btf`], as its offset in the string table; 0 is the empty string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StringRef(pub u32);

/// The types of an object. Every id refers to a type in the table, and every string reference to a string in it.
///
/// The string table is kept as the compiler wrote it, because `.BTF.ext` refers to it by offset. New strings are
/// appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Btf {
    /// The types by id; the first is `void`.
    types: Vec<Type>,
    /// UTF-8 strings, each terminated by NUL; the first is empty.
    strings: String,
}

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    /// The type's name, empty if it has none.
    pub name: StringRef,
    /// The type's kind.
    pub kind: Kind,
}

/// The kind of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The type `void`, with id 0.
    Void,
    /// An integer, a bool or a char.
    Int(Int),
    /// A pointer to this type.
    Ptr(TypeId),
    /// An array.
    Array {
        /// The element type.
        element: TypeId,
        /// The index type.
        index: TypeId,
        /// The number of elements; 0 for a flexible array.
        len: u32,
    },
    /// A struct.
    Struct(Composite),
    /// A union.
    Union(Composite),
    /// An enumeration of at most four bytes, or of eight (`BTF_KIND_ENUM64`, where `wide` is set).
    Enum(Enum),
    /// A declaration without a definition.
    Fwd {
        /// Whether the type is a union, not a struct.
        union: bool,
    },
    /// A typedef of this type.
    Typedef(TypeId),
    /// `volatile`.
    Volatile(TypeId),
    /// `const`.
    Const(TypeId),
    /// `restrict`.
    Restrict(TypeId),
    /// A function.
    Func {
        /// The function's type, a `FuncProto`.
        proto: TypeId,
        /// The function's linkage.
        linkage: Linkage,
    },
    /// A function type.
    FuncProto {
        /// The return type.
        returns: TypeId,
        /// The parameters. A last parameter without name and type stands for `...`.
        params: Vec<Param>,
    },
    /// A variable.
    Var {
        /// The variable's type.
        ty: TypeId,
        /// The variable's linkage.
        linkage: Linkage,
    },
    /// A section of variables.
    Datasec(Datasec),
    /// A floating-point number of this size in bytes.
    Float(u32),
    /// A tag on a declaration (`btf_decl_tag`); its name is the tag.
    DeclTag {
        /// The declaration.
        ty: TypeId,
        /// The index of the member or parameter, or `None` for the declaration itself.
        component: Option<u32>,
        /// Whether the tag is an arbitrary attribute (`kind_flag`), not a `btf_decl_tag`.
        attribute: bool,
    },
    /// A tag on a type (`btf_type_tag`); its name is the tag.
    TypeTag {
        /// The type.
        ty: TypeId,
        /// Whether the tag is an arbitrary attribute (`kind_flag`, from LLVM 20), not a `btf_type_tag`.
        attribute: bool,
    },
    /// A type whose kind, with this number, is unknown. The kind layout (Linux 7.1) determines its length. Values of
    /// the type have no size, and it refers to no types.
    Unknown(u32),
}

/// An integer type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int {
    /// The integer's size in bytes: 1, 2, 4, 8 or 16.
    pub size: u32,
    /// The number of its value bits.
    pub bits: u8,
    /// The offset of its value, in bits.
    pub bit_offset: u8,
    /// Whether the integer is signed (`BTF_INT_SIGNED`).
    pub signed: bool,
    /// Whether the integer is a character (`BTF_INT_CHAR`).
    pub char: bool,
    /// Whether the integer is a bool (`BTF_INT_BOOL`).
    pub bool: bool,
}

/// A struct or a union.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Composite {
    /// The size in bytes.
    pub size: u32,
    /// The members, in the order of the source.
    pub members: Vec<Member>,
    /// Whether member offsets encode bitfield sizes (`kind_flag`).
    pub bitfields: bool,
}

/// A member of a struct or a union.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The member's name, empty for an anonymous struct or union.
    pub name: StringRef,
    /// The member's type.
    pub ty: TypeId,
    /// The member's offset in bits.
    pub bit_offset: u32,
    /// The size of a bitfield in bits; 0 for other members.
    pub bit_size: u8,
}

/// An enumeration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enum {
    /// The enum's size in bytes: 1, 2, 4 or 8; 0 for a declaration without a definition.
    pub size: u32,
    /// Whether its values are signed.
    pub signed: bool,
    /// Whether the enum is a `BTF_KIND_ENUM64`.
    pub wide: bool,
    /// The enum's values, as name and number. Numbers are sign-extended if signed, zero-extended otherwise.
    pub values: Vec<(StringRef, i64)>,
}

/// A parameter of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// The parameter's name, empty if it has none.
    pub name: StringRef,
    /// The parameter's type.
    pub ty: TypeId,
}

/// The linkage of a function or variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linkage {
    /// Visible in its own file only.
    Static,
    /// Visible in all files.
    Global,
    /// Defined in another file.
    Extern,
}

/// A section of variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datasec {
    /// The section's size in bytes. Compilers write 0; the model sets it.
    pub size: u32,
    /// The section's variables. Compilers write their offsets as 0; the model sets the offsets and sorts by them.
    pub vars: Vec<SecVar>,
}

/// A variable of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecVar {
    /// The `Var`, or for extern functions the `Func`.
    pub ty: TypeId,
    /// The variable's offset in the section, in bytes.
    pub offset: u32,
    /// The variable's size in bytes.
    pub size: u32,
}

impl Btf {
    /// Returns the type with this id.
    ///
    /// # Panics
    /// If the id is not in this table.
    #[must_use]
    pub fn get(&self, id: TypeId) -> &Type {
        &self.types[id.0 as usize]
    }

    /// Returns a mutable reference to the type with this id. The id stays valid.
    ///
    /// # Panics
    /// If the id is not in this table.
    pub fn get_mut(&mut self, id: TypeId) -> &mut Type {
        &mut self.types[id.0 as usize]
    }

    /// Returns the name of the type with this id, empty if it has none.
    ///
    /// # Panics
    /// If the id is not in this table.
    #[must_use]
    pub fn name(&self, id: TypeId) -> &str {
        self.str(self.get(id).name)
    }

    /// Returns a string of the table.
    ///
    /// # Panics
    /// If the reference is not in this table.
    #[must_use]
    pub fn str(&self, string: StringRef) -> &str {
        let rest = &self.strings[string.0 as usize..];
        &rest[..rest.find('\0').unwrap_or(rest.len())]
    }

    /// Returns the strings of the table in their order. Other references are to the ends of these strings.
    pub(crate) fn strings(&self) -> impl Iterator<Item = (StringRef, &str)> {
        let mut at = 0;
        self.strings.split_terminator('\0').map(move |string| {
            let reference = StringRef(at);
            at = at.saturating_add(u32::try_from(string.len()).unwrap_or(u32::MAX)).saturating_add(1);
            (reference, string)
        })
    }

    /// Returns all types with their ids, `void` first.
    pub fn iter(&self) -> impl Iterator<Item = (TypeId, &Type)> {
        self.types.iter().enumerate().map(|(index, ty)| (TypeId(u32::try_from(index).unwrap_or(u32::MAX)), ty))
    }
}
