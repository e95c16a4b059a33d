//! The tables of the plan as constants. Each row states only the values that differ from the default.
//!
//! The tables are written as text, because formatting the thousands of similar lines of a large object as tokens would
//! take longer than all other steps. To add a field, print it here; rows are destructured completely, so the compiler
//! reports a missing field.

use std::fmt::{self, Debug, Display};

use proc_macro2::Literal;
use skelgen_abi::plan::{
    Attach, Body, Function, HostValue, Kconfig, Loader, Map, Member, Object, PercpuForm, Program, Section, Span, Step,
    StructOps, Symbol, Text as Name,
};
use skelgen_abi::uapi::{AttachType, elem_flags};

use super::text::Text;
use crate::error::Result;

/// Writes the module `tables` with its static `OBJECT`, and a list for each kind of row.
pub(super) fn write(object: &Object, text: &mut Text<'_>) -> Result<()> {
    let Object {
        name,
        license,
        blob: _,
        kernel_version,
        btf,
        percpu,
        maps,
        functions,
        programs,
        symbols,
        kconfig,
        steps,
        loader,
    } = object;
    text.begin_item()?;
    text.open(format_args!("mod tables {{"))?;
    text.line(format_args!("#[allow(unused_imports, reason = \"an object may use no kernel constants\")]"))?;
    text.line(format_args!("use super::rt::{{generated::abi::*, generated::prelude::*, uapi::*}};"))?;
    list(text, "MAPS", "Map", maps, map)?;
    list(text, "FUNCTIONS", "Function", functions, function)?;
    list(text, "PROGRAMS", "Program", programs, program)?;
    list(text, "SYMBOLS", "Symbol", symbols, symbol)?;
    list(text, "KCONFIG", "Kconfig", kconfig, self::kconfig)?;
    text.line(format_args!("/// The requests to the kernel, in order."))?;
    list(text, "STEPS", "Step", steps, |step| Row::of(format!("Step::{}", StepText(*step))))?;
    if let Some(loader) = loader {
        self::loader(loader, text)?;
    }
    let row = Row::of(format!("Object::new({name:?}, {}, &super::BLOB.0)", Literal::c_string(license)))
        .with(*kernel_version != 0, "kernel_version", kernel_version)
        .some("btf", btf.map(SpanText))
        .with(*percpu != PercpuForm::Native, "percpu", format_args!("PercpuForm::{percpu:?}"))
        .with(!maps.is_empty(), "maps", "MAPS")
        .with(!functions.is_empty(), "functions", "FUNCTIONS")
        .with(!programs.is_empty(), "programs", "PROGRAMS")
        .with(!symbols.is_empty(), "symbols", "SYMBOLS")
        .with(!kconfig.is_empty(), "kconfig", "KCONFIG")
        .with(!steps.is_empty(), "steps", "STEPS")
        .with(loader.is_some(), "loader", "Some(LOADER)");
    row.write(text, "pub(super) static OBJECT: Object = ", ";")?;
    text.close("}")
}

/// A constant row: its constructor, and setters for values that differ from the default.
struct Row {
    new: String,
    setters: Vec<String>,
}

/// The maximum number of columns of a row on one line.
const COLUMNS: usize = 120;

impl Row {
    fn of(new: String) -> Self {
        Self { new, setters: Vec::new() }
    }

    /// Adds this setter if the value differs from the default.
    fn with(mut self, differs: bool, field: &str, value: impl Display) -> Self {
        if differs {
            self.setters.push(format!(".{field}({value})"));
        }
        self
    }

    fn number(self, field: &str, value: impl Into<u64>) -> Self {
        let value = value.into();
        self.with(value != 0, field, value)
    }

    fn some(self, field: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(true, field, format_args!("Some({value})")),
            None => self,
        }
    }

    fn write(&self, text: &mut Text<'_>, before: &str, after: &str) -> Result<()> {
        let Self { new, setters } = self;
        let line = format!("{before}{new}{}{after}", setters.concat());
        if line.len() <= COLUMNS || setters.is_empty() {
            return text.line(format_args!("{line}"));
        }
        text.line(format_args!("{before}{new}"))?;
        for (index, setter) in setters.iter().enumerate() {
            let end = if index + 1 == setters.len() { after } else { "" };
            text.line(format_args!("    {setter}{end}"))?;
        }
        Ok(())
    }
}

/// Writes a static slice with one item per line; nothing if it is empty.
fn list<T>(text: &mut Text<'_>, name: &str, ty: &str, items: &[T], row: impl Fn(&T) -> Row) -> Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    text.open(format_args!("static {name}: &[{ty}] = &["))?;
    for item in items {
        row(item).write(text, "", ",")?;
    }
    text.close("];")
}

/// Writes the constant `LOADER`.
fn loader(loader: &Loader, text: &mut Text<'_>) -> Result<()> {
    let Loader { insns, table, value_size, slots, steps, first, lookups, host_size, host } = loader;
    text.line(format_args!("/// For each step, its first step in the table of the loader program."))?;
    text.line(format_args!("static FIRST: &[u32] = &{first:?};"))?;
    text.line(format_args!("/// For each symbol, the step that finds it."))?;
    text.line(format_args!("static LOOKUPS: &[u32] = &{lookups:?};"))?;
    list(text, "HOST", "HostValue", host, |value| {
        let HostValue { offset, setting } = value;
        Row::of(format!("HostValue {{ offset: {offset}, setting: Setting::{setting:?} }}"))
    })?;
    let (insns, table) = (SpanText(*insns), SpanText(*table));
    let row = Row::of(format!("Loader::new({insns}, {table}, {value_size}, {slots}, {steps}, FIRST, LOOKUPS)"))
        .number("host_size", *host_size)
        .with(!host.is_empty(), "host", "HOST");
    row.write(text, "const LOADER: Loader = ", ";")
}

fn map(map: &Map) -> Row {
    let Map {
        name,
        map_type,
        kernel_name,
        key_size,
        value_size,
        max_entries,
        flags,
        numa_node,
        extra,
        btf_key_type_id,
        btf_value_type_id,
        inner,
        template,
        section,
        struct_ops,
        jump_table,
        pin_by_name,
    } = map;
    Row::of(format!("Map::new({name:?}, {})", constant("MapType", map_type.constant(), map_type.0)))
        .with(kernel_name != name, "kernel_name", format_args!("{kernel_name:?}"))
        .number("key_size", *key_size)
        .number("value_size", *value_size)
        .number("max_entries", *max_entries)
        .number("flags", *flags)
        .number("numa_node", *numa_node)
        .number("extra", *extra)
        .number("btf_key_type_id", *btf_key_type_id)
        .number("btf_value_type_id", *btf_value_type_id)
        .some("inner", *inner)
        .with(*template, "template", true)
        .some("section", section.map(SectionText))
        .some("struct_ops", struct_ops.as_ref().map(StructOpsText))
        .some("jump_table", jump_table.map(Shown))
        .with(*pin_by_name, "pin_by_name", true)
}

fn program(program: &Program) -> Row {
    let Program {
        name,
        section,
        program_type,
        attach,
        functions,
        expected_attach_type,
        flags,
        autoload,
        since,
        target,
    } = program;
    let program_type = constant("ProgramType", program_type.constant(), program_type.0);
    let attach = AttachText(attach);
    Row::of(format!("Program::new({name:?}, {section:?}, {program_type}, Attach::{attach}, &{functions:?})"))
        // The number 0 also stands for the first attach type; here it means no attach type.
        .with(
            *expected_attach_type != AttachType(0),
            "expected_attach_type",
            constant("AttachType", expected_attach_type.constant(), expected_attach_type.0),
        )
        .number("flags", *flags)
        .with(!autoload, "autoload", false)
        .with(*since != (0, 0), "since", format_args!("{since:?}"))
        .some("target", *target)
}

fn function(function: &Function) -> Row {
    let Function { btf_id, body, emulated } = function;
    Row::of(format!("Function::new({btf_id}, {})", BodyText(*body))).some("emulated", emulated.map(BodyText))
}

fn symbol(symbol: &Symbol) -> Row {
    let Symbol { name, kind, weak, ty } = symbol;
    Row::of(format!("Symbol::new({name:?}, SymbolKind::{kind:?})")).with(*weak, "weak", true).some("ty", *ty)
}

fn kconfig(config: &Kconfig) -> Row {
    let Kconfig { name, kind, offset, size, weak } = config;
    Row::of(format!("Kconfig::new({name:?}, KconfigKind::{kind:?}, {offset}, {size})")).with(*weak, "weak", true)
}

/// Returns the expression for a kernel constant: its name, or its number if it has no name.
fn constant(ty: &str, name: Option<&str>, value: u32) -> String {
    match name {
        Some(name) => format!("{ty}::{name}"),
        None => format!("{ty}({value})"),
    }
}

struct BodyText(Body);

impl Display for BodyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Body { insns, patches, line_info, core_relos } = self.0;
        write!(f, "Body {{ insns: {}", SpanText(insns))?;
        let rest = [("patches", patches), ("line_info", line_info), ("core_relos", core_relos)];
        for (field, span) in rest.iter().filter(|(_, span)| *span != Span::EMPTY) {
            write!(f, ", {field}: {}", SpanText(*span))?;
        }
        if rest.iter().any(|(_, span)| *span == Span::EMPTY) {
            f.write_str(", ..Body::NONE")?;
        }
        f.write_str(" }")
    }
}

struct StructOpsText<'a>(&'a StructOps);

impl Display for StructOpsText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StructOps { name, members, autocreate } = self.0;
        // Borrowed constants must be in a block of their own.
        writeln!(f, "StructOps::new({name:?}, const {{ &[")?;
        for Member { name, offset, size, kind, program } in members.iter() {
            write!(f, "        Member::new({name:?}, {offset}, {size}, {kind})")?;
            match program {
                Some(program) => writeln!(f, ".program(Some({program})),")?,
                None => writeln!(f, ",")?,
            }
        }
        f.write_str("    ] })")?;
        if *autocreate { Ok(()) } else { f.write_str(".autocreate(false)") }
    }
}

struct SpanText(Span);

impl Display for SpanText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Span::EMPTY => f.write_str("Span::EMPTY"),
            Span { offset, len } => write!(f, "Span::new({offset}, {len})"),
        }
    }
}

struct SectionText(Section);

impl Display for SectionText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Section { kind, initial, align } = self.0;
        let initial = SpanText(initial);
        write!(f, "Section {{ kind: SectionKind::{kind:?}, initial: {initial}, align: {align} }}")
    }
}

struct AttachText<'a>(&'a Attach);
impl Display for AttachText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Attach::Target(kind) => write!(f, "Target(TargetKind::{kind:?})"),
            other => write!(f, "{:?}", other.map(Borrowed)),
        }
    }
}

/// A name whose `Debug` is the expression that creates it.
struct Borrowed<'a>(&'a Name);

impl Debug for Borrowed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text::Borrowed({:?})", self.0)
    }
}

/// A value whose `Debug` is the expression that creates it.
struct Shown<T>(T);

impl<T: Debug> Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

struct StepText(Step);

impl Display for StepText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Step::FillMap { map, flags: elem_flags::ALL_CPUS } => {
                write!(f, "FillMap {{ map: {map}, flags: elem_flags::ALL_CPUS }}")
            }
            other => write!(f, "{other:?}"),
        }
    }
}
