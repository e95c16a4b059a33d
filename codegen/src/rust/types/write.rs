//! The items of Rust types.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};

use super::layout::{Part, Position};
use super::names::{Node, NodeId, Origin};
use super::{From, Types};
use crate::btf::{Enum, Kind, TypeId};
use crate::error::Result;
use crate::rust::doc::{Doc, InCode};
use crate::rust::macros::{self, Accessed, Bits};
use crate::rust::spelled;
use crate::rust::text::Text;
use crate::skeleton::{Scope, field_name};

/// A field of a struct that is written.
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

/// A struct that is written. This type adds the padding.
pub(in crate::rust) struct Definition<'d> {
    pub(in crate::rust) name: &'d str,
    pub(in crate::rust) doc: Vec<Doc>,
    pub(in crate::rust) size: u64,
    pub(in crate::rust) fields: Vec<Field>,
    /// The alignment of the struct, if it is greater than the alignment of its fields.
    pub(in crate::rust) raised: Option<u64>,
    pub(in crate::rust) bits: Vec<Bits>,
    /// Members that share bytes with others, with their offsets.
    pub(in crate::rust) members: Vec<(u64, Accessed)>,
    /// Getters that `Debug` shows besides the fields, each with the index of the field that it precedes.
    pub(in crate::rust) getters: Vec<(usize, String)>,
}

impl Definition<'_> {
    /// Wraps misaligned fields in types of alignment 1, so that the struct need not be packed.
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
        // Fields of size 0 precede the field at the same offset.
        self.fields.sort_by_key(|field| (field.offset, field.size));
        self.pad();
        let (name, size, packed) = (self.name, self.size, if packed { ", packed" } else { "" });
        text.begin_item()?;
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

    /// Returns the alignment that the fields require, and whether a field is misaligned.
    fn natural(&self) -> (u64, bool) {
        let align = self.fields.iter().map(|field| field.align).max().unwrap_or(1).max(1);
        let packed = self.size % align != 0 || self.fields.iter().any(|field| field.offset % field.align.max(1) != 0);
        (align, packed)
    }

    /// Returns fields and getters in source order.
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

    /// Adds padding between fields.
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
            match part.position {
                Position::Field { offset, size } => {
                    let origin = Origin::Member(id, &part.name);
                    let longer = match node.longer.filter(|_| index == last) {
                        Some(whole) => self.lengthened(part, offset, whole, origin, From::Types),
                        None => None,
                    };
                    let (ty, size) = longer.unwrap_or_else(|| (self.rust(part.ty, origin, From::Types), size));
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
                Position::Shared { offset, .. } => {
                    let ty = spelled(&self.rust(part.ty, Origin::Member(id, &part.name), From::Types));
                    let names = accessor_names(&mut methods, &wanted);
                    definition.getters.push((definition.fields.len(), names.0.clone()));
                    definition.members.push((offset, Accessed { doc: self.doc(part), names, ty }));
                }
                Position::Bits { first, count } => {
                    let ty = self.bits_type(part, Origin::Member(id, &part.name), From::Types);
                    let names = accessor_names(&mut methods, &wanted);
                    definition.getters.push((definition.fields.len(), names.0.clone()));
                    definition.bits.push((first, count, Accessed { doc: self.doc(part), names, ty }));
                }
                Position::Omitted => {
                    let declared = self.declared(part);
                    let why = match self.unknown_kind(part.ty) {
                        Some(number) => format!("BTF kind {number} of its type is unknown"),
                        None => "it has no size or is out of bounds".to_owned(),
                    };
                    definition.doc.push(Doc::new(format_args!(" Omitted, because {why}: `{declared}`")));
                }
            }
        }
        drop((fields, methods));
        if union {
            let len = Literal::u64_unsuffixed(size);
            let doc = Doc::new(" The bytes of all members");
            let storage =
                Field { name: "storage".into(), ty: quote!([u8; #len]), offset: 0, size, align: 1, hidden: false, doc };
            definition.fields.push(Field { hidden: !definition.getters.is_empty(), ..storage });
        }
        definition.write(text)
    }

    /// Returns the documentation of a member.
    pub(super) fn doc(&self, part: &Part) -> Doc {
        Doc::new(format_args!(" `{}`", self.declared(part)))
    }

    /// Returns the number of the unknown BTF kind of a type or of an array's elements.
    fn unknown_kind(&self, ty: TypeId) -> Option<u32> {
        /// The maximum number of array dimensions to resolve, which damaged BTF could make endless.
        const DIMENSIONS: usize = 32;
        let element = |ty: &TypeId| match self.btf.get(*ty).kind {
            Kind::Array { element, .. } => Some(self.btf.resolve(element)),
            _ => None,
        };
        let types = std::iter::successors(Some(self.btf.resolve(ty)), element).take(DIMENSIONS);
        types.last().and_then(|ty| match self.btf.get(ty).kind {
            Kind::Unknown(number) => Some(number),
            _ => None,
        })
    }

    /// Returns the C declaration of a member, for a code span.
    pub(super) fn declared(&self, part: &Part) -> String {
        let declared = InCode(self.btf.declaration(part.ty, &part.name)).to_string();
        match part.position {
            Position::Bits { count, .. } => format!("{declared} : {count}"),
            _ => declared,
        }
    }

    /// Returns the type of a flexible array in a variable of this size in bytes, and its size.
    pub(super) fn lengthened(
        &self,
        part: &Part,
        offset: u64,
        size: u64,
        origin: Origin<'_>,
        from: From,
    ) -> Option<(TokenStream, u64)> {
        let Kind::Array { element, len: 0, .. } = self.btf.get(self.btf.resolve(part.ty)).kind else { return None };
        let each = self.btf.size_of(element).unwrap_or(0);
        let len = size.saturating_sub(offset).checked_div(each)?;
        let (ty, count) = (self.rust(element, origin, from), Literal::u64_unsuffixed(len));
        Some((quote!([#ty; #count]), len * each))
    }

    /// Returns the type of a bitfield's accessors.
    pub(super) fn bits_type(&self, part: &Part, origin: Origin<'_>, from: From) -> String {
        match &self.btf.get(self.btf.resolve(part.ty)).kind {
            Kind::Int(int) if int.bool => "bool".to_owned(),
            _ => spelled(&self.rust(part.ty, origin, from)),
        }
    }

    fn enumeration(&self, node: &Node, it: &Enum, text: &mut Text<'_>) -> Result<()> {
        let mut scope = Scope::default();
        // A constant with a possibly wrong value would be worse than a missing constant.
        let values = if is_truncated(it) { &[] } else { it.values.as_slice() };
        let values = values.iter().map(|(name, value)| {
            let name = scope.claim(&field_name(self.btf.str(*name)));
            (name, literal(*value, it))
        });
        let declared = InCode(self.btf.declaration(node.id, ""));
        let doc = Doc::new(format_args!(" `{declared}`, {} bytes", it.size));
        let truncated = is_truncated(it).then_some(TRUNCATED).into_iter().flatten().map(Doc::new);
        let doc: Vec<Doc> = std::iter::once(doc).chain(truncated).collect();
        let name = field_name(&node.name);
        macros::open_enum(text, &doc, (name, number(it.signed, it.size)), values)
    }
}

/// Returns the names of the getter and setter of a bitfield or shared member.
pub(super) fn accessor_names(scope: &mut Scope, wanted: &str) -> (String, String) {
    scope.claim_pair(wanted, |name| format!("set_{}", name.trim_start_matches("r#")))
}

/// Returns the preferred Rust name of a member, before conflicts are resolved.
pub(super) fn wanted_name(part: &Part) -> String {
    field_name(if part.name.is_empty() { "anon" } else { &part.name })
}

fn number(signed: bool, size: u32) -> Ident {
    format_ident!("{}{}", if signed { 'i' } else { 'u' }, size * 8)
}

/// Returns whether BTF may contain only the lower 32 bits of each value: the enum has eight bytes and is written as
/// `BTF_KIND_ENUM`. clang before 15 writes all enums of eight bytes in this way; later versions write those whose
/// underlying type is a typedef (`enum kind : u64`), and lose the sign too.
fn is_truncated(it: &Enum) -> bool {
    it.size > 4 && !it.wide
}

/// The documentation of an enum whose values may be truncated.
const TRUNCATED: [&str; 4] = [
    "",
    " Its values have no constants: the object contains only 32 bits of each value, so a constant could be wrong.",
    " clang 15 and later write all 64 bits if the type is not a typedef: `enum kind : unsigned long long { ... }`",
    " instead of `enum kind : u64 { ... }`.",
];

/// Returns the value of an enum as a literal of its integer type. Values of damaged enums are truncated.
fn literal(value: i64, it: &Enum) -> Literal {
    let unused = 64 - 8 * it.size.clamp(1, 8);
    if it.signed {
        Literal::i64_unsuffixed(value << unused >> unused)
    } else {
        Literal::u64_unsuffixed(u64::from_ne_bytes(value.to_ne_bytes()) << unused >> unused)
    }
}
