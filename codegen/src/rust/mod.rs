//! The generated file: the names of a skeleton, the types of an object and the tables of a plan as Rust.
//!
//! The file is written as text, one line at a time: calls of the runtime's macros, with a line for each map, program or
//! member, and tables. Types are tokens until they are written. This is the only module that uses quote, proc-macro2
//! and syn.

mod blob;
mod call;
mod doc;
mod file;
mod image;
mod macros;
mod maps;
mod parts;
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

/// How a generated text is used: as the file of a module, or by `include!`.
///
/// ```
/// let mut options = skelgen::Options::for_file("counters.bpf.o");
/// options.layout = skelgen::Layout::Module; // the text is `mod counters { … }`
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// The contents of a module's file, for `mod counters;`.
    File,
    /// A module with its contents, for `include!`.
    Module,
}

/// The style of a generated file.
#[derive(Debug, Clone, Copy)]
pub struct Style<'a> {
    /// How the text is used.
    pub layout: Layout,
    /// The path of the runtime crate.
    pub runtime: &'a str,
}

impl Style<'_> {
    /// Returns the path of the runtime crate, if it is valid.
    fn runtime(&self) -> Result<Path> {
        syn::parse_str(self.runtime)
            .map_err(|_| Error::new(Code::BadName, format!("`{}` is not a valid path of a Rust crate", self.runtime)))
    }
}

/// Writes the file. `types` are types to generate in addition to those of variables and maps.
///
/// # Errors
/// [`Code::BadName`] if a name in the object cannot be turned into a Rust identifier, or the path of the runtime is
/// invalid; [`Code::Io`] if `out` fails.
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

/// A generated file that contains only types.
#[derive(Debug, Clone)]
pub struct TypeFile {
    /// The text.
    pub text: String,
    /// The number of structs in the BTF, without forward declarations.
    pub structs: usize,
    /// The number of unions.
    pub unions: usize,
    /// The number of enums.
    pub enums: usize,
    /// The number of these types that have a Rust type or, if anonymous, are part of one.
    pub covered: usize,
}

/// Generates Rust types for every struct, union and enum of a type table; if `only` is not empty, for these types and
/// the types they contain. `name` is the source of the table, for comments.
///
/// # Errors
/// [`Code::BadName`] if a name in the table cannot be turned into a Rust identifier, or the path of the runtime is
/// invalid.
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
    out.separate();
    types.write_items(&mut out)?;
    out.raw(tail)?;
    let covered = types.covered();
    // Free the tokens: `finish` needs twice the memory of the text.
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

/// Returns the text before and after the items of a file that contains only types.
fn types_frame(name: &str, layout: Layout, runtime: &Path) -> (String, &'static str) {
    let lints = "allow(dead_code, missing_docs, non_camel_case_types, non_snake_case, non_upper_case_globals, \
                 trivial_numeric_casts, unreachable_pub, clippy::all, clippy::nursery, clippy::pedantic, clippy::restriction, \
                 reason = \"names are those of C, and some may be unused\")";
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

/// Returns a type as text, without the spaces that `quote` inserts in paths and arrays.
fn spelled(ty: &TokenStream) -> String {
    ty.to_string().replace(" :: ", "::").replace(" ;", ";").replace(" ,", ",").replace(" < ", "<").replace(" >", ">")
}

/// Returns an identifier, as a raw identifier if the name is a keyword.
fn ident(name: &str) -> Ident {
    match name.strip_prefix("r#") {
        Some(name) => Ident::new_raw(name, Span::call_site()),
        None => Ident::new(name, Span::call_site()),
    }
}
