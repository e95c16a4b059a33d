//! The handle types of maps in the generated file.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};
use skelgen_abi::plan::SectionKind;
use skelgen_abi::uapi::map_flags;

use super::doc::{Doc, InCode};
use super::section::Section;
use super::types::{Needs, Types};
use crate::model::BpfObject;
use crate::skeleton::{Data, Handle, MapField};

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

/// Returns the type of a map's handle. `arena` is the section of the variables in an arena.
pub(super) fn handle_type(
    object: &BpfObject,
    field: &MapField,
    arena: Option<&Section<'_>>,
    types: &Types<'_>,
) -> TokenStream {
    let handle = match arena {
        Some(section) => {
            let ty = section.ty();
            quote!(rt::map::Arena<#ty>)
        }
        None => handle(&field.handle, &object.maps[field.map.0 as usize].def.name, types),
    };
    if field.optional { quote!(Option<#handle>) } else { handle }
}

/// Returns the documentation of a map's field.
pub(super) fn doc(object: &BpfObject, field: &MapField) -> Doc {
    let map = &object.maps[field.map.0 as usize];
    let optional = if field.optional { " Its handle is `None` if `set_autocreate(false)` was called." } else { "" };
    let (name, map_type) = (InCode(&map.def.name), map.def.map_type);
    match &map.section {
        Some(section) if section.kind != SectionKind::Arena => {
            Doc::new(format_args!(" Section `{name}`, whose variables are static or hidden: a map of type {map_type}."))
        }
        _ => Doc::new(format_args!(" `{name}`, a map of type {map_type}.{optional}")),
    }
}

fn handle(handle: &Handle, map: &str, types: &Types<'_>) -> TokenStream {
    let inner =
        handle.inner.map(|inner| typed(inner.name, inner.key, inner.value, None, &format!("{map}__inner"), types));
    typed(handle.name, handle.key, handle.value, inner, map, types)
}

/// Returns the handle type of this name with its type parameters. `path` names types that are anonymous in C.
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
    };
    let name = format_ident!("{name}");
    let parameters: Vec<TokenStream> =
        [key.map(|key| data(key, "key")), value.map(|value| data(value, "value")), inner]
            .into_iter()
            .flatten()
            .collect();
    if parameters.is_empty() { quote!(rt::map::#name) } else { quote!(rt::map::#name<#(#parameters),*>) }
}
