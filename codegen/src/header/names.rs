//! The C names of types and enumerators: valid identifiers, unique in their namespace.
//!
//! C has one namespace for the tags of structs, unions and enums, and one for typedefs, enumerators and functions. BTF
//! can have several types of one name, because each source file of a kernel can define its own. The second becomes
//! `name___2`: CO-RE ignores the end of a type's name that begins with three underscores (its flavor). Names are
//! assigned in the order of ids and do not depend on which types are written. This module does not know how types are
//! written.

use std::collections::{HashMap, HashSet};

use super::functions::Function;
use crate::btf::{Btf, Kind, TypeId};

/// Identifiers that a header cannot define: keywords, and `__builtin_va_list`, which every compiler defines. A header renames the type of
/// this name in a kernel's BTF, which is larger than that of BPF.
const RESERVED: &[&str] = &[
    "asm",
    "auto",
    "break",
    "case",
    "char",
    "const",
    "continue",
    "default",
    "do",
    "double",
    "else",
    "enum",
    "extern",
    "float",
    "for",
    "goto",
    "if",
    "inline",
    "int",
    "long",
    "register",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "struct",
    "switch",
    "typedef",
    "typeof",
    "union",
    "unsigned",
    "void",
    "volatile",
    "while",
    "_Alignas",
    "_Alignof",
    "_Atomic",
    "_Bool",
    "_Complex",
    "_Generic",
    "_Imaginary",
    "_Noreturn",
    "_Static_assert",
    "_Thread_local",
    "__int128",
    "__builtin_va_list",
];

/// The names of a table of types.
#[derive(Debug)]
pub(super) struct Names<'btf> {
    btf: &'btf Btf,
    /// Types whose name in C differs from their name in BTF.
    types: HashMap<TypeId, String>,
    /// Enumerators whose name in C differs from their name in BTF, by type and index.
    enumerators: HashMap<(TypeId, usize), String>,
    idents: Space,
}

impl<'btf> Names<'btf> {
    /// Names all types of a table. `functions` are those that the header declares.
    pub(super) fn new(btf: &'btf Btf, functions: &[Function<'_>]) -> Self {
        let (mut tags, mut idents) = (Space::default(), Space::default());
        for function in functions {
            idents.unique(function.name);
        }
        let (mut types, mut enumerators) = (HashMap::new(), HashMap::new());
        // The first definition of each tag. A declaration with that name refers to it.
        let mut defined: HashMap<(&str, Keyword), TypeId> = HashMap::new();
        for (id, ty) in btf.iter() {
            let name = btf.str(ty.name);
            let space = match &ty.kind {
                Kind::Struct(_) | Kind::Union(_) => &mut tags,
                Kind::Enum(enumeration) if !enumeration.values.is_empty() => {
                    for (index, (value, _)) in enumeration.values.iter().enumerate() {
                        let value = btf.str(*value);
                        let unique = idents.unique(value);
                        if unique != value {
                            enumerators.insert((id, index), unique);
                        }
                    }
                    &mut tags
                }
                Kind::Typedef(_) => &mut idents,
                _ => continue,
            };
            if name.is_empty() {
                continue;
            }
            defined.entry((name, Keyword::of(&ty.kind))).or_insert(id);
            let unique = space.unique(name);
            if unique != name {
                types.insert(id, unique);
            }
        }
        let mut declared: HashMap<(&str, Keyword), Option<String>> = HashMap::new();
        for (id, ty) in btf.iter() {
            let name = btf.str(ty.name);
            if !is_declaration(&ty.kind) || name.is_empty() {
                continue;
            }
            let keyword = Keyword::of(&ty.kind);
            let unique = declared.entry((name, keyword)).or_insert_with(|| match defined.get(&(name, keyword)) {
                Some(definition) => types.get(definition).cloned(),
                None => Some(tags.unique(name)).filter(|unique| unique != name),
            });
            if let Some(unique) = unique {
                types.insert(id, unique.clone());
            }
        }
        Self { btf, types, enumerators, idents }
    }

    /// Returns the name of a type.
    pub(super) fn of(&self, id: TypeId) -> &str {
        self.types.get(&id).map_or_else(|| self.btf.name(id), String::as_str)
    }

    /// Returns the keyword and the name of a struct, union or enum, or of a forward declaration.
    pub(super) fn tagged(&self, id: TypeId) -> String {
        let keyword = Keyword::of(&self.btf.get(id).kind).as_str();
        match self.of(id) {
            "" => keyword.to_owned(),
            name => format!("{keyword} {name}"),
        }
    }

    /// Returns the name of an enumerator.
    pub(super) fn enumerator(&self, id: TypeId, index: usize, name: &str) -> String {
        self.enumerators.get(&(id, index)).cloned().unwrap_or_else(|| name.to_owned())
    }

    /// Returns the name of a parameter; empty if the name would hide a type that a later parameter has.
    pub(super) fn parameter(&self, name: &str) -> String {
        if self.idents.taken.contains(name) { String::new() } else { member(name) }
    }
}

/// The keyword before a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Keyword {
    Struct,
    Union,
    Enum,
    /// No keyword: the name is not a tag.
    None,
}

impl Keyword {
    fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Struct(_) | Kind::Fwd { union: false } => Self::Struct,
            Kind::Union(_) | Kind::Fwd { union: true } => Self::Union,
            Kind::Enum(_) => Self::Enum,
            _ => Self::None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Struct => "struct",
            Self::Union => "union",
            Self::Enum => "enum",
            Self::None => "",
        }
    }
}

/// Returns whether a type is declared without a definition.
pub(super) fn is_declaration(kind: &Kind) -> bool {
    match kind {
        Kind::Fwd { .. } => true,
        Kind::Enum(enumeration) => enumeration.values.is_empty(),
        _ => false,
    }
}

/// Returns the C name of a member. It need not be unique among all names, because members have their own namespace.
pub(super) fn member(name: &str) -> String {
    let valid = identifier(name);
    if RESERVED.contains(&valid.as_str()) { valid + "_" } else { valid }
}

/// Returns whether a name is an identifier that a header can declare.
pub(super) fn is_identifier(name: &str) -> bool {
    !name.is_empty() && identifier(name) == name && !RESERVED.contains(&name)
}

/// Returns a name as an identifier. Compilers of other languages write names that C does not have.
fn identifier(name: &str) -> String {
    let digit = name.starts_with(|c: char| c.is_ascii_digit());
    let valid = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    digit.then_some('_').into_iter().chain(valid).collect()
}

/// A namespace.
#[derive(Debug, Default)]
struct Space {
    taken: HashSet<String>,
    /// For each name that several types have, the last suffix.
    repeated: HashMap<String, u32>,
}

impl Space {
    /// Returns the name if it is free; otherwise the name with the first free suffix, such as `___2`.
    fn unique(&mut self, name: &str) -> String {
        let name = identifier(name);
        if !RESERVED.contains(&name.as_str()) && self.taken.insert(name.clone()) {
            return name;
        }
        let number = self.repeated.entry(name.clone()).or_insert(1);
        loop {
            *number += 1;
            let unique = format!("{name}___{number}");
            if self.taken.insert(unique.clone()) {
                return unique;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_identifiers_and_unique() {
        let mut space = Space::default();
        let names = ["x", "x", "x___2", "x", "core::Option<u8>", "3d", "int", "ü", "x___2"];
        let unique = names.map(|name| space.unique(name));
        assert_eq!(
            unique,
            ["x", "x___2", "x___2___2", "x___3", "core__Option_u8_", "_3d", "int___2", "_", "x___2___3"]
        );
        assert_eq!((member("for"), member("a b")), ("for_".to_owned(), "a_b".to_owned()));
    }
}
