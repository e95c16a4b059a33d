//! The text of declarations and definitions in C.
//!
//! This module does not choose which types are written, or their order.

use std::collections::HashSet;
use std::fmt::Write;

use super::budget::Budget;
use super::layout::{Aligns, Layout, Part, is_composite};
use super::names::{self, Names};
use crate::btf::declaration::Spelling;
use crate::btf::{Btf, Composite, Enum, Int, Kind, Member, TypeId};

/// The preprocessor condition for definitions of names that are keywords in C23.
const BEFORE_C23: &str = "#if !defined(__STDC_VERSION__) || __STDC_VERSION__ < 202311L\n";

/// Returns the name of the struct of bytes that stands for a floating-point type of `size` bytes which is neither `float` nor `double`.
pub(super) fn float_name(size: u32) -> String {
    format!("__float_{size}_bytes")
}

/// A writer of declarations and definitions.
#[derive(Debug)]
pub(super) struct Writer<'btf> {
    pub(super) btf: &'btf Btf,
    pub(super) names: Names<'btf>,
    aligns: Aligns,
    /// Enums without a name that were written. Writing one again would define its enumerators twice.
    enums: HashSet<TypeId>,
    /// Declarations that were written.
    declared: HashSet<String>,
    pub(super) budget: Budget,
}

impl<'btf> Writer<'btf> {
    pub(super) fn new(btf: &'btf Btf, names: Names<'btf>) -> Self {
        Self {
            btf,
            names,
            aligns: Aligns::new(),
            enums: HashSet::new(),
            declared: HashSet::new(),
            budget: Budget::new(btf),
        }
    }

    /// Writes the declaration of a struct or a union, or the definition of an enum or a typedef.
    pub(super) fn declare(&mut self, out: &mut String, id: TypeId) {
        self.budget.begin();
        match &self.btf.get(id).kind {
            Kind::Typedef(to) => {
                let name = self.names.of(id).to_owned();
                let text = format!("typedef {};\n\n", self.declaration(*to, name));
                let is_bool = self.btf.name(id) == "bool" && self.is_bool(*to);
                put(out, &text, is_bool);
            }
            Kind::Enum(enumeration) if !enumeration.values.is_empty() => self.top_enum(out, id, enumeration),
            _ => {
                let text = format!("{};\n\n", self.names.tagged(id));
                if self.declared.insert(text.clone()) {
                    out.push_str(&text);
                }
            }
        }
    }

    /// Writes the definition of a struct or a union.
    pub(super) fn define(&mut self, out: &mut String, id: TypeId) {
        self.budget.begin();
        let text = format!("{}{};\n\n", self.names.tagged(id), self.body(id));
        // The definition also declares the type, so later declarations are redundant.
        self.declared.insert(format!("{};\n\n", self.names.tagged(id)));
        out.push_str(&text);
    }

    /// Writes an enum, unless it has no name and a type that contains it was written.
    pub(super) fn top_enum(&mut self, out: &mut String, id: TypeId, enumeration: &Enum) {
        if self.btf.name(id).is_empty() && (self.enums.contains(&id) || enumeration.values.is_empty()) {
            return;
        }
        let text = format!("{}{};\n\n", self.names.tagged(id), self.enum_body(id, enumeration));
        let is_bool = enumeration.values.iter().any(|(name, _)| matches!(self.btf.str(*name), "false" | "true"));
        put(out, &text, is_bool);
    }

    /// Returns the declaration of an item with this declarator.
    pub(super) fn declaration(&mut self, ty: TypeId, name: String) -> String {
        let btf = self.btf;
        btf.declare(ty, name, self)
    }

    fn is_bool(&self, id: TypeId) -> bool {
        matches!(self.btf.get(id).kind, Kind::Int(Int { bool: true, .. }))
    }

    /// Returns the members of a struct or a union in braces.
    fn body(&mut self, id: TypeId) -> String {
        let btf = self.btf;
        let (composite, layout) = match &btf.get(id).kind {
            Kind::Struct(composite) => (composite, Layout::of_struct(btf, id, composite, &mut self.aligns)),
            Kind::Union(composite) => (composite, Layout::of_union(btf, id, composite, &mut self.aligns)),
            _ => return String::new(),
        };
        let mut text = " {".to_owned();
        if !self.budget.enter() {
            self.budget.leave();
            return text + "}";
        }
        for (number, part) in layout.parts.iter().enumerate() {
            text.push('\n');
            self.indent(&mut text);
            self.part(&mut text, composite, number, *part);
            if self.budget.is_exceeded() {
                break;
            }
        }
        self.budget.leave();
        if !layout.parts.is_empty() {
            text.push('\n');
            self.indent(&mut text);
        }
        text.push('}');
        if layout.packed {
            text.push_str(" __attribute__((packed))");
        }
        text
    }

    fn indent(&mut self, text: &mut String) {
        self.budget.line();
        text.extend(std::iter::repeat_n('\t', self.budget.depth()));
    }

    fn part(&mut self, text: &mut String, composite: &Composite, number: usize, part: Part) {
        // A part without a name.
        self.budget.bytes("char __padding[];".len());
        // Writing to a string cannot fail.
        let _ = match part {
            Part::Bits(bits) => write!(text, "long: {bits};"),
            Part::Bytes(bytes) => write!(text, "char __padding{number}[{bytes}];"),
            Part::Member(index, bits) => {
                let declared = self.member(&composite.members[index]);
                match bits {
                    Some(bits) => write!(text, "{declared}: {bits};"),
                    None => write!(text, "{declared};"),
                }
            }
            Part::Omitted(index) => {
                let name = self.budget.text(names::member(self.btf.str(composite.members[index].name)));
                write!(text, "/* member {name} omitted: C cannot express its offset or type */")
            }
        };
    }

    fn member(&mut self, member: &Member) -> String {
        let name = self.btf.str(member.name);
        let ty = self.btf.resolve(member.ty);
        if name.is_empty() && is_composite(self.btf, ty) {
            // A member without a name can be a struct with a name (`-fms-extensions`): its members are those of the
            // outer struct. Standard C allows this only for a struct without a name.
            return self.in_place(ty);
        }
        let name = self.budget.text(names::member(name));
        self.declaration(member.ty, name)
    }

    /// Returns the definition of a struct or a union without its name.
    fn in_place(&mut self, id: TypeId) -> String {
        let keyword = if matches!(self.btf.get(id).kind, Kind::Struct(_)) { "struct" } else { "union" };
        if !self.budget.spell(0) {
            return keyword.to_owned();
        }
        format!("{keyword}{}", self.body(id))
    }

    /// Returns the enumerators of an enum in braces.
    fn enum_body(&mut self, id: TypeId, enumeration: &Enum) -> String {
        self.enums.insert(id);
        let mut text = " {".to_owned();
        self.budget.enter();
        for (index, (name, value)) in enumeration.values.iter().enumerate() {
            let name = self.budget.text(self.names.enumerator(id, index, self.btf.str(*name)));
            if self.budget.is_exceeded() {
                break;
            }
            text.push('\n');
            self.indent(&mut text);
            text.push_str(&format!("{name} = {},", number(*value, enumeration)));
        }
        self.budget.leave();
        text.push('\n');
        self.indent(&mut text);
        text.push('}');
        text.push_str(match enumeration.size {
            1 => " __attribute__((mode(QI)))",
            2 => " __attribute__((mode(HI)))",
            8 => " __attribute__((mode(DI)))",
            _ => "",
        });
        text
    }
}

/// Adds text. If `old` is set, only compilers before C23 see it.
fn put(out: &mut String, text: &str, old: bool) {
    if old {
        out.push_str(BEFORE_C23);
        out.push_str(text.trim_end());
        out.push_str("\n#endif\n\n");
    } else {
        out.push_str(text);
    }
}

/// Returns the value of an enumerator in C.
fn number(value: i64, enumeration: &Enum) -> String {
    match (enumeration.signed, enumeration.size) {
        (true, 8) if value == i64::MIN => format!("({}LL - 1)", i64::MIN + 1),
        (true, 8) => format!("{value}LL"),
        (true, _) => value.to_string(),
        (false, 8) => format!("{}ULL", u64::from_le_bytes(value.to_le_bytes())),
        (false, _) => u64::from_le_bytes(value.to_le_bytes()).to_string(),
    }
}

impl Spelling for Writer<'_> {
    const FLEXIBLE: &'static str = "[0]";

    fn proceed(&mut self, derived: usize) -> bool {
        self.budget.spell(derived)
    }

    fn base(&mut self, id: TypeId) -> String {
        let btf = self.btf;
        let named = !btf.name(id).is_empty();
        let text = match &btf.get(id).kind {
            Kind::Struct(_) | Kind::Union(_) if !named => return self.in_place(id),
            Kind::Enum(enumeration) if !named && !enumeration.values.is_empty() && !self.enums.contains(&id) => {
                return format!("enum{}", self.enum_body(id, enumeration));
            }
            Kind::Enum(enumeration) if !named => integer(enumeration.size.max(1), enumeration.signed).to_owned(),
            Kind::Struct(_) | Kind::Union(_) | Kind::Enum(_) | Kind::Fwd { .. } => self.names.tagged(id),
            Kind::Typedef(_) => self.names.of(id).to_owned(),
            Kind::Int(int) => spelled(btf.name(id), int),
            Kind::Float(4) => "float".to_owned(),
            Kind::Float(8) => "double".to_owned(),
            Kind::Float(size) => float_name(*size),
            // Other kinds have no values.
            _ => "void".to_owned(),
        };
        self.budget.text(text)
    }

    fn parameter(&mut self, name: &str) -> String {
        self.budget.text(self.names.parameter(name))
    }

    fn tag(&mut self, tag: &str, attribute: bool) -> String {
        let is_text = |c: char| c.is_ascii_alphanumeric() || "_-:. ".contains(c);
        let text = match attribute {
            false if !tag.is_empty() && tag.chars().all(is_text) => {
                format!(" __attribute__((btf_type_tag(\"{tag}\")))")
            }
            true if is_address_space(tag) => format!(" __attribute__(({tag}))"),
            _ => String::new(),
        };
        self.budget.text(text)
    }

    fn enter(&mut self) -> usize {
        if self.budget.enter() { usize::MAX } else { 0 }
    }

    fn leave(&mut self) {
        self.budget.leave();
    }
}

/// Returns whether an attribute is the address space of a pointer (`__arena`). Others, which no kernel has, could change
/// the layout of a type, or end its declaration.
fn is_address_space(attribute: &str) -> bool {
    let number = attribute.strip_prefix("address_space(").and_then(|rest| rest.strip_suffix(')'));
    number.is_some_and(|number| number.parse::<u16>().is_ok() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns the name of an integer type: the name in the BTF if it is a C type of this size on BPF, else another C type
/// of this size.
fn spelled(name: &str, int: &Int) -> String {
    let words: Vec<&str> = name.split(' ').collect();
    let has = |word| words.contains(&word);
    const WORDS: &[&str] = &["char", "short", "int", "long", "signed", "unsigned", "_Bool", "__int128"];
    let size = match () {
        () if has("char") || has("_Bool") => 1,
        () if has("short") => 2,
        () if has("__int128") => 16,
        () if has("long") => 8,
        () => 4,
    };
    if words.iter().all(|word| WORDS.contains(word)) && size == int.size {
        return name.to_owned();
    }
    match (int.bool, int.char, int.size) {
        (true, _, 1) => "_Bool",
        (_, true, 1) => "char",
        _ => integer(int.size, int.signed),
    }
    .to_owned()
}

/// Returns the C integer type of this size in bytes for BPF.
const fn integer(size: u32, signed: bool) -> &'static str {
    match (size, signed) {
        (1, true) => "signed char",
        (1, false) => "unsigned char",
        (2, true) => "short",
        (2, false) => "unsigned short",
        (4, true) => "int",
        (4, false) => "unsigned int",
        (8, true) => "long long",
        (8, false) => "unsigned long long",
        (_, true) => "__int128",
        (_, false) => "unsigned __int128",
    }
}
