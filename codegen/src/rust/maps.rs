//! The maps in the generated file: before they are created, and as typed handles.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};
use skelgen_abi::uapi::map_flags;

use super::doc::{Doc, InCode};
use super::ident;
use super::text::Text;
use super::types::{Needs, Types};
use crate::error::Result;
use crate::model::BpfObject;
use crate::skeleton::{Data, Handle, MapField, Skeleton};

pub(super) fn needs(object: &BpfObject, field: &MapField, needs: &mut Needs<'_>) {
    let map = &object.maps[field.map.0 as usize];
    let name = &map.def.name;
    let inner = field.handle.inner;
    let of_inner = [(inner.and_then(|it| it.key), "inner__key"), (inner.and_then(|it| it.value), "inner__value")];
    for (data, what) in [(field.handle.key, "key"), (field.handle.value, "value")].into_iter().chain(of_inner) {
        if let Some(Data::Type(id)) = data {
            let path = format!("{name}__{what}");
            needs.ty(id, &path);
            if what == "value" && map.def.flags & map_flags::MMAPABLE != 0 {
                needs.shared(id, &path);
            }
        }
    }
}

/// Writes the struct of the maps before they are created.
pub(super) fn write_open(object: &BpfObject, skeleton: &Skeleton, text: &mut Text<'_>) -> Result<()> {
    let fields = skeleton.maps.iter().map(|field| {
        let (name, doc) = (ident(&field.field), doc(object, field));
        quote!(#[doc = #doc] pub #name: rt::OpenMap)
    });
    text.item_of_parts(
        &[Doc::new(" The maps before they are created.")],
        fields,
        |fields| quote!(#[derive(Debug)] pub struct OpenMaps { #(#fields),* }),
    )
}

/// Writes the struct of the maps' handles.
pub(super) fn write_loaded(
    object: &BpfObject,
    skeleton: &Skeleton,
    types: &Types<'_>,
    text: &mut Text<'_>,
) -> Result<()> {
    let fields = skeleton.maps.iter().map(|field| {
        let (name, doc) = (ident(&field.field), doc(object, field));
        let section = skeleton.sections.iter().find(|section| section.map == field.map);
        let handle = match section {
            Some(section) => {
                let ty = ident(&section.ty);
                quote!(rt::map::Arena<#ty>)
            }
            None => handle(&field.handle, &object.maps[field.map.0 as usize].def.name, types),
        };
        if field.optional {
            let doc = Doc::new(format_args!("{doc} `None` if its auto-create was off."));
            quote!(#[doc = #doc] pub #name: Option<#handle>)
        } else {
            quote!(#[doc = #doc] pub #name: #handle)
        }
    });
    text.item_of_parts(
        &[Doc::new(" The maps.")],
        fields,
        |fields| quote!(#[derive(Debug)] pub struct Maps { #(#fields),* }),
    )?;
    let known = skeleton.maps.iter().map(|field| {
        let (name, optional, field) =
            (&object.maps[field.map.0 as usize].def.name, field.optional, ident(&field.field));
        if optional {
            quote!((#name, self.#field.as_ref().map(|map| map.as_fd())))
        } else {
            quote!((#name, Some(self.#field.as_fd())))
        }
    });
    let what = format!("object `{}`", object.name);
    text.items(quote! {
        impl rt::map::FindMap for Maps {
            fn find_map(&self, name: &str) -> rt::Result<Option<OwnedFd>> {
                rt::map::find(name, &[#(#known),*])
            }
            fn what(&self) -> String { #what.into() }
        }
    })
}

/// The documentation of a map's field.
fn doc(object: &BpfObject, field: &MapField) -> Doc {
    let map = &object.maps[field.map.0 as usize];
    Doc::new(format_args!(" `{}`, a map of type {}.", InCode(&map.def.name), map.def.map_type))
}

fn handle(handle: &Handle, map: &str, types: &Types<'_>) -> TokenStream {
    let inner =
        handle.inner.map(|inner| typed(inner.name, inner.key, inner.value, None, &format!("{map}__inner"), types));
    typed(handle.name, handle.key, handle.value, inner, map, types)
}

/// The handle of this name with its parameters; `path` names types that C does not.
fn typed(
    name: &str,
    key: Option<Data>,
    value: Option<Data>,
    inner: Option<TokenStream>,
    path: &str,
    types: &Types<'_>,
) -> TokenStream {
    let data = |data: Data, what: &str| match data {
        Data::Type(id) => types.of(id, &format!("{path}__{what}")),
        Data::Bytes(len) => {
            let len = Literal::u32_unsuffixed(len);
            quote!([u8; #len])
        }
        Data::U32 => quote!(u32),
        Data::U64s(count) => {
            let count = Literal::u32_unsuffixed(count);
            quote!([u64; #count])
        }
    };
    let name = format_ident!("{name}");
    let parameters: Vec<TokenStream> =
        [key.map(|key| data(key, "key")), value.map(|value| data(value, "value")), inner]
            .into_iter()
            .flatten()
            .collect();
    if parameters.is_empty() { quote!(rt::map::#name) } else { quote!(rt::map::#name<#(#parameters),*>) }
}
