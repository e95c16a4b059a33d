//! The tables of the plan as constants.
//!
//! They are text from the beginning: large objects have thousands of lines of them, all alike, which would take a formatter longer
//! than all of the rest.

use std::ffi::CString;
use std::fmt::{self, Display};

use proc_macro2::Literal;
use skelgen_abi::plan::{Attach, JumpTable, KconfigKind, PercpuForm, Section, SectionKind, Span, Step, SymbolKind};
use skelgen_abi::uapi::{AttachType, elem_flags};

use super::tables::{OwnedBody, OwnedFunction, OwnedKconfig, OwnedMap, OwnedObject, OwnedProgram, OwnedSymbol};
use super::text::Text;
use crate::error::Result;

/// The statics `MAPS`, `FUNCTIONS`, `PROGRAMS`, `SYMBOLS`, `STEPS` and `TABLES`.
pub(super) fn write(object: &OwnedObject, text: &mut Text<'_>) -> Result<()> {
    list(text, "static MAPS: &[rt::abi::Map]", &object.maps, map)?;
    list(text, "static FUNCTIONS: &[rt::abi::Function]", &object.functions, function)?;
    list(text, "static PROGRAMS: &[rt::abi::Program]", &object.programs, program)?;
    list(text, "static SYMBOLS: &[rt::abi::Symbol]", &object.symbols, symbol)?;
    list(text, "static KCONFIG: &[rt::abi::Kconfig]", &object.kconfig, kconfig)?;
    text.line(format_args!("/// What is asked of the kernel, in this order."))?;
    list(text, "static STEPS: &[rt::abi::Step]", &object.steps, |text, step| {
        text.line(format_args!("rt::abi::Step::{},", StepText(*step)))
    })?;
    text.open(format_args!("static TABLES: rt::abi::Object = rt::abi::Object {{"))?;
    text.line(format_args!("name: {:?},", object.name))?;
    text.line(format_args!("license: {},", c_string(&object.license)))?;
    text.line(format_args!("kernel_version: {},", object.kernel_version))?;
    text.line(format_args!("blob: &BLOB,"))?;
    text.line(format_args!("btf: {},", Maybe(object.btf.map(SpanText))))?;
    let percpu = match object.percpu {
        PercpuForm::Native => "Native",
        PercpuForm::Emulated => "Emulated",
        PercpuForm::Either => "Either",
    };
    text.line(format_args!("percpu: rt::abi::PercpuForm::{percpu},"))?;
    for (field, table) in [
        ("maps", "MAPS"),
        ("functions", "FUNCTIONS"),
        ("programs", "PROGRAMS"),
        ("symbols", "SYMBOLS"),
        ("kconfig", "KCONFIG"),
        ("steps", "STEPS"),
    ] {
        text.line(format_args!("{field}: {table},"))?;
    }
    text.close("};")
}

/// A static slice, an item after the other.
fn list<T>(
    text: &mut Text<'_>,
    name: &str,
    items: &[T],
    mut item: impl FnMut(&mut Text<'_>, &T) -> Result<()>,
) -> Result<()> {
    if items.is_empty() {
        return text.line(format_args!("{name} = &[];"));
    }
    text.open(format_args!("{name} = &["))?;
    for one in items {
        item(text, one)?;
    }
    text.close("];")
}

fn map(text: &mut Text<'_>, map: &OwnedMap) -> Result<()> {
    text.open(format_args!("rt::abi::Map {{"))?;
    text.line(format_args!("name: {:?},", map.name))?;
    text.line(format_args!("kernel_name: {:?},", map.kernel_name))?;
    text.line(format_args!("map_type: {},", constant("MapType", map.map_type.constant(), map.map_type.0)))?;
    for (field, value) in [
        ("key_size", map.key_size),
        ("value_size", map.value_size),
        ("max_entries", map.max_entries),
        ("flags", map.flags),
        ("numa_node", map.numa_node),
    ] {
        text.line(format_args!("{field}: {value},"))?;
    }
    text.line(format_args!("extra: {},", map.extra))?;
    text.line(format_args!("btf_key_type_id: {},", map.btf_key_type_id))?;
    text.line(format_args!("btf_value_type_id: {},", map.btf_value_type_id))?;
    text.line(format_args!("inner: {},", Maybe(map.inner)))?;
    text.line(format_args!("template: {},", map.template))?;
    text.line(format_args!("section: {},", Maybe(map.section.map(SectionText))))?;
    match &map.struct_ops {
        None => text.line(format_args!("struct_ops: None,"))?,
        Some(table) => {
            text.open(format_args!("struct_ops: Some(rt::abi::StructOps {{"))?;
            text.line(format_args!("name: {:?},", table.name))?;
            text.open(format_args!("members: &["))?;
            for member in &table.members {
                text.line(format_args!(
                    "rt::abi::Member {{ name: {:?}, offset: {}, size: {}, kind: {}, program: {} }},",
                    member.name,
                    member.offset,
                    member.size,
                    member.kind,
                    Maybe(member.program)
                ))?;
            }
            text.close("],")?;
            text.line(format_args!("autocreate: {},", table.autocreate))?;
            text.close("}),")?;
        }
    }
    text.line(format_args!("jump_table: {},", Maybe(map.jump_table.map(JumpTableText))))?;
    text.line(format_args!("pin_by_name: {},", map.pin_by_name))?;
    text.close("},")
}

fn program(text: &mut Text<'_>, program: &OwnedProgram) -> Result<()> {
    let program_type = program.program_type;
    text.open(format_args!("rt::abi::Program {{"))?;
    text.line(format_args!("name: {:?},", program.name))?;
    text.line(format_args!("section: {:?},", program.section))?;
    text.line(format_args!("program_type: {},", constant("ProgramType", program_type.constant(), program_type.0)))?;
    let attach_type = match program.expected_attach_type {
        // The number stands for the first kind of attachment too; here it means none.
        AttachType(0) => "rt::uapi::AttachType(0)".to_owned(),
        other => constant("AttachType", other.constant(), other.0),
    };
    text.line(format_args!("expected_attach_type: {attach_type},"))?;
    text.line(format_args!("flags: {},", program.flags))?;
    text.line(format_args!("autoload: {},", program.autoload))?;
    text.line(format_args!("since: ({}, {}),", program.since.0, program.since.1))?;
    text.line(format_args!("target: {},", Maybe(program.target)))?;
    text.line(format_args!("attach: rt::abi::Attach::{},", AttachText(&program.attach)))?;
    text.line(format_args!("functions: &{:?},", program.functions))?;
    text.close("},")
}

fn function(text: &mut Text<'_>, function: &OwnedFunction) -> Result<()> {
    text.open(format_args!("rt::abi::Function {{"))?;
    text.line(format_args!("btf_id: {},", function.btf_id))?;
    text.open(format_args!("body: rt::abi::Body {{"))?;
    body(text, &function.body)?;
    text.close("},")?;
    match &function.emulated {
        None => text.line(format_args!("emulated: None,"))?,
        Some(emulated) => {
            text.open(format_args!("emulated: Some(rt::abi::Body {{"))?;
            body(text, emulated)?;
            text.close("}),")?;
        }
    }
    text.close("},")
}

fn body(text: &mut Text<'_>, body: &OwnedBody) -> Result<()> {
    for (field, span) in [
        ("insns", body.insns),
        ("patches", body.patches),
        ("line_info", body.line_info),
        ("core_relos", body.core_relos),
    ] {
        text.line(format_args!("{field}: {},", SpanText(span)))?;
    }
    Ok(())
}

fn symbol(text: &mut Text<'_>, symbol: &OwnedSymbol) -> Result<()> {
    let kind = match symbol.kind {
        SymbolKind::Function => "Function",
        SymbolKind::Typedef => "Typedef",
        SymbolKind::Variable => "Variable",
        SymbolKind::Struct => "Struct",
        SymbolKind::Address => "Address",
    };
    text.line(format_args!(
        "rt::abi::Symbol {{ name: {:?}, kind: rt::abi::SymbolKind::{kind}, weak: {}, ty: {} }},",
        symbol.name,
        symbol.weak,
        Maybe(symbol.ty)
    ))
}

fn kconfig(text: &mut Text<'_>, config: &OwnedKconfig) -> Result<()> {
    let kind = match config.kind {
        KconfigKind::Bool => "Bool".to_owned(),
        KconfigKind::Tristate => "Tristate".to_owned(),
        KconfigKind::Char { signed } => format!("Char {{ signed: {signed} }}"),
        KconfigKind::Integer { signed } => format!("Integer {{ signed: {signed} }}"),
        KconfigKind::Text => "Text".to_owned(),
    };
    text.open(format_args!("rt::abi::Kconfig {{"))?;
    text.line(format_args!("name: {:?},", config.name))?;
    text.line(format_args!("kind: rt::abi::KconfigKind::{kind},"))?;
    text.line(format_args!("offset: {},", config.offset))?;
    text.line(format_args!("size: {},", config.size))?;
    text.line(format_args!("weak: {},", config.weak))?;
    text.close("},")
}

/// A number of the kernel's by its name, if it has one.
fn constant(ty: &str, name: Option<&str>, value: u32) -> String {
    match name {
        Some(name) => format!("rt::uapi::{ty}::{name}"),
        None => format!("rt::uapi::{ty}({value})"),
    }
}

/// A text as `CStr` literal; what follows a NUL is cut off, as C would.
fn c_string(text: &str) -> Literal {
    let text = text.split('\0').next().unwrap_or_default();
    CString::new(text).map_or_else(|_| Literal::c_string(c""), |text| Literal::c_string(&text))
}

/// `Some(…)` or `None`.
struct Maybe<T>(Option<T>);

impl<T: Display> Display for Maybe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => write!(f, "Some({value})"),
            None => f.write_str("None"),
        }
    }
}

struct SpanText(Span);

impl Display for SpanText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Span::EMPTY => f.write_str("rt::abi::Span::EMPTY"),
            Span { offset, len } => write!(f, "rt::abi::Span::new({offset}, {len})"),
        }
    }
}

struct JumpTableText(JumpTable);

impl Display for JumpTableText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rt::abi::JumpTable {{ program: {}, function: {} }}", self.0.program, self.0.function)
    }
}

struct SectionText(Section);

impl Display for SectionText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0.kind {
            SectionKind::Data => "Data",
            SectionKind::Bss => "Bss",
            SectionKind::Rodata => "Rodata",
            SectionKind::Percpu => "Percpu",
            SectionKind::Kconfig => "Kconfig",
            SectionKind::StructOps => "StructOps",
            SectionKind::Arena => "Arena",
            SectionKind::JumpTable => "JumpTable",
        };
        let (initial, align) = (SpanText(self.0.initial), self.0.align);
        write!(f, "rt::abi::Section {{ kind: rt::abi::SectionKind::{kind}, initial: {initial}, align: {align} }}")
    }
}

struct AttachText<'a>(&'a Attach<String>);

/// As derived `Debug` writes it, which is the expression that makes the value.
impl Display for AttachText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Attach::Target(way) => write!(f, "Target(rt::abi::Way::{way:?})"),
            other => write!(f, "{other:?}"),
        }
    }
}

struct StepText(Step);

impl Display for StepText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Step::LoadBtf => f.write_str("LoadBtf"),
            Step::ResolveSymbols => f.write_str("ResolveSymbols"),
            Step::CreateMap { map } => write!(f, "CreateMap {{ map: {map} }}"),
            Step::FillMap { map, flags: elem_flags::ALL_CPUS } => {
                write!(f, "FillMap {{ map: {map}, flags: rt::uapi::elem_flags::ALL_CPUS }}")
            }
            Step::FillMap { map, flags } => write!(f, "FillMap {{ map: {map}, flags: {flags} }}"),
            Step::FillKconfig { map } => write!(f, "FillKconfig {{ map: {map} }}"),
            Step::FreezeMap { map } => write!(f, "FreezeMap {{ map: {map} }}"),
            Step::InsertMap { outer, key, inner } => {
                write!(f, "InsertMap {{ outer: {outer}, key: {key}, inner: {inner} }}")
            }
            Step::LoadProgram { program } => write!(f, "LoadProgram {{ program: {program} }}"),
            Step::BindMap { program, map } => write!(f, "BindMap {{ program: {program}, map: {map} }}"),
            Step::InsertProgram { map, key, program } => {
                write!(f, "InsertProgram {{ map: {map}, key: {key}, program: {program} }}")
            }
        }
    }
}
