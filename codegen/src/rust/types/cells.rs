//! For types in memory that programs share with us: a cell for each member.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

use super::layout::{Part, Place};
use super::names::{Asker, Node, NodeId};
use super::write::{accessor_names, doc_of_setter, wanted_name};
use super::{From, Types};
use crate::btf::Kind;
use crate::error::Result;
use crate::rust::doc::{Doc, InCode};
use crate::rust::ident;
use crate::rust::text::Text;
use crate::skeleton::{Scope, field_name};

impl Types<'_> {
    /// The struct of cells of a struct or union.
    pub(super) fn cells_item(&self, id: NodeId, node: &Node, text: &mut Text<'_>) -> Result<()> {
        if !self.has_cells(node) {
            return Ok(());
        }
        let name = ident(&field_name(&node.name));
        let mut scope = Scope::default();
        let shape = self.layouts.shape(node.id);
        let last = shape.parts.len().saturating_sub(1);
        let seen = shape.parts.iter().enumerate().filter(|(_, part)| part.place != Place::Nowhere);
        let methods = seen.map(|(index, part)| {
            let longer = node.longer.filter(|_| index == last);
            self.cell_methods(part, longer, Asker::Member(id, &part.name), &mut scope)
        });
        let declared = InCode(self.btf.declaration(node.id, ""));
        let doc = Doc::new(format_args!(" The members of `{declared}` in shared memory."));
        text.items(quote! {
            #[doc = #doc]
            #[derive(Clone, Copy, Debug)]
            pub struct #name<'a> { cell: rt::Cell<'a, super::#name> }
        })?;
        text.item_of_parts(&[], methods, |methods| quote!(impl<'a> #name<'a> { #(#methods)* }))?;
        text.items(quote! {
            impl rt::data::Fields for super::#name {
                type Cells<'a> = #name<'a>;
                fn fields(cell: rt::Cell<'_, Self>) -> #name<'_> { #name { cell } }
            }
        })
    }

    /// Whether a type has members that cells can be of.
    pub(super) fn has_cells(&self, node: &Node) -> bool {
        matches!(self.btf.get(node.id).kind, Kind::Struct(_) | Kind::Union(_))
    }

    /// The cell of a member, or a getter and a setter of a bitfield; `longer` is the size of the whole if the member goes up to its end.
    fn cell_methods(&self, part: &Part, longer: Option<u64>, asker: Asker<'_>, scope: &mut Scope) -> TokenStream {
        let doc = Doc::new(format_args!(" `{}`", self.declared(part)));
        let ty = self.rust(part.ty, asker, From::Cells);
        match part.place {
            Place::Field { offset, .. } | Place::Shared { offset, .. } => {
                let longer = match (part.place, longer) {
                    (Place::Field { .. }, Some(size)) => self.lengthened(part, offset, size, asker, From::Cells),
                    _ => None,
                };
                let ty = longer.map_or(ty, |(ty, _)| ty);
                let (get, offset) = (ident(&scope.claim(&wanted_name(part))), Literal::u64_unsuffixed(offset));
                quote! {
                    #[doc = #doc]
                    #[must_use]
                    pub fn #get(self) -> rt::Cell<'a, #ty> { self.cell.field(#offset) }
                }
            }
            Place::Bits { first, count } => {
                let (get, set) = accessor_names(scope, &wanted_name(part));
                let (get, set) = (ident(&get), ident(&set));
                let (ty, read, write) = self.bits(part.ty, (first, count), &ty, |function, arguments| {
                    let function = format_ident!("{function}");
                    quote!(self.cell.#function(#arguments))
                });
                let doc_set = doc_of_setter(part);
                quote! {
                    #[doc = #doc]
                    #[must_use]
                    pub fn #get(self) -> #ty { #read }
                    #[doc = #doc_set]
                    pub fn #set(self, value: #ty) { #write; }
                }
            }
            Place::Nowhere => TokenStream::new(),
        }
    }
}
