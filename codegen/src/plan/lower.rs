//! Lowering of the model and its linked programs to tables and steps.
//!
//! The order of steps: BTF; each map, which is initialized and frozen immediately after its creation; inner maps;
//! kernel symbols, which only programs need; programs; elements of program arrays.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;

use skelgen_abi::map_types::MapFacts;
use skelgen_abi::plan::{
    self, Body, Function, JumpTable, Map, Object, Patch, PatchKind, PercpuForm, Program, Section, SectionKind, Span,
    Step, Symbol, SymbolKind, encode_lines,
};
use skelgen_abi::uapi::{MapType, elem_flags, pseudo};

use super::blob::BlobBuilder;
use crate::emulate::{self, Forms, FunctionForms};
use crate::error::{Code, Diagnostic, Error, Reporter, Result};
use crate::insn::{Endian, Insn};
use crate::link::{LinkedFunction, LinkedProgram, Outside};
use crate::model::{self, BpfObject, ExternId};

/// Plans the load of an object.
pub(super) fn lower(object: &BpfObject, forms: Forms, percpu: PercpuForm) -> Result<Object> {
    let mut blob = BlobBuilder::default();
    let mut symbols = Symbols::default();
    let btf = match &object.btf {
        Some(btf) => Some(blob.add(&btf.write(object.endian))?),
        None => None,
    };
    let mut maps = maps(object, &mut blob)?;
    let mut functions = Vec::new();
    let mut tables = Vec::new();
    let used: Vec<_> = forms.functions.iter().map(|function| constants(object, &function.body)).collect();
    let mut unused = Vec::new();
    let mut programs = Vec::new();
    let mut left = forms.functions.into_iter();
    for linked in &forms.programs {
        programs.push(program(object, linked, &mut symbols));
        unused.push(unused_constants(object, linked, &used));
        // Functions are in the order in which programs first reach them, so a function that is not yet in the list is
        // the next one.
        while linked.functions.iter().any(|&function| function >= functions.len()) {
            let Some(forms) = left.next() else { break };
            tables.push(jump_tables(&forms.body, &mut blob)?);
            functions.push(function(object, forms, &mut symbols, &mut blob)?);
        }
        for &function in &linked.functions {
            let owner = JumpTable { program: linked.program.0, function: index(function) };
            let maps_of = tables.get(function).into_iter().flatten();
            maps.extend(maps_of.map(|table| Map { jump_table: Some(owner), ..table.clone() }));
        }
    }
    let steps = steps(object, &maps, unused, &symbols, btf.is_some())?;
    Ok(Object {
        name: object.name.clone().into(),
        license: license(&object.license).into(),
        kernel_version: object.kernel_version,
        blob: blob.finish().into(),
        btf,
        percpu: emulate::form(object, percpu),
        maps: maps.into(),
        functions: functions.into(),
        programs: programs.into(),
        symbols: symbols.list.into(),
        kconfig: object.kconfig.clone().into(),
        steps: steps.into(),
        loader: None,
    })
}

/// Returns the license for the kernel, truncated at a NUL.
fn license(text: &str) -> CString {
    let text = text.split('\0').next().unwrap_or_default();
    CString::new(text).unwrap_or_default()
}

fn index(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn maps(object: &BpfObject, blob: &mut BlobBuilder) -> Result<Vec<Map>> {
    let mut maps = Vec::new();
    for map in &object.maps {
        let mut lowered = definition(map);
        lowered.section = section(map, blob)?;
        if let Some(table) = &mut lowered.struct_ops {
            super::struct_ops::set_programs(object, map, table);
        }
        maps.push(lowered);
    }
    for (number, map) in object.maps.iter().enumerate() {
        if let Some(inner) = &map.inner {
            maps[number].inner = Some(index(maps.len()));
            maps.push(Map { template: true, ..definition(inner) });
        }
    }
    Ok(maps)
}

/// Returns the row of a map with the BTF ids of the key and value types.
fn definition(map: &model::Map) -> Map {
    // For an unknown map type, a feature probe at load time determines whether it accepts types.
    let typed = MapFacts::of(map.def.map_type).is_none_or(|facts| facts.accepts_types);
    let id = |ty: Option<crate::btf::TypeId>| if typed { ty.map_or(0, |ty| ty.0) } else { 0 };
    Map {
        // A key of size 0 has no type: in Rust, queues and bloom filters have keys of type `()`.
        btf_key_type_id: if map.def.key_size == 0 { 0 } else { id(map.key_type) },
        btf_value_type_id: id(map.value_type),
        ..map.def.clone()
    }
}

/// Returns the jump tables of a function as maps, whose values are `struct bpf_insn_array_value` of `linux/bpf.h` (16
/// bytes). Each program with the function gets its own map.
fn jump_tables(function: &LinkedFunction, blob: &mut BlobBuilder) -> Result<Vec<Map>> {
    let mut maps = Vec::new();
    for table in &function.tables {
        let bytes: Vec<u8> = table.iter().flat_map(|insn| index(insn.0).to_le_bytes()).collect();
        let section = Section { kind: SectionKind::JumpTable, initial: blob.add(&bytes)?, align: 8 };
        let map =
            Map::new(".jumptables", MapType::INSN_ARRAY).key_size(4).value_size(16).max_entries(index(table.len()));
        maps.push(map.section(Some(section)));
    }
    Ok(maps)
}

fn section(map: &model::Map, blob: &mut BlobBuilder) -> Result<Option<Section>> {
    let Some(section) = &map.section else { return Ok(None) };
    let used = section.bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let initial = blob.add(&section.bytes[..used])?;
    Ok(Some(Section { kind: section.kind, initial, align: section.align }))
}

fn program(object: &BpfObject, linked: &LinkedProgram, symbols: &mut Symbols) -> Program {
    let program = &object.programs[linked.program.0 as usize];
    let function = &object.functions[program.function.0 as usize];
    Program {
        name: function.name.clone().into(),
        target: program.target.clone().map(|target| symbols.add(target)),
        functions: linked.functions.iter().map(|&function| index(function)).collect(),
        ..program.def.clone()
    }
}

fn function(
    object: &BpfObject,
    forms: FunctionForms,
    symbols: &mut Symbols,
    blob: &mut BlobBuilder,
) -> Result<Function> {
    Ok(Function {
        btf_id: forms.body.btf_id.map_or(0, |ty| ty.0),
        body: body(object, forms.body, symbols, blob)?,
        emulated: match forms.emulated {
            Some(emulated) => Some(body(object, emulated, symbols, blob)?),
            None => None,
        },
    })
}

fn body(object: &BpfObject, linked: LinkedFunction, symbols: &mut Symbols, blob: &mut BlobBuilder) -> Result<Body> {
    let mut insns = linked.code.insns;
    let mut patches: Vec<u8> = Vec::new();
    for reference in &linked.code.refs {
        let at = reference.at.0;
        let kind = match reference.to {
            Outside::Subprogram(function) => PatchKind::Subprogram(index(function)),
            Outside::Map(map) => {
                (insns[at].src, insns[at].imm, insns[at + 1].imm) = (pseudo::MAP_FD, 0, 0);
                PatchKind::Map(map.0)
            }
            Outside::MapValue(map, offset) => {
                let offset = i32::from_ne_bytes(offset.to_ne_bytes());
                (insns[at].src, insns[at].imm, insns[at + 1].imm) = (pseudo::MAP_VALUE, 0, offset);
                if object.maps[map.0 as usize].def.map_type == MapType::ARENA {
                    PatchKind::ArenaValue(map.0)
                } else {
                    PatchKind::Map(map.0)
                }
            }
            Outside::Variable(id) if object.externs[id.0 as usize].kind == SymbolKind::Address => {
                (insns[at].src, insns[at].imm, insns[at + 1].imm) = (0, 0, 0);
                PatchKind::Address(symbols.external(object, id))
            }
            Outside::Variable(id) => {
                (insns[at].src, insns[at].imm, insns[at + 1].imm) = (pseudo::BTF_ID, 0, 0);
                PatchKind::Variable(symbols.external(object, id))
            }
            Outside::Function(id) => {
                (insns[at].src, insns[at].imm) = (pseudo::KFUNC_CALL, 0);
                PatchKind::Function(symbols.external(object, id))
            }
            Outside::JumpTable(table) => {
                (insns[at].src, insns[at].imm, insns[at + 1].imm) = (pseudo::MAP_VALUE, 0, 0);
                PatchKind::JumpTable(index(table))
            }
            Outside::CpuMask => PatchKind::CpuMask,
            Outside::Stride(map) => PatchKind::Stride(map.0),
        };
        let patch = Patch { insn: index(at), kind };
        patches.extend(patch.to_bytes().ok_or_else(|| {
            Error::new(Code::TooLarge, "the object has more than 16 million maps, symbols or functions")
        })?);
    }
    Ok(Body {
        insns: blob.add_parts(insns.into_iter().map(|insn: Insn| insn.encode(object.endian)))?,
        patches: blob.add(&patches)?,
        line_info: blob.add(&encode_lines(
            linked.lines.iter().map(|r| [index(r.insn.0), r.file.0, r.text.0, r.line << 10 | r.column & 0x3ff]),
        ))?,
        core_relos: records(
            linked.relos.iter().map(|r| [index(r.insn.0 * 8), r.ty.0, r.access.0, r.kind]),
            object.endian,
            blob,
        )?,
    })
}

/// Encodes records for the kernel.
fn records<const N: usize>(
    records: impl Iterator<Item = [u32; N]>,
    endian: Endian,
    blob: &mut BlobBuilder,
) -> Result<Span> {
    blob.add_parts(records.flatten().map(|word| endian.to_bytes(word)))
}

#[derive(Default)]
struct Symbols {
    list: Vec<Symbol>,
    /// The symbols by name, kind, weakness and type. Two programs can declare a symbol differently: it can be weak in
    /// only one of them, or have different types.
    known: BTreeMap<(String, u8, bool, Option<u32>), u32>,
}

impl Symbols {
    fn external(&mut self, object: &BpfObject, id: ExternId) -> u32 {
        let mut symbol = object.externs[id.0 as usize].clone();
        // `name___one` is one of several declarations of function `name`. libbpf allows these suffixes only for
        // functions.
        if symbol.kind == SymbolKind::Function {
            symbol.name = plan::essential_name(&symbol.name).to_owned().into();
        }
        self.add(symbol)
    }

    fn add(&mut self, symbol: Symbol) -> u32 {
        let list = &mut self.list;
        *self.known.entry((symbol.name.clone().into_owned(), symbol.kind as u8, symbol.weak, symbol.ty)).or_insert_with(
            || {
                list.push(symbol);
                index(list.len() - 1)
            },
        )
    }
}

/// Returns the read-only maps that a function uses.
fn constants(object: &BpfObject, function: &LinkedFunction) -> BTreeSet<u32> {
    let used = function.code.refs.iter().filter_map(|reference| match reference.to {
        Outside::Map(used) | Outside::MapValue(used, _) => Some(used.0),
        _ => None,
    });
    used.filter(|&map| object.maps.get(map as usize).is_some_and(is_constant)).collect()
}

fn is_constant(map: &model::Map) -> bool {
    map.section.as_ref().is_some_and(|section| section.kind == SectionKind::Rodata)
}

/// Returns the read-only maps that a program does not use, from those that each function uses.
fn unused_constants(object: &BpfObject, program: &LinkedProgram, used: &[BTreeSet<u32>]) -> Vec<u32> {
    let is_used =
        |map: u32| program.functions.iter().any(|&function| used.get(function).is_some_and(|used| used.contains(&map)));
    (0..)
        .zip(&object.maps)
        .filter(|&(number, map)| is_constant(map) && !is_used(number))
        .map(|(number, _)| number)
        .collect()
}

fn steps(object: &BpfObject, maps: &[Map], unused: Vec<Vec<u32>>, symbols: &Symbols, btf: bool) -> Result<Vec<Step>> {
    let mut reporter = Reporter::new();
    let mut steps = Vec::new();
    if btf {
        steps.push(Step::LoadBtf);
    }
    for (number, map) in maps.iter().enumerate() {
        // Jump tables are created with their programs.
        if map.template || map.jump_table.is_some() {
            continue;
        }
        let number = index(number);
        steps.push(Step::CreateMap { map: number });
        let Some(section) = &map.section else { continue };
        if section.kind == SectionKind::Kconfig {
            steps.push(Step::FillKconfig { map: number });
        }
        let filled = match section.kind {
            // A struct_ops map is initialized when it is attached.
            SectionKind::StructOps => false,
            // The pages of the variables must be populated, even if all bytes are zero.
            SectionKind::Arena => true,
            _ => section.initial.len > 0,
        };
        if filled {
            let flags = if section.kind == SectionKind::Percpu { elem_flags::ALL_CPUS } else { elem_flags::ANY };
            steps.push(Step::FillMap { map: number, flags });
        }
        if matches!(section.kind, SectionKind::Rodata | SectionKind::Kconfig) {
            steps.push(Step::FreezeMap { map: number });
        }
    }
    for (number, map) in object.maps.iter().enumerate() {
        for &(key, inner) in &map.inner_maps {
            steps.push(Step::InsertMap { outer: index(number), key, inner: inner.0 });
        }
    }
    if !symbols.list.is_empty() {
        steps.push(Step::ResolveSymbols);
    }
    for (program, unused) in unused.into_iter().enumerate() {
        let tables = maps
            .iter()
            .enumerate()
            .filter(|(_, map)| map.jump_table.is_some_and(|table| table.program == index(program)));
        for (map, _) in tables {
            let map = index(map);
            steps.extend([
                Step::CreateMap { map },
                Step::FillMap { map, flags: elem_flags::ANY },
                Step::FreezeMap { map },
            ]);
        }
        steps.push(Step::LoadProgram { program: index(program) });
        steps.extend(unused.into_iter().map(|map| Step::BindMap { program: index(program), map }));
    }
    for (number, map) in object.maps.iter().enumerate() {
        for &(key, function) in &map.inner_programs {
            match object.programs.iter().position(|program| program.function == function) {
                Some(program) => {
                    steps.push(Step::InsertProgram { map: index(number), key, program: index(program) });
                }
                None => reporter.report(Diagnostic::new(
                    Code::BadMap,
                    format!(
                        "`{}` of program array `{}` is not a program",
                        object.functions[function.0 as usize].name, map.def.name
                    ),
                )),
            }
        }
    }
    reporter.finish(steps)
}
