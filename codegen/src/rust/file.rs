//! The whole file, from its first comment to the blob: which parts it has, in which order.
//!
//! Must not know what any part looks like inside. To add one, write a module beside this one and call it in [`write`].

use quote::quote;
use skelgen_abi::plan::SectionKind;

use super::doc::{Doc, InCode};
use super::section::Section;
use super::text::Text;
use super::types::{Needs, Types};
use super::{Layout, Style, blob, call, ident, image, maps};
use crate::btf::{Btf, TypeId};
use crate::error::Result;
use crate::model::BpfObject;
use crate::plan::LoadPlan;
use crate::skeleton::Skeleton;

/// What stands above everything: where the file comes from.
pub(super) fn header(what: &str, name: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let name = InCode(name);
    format!("// Made by skelgen {version} from the {what} `{name}`. Do not edit: make it again instead.\n\n")
}

/// Writes the whole file.
pub(super) fn write(
    object: &BpfObject,
    skeleton: &Skeleton,
    plan: &LoadPlan,
    types: &[TypeId],
    style: Style<'_>,
    text: &mut Text<'_>,
) -> Result<()> {
    let (layout, runtime) = (style.layout, style.runtime()?);
    let runtime = quote!(#runtime).to_string().replace(' ', "");
    let empty = Btf::new();
    let sections: Vec<Section<'_>> = skeleton.sections.iter().filter_map(|field| Section::new(object, field)).collect();
    let mut needs = Needs::new(object.btf.as_ref().unwrap_or(&empty));
    for section in &sections {
        section.needs(&mut needs);
    }
    for field in &skeleton.maps {
        maps::needs(object, field, &mut needs);
    }
    for table in &skeleton.struct_ops {
        needs.ty(table.ty, &table.field);
    }
    for id in types {
        needs.ty(*id, "");
    }
    let types = needs.resolve();
    text.raw(&header("BPF object", &object.name))?;
    // A file says of itself what a module is told from outside.
    let (mark, inner) = match layout {
        Layout::File => ("//!", "!"),
        Layout::Module => ("///", ""),
    };
    for line in module_doc(object, skeleton, &sections) {
        text.line(format_args!("{mark}{line}"))?;
    }
    text.open(format_args!("#{inner}[allow("))?;
    for lint in LINTS {
        text.line(format_args!("{lint},"))?;
    }
    text.line(format_args!("reason = \"names are the object's own, and not all of them are used\""))?;
    text.close(")]")?;
    if layout == Layout::Module {
        text.open(format_args!("pub mod {} {{", ident(&skeleton.module)))?;
    }
    text.line(format_args!("use {runtime} as rt;"))?;
    text.line(format_args!("use rt::generated::prelude::*;"))?;
    text.apart();
    call::write(object, skeleton, (&sections, &types), text)?;
    items(object, (&sections, &types), text)?;
    image::write(&plan.object, text)?;
    blob::write(&plan.object.blob, text)?;
    if layout == Layout::Module { text.close("}") } else { Ok(()) }
}

/// What the compiler may not complain about in code that nobody has written.
const LINTS: [&str; 13] = [
    "dead_code",
    "missing_docs",
    "non_camel_case_types",
    "non_snake_case",
    "non_upper_case_globals",
    "single_use_lifetimes",
    "trivial_numeric_casts",
    "unreachable_pub",
    "unused_qualifications",
    "clippy::all",
    "clippy::nursery",
    "clippy::pedantic",
    "clippy::restriction",
];

/// The documentation of the module: what it is, and how it is used.
fn module_doc(object: &BpfObject, skeleton: &Skeleton, sections: &[Section<'_>]) -> Vec<Doc> {
    let module = &skeleton.module;
    let mut changed = sections.iter().filter(|section| section.data.kind != SectionKind::Kconfig);
    let values = changed.next().map(|section| format!(", `{}`", section.mutable())).unwrap_or_default();
    let open = format!("let mut open = {module}::open();");
    let load = "let skeleton = open.load()?;";
    let attach = "let _links = skeleton.attach()?;";
    let width = open.len().max(attach.len());
    let code = [
        (&*open, format!("what can be changed before the load: `maps`, `programs`, `options`{values}")),
        (load, "puts maps and programs into the kernel".to_owned()),
        (attach, "attaches the programs, until the links are dropped".to_owned()),
    ];
    let code = code.map(|(line, comment)| Doc::new(format_args!(" {line:width$} // {comment}")));
    let begin =
        [Doc::new(format_args!(" The BPF object `{}`.", InCode(&object.name))), Doc::default(), Doc::new(" ```text")];
    let end = [
        Doc::new(" ```"),
        Doc::default(),
        Doc::new(
            " It begins with [`open`]; [`Open::load`] makes a [`Skeleton`] of it, and [`Skeleton::attach`] its [`Links`].",
        ),
    ];
    begin.into_iter().chain(code).chain(end).collect()
}

/// The structs of sections, and the modules of types.
fn items(object: &BpfObject, (sections, types): (&[Section<'_>], &Types<'_>), text: &mut Text<'_>) -> Result<()> {
    let empty = Btf::new();
    let btf = object.btf.as_ref().unwrap_or(&empty);
    for section in sections {
        section.write(btf, types, text)?;
    }
    if types.is_empty() {
        return Ok(());
    }
    text.item_begins()?;
    text.line(format_args!("/// The object's own types."))?;
    text.open(format_args!("pub mod types {{"))?;
    text.line(format_args!("use super::rt::{{self, generated::prelude::*}};"))?;
    text.apart();
    types.write_items(text)?;
    if types.any_cells() {
        text.line(format_args!(
            "/// The members of types in memory shared with programs: what [`rt::Cell::fields`] returns."
        ))?;
        text.open(format_args!("pub mod cells {{"))?;
        text.line(format_args!("use super::rt::{{self, generated::prelude::*}};"))?;
        text.apart();
        types.write_cells(text)?;
        text.close("}")?;
    }
    text.close("}")
}
