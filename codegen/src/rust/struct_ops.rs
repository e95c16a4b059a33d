//! What a user of the skeleton sees of tables of functions.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use super::doc::{Doc, InCode};
use super::ident;
use super::types::Types;
use crate::model::BpfObject;
use crate::skeleton::{Skeleton, StructOpsField};

/// The parts of the file that tables of functions have; all empty if there are none.
#[derive(Default)]
pub(super) struct Tables {
    /// The structs of their handles.
    pub(super) items: TokenStream,
    /// The field of `Open`, and what it is made of.
    pub(super) open: TokenStream,
    pub(super) opened: TokenStream,
    /// The field of `Skeleton`, and what it is made of.
    pub(super) loaded: TokenStream,
    pub(super) taken: TokenStream,
    /// The fields of `Links`, and what they are made of.
    pub(super) links: TokenStream,
    pub(super) attached: TokenStream,
}

impl Tables {
    pub(super) fn new(object: &BpfObject, skeleton: &Skeleton, types: &Types<'_>) -> Self {
        if skeleton.struct_ops.is_empty() {
            return Self::default();
        }
        let each = |what: &dyn Fn(&StructOpsField) -> TokenStream| {
            let all = skeleton.struct_ops.iter().map(what);
            quote!(#(#all),*)
        };
        // Further fields follow these.
        let fields = |what: &dyn Fn(&StructOpsField) -> TokenStream| {
            let all = skeleton.struct_ops.iter().map(what);
            quote!(#(#all,)*)
        };
        let index = |table: &StructOpsField| Literal::u32_unsuffixed(table.map.0);
        let doc = |table: &StructOpsField| {
            let map = &object.maps[table.map.0 as usize];
            let of = map.def.struct_ops.as_ref().map_or("?", |table| &*table.name);
            Doc::new(format_args!(" `{}`, a `struct {}`.", InCode(&map.def.name), InCode(of)))
        };
        let before = each(&|table| {
            let (doc, field) = (doc(table), ident(&table.field));
            let ty = types.of(table.ty, &table.field);
            quote!(#[doc = #doc] pub #field: rt::OpenStructOps<#ty>)
        });
        let after = each(&|table| {
            let (doc, field) = (doc(table), ident(&table.field));
            quote!(#[doc = #doc] pub #field: rt::link::StructOps)
        });
        let opened = each(&|table| {
            let (field, index) = (ident(&table.field), index(table));
            quote!(#field: rt::OpenStructOps::new(&tables::OBJECT, #index))
        });
        let taken = each(&|table| {
            let (field, index) = (ident(&table.field), index(table));
            quote!(#field: loaded.take_struct_ops(#index))
        });
        Self {
            items: quote! {
                /// The tables of functions before they are created: structs whose values may be changed.
                #[derive(Debug)]
                pub struct OpenStructOps { #before }
                /// The tables of functions.
                #[derive(Debug)]
                pub struct StructOps { #after }
            },
            open: quote! {
                /// The tables of functions.
                pub struct_ops: OpenStructOps,
            },
            opened: quote!(struct_ops: OpenStructOps { #opened },),
            loaded: quote! {
                /// The tables of functions.
                pub struct_ops: StructOps,
            },
            taken: quote!(struct_ops: StructOps { #taken },),
            links: fields(&|table| {
                let (doc, link) = (doc(table), ident(&table.link));
                quote!(#[doc = #doc] pub #link: Option<rt::Link>)
            }),
            attached: fields(&|table| {
                let (field, link) = (ident(&table.field), ident(&table.link));
                quote!(#link: attaching.struct_ops(&self.struct_ops.#field)?)
            }),
        }
    }
}
