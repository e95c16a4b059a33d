//! For types in memory that programs share with us: a cell for each member.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

use super::layout::Place;
use super::names::{Asker, Node, NodeId};
use super::write::{accessor_names, doc_of_setter, wanted_name};
use super::{From, Types};
use crate::btf::Kind;
use crate::rust::doc::{Doc, InCode};
use crate::rust::ident;
use crate::skeleton::{Scope, field_name};

impl Types<'_> {
    /// The struct of cells of a struct or union.
    pub(super) fn cells_item(&self, id: NodeId, node: &Node) -> Option<TokenStream> {
        if !matches!(self.btf.get(node.id).kind, Kind::Struct(_) | Kind::Union(_)) {
            return None;
        }
        let name = ident(&field_name(&node.name));
        let mut scope = Scope::default();
        let mut methods = Vec::new();
        let shape = self.layouts.shape(node.id);
        for (index, part) in shape.parts.iter().enumerate() {
            let asker = Asker::Member(id, &part.name);
            let ty = self.rust(part.ty, asker, From::Cells);
            let ty = match (part.place, node.longer) {
                (Place::Field { offset, .. }, Some(size)) if index + 1 == shape.parts.len() => {
                    self.lengthened(part, offset, size, asker, From::Cells).map_or(ty, |(ty, _)| ty)
                }
                _ => ty,
            };
            let doc = Doc::new(format_args!(" `{}`", self.declared(part)));
            match part.place {
                Place::Field { offset, .. } | Place::Shared { offset, .. } => {
                    let (get, offset) = (ident(&scope.claim(&wanted_name(part))), Literal::u64_unsuffixed(offset));
                    methods.push(quote! {
                        #[doc = #doc]
                        #[must_use]
                        pub fn #get(self) -> rt::Cell<'a, #ty> { self.cell.field(#offset) }
                    });
                }
                Place::Bits { first, count } => {
                    let (get, set) = accessor_names(&mut scope, &wanted_name(part));
                    let (ty, read, write) = self.bits(part.ty, (first, count), &ty, |function, arguments| {
                        let function = format_ident!("{function}");
                        quote!(self.cell.#function(#arguments))
                    });
                    let doc_set = doc_of_setter(part);
                    methods.push(quote! {
                        #[doc = #doc]
                        #[must_use]
                        pub fn #get(self) -> #ty { #read }
                        #[doc = #doc_set]
                        pub fn #set(self, value: #ty) { #write; }
                    });
                }
                Place::Nowhere => {}
            }
        }
        let declared = InCode(self.btf.declaration(node.id, ""));
        let doc = Doc::new(format_args!(" The members of `{declared}` in shared memory."));
        Some(quote! {
            #[doc = #doc]
            #[derive(Clone, Copy, Debug)]
            pub struct #name<'a> { cell: rt::Cell<'a, super::#name> }
            impl<'a> #name<'a> { #(#methods)* }
            impl rt::data::Fields for super::#name {
                type Cells<'a> = #name<'a>;
                fn fields(cell: rt::Cell<'_, Self>) -> #name<'_> { #name { cell } }
            }
        })
    }
}
