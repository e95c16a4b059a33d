//! The items of Rust types.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};

use super::layout::{Part, Place};
use super::names::{Asker, Node, NodeId};
use super::{From, Types};
use crate::btf::{Enum, Kind};
use crate::error::Result;
use crate::rust::doc::{Doc, InCode};
use crate::rust::macros::{self, Accessed, Bits};
use crate::rust::spelled;
use crate::rust::text::Text;
use crate::skeleton::{Scope, field_name};

/// One field of a struct as it will be written.
#[derive(Debug, Clone)]
pub(in crate::rust) struct Field {
    pub(in crate::rust) name: String,
    pub(in crate::rust) ty: TokenStream,
    pub(in crate::rust) offset: u64,
    pub(in crate::rust) size: u64,
    pub(in crate::rust) align: u64,
    pub(in crate::rust) hidden: bool,
    pub(in crate::rust) doc: Doc,
}

/// A struct to write: its padding is made here.
pub(in crate::rust) struct Definition<'d> {
    pub(in crate::rust) name: &'d str,
    pub(in crate::rust) doc: Vec<Doc>,
    pub(in crate::rust) size: u64,
    pub(in crate::rust) fields: Vec<Field>,
    /// An alignment that no field asks for.
    pub(in crate::rust) raised: Option<u64>,
    pub(in crate::rust) bits: Vec<Bits>,
    /// Members that share bytes with others, with their offsets.
    pub(in crate::rust) members: Vec<(u64, Accessed)>,
    /// What `Debug` shows beside the fields: getters, each before the field of this number.
    pub(in crate::rust) getters: Vec<(usize, String)>,
}

impl Definition<'_> {
    /// Wraps the fields that do not lie where their alignment asks for, so that the struct need not be packed for them.
    pub(in crate::rust) fn wrap_displaced(&mut self) {
        for field in self.fields.iter_mut().filter(|field| field.offset % field.align.max(1) != 0) {
            let ty = &field.ty;
            field.ty = quote!(rt::Unaligned<#ty>);
            field.align = 1;
        }
    }

    pub(in crate::rust) fn write(mut self, text: &mut Text<'_>) -> Result<()> {
        let shown = (!self.getters.is_empty()).then(|| self.shown());
        let (align, packed) = self.natural();
        if let Some(raised) = self.raised.filter(|_| !packed) {
            let word = format_ident!("u{}", raised * 8);
            let name = self.fresh("__align");
            self.fields.push(hidden(name, quote!([#word; 0]), 0, 0));
        }
        let align = if packed { 1 } else { self.raised.unwrap_or(align) };
        // Those without bytes come before the one that begins at the same place.
        self.fields.sort_by_key(|field| (field.offset, field.size));
        self.pad();
        let (name, size, packed) = (self.name, self.size, if packed { ", packed" } else { "" });
        text.item_begins()?;
        text.open(format_args!("rt::c_struct! {{"))?;
        macros::docs(text, &self.doc)?;
        text.open(format_args!("pub struct {name}: size {size}, align {align}{packed} {{"))?;
        for field in &self.fields {
            let ty = spelled(&field.ty);
            if field.hidden {
                macros::hidden(text, field.offset, &field.name, ty)?;
            } else {
                macros::field(text, &field.doc, field.offset, &field.name, ty)?;
            }
        }
        text.close("}")?;
        macros::bits(text, self.bits.into_iter())?;
        macros::members(text, self.members.into_iter())?;
        if let Some(shown) = shown {
            macros::debug(text, shown.into_iter())?;
        }
        text.close("}")
    }

    /// The alignment that the fields ask for, and whether they do not lie so.
    fn natural(&self) -> (u64, bool) {
        let align = self.fields.iter().map(|field| field.align).max().unwrap_or(1).max(1);
        let packed = self.size % align != 0 || self.fields.iter().any(|field| field.offset % field.align.max(1) != 0);
        (align, packed)
    }

    /// Fields and getters in the order of the source.
    fn shown(&mut self) -> Vec<String> {
        let mut shown = Vec::with_capacity(self.fields.len() + self.getters.len());
        let mut getters = std::mem::take(&mut self.getters).into_iter().peekable();
        for (index, field) in self.fields.iter().enumerate() {
            while let Some((_, getter)) = getters.next_if(|(before, _)| *before <= index) {
                shown.push(getter + "()");
            }
            if !field.hidden {
                shown.push(field.name.clone());
            }
        }
        shown.extend(getters.map(|(_, getter)| getter + "()"));
        shown
    }

    /// Puts fields where there are none.
    fn pad(&mut self) {
        let mut all = Vec::with_capacity(self.fields.len());
        let mut pads = 0;
        let mut at = 0;
        let end = hidden(String::new(), TokenStream::new(), self.size, 0);
        let fields = std::mem::take(&mut self.fields);
        let taken: std::collections::BTreeSet<String> = fields.iter().map(|field| field.name.clone()).collect();
        for field in fields.into_iter().chain([end]) {
            if field.offset > at {
                let len = Literal::u64_unsuffixed(field.offset - at);
                while taken.contains(&format!("__pad{pads}")) {
                    pads += 1;
                }
                all.push(hidden(format!("__pad{pads}"), quote!([u8; #len]), at, field.offset - at));
                pads += 1;
            }
            at = field.offset + field.size;
            if !field.name.is_empty() {
                all.push(field);
            }
        }
        self.fields = all;
    }

    fn fresh(&self, name: &str) -> String {
        let mut scope = Scope::default();
        for field in &self.fields {
            scope.claim(&field.name);
        }
        scope.claim(name)
    }
}

fn hidden(name: String, ty: TokenStream, offset: u64, size: u64) -> Field {
    Field { name, ty, offset, size, align: 1, hidden: true, doc: Doc::default() }
}

impl Types<'_> {
    pub(super) fn item(&self, id: NodeId, node: &Node, text: &mut Text<'_>) -> Result<()> {
        match &self.btf.get(node.id).kind {
            Kind::Struct(_) => self.composite(id, node, false, text),
            Kind::Union(_) => self.composite(id, node, true, text),
            Kind::Enum(it) => self.enumeration(node, it, text),
            _ => Ok(()),
        }
    }

    fn composite(&self, id: NodeId, node: &Node, union: bool, text: &mut Text<'_>) -> Result<()> {
        let shape = self.layouts.shape(node.id);
        let size = node.longer.unwrap_or(shape.size);
        let name = field_name(&node.name);
        let mut definition = Definition {
            name: &name,
            doc: vec![Doc::new(format_args!(" `{}`, {size} bytes", InCode(self.btf.declaration(node.id, ""))))],
            size,
            fields: Vec::new(),
            raised: shape.raised.then_some(shape.align),
            bits: Vec::new(),
            members: Vec::new(),
            getters: Vec::new(),
        };
        let mut fields = Scope::default();
        let mut methods = Scope::default();
        let last = shape.parts.len().saturating_sub(1);
        for (index, part) in shape.parts.iter().enumerate() {
            let wanted = wanted_name(part);
            match part.place {
                Place::Field { offset, size } => {
                    let asker = Asker::Member(id, &part.name);
                    let longer = match node.longer.filter(|_| index == last) {
                        Some(whole) => self.lengthened(part, offset, whole, asker, From::Types),
                        None => None,
                    };
                    let (ty, size) = longer.unwrap_or_else(|| (self.rust(part.ty, asker, From::Types), size));
                    let field = Field {
                        name: fields.claim(&wanted),
                        ty,
                        offset,
                        size,
                        align: self.layouts.align(part.ty),
                        hidden: false,
                        doc: self.doc(part),
                    };
                    definition.fields.push(field);
                }
                Place::Shared { offset, .. } => {
                    let ty = spelled(&self.rust(part.ty, Asker::Member(id, &part.name), From::Types));
                    let names = accessor_names(&mut methods, &wanted);
                    definition.getters.push((definition.fields.len(), names.0.clone()));
                    definition.members.push((offset, Accessed { doc: self.doc(part), names, ty }));
                }
                Place::Bits { first, count } => {
                    let ty = self.bits_type(part, Asker::Member(id, &part.name), From::Types);
                    let names = accessor_names(&mut methods, &wanted);
                    definition.getters.push((definition.fields.len(), names.0.clone()));
                    definition.bits.push((first, count, Accessed { doc: self.doc(part), names, ty }));
                }
                Place::Nowhere => {
                    let declared = self.declared(part);
                    definition
                        .doc
                        .push(Doc::new(format_args!(" Left out, as it has no size or lies outside: `{declared}`")));
                }
            }
        }
        drop((fields, methods));
        if union {
            let len = Literal::u64_unsuffixed(size);
            let doc = Doc::new(" The bytes of whichever member it is");
            let storage =
                Field { name: "storage".into(), ty: quote!([u8; #len]), offset: 0, size, align: 1, hidden: false, doc };
            definition.fields.push(Field { hidden: !definition.getters.is_empty(), ..storage });
        }
        definition.write(text)
    }

    /// The documentation of a member.
    pub(super) fn doc(&self, part: &Part) -> Doc {
        Doc::new(format_args!(" `{}`", self.declared(part)))
    }

    /// The declaration of a member in C, for a code span.
    pub(super) fn declared(&self, part: &Part) -> String {
        let declared = InCode(self.btf.declaration(part.ty, &part.name)).to_string();
        match part.place {
            Place::Bits { count, .. } => format!("{declared} : {count}"),
            _ => declared,
        }
    }

    /// The type that a flexible array has in a variable of so many bytes, and its size.
    pub(super) fn lengthened(
        &self,
        part: &Part,
        offset: u64,
        size: u64,
        asker: Asker<'_>,
        from: From,
    ) -> Option<(TokenStream, u64)> {
        let Kind::Array { element, len: 0, .. } = self.btf.get(self.btf.resolve(part.ty)).kind else { return None };
        let each = self.btf.size_of(element).unwrap_or(0);
        let len = size.saturating_sub(offset).checked_div(each)?;
        let (ty, count) = (self.rust(element, asker, from), Literal::u64_unsuffixed(len));
        Some((quote!([#ty; #count]), len * each))
    }

    /// The type of a bitfield: that of its accessors.
    pub(super) fn bits_type(&self, part: &Part, asker: Asker<'_>, from: From) -> String {
        match &self.btf.get(self.btf.resolve(part.ty)).kind {
            Kind::Int(int) if int.bool => "bool".to_owned(),
            _ => spelled(&self.rust(part.ty, asker, from)),
        }
    }

    fn enumeration(&self, node: &Node, it: &Enum, text: &mut Text<'_>) -> Result<()> {
        let mut scope = Scope::default();
        // A constant that may be another number than the program's is worse than none.
        let values = if is_cut(it) { &[] } else { it.values.as_slice() };
        let values = values.iter().map(|(name, value)| {
            let name = scope.claim(&field_name(self.btf.str(*name)));
            (name, literal(*value, it))
        });
        let declared = InCode(self.btf.declaration(node.id, ""));
        let doc = Doc::new(format_args!(" `{declared}`, {} bytes", it.size));
        let cut = is_cut(it).then_some(CUT).into_iter().flatten().map(Doc::new);
        let doc: Vec<Doc> = std::iter::once(doc).chain(cut).collect();
        let name = field_name(&node.name);
        macros::open_enum(text, &doc, (name, number(it.signed, it.size)), values)
    }
}

/// The names of a bitfield's or shared member's getter and setter.
pub(super) fn accessor_names(scope: &mut Scope, wanted: &str) -> (String, String) {
    scope.claim_pair(wanted, |name| format!("set_{}", name.trim_start_matches("r#")))
}

/// The name that a member would have in Rust were it alone.
pub(super) fn wanted_name(part: &Part) -> String {
    field_name(if part.name.is_empty() { "anon" } else { &part.name })
}

fn number(signed: bool, size: u32) -> Ident {
    format_ident!("{}{}", if signed { 'i' } else { 'u' }, size * 8)
}

/// Whether the values in BTF may be only the lower halves of those in the source, which is nowhere said: `BTF_KIND_ENUM` has 32 bits for
/// each. clang writes it for eight bytes before version 15, and where the source gives the type by a typedef (`enum kind : u64`), of
/// which it does not see the sign either.
fn is_cut(it: &Enum) -> bool {
    it.size > 4 && !it.wide
}

/// What the documentation of such an enum says.
const CUT: [&str; 4] = [
    "",
    " Its values have no names here: the object has 32 bits of each, so they could be other numbers than the program's.",
    " clang 15 and later write all 64 bits if the type is given without a typedef: `enum kind : unsigned long long { ... }`",
    " instead of `enum kind : u64 { ... }`.",
];

/// The value of an enum as a literal of its number type; of a damaged one, what fits.
fn literal(value: i64, it: &Enum) -> Literal {
    let unused = 64 - 8 * it.size.clamp(1, 8);
    if it.signed {
        Literal::i64_unsuffixed(value << unused >> unused)
    } else {
        Literal::u64_unsuffixed(u64::from_ne_bytes(value.to_ne_bytes()) << unused >> unused)
    }
}
