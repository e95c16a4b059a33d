//! From the model and its linked programs to tables and steps.
//!
//! The order of steps: BTF; each map, filled and frozen as soon as it exists; maps into maps of maps; kernel symbols, which only
//! programs need; programs; programs into program arrays.

use std::collections::BTreeMap;

use skelgen_runtime::abi::{self, Patch, PatchKind, PercpuForm, SectionKind, Span, Step};
use skelgen_runtime::uapi::{MapType, elem_flags, map_flags, pseudo};

use super::blob::BlobBuilder;
use crate::emulate::{self, Forms};
use crate::error::{Code, Diagnostic, Error, Reporter, Result};
use crate::insn::{Endian, Insn, InsnIndex};
use crate::link::{LinkedProgram, Outside};
use crate::model::{Attach, BpfObject, ExternId, ExternKind, Map, MapDef, Target, TargetKind};
use crate::rust::tables::{OwnedAttach, OwnedBody, OwnedMap, OwnedObject, OwnedProgram, OwnedSymbol};

/// Plans the load of an object.
pub(super) fn lower(object: &BpfObject, programs: Vec<Forms>, percpu: PercpuForm) -> Result<OwnedObject> {
    let mut blob = BlobBuilder::default();
    let mut symbols = Symbols::default();
    let btf = match &object.btf {
        Some(btf) => Some(blob.add(&btf.write(object.endian))?),
        None => None,
    };
    let mut maps = maps(object, &mut blob)?;
    let mut owned = Vec::new();
    let mut unused = Vec::new();
    for forms in programs {
        unused.push(unused_constants(object, &forms.body));
        owned.push(program(object, forms, &mut symbols, &mut blob, &mut maps)?);
    }
    let steps = steps(object, &maps, unused, &symbols, btf.is_some())?;
    Ok(OwnedObject {
        endian: object.endian,
        name: object.name.clone(),
        license: object.license.clone(),
        kernel_version: object.kernel_version,
        blob: blob.finish(),
        btf,
        percpu: emulate::form(object, percpu),
        maps,
        programs: owned,
        symbols: symbols.list,
        kconfig: super::kconfig::lower(&object.kconfig),
        steps,
    })
}

fn index(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn maps(object: &BpfObject, blob: &mut BlobBuilder) -> Result<Vec<OwnedMap>> {
    let mut maps = Vec::new();
    for map in &object.maps {
        let mut owned = definition(&map.def, &map.name, &map.kernel_name);
        owned.section = section(map, blob)?;
        owned.struct_ops = map.struct_ops.as_ref().map(|table| super::struct_ops::lower(object, table));
        maps.push(owned);
    }
    for (number, map) in object.maps.iter().enumerate() {
        if let Some(inner) = &map.def.inner {
            let name = format!("{}.inner", map.name);
            let kernel_name: String = name.chars().take(skelgen_runtime::uapi::OBJ_NAME_MAX).collect();
            maps[number].inner = Some(index(maps.len()));
            let mut template = definition(inner, &name, &kernel_name);
            template.template = true;
            maps.push(template);
        }
    }
    Ok(maps)
}

fn definition(def: &MapDef, name: &str, kernel_name: &str) -> OwnedMap {
    let typed = takes_types(def.map_type);
    let id = |ty: Option<crate::btf::TypeId>| if typed { ty.map_or(0, |ty| ty.0) } else { 0 };
    OwnedMap {
        name: name.to_owned(),
        kernel_name: kernel_name.to_owned(),
        map_type: def.map_type,
        key_size: def.key_size,
        value_size: def.value_size,
        max_entries: def.max_entries,
        flags: def.flags | if def.numa_node.is_some() { map_flags::NUMA_NODE } else { 0 },
        numa_node: def.numa_node.unwrap_or(0),
        extra: def.extra,
        // A key of no bytes is none, whatever its type: queues and filters have one of `()` in Rust.
        btf_key_type_id: if def.key_size == 0 { 0 } else { id(def.key_type) },
        btf_value_type_id: id(def.value_type),
        inner: None,
        template: false,
        section: None,
        struct_ops: None,
        program: None,
        pin_by_name: def.pin_by_name,
    }
}

/// A jump table as a map, whose values are `struct bpf_insn_array_value` of `linux/bpf.h`: 16 bytes.
fn jump_table(program: u32, table: &[InsnIndex], blob: &mut BlobBuilder) -> Result<OwnedMap> {
    let def = MapDef {
        map_type: MapType::INSN_ARRAY,
        key_size: 4,
        value_size: 16,
        max_entries: index(table.len()),
        ..MapDef::default()
    };
    let bytes: Vec<u8> = table.iter().flat_map(|insn| index(insn.0).to_le_bytes()).collect();
    let section = abi::Section { kind: SectionKind::JumpTable, initial: blob.add(&bytes)?, align: 8 };
    let map = definition(&def, ".jumptables", ".jumptables");
    Ok(OwnedMap { section: Some(section), program: Some(program), ..map })
}

/// Whether the kernel takes BTF ids for keys and values of this type of map (`map_check_btf` of its operations).
fn takes_types(map_type: MapType) -> bool {
    !matches!(
        map_type,
        MapType::PERF_EVENT_ARRAY
            | MapType::CGROUP_ARRAY
            | MapType::STACK_TRACE
            | MapType::ARRAY_OF_MAPS
            | MapType::HASH_OF_MAPS
            | MapType::DEVMAP
            | MapType::DEVMAP_HASH
            | MapType::CPUMAP
            | MapType::XSKMAP
            | MapType::SOCKMAP
            | MapType::SOCKHASH
            | MapType::QUEUE
            | MapType::STACK
            | MapType::ARENA
            | MapType::RINGBUF
            | MapType::USER_RINGBUF
            | MapType::STRUCT_OPS
    )
}

fn section(map: &Map, blob: &mut BlobBuilder) -> Result<Option<abi::Section>> {
    let Some(section) = &map.section else { return Ok(None) };
    let used = section.bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let initial = blob.add(&section.bytes[..used])?;
    Ok(Some(abi::Section { kind: section.kind, initial, align: section.align }))
}

fn program(
    object: &BpfObject,
    forms: Forms,
    symbols: &mut Symbols,
    blob: &mut BlobBuilder,
    maps: &mut Vec<OwnedMap>,
) -> Result<OwnedProgram> {
    let program = &object.programs[forms.body.program.0 as usize];
    let function = &object.functions[program.function.0 as usize];
    let target = program.target.as_ref().map(|target| symbols.target(target));
    let attach = match &program.attach {
        Attach::Needs(what) => OwnedAttach::Needs((*what).to_owned()),
        Attach::Never(how) => OwnedAttach::Never((*how).to_owned()),
        Attach::RawTracepoint(name) => OwnedAttach::RawTracepoint(name.clone()),
        Attach::Tracing => OwnedAttach::Tracing,
        Attach::Iter => OwnedAttach::Iter,
        Attach::Tracepoint { category, name } => {
            OwnedAttach::Tracepoint { category: category.clone(), name: name.clone() }
        }
        Attach::Kprobe { function, offset, at_return } => {
            OwnedAttach::Kprobe { function: function.clone(), offset: *offset, at_return: *at_return }
        }
        Attach::KprobeMulti { pattern, at_return } => {
            OwnedAttach::KprobeMulti { pattern: pattern.clone(), at_return: *at_return }
        }
        Attach::Ksyscall { name, at_return } => OwnedAttach::Ksyscall { name: name.clone(), at_return: *at_return },
        Attach::Uprobe { place, at_return } => OwnedAttach::Uprobe { place: place.clone(), at_return: *at_return },
        Attach::UprobeMulti { place, at_return } => {
            OwnedAttach::UprobeMulti { place: place.clone(), at_return: *at_return }
        }
        Attach::TracingMulti { pattern } => OwnedAttach::TracingMulti { pattern: pattern.clone() },
        Attach::Usdt { place } => OwnedAttach::Usdt { place: place.clone() },
    };
    Ok(OwnedProgram {
        name: function.name.clone(),
        section: program.section.clone(),
        program_type: program.program_type,
        expected_attach_type: program.expected_attach_type,
        flags: program.flags,
        autoload: program.autoload,
        since: program.since,
        target,
        attach,
        body: body(object, forms.body, symbols, blob, maps)?,
        emulated: match forms.emulated {
            Some(emulated) => Some(body(object, emulated, symbols, blob, maps)?),
            None => None,
        },
    })
}

fn body(
    object: &BpfObject,
    linked: LinkedProgram,
    symbols: &mut Symbols,
    blob: &mut BlobBuilder,
    maps: &mut Vec<OwnedMap>,
) -> Result<OwnedBody> {
    let mut insns = linked.code.insns;
    let first_table = index(maps.len());
    for table in &linked.tables {
        maps.push(jump_table(linked.program.0, table, blob)?);
    }
    let mut patches: Vec<u8> = Vec::new();
    for reference in &linked.code.refs {
        let at = reference.at.0;
        let kind = match reference.to {
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
            Outside::Variable(id) if object.externs[id.0 as usize].kind == ExternKind::Address => {
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
                PatchKind::Map(first_table + index(table))
            }
            Outside::CpuMask => PatchKind::CpuMask,
            Outside::Stride(map) => PatchKind::Stride(map.0),
        };
        let patch = Patch { insn: index(at), kind };
        patches.extend(
            patch
                .to_bytes()
                .ok_or_else(|| Error::new(Code::TooLarge, "the object has more than 16 million maps or symbols"))?,
        );
    }
    Ok(OwnedBody {
        insns: blob.add_parts(insns.into_iter().map(|insn: Insn| insn.encode(object.endian)))?,
        patches: blob.add(&patches)?,
        func_info: records(linked.funcs.iter().map(|r| [index(r.insn.0), r.ty.0]), object.endian, blob)?,
        line_info: records(
            linked.lines.iter().map(|r| [index(r.insn.0), r.file.0, r.text.0, r.line << 10 | r.column & 0x3ff]),
            object.endian,
            blob,
        )?,
        core_relos: records(
            linked.relos.iter().map(|r| [index(r.insn.0 * 8), r.ty.0, r.access.0, r.kind]),
            object.endian,
            blob,
        )?,
    })
}

/// Records as the kernel takes them: function and line records count in instructions, CO-RE records in bytes.
fn records<const N: usize>(
    records: impl Iterator<Item = [u32; N]>,
    endian: Endian,
    blob: &mut BlobBuilder,
) -> Result<Span> {
    blob.add_parts(records.flatten().map(|word| endian.to_bytes(word)))
}

#[derive(Default)]
struct Symbols {
    list: Vec<OwnedSymbol>,
    /// Which are there: one program may do without what another attaches to, and one name may be wanted with several types.
    known: BTreeMap<(String, u8, bool, Option<u32>), u32>,
}

impl Symbols {
    fn target(&mut self, target: &Target) -> u32 {
        let kind = match target.kind {
            TargetKind::Function => abi::SymbolKind::Function,
            TargetKind::Typedef => abi::SymbolKind::Typedef,
        };
        self.add(OwnedSymbol { name: target.name.clone(), kind, weak: false, ty: None })
    }

    fn external(&mut self, object: &BpfObject, id: ExternId) -> u32 {
        let external = &object.externs[id.0 as usize];
        let kind = match external.kind {
            ExternKind::Function => abi::SymbolKind::Function,
            ExternKind::Variable => abi::SymbolKind::Variable,
            ExternKind::Address => abi::SymbolKind::Address,
        };
        // `name___one` is one of several declarations of function `name`. Variables have no such flavors in libbpf.
        let name = match kind {
            abi::SymbolKind::Function => abi::essential_name(&external.name),
            _ => external.name.as_str(),
        };
        let ty = Some(external.ty.0).filter(|_| kind != abi::SymbolKind::Address);
        self.add(OwnedSymbol { name: name.to_owned(), kind, weak: external.weak, ty })
    }

    fn add(&mut self, symbol: OwnedSymbol) -> u32 {
        let list = &mut self.list;
        *self.known.entry((symbol.name.clone(), symbol.kind as u8, symbol.weak, symbol.ty)).or_insert_with(|| {
            list.push(symbol);
            index(list.len() - 1)
        })
    }
}

/// The maps of constants that a program does not use.
fn unused_constants(object: &BpfObject, program: &LinkedProgram) -> Vec<u32> {
    let is_constant = |map: &Map| map.section.as_ref().is_some_and(|section| section.kind == SectionKind::Rodata);
    let is_used = |map: u32| {
        program.code.refs.iter().any(|reference| match reference.to {
            Outside::Map(used) | Outside::MapValue(used, _) => used.0 == map,
            _ => false,
        })
    };
    (0..)
        .zip(&object.maps)
        .filter(|&(number, map)| is_constant(map) && !is_used(number))
        .map(|(number, _)| number)
        .collect()
}

fn steps(
    object: &BpfObject,
    maps: &[OwnedMap],
    unused: Vec<Vec<u32>>,
    symbols: &Symbols,
    btf: bool,
) -> Result<Vec<Step>> {
    let mut reporter = Reporter::new();
    let mut steps = Vec::new();
    if btf {
        steps.push(Step::LoadBtf);
    }
    for (number, map) in maps.iter().enumerate() {
        // Jump tables are created with their programs.
        if map.template || map.program.is_some() {
            continue;
        }
        let number = index(number);
        steps.push(Step::CreateMap { map: number });
        let Some(section) = &map.section else { continue };
        if section.kind == SectionKind::Kconfig {
            steps.push(Step::FillKconfig { map: number });
        }
        let filled = match section.kind {
            // A table of functions is filled when it is attached.
            SectionKind::StructOps => false,
            // The variables' pages must be there, even if all in them is zero.
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
        for &(key, inner) in &map.def.inner_maps {
            steps.push(Step::InsertMap { outer: index(number), key, inner: inner.0 });
        }
    }
    if !symbols.list.is_empty() {
        steps.push(Step::ResolveSymbols);
    }
    for (program, unused) in unused.into_iter().enumerate() {
        let tables = maps.iter().enumerate().filter(|(_, map)| map.program == Some(index(program)));
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
        for &(key, function) in &map.def.inner_programs {
            match object.programs.iter().position(|program| program.function == function) {
                Some(program) => {
                    steps.push(Step::InsertProgram { map: index(number), key, program: index(program) });
                }
                None => reporter.report(Diagnostic::new(
                    Code::BadMap,
                    format!(
                        "`{}` of program array `{}` is not a program",
                        object.functions[function.0 as usize].name, map.name
                    ),
                )),
            }
        }
    }
    reporter.finish(steps)
}
