//! BTF: the types of an object, and the records of `.BTF.ext` about its instructions.
//!
//! A table of types with ids, read from and written to the kernel's format (Documentation/bpf/btf.rst). Owned, because what goes
//! to the kernel differs from what the compiler wrote: sizes and offsets of data sections are filled in. Knows no ELF, map or
//! program.

mod check;
mod declaration;
pub mod ext;
mod layout;
mod parse;
mod query;
#[cfg(test)]
mod tests;
mod write;

/// Id of a type; 0 is `void`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TypeId(pub u32);

impl TypeId {
    /// The type of nothing.
    pub const VOID: Self = Self(0);
}

impl std::fmt::Display for TypeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}]", self.0)
    }
}

/// A string of a [`Btf`], by its offset in the string table; 0 is the empty string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StringRef(pub u32);

/// The types of an object. Every id in it is the id of a type in it, every string the beginning of a string in it.
///
/// The string table is kept as the compiler wrote it, because `.BTF.ext` refers to it by offset; new strings go to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Btf {
    /// By id; the first is `void`.
    types: Vec<Type>,
    /// Strings, each ending in NUL, the first empty; all of it is UTF-8.
    strings: String,
}

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    /// Its name, empty if it has none.
    pub name: StringRef,
    /// What it is.
    pub kind: Kind,
}

/// What a type is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Nothing; only the type of id 0.
    Void,
    /// An integer, a bool or a char.
    Int(Int),
    /// A pointer to the type.
    Ptr(TypeId),
    /// An array.
    Array {
        /// The type of an element.
        element: TypeId,
        /// The type of the index.
        index: TypeId,
        /// How many elements; 0 for a flexible array.
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
        /// Of a union instead of a struct.
        union: bool,
    },
    /// Another name of the type.
    Typedef(TypeId),
    /// `volatile`.
    Volatile(TypeId),
    /// `const`.
    Const(TypeId),
    /// `restrict`.
    Restrict(TypeId),
    /// A function.
    Func {
        /// Its `FuncProto`.
        proto: TypeId,
        /// Who sees it.
        linkage: Linkage,
    },
    /// The type of a function.
    FuncProto {
        /// What it returns.
        returns: TypeId,
        /// What it takes; a last parameter without name and type stands for `...`.
        params: Vec<Param>,
    },
    /// A variable.
    Var {
        /// Its type.
        ty: TypeId,
        /// Who sees it.
        linkage: Linkage,
    },
    /// A section of variables.
    Datasec(Datasec),
    /// A floating-point number of so many bytes.
    Float(u32),
    /// A tag on a declaration (`btf_decl_tag`); its name is the tag.
    DeclTag {
        /// The declaration.
        ty: TypeId,
        /// Which member or parameter, or `None` for the declaration itself.
        component: Option<u32>,
        /// Whether the tag is an attribute of any name (`kind_flag`), not a `btf_decl_tag`.
        attribute: bool,
    },
    /// A tag on a type (`btf_type_tag`); its name is the tag.
    TypeTag {
        /// The type.
        ty: TypeId,
        /// Whether the tag is an attribute of any name (`kind_flag`, from LLVM 20), not a `btf_type_tag`.
        attribute: bool,
    },
    /// A kind that is not known here, of this number; how long its types are, the layout in the BTF's header says (Linux 7.1). What it
    /// means is not known, so it has no size, and it refers to nothing.
    Unknown(u32),
}

/// An integer type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int {
    /// Size in bytes: 1, 2, 4, 8 or 16.
    pub size: u32,
    /// How many of its bits count.
    pub bits: u8,
    /// Where they begin.
    pub bit_offset: u8,
    /// Whether it is signed.
    pub signed: bool,
    /// Whether it is a character.
    pub char: bool,
    /// Whether it is a bool.
    pub bool: bool,
}

/// A struct or a union.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Composite {
    /// Size in bytes.
    pub size: u32,
    /// Its members, in the order of the source.
    pub members: Vec<Member>,
    /// Whether the encoding has bitfield sizes in its member offsets (`kind_flag`).
    pub bitfields: bool,
}

/// A member of a struct or a union.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, empty for an anonymous struct or union.
    pub name: StringRef,
    /// Its type.
    pub ty: TypeId,
    /// Where it begins, in bits.
    pub bit_offset: u32,
    /// For a bitfield its size in bits, else 0.
    pub bit_size: u8,
}

/// An enumeration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enum {
    /// Size in bytes: 1, 2, 4 or 8; 0 for a declaration without a definition.
    pub size: u32,
    /// Whether its values are signed.
    pub signed: bool,
    /// Whether it is a `BTF_KIND_ENUM64`.
    pub wide: bool,
    /// Its values: name and number; sign-extended from their size if signed, else zero-extended.
    pub values: Vec<(StringRef, i64)>,
}

/// A parameter of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Its name, empty if it has none.
    pub name: StringRef,
    /// Its type.
    pub ty: TypeId,
}

/// Who sees a function or a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linkage {
    /// Its own file.
    Static,
    /// Every file.
    Global,
    /// It is defined elsewhere.
    Extern,
}

/// A section of variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datasec {
    /// Size in bytes; the compiler leaves 0, the model fills it in.
    pub size: u32,
    /// Its variables; the compiler leaves their offsets 0, the model fills them in and sorts by them.
    pub vars: Vec<SecVar>,
}

/// A variable of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecVar {
    /// The `Var` (or, for extern functions, the `Func`).
    pub ty: TypeId,
    /// Where it begins in the section, in bytes.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
}

impl Btf {
    /// The type of this id.
    ///
    /// # Panics
    /// If the id is not of this table.
    #[must_use]
    pub fn get(&self, id: TypeId) -> &Type {
        &self.types[id.0 as usize]
    }

    /// The type of this id, to change it. What refers to it keeps its id.
    ///
    /// # Panics
    /// If the id is not of this table.
    pub fn get_mut(&mut self, id: TypeId) -> &mut Type {
        &mut self.types[id.0 as usize]
    }

    /// The name of the type of this id, empty if it has none.
    ///
    /// # Panics
    /// If the id is not of this table.
    #[must_use]
    pub fn name(&self, id: TypeId) -> &str {
        self.str(self.get(id).name)
    }

    /// A string of the table.
    ///
    /// # Panics
    /// If the reference is not of this table.
    #[must_use]
    pub fn str(&self, string: StringRef) -> &str {
        let rest = &self.strings[string.0 as usize..];
        &rest[..rest.find('\0').unwrap_or(rest.len())]
    }

    /// All types with their ids, `void` first.
    pub fn iter(&self) -> impl Iterator<Item = (TypeId, &Type)> {
        self.types.iter().enumerate().map(|(index, ty)| (TypeId(u32::try_from(index).unwrap_or(u32::MAX)), ty))
    }
}
