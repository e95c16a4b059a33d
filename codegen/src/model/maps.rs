//! BTF-defined maps: the variables of section `.maps`. Those of older objects are read by [`super::legacy`].
//!
//! A definition is a variable whose struct type spells the map out: `int (*name)[N]` is the number N, `T *name` is the type T,
//! and `values` holds pointers whose relocations say what is in the map at first.

use std::collections::BTreeMap;

use skelgen_abi::uapi::{MapType, OBJ_NAME_MAX};

use super::functions::Functions;
use super::refused::Refused;
use super::{Map, MapDef, MapId, legacy};
use crate::btf::{Btf, Composite, Kind, TypeId};
use crate::elf::{ElfObject, Place, RelocationKind, Section, SectionId};
use crate::error::{Code, Diagnostic, Reporter};

/// Where maps are defined.
#[derive(Default)]
pub(super) struct Definitions {
    places: BTreeMap<(SectionId, u64), MapId>,
}

impl Definitions {
    /// Says that a map is defined at this byte of the section.
    pub(super) fn insert(&mut self, section: SectionId, offset: u64, map: MapId) {
        self.places.insert((section, offset), map);
    }

    /// The map defined at this byte of the section.
    pub(super) fn at(&self, section: SectionId, offset: Option<u64>) -> Option<MapId> {
        self.places.get(&(section, offset?)).copied()
    }
}

/// Adds the maps that the object defines to `maps`.
pub(super) fn collect(
    elf: &ElfObject<'_>,
    btf: Option<&Btf>,
    functions: &Functions<'_>,
    maps: &mut Vec<Map>,
    refused: &mut Refused,
    reporter: &mut Reporter,
) -> Definitions {
    let mut definitions = Definitions::default();
    legacy::collect(elf, &mut definitions, maps, refused, reporter);
    let Some(section) = elf.section_named(".maps") else { return definitions };
    let Some(btf) = btf else {
        refused.section(section.id);
        reporter.report(
            Diagnostic::new(Code::MissingBtf, "maps are defined by types, and the object has no BTF").section(".maps"),
        );
        return definitions;
    };
    let Some(Kind::Datasec(datasec)) = btf.datasec(".maps").map(|id| &btf.get(id).kind) else {
        reporter.report(Diagnostic::new(Code::BadMap, "the BTF has no data section of this name").section(".maps"));
        refused.section(section.id);
        return definitions;
    };
    let mut values = Vec::new();
    for var in &datasec.vars {
        let Kind::Var { ty, .. } = btf.get(var.ty).kind else { continue };
        let name = btf.name(var.ty);
        let definition = match Definition::read(btf, ty, name, false) {
            Ok(definition) => definition,
            Err(diagnostic) => {
                refused.part(section.id, var.offset.into(), var.size.into());
                reporter.report(diagnostic.section(".maps").offset(var.offset.into()));
                continue;
            }
        };
        let id = MapId(u32::try_from(maps.len()).unwrap_or(u32::MAX));
        definitions.insert(section.id, var.offset.into(), id);
        if let Some(offset) = definition.values_offset {
            values.push((id, u64::from(var.offset) + u64::from(offset), u64::from(var.offset) + u64::from(var.size)));
        }
        let kernel_name: String = name.chars().take(OBJ_NAME_MAX).collect();
        maps.push(Map { name: name.to_owned(), kernel_name, def: definition.def, section: None, struct_ops: None });
    }
    for (id, from, to) in values {
        initial(elf, section, (functions, &definitions, &*refused), (id, from, to), maps, reporter);
    }
    definitions
}

/// What a map of maps or a program array holds at first.
fn initial(
    elf: &ElfObject<'_>,
    section: &Section<'_>,
    (functions, definitions, refused): (&Functions<'_>, &Definitions, &Refused),
    (id, from, to): (MapId, u64, u64),
    maps: &mut [Map],
    reporter: &mut Reporter,
) {
    for relocation in section.relocations.iter().filter(|relocation| (from..to).contains(&relocation.offset)) {
        let symbol = elf.symbol(relocation.symbol);
        let bad = |message: String| Diagnostic::new(Code::BadMap, message).section(".maps").offset(relocation.offset);
        let (Place::Section(place), RelocationKind::Abs64) = (symbol.place, relocation.kind) else {
            reporter.report(bad(format!("`{}` cannot be an initial element", symbol.name)));
            continue;
        };
        let Ok(key) = u32::try_from((relocation.offset - from) / 8) else { continue };
        let def = &mut maps[id.0 as usize].def;
        if let Some(inner) = definitions.at(place, Some(symbol.value)) {
            def.inner_maps.push((key, inner));
        } else if let Some(function) =
            usize::try_from(symbol.value).ok().and_then(|value| functions.at(place, value / crate::insn::INSN_SIZE))
        {
            def.inner_programs.push((key, function));
        } else if !refused.has(place, Some(symbol.value)) {
            reporter.report(bad(format!("`{}` is neither a map nor a program", symbol.name)));
        }
    }
}

struct Definition {
    def: MapDef,
    /// Where `values` begins in the struct, in bytes.
    values_offset: Option<u32>,
}

impl Definition {
    fn read(btf: &Btf, ty: TypeId, name: &str, inner: bool) -> Result<Self, Diagnostic> {
        let bad = |message: String| Diagnostic::new(Code::BadMap, format!("map `{name}`: {message}"));
        let Kind::Struct(Composite { members, .. }) = &btf.get(btf.resolve(ty)).kind else {
            return Err(bad("its type is not a struct".into()));
        };
        let mut this = Self { def: MapDef::default(), values_offset: None };
        for member in members {
            let field = btf.str(member.name);
            let number = || number(btf, member.ty).ok_or_else(|| bad(format!("`{field}` is not a number (`__uint`)")));
            let narrow = || {
                number()
                    .and_then(|value| u32::try_from(value).map_err(|_| bad(format!("`{field}` is too large: {value}"))))
            };
            let pointee = || match btf.get(btf.resolve(member.ty)).kind {
                Kind::Ptr(to) => Ok(to),
                _ => Err(bad(format!("`{field}` is not a type (`__type`)"))),
            };
            let sized = || {
                let to = pointee()?;
                let size = btf.size_of(to).and_then(|size| u32::try_from(size).ok());
                size.map(|size| (to, size)).ok_or_else(|| bad(format!("`{field}` is a type without a size")))
            };
            let def = &mut this.def;
            match field {
                "type" => def.map_type = MapType(narrow()?),
                "max_entries" => def.max_entries = narrow()?,
                "map_flags" => def.flags = narrow()?,
                "numa_node" => def.numa_node = Some(narrow()?),
                "map_extra" => def.extra = number()?,
                "key_size" => {
                    def.key_size = agree(def.key_size, narrow()?).ok_or_else(|| bad("two key sizes".into()))?;
                }
                "value_size" => {
                    def.value_size = agree(def.value_size, narrow()?).ok_or_else(|| bad("two value sizes".into()))?;
                }
                "key" => {
                    let (to, size) = sized()?;
                    def.key_size = agree(def.key_size, size).ok_or_else(|| bad("two key sizes".into()))?;
                    def.key_type = Some(to);
                }
                "value" => {
                    let (to, size) = sized()?;
                    def.value_size = agree(def.value_size, size).ok_or_else(|| bad("two value sizes".into()))?;
                    def.value_type = Some(to);
                }
                "pinning" => match narrow()? {
                    0 => {}
                    1 => def.pin_by_name = true,
                    other => {
                        return Err(bad(format!("`pinning` is {other}, which is not a way to pin")).note(
                            "it is 0 or 1 (LIBBPF_PIN_NONE, LIBBPF_PIN_BY_NAME); other numbers belong to another loader: leave \
                             `pinning` out, and pin the map's handle",
                        ));
                    }
                },
                "values" if inner => return Err(bad("an inner map cannot have `values`".into())),
                "values" => {
                    this.values_offset = Some(member.bit_offset / 8);
                    def.inner = inner_definition(btf, member.ty, name)?.map(Box::new);
                }
                other => {
                    return Err(bad(format!("`{other}` is not an attribute of maps"))
                        .note("attributes are type, key, value, key_size, value_size, max_entries, map_flags, numa_node, map_extra, pinning and values"));
                }
            }
        }
        if this.def.map_type == MapType::UNSPEC {
            return Err(bad("it has no type (`__uint(type, …)`)".into()));
        }
        if matches!(this.def.map_type, MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS | MapType::PROG_ARRAY) {
            let def = &mut this.def;
            def.key_size = if def.key_size == 0 { 4 } else { def.key_size };
            def.value_size = if def.value_size == 0 { 4 } else { def.value_size };
        }
        // Elements of these are events, one a CPU. A type of values is that of the records that programs output, as objects for
        // cilium/ebpf have it, and stays known.
        if this.def.map_type == MapType::PERF_EVENT_ARRAY {
            let def = &mut this.def;
            def.key_size = if def.key_size == 0 || def.key_type.is_some() { 4 } else { def.key_size };
            def.value_size = if def.value_size == 0 || def.value_type.is_some() { 4 } else { def.value_size };
        }
        // Ring buffers have neither keys nor values. The types are those of nothing and of their records, as aya-ebpf writes them.
        if matches!(this.def.map_type, MapType::RINGBUF | MapType::USER_RINGBUF) {
            let def = &mut this.def;
            def.key_size = if def.key_type.is_some() { 0 } else { def.key_size };
            def.value_size = if def.value_type.is_some() { 0 } else { def.value_size };
        }
        Ok(this)
    }
}

/// The definition that `values` gives for inner maps; `None` if it is for programs.
fn inner_definition(btf: &Btf, ty: TypeId, name: &str) -> Result<Option<MapDef>, Diagnostic> {
    let bad = |message: &str| Diagnostic::new(Code::BadMap, format!("map `{name}`: {message}"));
    let Kind::Array { element, .. } = btf.get(btf.resolve(ty)).kind else {
        return Err(bad("`values` is not an array (`__array`)"));
    };
    let Kind::Ptr(to) = btf.get(btf.resolve(element)).kind else {
        return Err(bad("`values` is not an array of pointers (`__array`)"));
    };
    match btf.get(btf.resolve(to)).kind {
        Kind::Struct(_) => Definition::read(btf, to, &format!("{name}.inner"), true).map(|inner| Some(inner.def)),
        Kind::FuncProto { .. } => Ok(None),
        _ => Err(bad("`values` points neither to map definitions nor to functions")),
    }
}

/// One size, if both say the same or the first says nothing.
fn agree(old: u32, new: u32) -> Option<u32> {
    (old == 0 || old == new).then_some(new)
}

/// `int (*name)[N]` is N; an enumeration is its one value (`__ulong`).
fn number(btf: &Btf, ty: TypeId) -> Option<u64> {
    match &btf.get(btf.resolve(ty)).kind {
        Kind::Ptr(to) => match btf.get(btf.resolve(*to)).kind {
            Kind::Array { len, .. } => Some(len.into()),
            _ => None,
        },
        Kind::Enum(values) => values.values.first().map(|(_, value)| u64::from_ne_bytes(value.to_ne_bytes())),
        _ => None,
    }
}
