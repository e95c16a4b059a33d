//! The expansion of a derive whose input has errors: the errors, and placeholder implementations, so that the compiler
//! does not report further errors where the struct is used.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Type};

use crate::attr::StructAttrs;

pub(crate) fn map_data(input: &DeriveInput, error: &Error) -> TokenStream {
    let errors = error.to_compile_error();
    let (ident, runtime) = (&input.ident, runtime(input, "MapData"));
    // No implementation is correct for all generic parameters, and raw pointers are not `Sync`.
    if !input.generics.params.is_empty() || has_pointers(&input.data) {
        return errors;
    }
    quote! {
        #errors
        unsafe impl #runtime::Plain for #ident {}
    }
}

pub(crate) fn maps(input: &DeriveInput, error: &Error) -> TokenStream {
    let errors = error.to_compile_error();
    let (ident, runtime) = (&input.ident, runtime(input, "Maps"));
    let (impls, types, bounds) = input.generics.split_for_impl();
    quote! {
        #errors
        impl #impls #runtime::map::Maps for #ident #types #bounds {
            fn bind(_: &dyn #runtime::map::FindMap) -> #runtime::Result<Self> { ::core::unreachable!() }
        }
    }
}

fn has_pointers(data: &Data) -> bool {
    let Data::Struct(data) = data else { return false };
    data.fields.iter().any(|field| matches!(field.ty, Type::Ptr(_)))
}

fn runtime(input: &DeriveInput, derive: &str) -> TokenStream {
    let path = StructAttrs::parse(&input.attrs, derive).ok().and_then(|attrs| attrs.runtime);
    path.map_or_else(|| quote!(::skelgen_runtime), |path| quote!(#path))
}
