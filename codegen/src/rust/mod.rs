//! The generated file: a skeleton's names, an object's types and a plan's tables as Rust.
//!
//! It is text from the beginning, a line at a time: calls of the runtime's macros, in which a line is a map, a program or a member, and
//! tables. Types are tokens until they are written. The one place that names quote, proc-macro2 and syn.

mod blob;
mod call;
mod doc;
mod file;
mod image;
mod macros;
mod maps;
mod section;
mod text;
mod types;

use std::fmt::Write;

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;
use syn::Path;

use crate::btf::{Btf, Kind, TypeId};
use crate::error::{Code, Error, Result};
use crate::model::BpfObject;
use crate::plan::LoadPlan;
use crate::skeleton::Skeleton;
use doc::Doc;
use text::Text;

pub(crate) use text::Pieces;

/// What a generated text is: a whole file, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// The contents of a module's own file, for `mod counters;`.
    File,
    /// A module with its contents, for `include!`.
    Module,
}

/// How a file is written.
#[derive(Debug, Clone, Copy)]
pub struct Style<'a> {
    /// What the text is.
    pub layout: Layout,
    /// The path of the runtime's crate.
    pub runtime: &'a str,
}

impl Style<'_> {
    /// The path of the runtime's crate, if it is one.
    fn runtime(&self) -> Result<Path> {
        syn::parse_str(self.runtime)
            .map_err(|_| Error::new(Code::BadName, format!("`{}` is no path of a crate", self.runtime)))
    }
}

/// Writes the file. `types` are those to write beside what variables and maps need.
///
/// # Errors
/// [`Code::BadName`] if something of the object's gives no Rust name, or the runtime's path is none; [`Code::Io`] if `out` does not
/// take the text.
pub fn generate(
    object: &BpfObject,
    skeleton: &Skeleton,
    plan: &LoadPlan,
    types: &[TypeId],
    style: Style<'_>,
    out: &mut dyn Write,
) -> Result<()> {
    file::write(object, skeleton, plan, types, style, &mut Text::new(out))
}

/// A file of types alone.
#[derive(Debug, Clone)]
pub struct TypeFile {
    /// The text.
    pub text: String,
    /// How many structs the table has; not counted are declarations without a definition.
    pub structs: usize,
    /// How many unions.
    pub unions: usize,
    /// How many enums.
    pub enums: usize,
    /// How many of all these have a Rust type or, being anonymous, are part of one.
    pub covered: usize,
}

/// Writes every struct, union and enum of a table of types, or `only` some and what they contain. `name` is what the table belongs
/// to.
///
/// # Errors
/// [`Code::BadName`] if something in the table gives no Rust name.
pub fn types(btf: &Btf, only: &[TypeId], name: &str, style: Style<'_>) -> Result<TypeFile> {
    let mut needs = types::Needs::new(btf);
    if only.is_empty() {
        needs.everything();
    }
    for id in only {
        needs.ty(*id, "");
    }
    let types = needs.resolve();
    let mut text = Pieces::default();
    let (head, tail) = types_frame(name, style.layout, &style.runtime()?);
    let mut out = Text::new(&mut text);
    out.raw(&file::header("types of", name))?;
    out.raw(&head)?;
    out.apart();
    types.write_items(&mut out)?;
    out.raw(tail)?;
    let covered = types.covered();
    // The text is about to take twice its size.
    drop(types);
    let count = |is_one: fn(&Kind) -> bool| btf.iter().filter(|(_, ty)| is_one(&ty.kind)).count();
    Ok(TypeFile {
        text: text.into_string(),
        structs: count(|kind| matches!(kind, Kind::Struct(_))),
        unions: count(|kind| matches!(kind, Kind::Union(_))),
        enums: count(|kind| matches!(kind, Kind::Enum(it) if it.size > 0)),
        covered,
    })
}

/// What stands before and behind the items of a file of types.
fn types_frame(name: &str, layout: Layout, runtime: &Path) -> (String, &'static str) {
    let lints = "allow(dead_code, missing_docs, non_camel_case_types, non_snake_case, non_upper_case_globals, \
                 trivial_numeric_casts, unreachable_pub, clippy::all, clippy::nursery, clippy::pedantic, clippy::restriction, \
                 reason = \"names are those of C, and not all of them are used\")";
    let runtime = quote!(#runtime).to_string().replace(' ', "");
    let uses = format!(
        "use {runtime} as rt;\n#[allow(unused_imports, reason = \"there may be no types\")]\nuse rt::generated::prelude::*;\n"
    );
    let doc = Doc::new(format_args!(" The types of `{}`.", doc::InCode(name)));
    match layout {
        Layout::File => (format!("//!{doc}\n#![{lints}]\n\n{uses}"), ""),
        Layout::Module => {
            let module = ident(&crate::skeleton::field_name(&name.replace('.', "_")));
            (format!("///{doc}\n#[{lints}]\npub mod {module} {{\n{uses}"), "}\n")
        }
    }
}

/// A type as it is written: what `quote` makes of a path or an array, without the spaces that nobody writes.
fn spelled(ty: &TokenStream) -> String {
    ty.to_string().replace(" :: ", "::").replace(" ;", ";").replace(" ,", ",").replace(" < ", "<").replace(" >", ">")
}

/// An identifier, raw if it has to be.
fn ident(name: &str) -> Ident {
    match name.strip_prefix("r#") {
        Some(name) => Ident::new_raw(name, Span::call_site()),
        None => Ident::new(name, Span::call_site()),
    }
}
