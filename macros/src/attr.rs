//! The attributes that the macros know: `skelgen` and `repr` on structs, `maps` on fields.

use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{Attribute, Ident, LitStr, Path, Result, Token, parenthesized};

/// The attributes of the struct.
#[derive(Default)]
pub(crate) struct StructAttrs {
    /// The path of the runtime crate.
    pub(crate) runtime: Option<Path>,
    /// The name of the struct of cells.
    pub(crate) cells: Option<Ident>,
    /// Whether the struct has a C layout.
    pub(crate) repr: bool,
}

/// The attributes of a field.
#[derive(Default)]
pub(crate) struct FieldAttrs {
    /// The name of the map.
    pub(crate) name: Option<LitStr>,
}

impl StructAttrs {
    pub(crate) fn parse(attrs: &[Attribute], derive: &str) -> Result<Self> {
        let mut this = Self::default();
        for attr in attrs {
            if attr.path().is_ident("repr") {
                attr.parse_nested_meta(|meta| {
                    this.repr |= meta.path.is_ident("C") || meta.path.is_ident("transparent");
                    if meta.input.peek(syn::token::Paren) {
                        // The arguments of `align(8)` and `packed(2)` are left to the compiler.
                        let content;
                        parenthesized!(content in meta.input);
                        content.parse::<proc_macro2::TokenStream>()?;
                    }
                    Ok(())
                })?;
            } else if attr.path().is_ident("skelgen") {
                attr.parse_nested_meta(|meta| {
                    if meta.path.is_ident("crate") {
                        this.runtime = Some(meta.value()?.call(Path::parse_mod_style)?);
                    } else if meta.path.is_ident("cells") && derive == "MapData" {
                        this.cells = Some(meta.value()?.parse()?);
                    } else {
                        return Err(unknown(&meta, if derive == "MapData" { "`crate` or `cells`" } else { "`crate`" }));
                    }
                    end(&meta)
                })?;
            } else if attr.path().is_ident("maps") {
                return Err(syn::Error::new(
                    attr.span(),
                    "`maps` is an attribute of fields; it sets the name of the field's map",
                ));
            }
        }
        Ok(this)
    }
}

impl FieldAttrs {
    pub(crate) fn parse(attrs: &[Attribute], derive: &str) -> Result<Self> {
        let mut this = Self::default();
        for attr in attrs {
            if attr.path().is_ident("skelgen") {
                return Err(syn::Error::new(attr.span(), "`skelgen` is an attribute of the struct, not of fields"));
            }
            if attr.path().is_ident("maps") && derive == "Maps" {
                attr.parse_nested_meta(|meta| {
                    if !meta.path.is_ident("name") {
                        return Err(unknown(&meta, "`name`"));
                    }
                    this.name = Some(meta.value()?.parse()?);
                    end(&meta)
                })?;
            }
        }
        Ok(this)
    }
}

fn unknown(meta: &ParseNestedMeta<'_>, known: &str) -> syn::Error {
    meta.error(format!("unknown argument; expected {known}"))
}

/// Checks that the argument ends here or with a comma.
fn end(meta: &ParseNestedMeta<'_>) -> Result<()> {
    if meta.input.is_empty() || meta.input.peek(Token![,]) { Ok(()) } else { Err(meta.input.error("expected a comma")) }
}
