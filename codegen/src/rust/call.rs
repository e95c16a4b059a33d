//! The call of the runtime's macro `skeleton!`, with a line for each section, map, program and struct_ops map.
//!
//! The macro (`runtime/src/skeleton`) defines the grammar of the lines and expands them to items.

use skelgen_abi::plan::{Attach, SectionKind, VERSION};

use super::doc::{Doc, InCode};
use super::section::Section;
use super::text::Text;
use super::types::Types;
use super::{maps, parts, spelled};
use crate::error::Result;
use crate::insn::Endian;
use crate::model::BpfObject;
use crate::plan::LoadPlan;
use crate::skeleton::{ProgramField, Skeleton};

pub(super) fn write(
    object: &BpfObject,
    skeleton: &Skeleton,
    plan: &LoadPlan,
    (sections, types): (&[Section<'_>], &Types<'_>),
    text: &mut Text<'_>,
) -> Result<()> {
    let endian = match object.endian {
        Endian::Little => "little",
        Endian::Big => "big",
    };
    text.begin_item()?;
    text.open(format_args!("rt::skeleton! {{"))?;
    for line in GRAMMAR {
        text.line(format_args!("// {line}"))?;
    }
    text.line(format_args!("version {VERSION};"))?;
    for line in SAFETY {
        text.line(format_args!("// {line}"))?;
    }
    text.line(format_args!("unsafe object {:?} = tables::OBJECT, endian \"{endian}\";", object.name))?;
    let parts: Vec<_> = parts::of(&plan.object, object.btf.as_ref()).collect();
    text.line(format_args!("parts{}{};", if parts.is_empty() { "" } else { " " }, parts.join(", ")))?;
    text.line(format_args!("unattached {};", unattached(object, skeleton)))?;
    for kind in KINDS {
        for section in sections.iter().filter(|section| keyword(section.data.kind) == Some(kind)) {
            self::section(kind, section, skeleton, text)?;
        }
    }
    block(text, "maps", skeleton.maps.iter(), |text, map| {
        let (field, index) = (&map.field, map.map.0);
        let arena = sections.iter().find(|section| section.field.map == map.map);
        let handle = spelled(&maps::handle_type(object, map, arena, types));
        let optional = if map.optional { "optional_" } else { "" };
        let kind = if map.handle.name == "Arena" { "arena" } else { "map" };
        text.line(format_args!("///{}", maps::doc(object, map)))?;
        text.line(format_args!("{optional}{kind} {field}: {handle} = {index};"))
    })?;
    block(text, "programs", skeleton.programs.iter(), |text, program| {
        let (field, index) = (&program.field, program.program.0);
        let link = match is_attached(object, program) {
            true => format!(", link {field} by {}", parts::way(attach(object, program))),
            false => String::new(),
        };
        text.line(format_args!("///{}", program_doc(object, program)))?;
        text.line(format_args!("{field} = {index}{link};"))
    })?;
    if !skeleton.struct_ops.is_empty() {
        block(text, "struct_ops", skeleton.struct_ops.iter(), |text, table| {
            let map = &object.maps[table.map.0 as usize];
            let of = map.def.struct_ops.as_ref().map_or("?", |table| &*table.name);
            let doc = Doc::new(format_args!(" `{}`, a `struct {}`.", InCode(&map.def.name), InCode(of)));
            let ty = spelled(&types.of(table.ty, &table.field));
            text.line(format_args!("///{doc}"))?;
            text.line(format_args!("{}: {ty} = {}, link {};", table.field, table.map.0, table.link))
        })?;
    }
    text.close("}")
}

/// How to read the macro call.
const GRAMMAR: [&str; 3] = [
    "Numbers after `=` are indexes in `tables`. `parts` are the parts of the runtime that the load needs. A section has a struct, then,",
    "after the colon, its methods. A program that can be attached has a field in `Links`, and is attached by a function of the",
    "runtime.",
];

/// Why it is safe to load the object.
const SAFETY: [&str; 2] = [
    "SAFETY: the instructions were compiled from source code that the author of this program chose, and are part of it. They",
    "run with its privileges and may write to memory that it shares with them.",
];

/// The macro's keywords for sections, in the order of its grammar.
const KINDS: [&str; 5] = ["rodata", "data", "percpu", "kconfig", "arena"];

/// Returns the macro's keyword for a section, if the skeleton has the section.
fn keyword(kind: SectionKind) -> Option<&'static str> {
    match kind {
        SectionKind::Rodata => Some("rodata"),
        SectionKind::Data | SectionKind::Bss => Some("data"),
        SectionKind::Percpu => Some("percpu"),
        SectionKind::Kconfig => Some("kconfig"),
        SectionKind::Arena => Some("arena"),
        SectionKind::StructOps | SectionKind::JumpTable => None,
    }
}

fn section(kind: &str, section: &Section<'_>, skeleton: &Skeleton, text: &mut Text<'_>) -> Result<()> {
    let (name, index, ty, field) =
        (InCode(section.name).to_string(), section.field.map.0, &section.field.ty, &section.field.field);
    let ending = |ending| section.with_ending(ending);
    let cells = if section.is_shared() { format!(", {ty}Cells") } else { String::new() };
    let more = match section.data.kind {
        SectionKind::Kconfig => String::new(),
        SectionKind::Arena => {
            let map = skeleton.maps.iter().find(|map| map.map == section.field.map);
            format!(", {} in {}", ending("_mut"), map.map_or("", |map| &map.field))
        }
        _ => format!(", {}, {}", ending("_mut"), ending("_resize")),
    };
    text.line(format_args!("{kind} {name:?} = {index}, {ty}{cells}: {field}{more};"))
}

/// Writes a list in braces.
fn block<'f, F: 'f>(
    text: &mut Text<'_>,
    name: &str,
    rows: impl ExactSizeIterator<Item = &'f F>,
    mut row: impl FnMut(&mut Text<'_>, &F) -> Result<()>,
) -> Result<()> {
    if rows.len() == 0 {
        return text.line(format_args!("{name} {{}}"));
    }
    text.open(format_args!("{name} {{"))?;
    for one in rows {
        row(text, one)?;
    }
    text.close("}")
}

fn program_doc(object: &BpfObject, field: &ProgramField) -> Doc {
    let program = &object.programs[field.program.0 as usize];
    let attaches = match (&program.def.attach, program.def.attach.needs()) {
        (_, Some(what)) => format!("; attaching it requires {what}"),
        (Attach::Never(how), None) => format!("; it runs {how}"),
        _ => String::new(),
    };
    let section = InCode(&program.def.section);
    Doc::new(format_args!(" `SEC(\"{section}\")`, type {}{attaches}.", program.def.program_type))
}

/// Returns whether the program can be attached.
fn is_attached(object: &BpfObject, field: &ProgramField) -> bool {
    !matches!(attach(object, field), Attach::Never(_))
}

/// Returns how the program attaches.
fn attach<'o>(object: &'o BpfObject, field: &ProgramField) -> &'o Attach {
    &object.programs[field.program.0 as usize].def.attach
}

/// Returns the name of the field of `Links` that lists the programs that were not attached because they need a target
/// from the user. The name differs from the names of all links.
fn unattached(object: &BpfObject, skeleton: &Skeleton) -> String {
    let programs = skeleton.programs.iter().filter(|field| is_attached(object, field)).map(|field| &field.field);
    let names: Vec<&String> = programs.chain(skeleton.struct_ops.iter().map(|table| &table.link)).collect();
    let mut name = "left".to_owned();
    while names.contains(&&name) {
        name.push('_');
    }
    name
}
