//! What is wrong with a struct, as far as syntax tells; all of it at once.

use syn::spanned::Spanned;
use syn::{Error, Generics, Result, Type};

use crate::ast::Input;

pub(crate) fn map_data(input: &Input<'_>) -> Result<()> {
    let mut errors = Errors::default();
    errors.no_parameters(input.generics, "has one layout");
    if !input.attrs.repr {
        errors.add(&input.ident, "its layout is Rust's, which is not stable: add `#[repr(C)]`");
    }
    for field in &input.fields {
        match field.ty {
            Type::Reference(_) | Type::Ptr(_) => errors.add(
                &field.ty,
                "an address of this process means nothing to a program, and one of a program's nothing here: use `Ptr` or `u64`",
            ),
            Type::Path(path) if path.path.is_ident("bool") => {
                errors.add(&field.ty, "a program can write a byte that is neither true nor false: use `skelgen_runtime::Bool`");
            }
            Type::Path(path) if path.path.is_ident("usize") || path.path.is_ident("isize") => {
                errors.add(&field.ty, "its size is another on another machine: use `u64` or `i64`, as programs have it");
            }
            Type::Path(path) if path.path.is_ident("char") => {
                errors.add(&field.ty, "a program can write a number that is no character: use `u32`, or `u8` for C's `char`");
            }
            _ => {}
        }
    }
    errors.finish()
}

pub(crate) fn maps(input: &Input<'_>) -> Result<()> {
    let mut errors = Errors::default();
    errors.no_parameters(input.generics, "names its maps' types");
    let mut names = std::collections::BTreeSet::new();
    for field in &input.fields {
        let (name, span) = match (&field.attrs.name, &field.member) {
            (Some(name), _) => (name.value(), name.span()),
            (None, syn::Member::Named(ident)) => (crate::expand::unraw(ident), ident.span()),
            (None, syn::Member::Unnamed(_)) => {
                errors.add(&field.ty, "the field has no name that could be its map's: add `#[maps(name = \"...\")]`");
                continue;
            }
        };
        if name.is_empty() || name.contains(['/', '\0']) {
            errors.add(&span, "no map can be called so");
        }
        if !names.insert(name.clone()) {
            let place = if let syn::Member::Named(ident) = &field.member { ident.span() } else { span };
            errors.add(&place, format!("two fields are the map `{name}`"));
        }
    }
    errors.finish()
}

#[derive(Default)]
struct Errors(Option<Error>);

impl Errors {
    fn add(&mut self, place: &impl Spanned, message: impl std::fmt::Display) {
        let error = Error::new(place.span(), message);
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn no_parameters(&mut self, generics: &Generics, what: &str) {
        if let Some(first) = generics.params.first() {
            self.add(&first, format!("a struct with parameters is many structs, and this one {what}"));
        }
    }

    fn finish(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
