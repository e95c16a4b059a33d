//! The input of a macro: a struct, its fields, and their attributes.

use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Generics, Ident, Member, Result, Type, Visibility};

use crate::attr::{FieldAttrs, StructAttrs};

/// A struct.
pub(crate) struct Input<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) vis: &'a Visibility,
    pub(crate) generics: &'a Generics,
    pub(crate) attrs: StructAttrs,
    pub(crate) fields: Vec<Field<'a>>,
}

/// A field of the struct.
pub(crate) struct Field<'a> {
    pub(crate) member: Member,
    pub(crate) vis: &'a Visibility,
    pub(crate) ty: &'a Type,
    pub(crate) attrs: FieldAttrs,
}

impl<'a> Input<'a> {
    /// Parses a struct for the derive with this name.
    pub(crate) fn new(input: &'a DeriveInput, derive: &str) -> Result<Self> {
        let fields = match &input.data {
            Data::Struct(data) => &data.fields,
            Data::Enum(data) => {
                let why = if derive == "Maps" {
                    "each field of the struct is a map"
                } else {
                    "a program can write a number that is not a variant of the enum"
                };
                let message = format!("`{derive}` supports only structs: {why}");
                return Err(Error::new(data.enum_token.span(), message));
            }
            Data::Union(data) => {
                let why = if derive == "Maps" {
                    "each field of the struct is a map"
                } else {
                    "the active field of a union is unknown"
                };
                let message = format!("`{derive}` supports only structs: {why}");
                return Err(Error::new(data.union_token.span(), message));
            }
        };
        let mut errors: Option<Error> = None;
        let mut keep = |error: Error| match &mut errors {
            Some(errors) => errors.combine(error),
            None => errors = Some(error),
        };
        let attrs = StructAttrs::parse(&input.attrs, derive).unwrap_or_else(|error| {
            keep(error);
            StructAttrs::default()
        });
        let fields = parse_fields(fields, derive, &mut keep);
        match errors {
            Some(errors) => Err(errors),
            None => Ok(Self { ident: &input.ident, vis: &input.vis, generics: &input.generics, attrs, fields }),
        }
    }
}

fn parse_fields<'a>(fields: &'a Fields, derive: &str, keep: &mut impl FnMut(Error)) -> Vec<Field<'a>> {
    let members = fields.members();
    let parsed = fields.iter().zip(members).map(|(field, member)| Field {
        member,
        vis: &field.vis,
        ty: &field.ty,
        attrs: FieldAttrs::parse(&field.attrs, derive).unwrap_or_else(|error| {
            keep(error);
            FieldAttrs::default()
        }),
    });
    parsed.collect()
}
