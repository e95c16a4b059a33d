//! The attributes that the macros know: `skelgen` and `repr` at structs, `maps` at fields.

use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{Attribute, Ident, LitStr, Path, Result, Token, parenthesized};

/// What is said at the struct.
#[derive(Default)]
pub(crate) struct StructAttrs {
    /// Where the runtime is.
    pub(crate) runtime: Option<Path>,
    /// What the struct of cells is called.
    pub(crate) cells: Option<Ident>,
    /// Whether the layout is C's.
    pub(crate) repr: bool,
}

/// What is said at a field.
#[derive(Default)]
pub(crate) struct FieldAttrs {
    /// The map's name.
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
                        // `align(8)`, `packed(2)`: the compiler's to understand.
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
                        return Err(unknown(
                            &meta,
                            if derive == "MapData" { "`crate` and `cells`" } else { "`crate`" },
                        ));
                    }
                    end(&meta)
                })?;
            } else if attr.path().is_ident("maps") {
                return Err(syn::Error::new(
                    attr.span(),
                    "`maps` is for fields: it says what the field's map is called",
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
                return Err(syn::Error::new(attr.span(), "`skelgen` is for the struct, not for a field"));
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
    meta.error(format!("this is not known here, only {known}"))
}

/// That nothing but a comma follows.
fn end(meta: &ParseNestedMeta<'_>) -> Result<()> {
    if meta.input.is_empty() || meta.input.peek(Token![,]) {
        Ok(())
    } else {
        Err(meta.input.error("a comma was expected"))
    }
}
