//! Validation of a struct's syntax, which reports all errors at once.

use syn::spanned::Spanned;
use syn::{Error, Generics, Result, Type};

use crate::ast::Input;

pub(crate) fn map_data(input: &Input<'_>) -> Result<()> {
    let mut errors = Errors::default();
    errors.no_parameters(input.generics, "MapData");
    if !input.attrs.repr {
        errors.add(&input.ident, "`MapData` requires a C layout; add `#[repr(C)]`");
    }
    for field in &input.fields {
        match field.ty {
            Type::Reference(_) | Type::Ptr(_) => errors.add(
                &field.ty,
                "pointers of user space and of BPF programs are not interchangeable; use `Ptr` or `u64`",
            ),
            Type::Path(path) if path.path.is_ident("bool") => {
                errors.add(
                    &field.ty,
                    "a program can write a byte that is not a valid `bool`; use `skelgen_runtime::Bool`",
                );
            }
            Type::Path(path) if path.path.is_ident("usize") || path.path.is_ident("isize") => {
                errors.add(
                    &field.ty,
                    "the size of this type depends on the target; use `u64` or `i64`, as in BPF programs",
                );
            }
            Type::Path(path) if path.path.is_ident("char") => {
                errors.add(
                    &field.ty,
                    "a program can write a number that is not a valid `char`; use `u32`, or `u8` for C's `char`",
                );
            }
            _ => {}
        }
    }
    errors.finish()
}

pub(crate) fn maps(input: &Input<'_>) -> Result<()> {
    let mut errors = Errors::default();
    errors.no_parameters(input.generics, "Maps");
    let mut names = std::collections::BTreeSet::new();
    for field in &input.fields {
        let (name, span) = match (&field.attrs.name, &field.member) {
            (Some(name), _) => (name.value(), name.span()),
            (None, syn::Member::Named(ident)) => (crate::expand::unraw(ident), ident.span()),
            (None, syn::Member::Unnamed(_)) => {
                errors.add(&field.ty, "an unnamed field has no map name; add `#[maps(name = \"...\")]`");
                continue;
            }
        };
        if name.is_empty() || name.contains(['/', '\0']) {
            errors.add(&span, "invalid map name: empty, or contains `/` or NUL");
        }
        if !names.insert(name.clone()) {
            let span = if let syn::Member::Named(ident) = &field.member { ident.span() } else { span };
            errors.add(&span, format!("two fields have the map name `{name}`"));
        }
    }
    errors.finish()
}

#[derive(Default)]
struct Errors(Option<Error>);

impl Errors {
    fn add(&mut self, spanned: &impl Spanned, message: impl std::fmt::Display) {
        let error = Error::new(spanned.span(), message);
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn no_parameters(&mut self, generics: &Generics, derive: &str) {
        if let Some(first) = generics.params.first() {
            self.add(&first, format!("`{derive}` does not support generic parameters"));
        }
    }

    fn finish(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
