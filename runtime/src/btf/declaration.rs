//! C declarations of types, for error texts and for users. Long declarations are shortened.

use super::{MAX_DEPTH, Types, kind};

/// The maximum number of types that a declaration names. A function can have a parameter of its own type, whose
/// declaration would be endless.
const MAX_TYPES: u32 = 48;

/// The number of characters of a name that are shown.
const MAX_NAME: usize = 128;

/// The limits of a declaration.
struct Limits {
    /// The number of further types that the declaration can name.
    types: u32,
    /// Whether parameters have names.
    names: bool,
}

impl Types {
    /// Returns the C declaration of a function or variable with this name and type. Parameters have no names.
    pub(crate) fn declaration(&self, ty: u32, name: &str) -> String {
        self.declare(ty, shown(name), &mut Limits { types: MAX_TYPES, names: false })
    }

    /// Returns the C declaration of a function with this name and type. Parameters have the names that the type has.
    pub(crate) fn prototype(&self, ty: u32, name: &str) -> String {
        self.declare(ty, shown(name), &mut Limits { types: MAX_TYPES, names: true })
    }

    fn declare(&self, mut ty: u32, mut inner: String, limits: &mut Limits) -> String {
        let mut qualifiers = String::new();
        // Whether the last declarator is a pointer: it needs parentheses before an array or a parameter list.
        let mut pointer = false;
        for _ in 0..MAX_DEPTH {
            limits.types = limits.types.saturating_sub(1);
            if limits.types == 0 {
                break;
            }
            let kind = self.kind(ty);
            if matches!(kind, kind::ARRAY | kind::FUNC_PROTO) && std::mem::take(&mut pointer) {
                inner = format!("({inner})");
            }
            ty = match kind {
                kind::PTR => {
                    inner = format!("*{}", join(qualifiers.trim_end(), &inner));
                    qualifiers.clear();
                    pointer = true;
                    self.referent(ty)
                }
                kind::ARRAY => {
                    let (element, count) = self.array(ty).unwrap_or_default();
                    inner += &if count == 0 { "[]".to_owned() } else { format!("[{count}]") };
                    element
                }
                kind::FUNC_PROTO => {
                    let mut parameters = Vec::new();
                    for (name, parameter) in self.named_parameters(ty) {
                        if limits.types == 0 {
                            break;
                        }
                        let name = if limits.names { shown(name) } else { String::new() };
                        parameters.push(match parameter {
                            0 => "...".to_owned(),
                            ty => self.declare(ty, name, limits),
                        });
                    }
                    inner +=
                        &format!("({})", if parameters.is_empty() { "void".to_owned() } else { parameters.join(", ") });
                    self.referent(ty)
                }
                kind::CONST | kind::VOLATILE | kind::RESTRICT => {
                    qualifiers += match kind {
                        kind::CONST => "const ",
                        kind::VOLATILE => "volatile ",
                        _ => "restrict ",
                    };
                    self.referent(ty)
                }
                kind::TYPE_TAG => self.referent(ty),
                _ => return join(&(qualifiers + &self.spelled(ty)), &inner),
            };
        }
        join("…", &inner)
    }

    /// Returns the C name of a type that is not derived from another type.
    fn spelled(&self, id: u32) -> String {
        let name = self.name(id);
        let keyword = match self.kind(id) {
            kind::VOID => return "void".to_owned(),
            kind::FWD => {
                if self.flag(id) {
                    "union "
                } else {
                    "struct "
                }
            }
            kind::NONE => return "…".to_owned(),
            kind if kind > kind::LAST => return format!("{}/* BTF kind {kind} */", shown(name)),
            kind => kind::word(kind),
        };
        if name.is_empty() { format!("{keyword}{{…}}") } else { format!("{keyword}{}", shown(name)) }
    }

    /// Returns the type that a type of any kind refers to.
    fn referent(&self, id: u32) -> u32 {
        self.referenced(id, self.kind(id)).unwrap_or(0)
    }
}

/// Returns a name that is safe to print: shortened, and with `?` in place of all but printable ASCII. Integer types
/// have names with spaces.
fn shown(name: &str) -> String {
    let visible = |char: char| if char.is_ascii_graphic() || char == ' ' { char } else { '?' };
    name.chars().take(MAX_NAME).map(visible).collect()
}

/// Joins two words by a space, unless one is empty.
fn join(before: &str, after: &str) -> String {
    let space = if before.is_empty() || after.is_empty() { "" } else { " " };
    format!("{before}{space}{after}")
}

#[cfg(test)]
mod tests {
    use super::super::testing::Btf;
    use super::*;

    #[test]
    fn declarations_are_valid_c() {
        let mut btf = Btf::new();
        let int = btf.int("int", 4, true);
        let character = btf.int("char", 1, true);
        let constant = btf.add("", kind::CONST, false, 0, character, &[]);
        let text = btf.pointer(constant);
        let long = btf.int("long unsigned int", 8, false);
        let rq = btf.structure("rq", 8, &[]);
        let anonymous = btf.union("", 8, &[]);
        let array = btf.array(int, int, 3);
        let pointer = btf.pointer(array);
        let function = btf.function_type(int, &[text, pointer, 0]);
        let callback = btf.pointer(function);
        let nothing = btf.function_type(0, &[]);
        let odd = btf.add("odd", 20, false, 0, 0, &[]);
        let types = btf.types_with_layout(&[(20, 0, 0)]);
        let declared = |ty, name| types.declaration(ty, name);
        assert_eq!(declared(function, "f"), "int f(const char *, int (*)[3], ...)");
        assert_eq!(declared(callback, "f"), "int (*f)(const char *, int (*)[3], ...)");
        assert_eq!(declared(nothing, "f"), "void f(void)");
        assert_eq!(declared(long, "x"), "long unsigned int x");
        assert_eq!((declared(rq, "x"), declared(anonymous, "x")), ("struct rq x".into(), "union {…} x".into()));
        assert_eq!((declared(odd, "x"), declared(99, "a\nb")), ("odd/* BTF kind 20 */ x".into(), "… a?b".into()));
    }

    #[test]
    fn a_declaration_ends() {
        // A function that takes many pointers to its own type.
        let mut btf = Btf::new();
        let itself = btf.pointer(2);
        btf.function_type(itself, &[itself; 64]);
        assert!(btf.types().declaration(2, "f").len() < 1000);
        let mut btf = Btf::new();
        btf.typedef("t", 2);
        btf.add("", kind::CONST, false, 0, 2, &[]);
        assert_eq!(btf.types().declaration(2, "x"), "… x");
    }
}
