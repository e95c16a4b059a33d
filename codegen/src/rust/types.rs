//! C types as Rust types, laid out byte for byte as the object's BTF says.
//!
//! Every struct is `repr(C)` with its padding spelled out; one whose members do not lie as `repr(C)` would put them is packed, with
//! the same bytes. Unions are their bytes, bitfields are bytes between fields, and both have accessors. Each type's layout is
//! asserted in the generated file.

use std::collections::BTreeMap;

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

use super::ident;
use crate::btf::{Btf, Composite, Enum, Kind, Member, TypeId};
use crate::skeleton::{Scope, field_name};

/// The types that the generated file needs, by need.
pub(super) struct Types<'a> {
    btf: &'a Btf,
    names: BTreeMap<TypeId, String>,
    scope: Scope,
    queue: Vec<TypeId>,
    /// Whether types are named from inside the module `types`.
    inside: bool,
}

/// One field of a struct as it will be written.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) ty: TokenStream,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) align: u64,
    pub(super) hidden: bool,
    pub(super) doc: String,
}

impl<'a> Types<'a> {
    pub(super) fn new(btf: &'a Btf) -> Self {
        Self { btf, names: BTreeMap::new(), scope: Scope::default(), queue: Vec::new(), inside: false }
    }

    /// The Rust type for a C type; `path` names it if C does not.
    pub(super) fn of(&mut self, id: TypeId, path: &str) -> TokenStream {
        let named = self.typedef_name(id);
        let id = self.btf.resolve(id);
        match &self.btf.get(id).kind {
            Kind::Int(int) if int.bool && int.size == 1 => quote!(rt::Bool),
            Kind::Int(int) => {
                let letter = if int.signed { 'i' } else { 'u' };
                let name = format_ident!("{letter}{}", int.size * 8);
                quote!(#name)
            }
            Kind::Ptr(_) => quote!(rt::Ptr),
            Kind::Float(4) => quote!(f32),
            Kind::Float(8) => quote!(f64),
            Kind::Array { element, len, .. } => {
                let element = self.of(*element, path);
                let len = Literal::u32_unsuffixed(*len);
                quote!([#element; #len])
            }
            Kind::Struct(_) | Kind::Union(_) | Kind::Enum(_) => {
                let own = self.btf.name(id);
                let name = if own.is_empty() { named.unwrap_or(path) } else { own }.to_owned();
                let name = self.name(id, &name);
                if self.inside { quote!(#name) } else { quote!(types::#name) }
            }
            _ => {
                let size = Literal::u64_unsuffixed(self.btf.size_of(id).unwrap_or(0));
                quote!([u8; #size])
            }
        }
    }

    /// The innermost typedef's name, which names a struct that has none.
    fn typedef_name(&self, mut id: TypeId) -> Option<&'a str> {
        let btf = self.btf;
        let mut name = None;
        loop {
            match btf.get(id).kind {
                Kind::Typedef(to) => {
                    name = Some(btf.name(id));
                    id = to;
                }
                Kind::Volatile(to) | Kind::Const(to) | Kind::Restrict(to) | Kind::TypeTag { ty: to, .. } => id = to,
                _ => return name,
            }
        }
    }

    fn name(&mut self, id: TypeId, wanted: &str) -> proc_macro2::Ident {
        let name = match self.names.get(&id) {
            Some(name) => name.clone(),
            None => {
                let name = self.scope.claim(&field_name(wanted));
                self.names.insert(id, name.clone());
                self.queue.push(id);
                name
            }
        };
        ident(&name)
    }

    /// The alignment that the Rust type will have, in bytes.
    pub(super) fn align(&self, id: TypeId) -> u64 {
        let id = self.btf.resolve(id);
        match &self.btf.get(id).kind {
            Kind::Int(int) => int.size.into(),
            Kind::Ptr(_) => 8,
            Kind::Float(size @ (4 | 8)) => (*size).into(),
            Kind::Enum(it) => it.size.max(1).into(),
            Kind::Array { element, .. } => self.align(*element),
            Kind::Struct(it) => {
                let align = it.members.iter().filter(|m| m.bit_size == 0).map(|m| self.align(m.ty)).max().unwrap_or(1);
                if self.is_packed(it, align) { 1 } else { align }
            }
            Kind::Union(it) => self.union_align(it),
            _ => 1,
        }
    }

    fn union_align(&self, it: &Composite) -> u64 {
        let align = it.members.iter().map(|member| self.align(member.ty)).max().unwrap_or(1).min(8);
        if align > 0 && u64::from(it.size) % align == 0 { align } else { 1 }
    }

    /// Whether `repr(C)` would not put every member where it is.
    fn is_packed(&self, it: &Composite, align: u64) -> bool {
        let displaced = |member: &Member| {
            member.bit_size == 0 && (u64::from(member.bit_offset) / 8) % self.align(member.ty).max(1) != 0
        };
        u64::from(it.size) % align.max(1) != 0 || it.members.iter().any(displaced)
    }

    /// Writes every type that has been asked for, and those that they ask for.
    pub(super) fn finish(mut self) -> TokenStream {
        self.inside = true;
        let mut items = Vec::new();
        while let Some(id) = self.queue.pop() {
            let name = self.names.get(&id).cloned().unwrap_or_default();
            let item = match &self.btf.get(id).kind {
                Kind::Struct(it) => self.composite(it, &name),
                Kind::Union(it) => self.union(it, &name),
                Kind::Enum(it) => self.enumeration(it, &name),
                _ => TokenStream::new(),
            };
            items.push((name, item));
        }
        items.sort_by(|(a, _), (b, _)| a.cmp(b));
        let items = items.into_iter().map(|(_, item)| item);
        quote!(#(#items)*)
    }

    fn composite(&mut self, it: &Composite, name: &str) -> TokenStream {
        let mut fields = Vec::new();
        let mut methods = Vec::new();
        let mut scope = Scope::default();
        for (index, member) in it.members.iter().enumerate() {
            let own = self.btf.str(member.name);
            let wanted = if own.is_empty() { format!("__anon{index}") } else { own.to_owned() };
            let field = scope.claim(&field_name(&wanted));
            if self.is_bitfield(member) {
                methods.push(self.bitfield(member, &field, u64::from(it.size)));
                continue;
            }
            let path = format!("{name}__{wanted}");
            fields.push(Field {
                ty: self.of(member.ty, &path),
                offset: u64::from(member.bit_offset) / 8,
                size: self.btf.size_of(member.ty).unwrap_or(0),
                align: self.align(member.ty),
                hidden: false,
                doc: format!(" `{wanted}`"),
                name: field,
            });
        }
        let doc = format!(" `struct {}`, {} bytes", name.trim_start_matches("r#"), it.size);
        let definition = define(&ident(name), fields, it.size.into(), &doc);
        let name = ident(name);
        if methods.is_empty() { definition } else { quote!(#definition impl #name { #(#methods)* }) }
    }

    fn is_bitfield(&self, member: &Member) -> bool {
        member.bit_size > 0 || member.bit_offset % 8 != 0
    }

    fn bitfield(&self, member: &Member, field: &str, struct_size: u64) -> TokenStream {
        let id = self.btf.resolve(member.ty);
        let (signed, bool) = match &self.btf.get(id).kind {
            Kind::Int(int) => (int.signed, int.bool),
            Kind::Enum(it) => (it.signed, false),
            _ => (false, false),
        };
        let bits = match member.bit_size {
            0 => u8::try_from(self.btf.size_of(id).unwrap_or(1) * 8).unwrap_or(64),
            bits => bits,
        };
        if u64::from(member.bit_offset) + u64::from(bits) > struct_size * 8 {
            return TokenStream::new();
        }
        let (first, count) = (Literal::u32_unsuffixed(member.bit_offset), Literal::u8_unsuffixed(bits));
        let (get, set) = (ident(field), format_ident!("set_{}", field.trim_start_matches("r#")));
        let plural = if bits == 1 { "" } else { "s" };
        let doc = format!(" The bitfield `{}` of {bits} bit{plural}.", field.trim_start_matches("r#"));
        let doc_set = format!(
            "Sets the bitfield `{}` to the lowest {bits} bit{plural} of the value.",
            field.trim_start_matches("r#")
        );
        let (ty, read, write) = if bool {
            (quote!(bool), quote!(rt::data::get_bits(self, #first, #count) != 0), quote!(value.into()))
        } else if signed {
            (quote!(i64), quote!(rt::data::get_signed_bits(self, #first, #count)), quote!(value as u64))
        } else {
            (quote!(u64), quote!(rt::data::get_bits(self, #first, #count)), quote!(value))
        };
        quote! {
            #[doc = #doc]
            #[must_use]
            pub fn #get(&self) -> #ty { #read }
            #[doc = #doc_set]
            pub fn #set(&mut self, value: #ty) { rt::data::set_bits(self, #first, #count, #write); }
        }
    }

    fn union(&mut self, it: &Composite, name: &str) -> TokenStream {
        let (size, align) = (u64::from(it.size), self.union_align(it));
        let word = format_ident!("u{}", align * 8);
        let len = Literal::u64_unsuffixed(size / align);
        let field = Field {
            name: "storage".into(),
            ty: quote!([#word; #len]),
            offset: 0,
            size,
            align,
            hidden: false,
            doc: " The bytes of whichever member it is".into(),
        };
        let doc = format!(" `union {}`, {} bytes", name.trim_start_matches("r#"), it.size);
        let definition = define(&ident(name), vec![field], size, &doc);
        let mut scope = Scope::default();
        let mut methods = Vec::new();
        for (index, member) in it.members.iter().enumerate() {
            let own = self.btf.str(member.name);
            let wanted = if own.is_empty() { format!("anon{index}") } else { own.to_owned() };
            let field = scope.claim(&field_name(&wanted));
            if self.is_bitfield(member) {
                methods.push(self.bitfield(member, &field, size));
                continue;
            }
            let ty = self.of(member.ty, &format!("{name}__{wanted}"));
            let (get, set) = (ident(&field), format_ident!("set_{}", field.trim_start_matches("r#")));
            let (doc, doc_set) =
                (format!(" The union as its member `{wanted}`."), format!(" Writes the member `{wanted}`."));
            methods.push(quote! {
                #[doc = #doc]
                #[must_use]
                pub fn #get(&self) -> #ty { rt::data::get_part(self, 0) }
                #[doc = #doc_set]
                pub fn #set(&mut self, value: #ty) { rt::data::set_part(self, 0, &value); }
            });
        }
        let name = ident(name);
        quote!(#definition impl #name { #(#methods)* })
    }

    fn enumeration(&self, it: &Enum, name: &str) -> TokenStream {
        let letter = if it.signed { 'i' } else { 'u' };
        let number = format_ident!("{letter}{}", it.size * 8);
        let mut scope = Scope::default();
        let values = it.values.iter().map(|(value_name, value)| {
            let value_name = ident(&scope.claim(&field_name(self.btf.str(*value_name))));
            let value = if it.signed {
                Literal::i64_unsuffixed(*value)
            } else {
                Literal::u64_unsuffixed(u64::from_ne_bytes(value.to_ne_bytes()))
            };
            quote!(#value_name = #value)
        });
        let doc = format!(" `enum {}`, {} bytes", name.trim_start_matches("r#"), it.size);
        let name = ident(name);
        quote!(rt::open_enum! { #[doc = #doc] #name : #number { #(#values),* } })
    }
}

/// A struct with its padding spelled out, its assertions and its `Default`.
pub(super) fn define(name: &proc_macro2::Ident, mut fields: Vec<Field>, size: u64, doc: &str) -> TokenStream {
    fields.sort_by_key(|field| (field.offset, field.size));
    let align = fields.iter().map(|field| field.align).max().unwrap_or(1).max(1);
    let packed = size % align != 0 || fields.iter().any(|field| field.offset % field.align.max(1) != 0);
    let mut all = Vec::new();
    let mut at = 0;
    let mut pads = 0;
    let mut pad = |from: u64, to: u64, all: &mut Vec<Field>| {
        let len = Literal::u64_unsuffixed(to - from);
        all.push(Field {
            name: format!("__pad{pads}"),
            ty: quote!([u8; #len]),
            offset: from,
            size: to - from,
            align: 1,
            hidden: true,
            doc: String::new(),
        });
        pads += 1;
    };
    for field in fields {
        if field.offset > at {
            pad(at, field.offset, &mut all);
        }
        at = field.offset + field.size;
        all.push(field);
    }
    if at < size {
        pad(at, size, &mut all);
    }
    let repr = if packed { quote!(#[repr(C, packed)]) } else { quote!(#[repr(C)]) };
    let declared = all.iter().map(|field| {
        let (name, ty, doc) = (ident(&field.name), &field.ty, &field.doc);
        if field.hidden { quote!(#[doc(hidden)] pub #name: #ty) } else { quote!(#[doc = #doc] pub #name: #ty) }
    });
    let placed = all.iter().map(|field| {
        let (name, ty, offset) = (ident(&field.name), &field.ty, Literal::u64_unsuffixed(field.offset));
        quote!(#name: #ty @ #offset)
    });
    let align = Literal::u64_unsuffixed(if packed { 1 } else { align });
    let size = Literal::u64_unsuffixed(size);
    quote! {
        #[doc = #doc]
        #[derive(Clone, Copy, Debug)]
        #repr
        pub struct #name { #(#declared),* }
        rt::layout! { #name: size #size, align #align; #(#placed),* }
        impl Default for #name {
            /// All bytes zero.
            fn default() -> Self { rt::zeroed() }
        }
    }
}
