//! C declarations of types.
//!
//! A declaration is built from the inside out: pointers, arrays and parameter lists are put around a name until a base
//! type remains, which is a named type, a struct, a union, an enum or `void`. The spelling of base types depends on the
//! use ([`Spelling`]). For comments and messages, [`Btf::declaration`] spells a base type by its name and truncates
//! long declarations.

use super::{Btf, Kind, TypeId};

/// The maximum number of types in a declaration. The declaration of a function that takes a pointer to its own type
/// would be infinite.
const MAX_TYPES: u32 = 48;

/// The spelling of base types, parameter names and tags in a declaration.
pub trait Spelling {
    /// The brackets of an array without elements.
    const FLEXIBLE: &'static str;

    /// Returns whether the declaration may contain another type, which is inside `derived` pointers, arrays and parameter
    /// lists. Otherwise the declaration ends with an ellipsis.
    fn proceed(&mut self, derived: usize) -> bool;

    /// Returns the C name of a base type.
    fn base(&mut self, id: TypeId) -> String;

    /// Returns the name of a parameter.
    fn parameter(&mut self, name: &str) -> String;

    /// Returns the spelling of a tag on a type, with its separating space; empty to omit it.
    fn tag(&mut self, tag: &str, attribute: bool) -> String;

    /// Begins the parameter list of a function. Returns the maximum number of its parameters.
    fn enter(&mut self) -> usize;

    /// Ends the parameter list of a function.
    fn leave(&mut self) {}
}

impl Btf {
    /// Returns the C declaration of an item with this name and type, for comments and messages.
    ///
    /// # Panics
    /// If the id is not in this table.
    #[must_use]
    pub fn declaration(&self, ty: TypeId, name: &str) -> String {
        self.declare(ty, name.to_owned(), &mut Short { btf: self, left: MAX_TYPES })
    }

    /// Returns the C declaration of an item with this declarator and type.
    ///
    /// # Panics
    /// If the id is not in this table.
    pub fn declare<S: Spelling>(&self, mut ty: TypeId, mut inner: String, spelling: &mut S) -> String {
        let (mut qualifiers, mut tags) = (String::new(), String::new());
        // Whether the innermost declarator is a pointer: it needs parentheses before an array or a parameter list.
        let mut pointer = false;
        let mut derived = 0;
        loop {
            if !spelling.proceed(derived) {
                return join("…", &inner);
            }
            let mut bind = |inner: &mut String| {
                if std::mem::take(&mut pointer) {
                    *inner = format!("({inner})");
                }
            };
            derived +=
                usize::from(matches!(self.get(ty).kind, Kind::Ptr(_) | Kind::Array { .. } | Kind::FuncProto { .. }));
            ty = match &self.get(ty).kind {
                Kind::Ptr(to) => {
                    inner = format!("*{}", join((tags + &qualifiers).trim(), &inner));
                    (qualifiers, tags) = Default::default();
                    pointer = true;
                    *to
                }
                Kind::Array { element, len, .. } => {
                    bind(&mut inner);
                    inner += &if *len == 0 { S::FLEXIBLE.to_owned() } else { format!("[{len}]") };
                    *element
                }
                Kind::FuncProto { returns, params } => {
                    bind(&mut inner);
                    let most = spelling.enter();
                    let list: Vec<String> = params
                        .iter()
                        .take(most)
                        .map(|param| match param.ty {
                            TypeId::VOID => "...".to_owned(),
                            ty => {
                                let name = spelling.parameter(self.str(param.name));
                                self.declare(ty, name, spelling)
                            }
                        })
                        .collect();
                    spelling.leave();
                    inner += &format!("({})", if list.is_empty() { "void".to_owned() } else { list.join(", ") });
                    *returns
                }
                Kind::Const(to) => {
                    qualify(&mut qualifiers, "const ");
                    *to
                }
                Kind::Volatile(to) => {
                    qualify(&mut qualifiers, "volatile ");
                    *to
                }
                Kind::Restrict(to) => {
                    qualify(&mut qualifiers, "restrict ");
                    *to
                }
                Kind::TypeTag { ty: to, attribute } => {
                    tags += &spelling.tag(self.name(ty), *attribute);
                    *to
                }
                _ => return join(&(qualifiers + &spelling.base(ty) + &tags), &inner),
            };
        }
    }

    /// Returns the C name of a base type.
    fn spelled(&self, id: TypeId) -> String {
        let (keyword, name) = match self.get(id).kind {
            Kind::Struct(_) | Kind::Fwd { union: false } => ("struct", self.name(id)),
            Kind::Union(_) | Kind::Fwd { union: true } => ("union", self.name(id)),
            Kind::Enum(_) => ("enum", self.name(id)),
            Kind::Void => return "void".to_owned(),
            _ => return self.name(id).to_owned(),
        };
        if name.is_empty() { format!("{keyword} {{…}}") } else { format!("{keyword} {name}") }
    }
}

/// The spelling for comments and messages: names only, and a limited number of them.
struct Short<'btf> {
    btf: &'btf Btf,
    /// How many more types the declaration can contain.
    left: u32,
}

impl Spelling for Short<'_> {
    const FLEXIBLE: &'static str = "[]";

    fn proceed(&mut self, _: usize) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }

    fn base(&mut self, id: TypeId) -> String {
        self.btf.spelled(id)
    }

    fn parameter(&mut self, name: &str) -> String {
        name.to_owned()
    }

    fn enter(&mut self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }

    fn tag(&mut self, _: &str, _: bool) -> String {
        String::new()
    }
}

/// Adds a qualifier, unless it is already there: an array and its elements can both be qualified.
fn qualify(qualifiers: &mut String, qualifier: &str) {
    if !qualifiers.contains(qualifier) {
        qualifiers.push_str(qualifier);
    }
}

/// Joins two words with a space, unless one of them is empty.
fn join(before: &str, after: &str) -> String {
    let space = if before.is_empty() || after.is_empty() { "" } else { " " };
    format!("{before}{space}{after}")
}
