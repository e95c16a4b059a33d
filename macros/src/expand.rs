//! The expansion of the derives.
//!
//! All names are paths from a crate's root, so that their meaning does not depend on the module of the struct.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, Member, Path, parse_quote};

use crate::ast::{Field, Input};

pub(crate) fn map_data(input: &Input<'_>) -> TokenStream {
    let Input { ident, vis, .. } = input;
    let runtime = runtime(input);
    let plain = input.fields.iter().map(|field| {
        let ty = field.ty;
        // Points the error about a type that is not plain at the field.
        quote_spanned!(ty.span()=> __plain::<#ty>();)
    });
    let contiguous = input.fields.iter().enumerate().map(|(index, field)| {
        let member = &field.member;
        let before = sizes(&input.fields[..index]);
        let message =
            format!("there is padding before field `{}`; add a field for it, such as `_pad: [u8; 4]`", label(member));
        quote_spanned! {field.ty.span()=>
            ::core::assert!(::core::mem::offset_of!(#ident, #member) == #before, #message);
        }
    });
    let all = sizes(&input.fields);
    let whole = format!("there is padding at the end of `{ident}`; add a field for it, such as `_pad: [u8; 4]`");
    let whole = quote_spanned! {ident.span()=>
        ::core::assert!(::core::mem::size_of::<#ident>() == #all, #whole);
    };
    // Attributes below the derive can still change the struct. Check that it has exactly these fields with these types.
    let (members, types) = (input.fields.iter().map(|field| &field.member), input.fields.iter().map(|field| field.ty));
    let again = members.clone();
    let unchanged = quote! {
        const _: fn(#ident) = |__value| {
            let #ident { #(#members: _),* } = __value;
            #(let _: #types = __value.#again;)*
        };
    };
    let fields = input.fields.iter().map(|field| {
        let (member, ty, name) = (&field.member, field.ty, label(&field.member));
        quote! {
            #runtime::generated::LayoutField {
                name: #name,
                offset: ::core::mem::offset_of!(#ident, #member),
                size: ::core::mem::size_of::<#ty>(),
                layout: <#ty as #runtime::Plain>::ELEMENT,
            }
        }
    });
    let name = unraw(ident);
    let cells = input.attrs.cells.clone().unwrap_or_else(|| Ident::new(&format!("{name}Cells"), ident.span()));
    let accessors = input.fields.iter().map(|field| {
        let (member, vis, ty) = (&field.member, field.vis, field.ty);
        let accessor = accessor(field);
        let doc = format!("Returns the cell of `{}`.", label(member));
        // Points the error about a type that is not plain at the field here, too.
        let field = Ident::new("field", ty.span().resolved_at(Span::call_site()));
        quote! {
            #[doc = #doc]
            #[must_use]
            #vis fn #accessor(self) -> #runtime::Cell<'a, #ty> { self.0.#field(::core::mem::offset_of!(#ident, #member)) }
        }
    });
    let doc = format!("The fields of a [`{name}`] in memory that is shared with programs.");
    quote! {
        const _: () = {
            const fn __plain<__T: #runtime::Plain>() {}
            #(#plain)*
            #(#contiguous)*
            #whole
        };
        #unchanged
        // SAFETY: the checks above ensure that each field is plain data and that padding is absent.
        unsafe impl #runtime::Plain for #ident {
            const LAYOUT: ::core::option::Option<&'static #runtime::generated::Layout> =
                ::core::option::Option::Some(&#runtime::generated::Layout {
                    name: #name,
                    size: ::core::mem::size_of::<#ident>(),
                    fields: &[#(#fields),*],
                });
        }
        #[doc = #doc]
        #[allow(dead_code, non_camel_case_types, reason = "its name derives from the struct's, and some fields may be unused")]
        #[derive(::core::clone::Clone, ::core::marker::Copy)]
        #vis struct #cells<'a>(#runtime::Cell<'a, #ident>);
        #[allow(dead_code, reason = "some fields may be unused")]
        impl<'a> #cells<'a> {
            #(#accessors)*
        }
        impl ::core::fmt::Debug for #cells<'_> {
            fn fmt(&self, __f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                __f.debug_struct(::core::stringify!(#cells)).finish_non_exhaustive()
            }
        }
        impl #runtime::generated::Fields for #ident {
            type Cells<'a> = #cells<'a>;
            fn fields(cell: #runtime::Cell<'_, Self>) -> #cells<'_> { #cells(cell) }
        }
    }
}

pub(crate) fn maps(input: &Input<'_>) -> TokenStream {
    let ident = input.ident;
    let runtime = runtime(input);
    let fields = input.fields.iter().map(|field| {
        let (member, ty) = (&field.member, field.ty);
        let name = field.attrs.name.as_ref().map_or_else(|| label(member), syn::LitStr::value);
        // Points the error about a type that is not a handle at the field.
        let bind = quote_spanned!(ty.span()=> #runtime::map::bind::<#ty>);
        quote!(#member: #bind(__from, #name)?)
    });
    quote! {
        impl #runtime::map::Maps for #ident {
            fn bind(__from: &dyn #runtime::map::FindMap) -> #runtime::Result<Self> {
                ::core::result::Result::Ok(Self { #(#fields),* })
            }
        }
    }
}

/// Returns an expression for the total size of the fields in bytes.
fn sizes(fields: &[Field<'_>]) -> TokenStream {
    let types = fields.iter().map(|field| field.ty);
    if fields.is_empty() { quote!(0) } else { quote!(#(::core::mem::size_of::<#types>())+*) }
}

/// Returns an identifier without `r#`.
pub(crate) fn unraw(ident: &Ident) -> String {
    ident.to_string().trim_start_matches("r#").to_owned()
}

fn runtime(input: &Input<'_>) -> Path {
    input.attrs.runtime.clone().unwrap_or_else(|| parse_quote!(::skelgen_runtime))
}

fn label(member: &Member) -> String {
    match member {
        Member::Named(ident) => unraw(ident),
        Member::Unnamed(index) => index.index.to_string(),
    }
}

/// Returns the name of a field's accessor: that of the field, or `_0` for an unnamed field.
fn accessor(field: &Field<'_>) -> Ident {
    match &field.member {
        Member::Named(ident) => ident.clone(),
        Member::Unnamed(index) => format_ident!("_{}", index.index, span = Span::call_site()),
    }
}
