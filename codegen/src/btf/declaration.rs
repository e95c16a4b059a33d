//! C declarations of types, for people. Long ones are truncated; they are never parsed again.

use super::{Btf, Kind, TypeId};

/// The maximum number of types in a declaration. A function can take a pointer to its own type, which would never end.
const MAX_TYPES: u32 = 48;

impl Btf {
    /// Returns the C declaration of an item with this name and type.
    ///
    /// # Panics
    /// If the id is not in this table.
    #[must_use]
    pub fn declaration(&self, ty: TypeId, name: &str) -> String {
        let mut budget = MAX_TYPES;
        self.declare(ty, name.to_owned(), &mut budget)
    }

    fn declare(&self, mut ty: TypeId, mut inner: String, budget: &mut u32) -> String {
        let mut qualifiers = String::new();
        // Whether the innermost declarator is a pointer, which binds weaker than arrays and parameter lists.
        let mut pointer = false;
        loop {
            *budget = budget.saturating_sub(1);
            if *budget == 0 {
                return join("…", &inner);
            }
            let mut bind = |inner: &mut String| {
                if std::mem::take(&mut pointer) {
                    *inner = format!("({inner})");
                }
            };
            ty = match &self.get(ty).kind {
                Kind::Ptr(to) => {
                    inner = format!("*{}", join(qualifiers.trim_end(), &inner));
                    qualifiers.clear();
                    pointer = true;
                    *to
                }
                Kind::Array { element, len, .. } => {
                    bind(&mut inner);
                    inner += &if *len == 0 { "[]".to_owned() } else { format!("[{len}]") };
                    *element
                }
                Kind::FuncProto { returns, params } => {
                    bind(&mut inner);
                    let params: Vec<String> = params
                        .iter()
                        .take(usize::try_from(*budget).unwrap_or(usize::MAX))
                        .map(|param| match param.ty {
                            TypeId::VOID => "...".to_owned(),
                            ty => self.declare(ty, self.str(param.name).to_owned(), budget),
                        })
                        .collect();
                    inner += &format!("({})", if params.is_empty() { "void".to_owned() } else { params.join(", ") });
                    *returns
                }
                Kind::Const(to) => {
                    qualifiers += "const ";
                    *to
                }
                Kind::Volatile(to) => {
                    qualifiers += "volatile ";
                    *to
                }
                Kind::Restrict(to) => {
                    qualifiers += "restrict ";
                    *to
                }
                Kind::TypeTag { ty, .. } => *ty,
                _ => return join(&(qualifiers + &self.spelled(ty)), &inner),
            };
        }
    }

    /// Returns the C name of a type that is not derived from another.
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

/// Joins two words with a space, unless one of them is empty.
fn join(before: &str, after: &str) -> String {
    let space = if before.is_empty() || after.is_empty() { "" } else { " " };
    format!("{before}{space}{after}")
}
