//! BTF-defined maps: the variables of section `.maps`. Those of older objects are read by [`super::legacy`].
//!
//! A definition is a variable whose struct type spells the map out: `int (*name)[N]` is the number N, `T *name` is the type T,
//! and `values` holds pointers whose relocations say what is in the map at first.

use std::collections::BTreeMap;

use skelgen_abi::plan;
use skelgen_abi::uapi::{MapType, map_flags};

use super::functions::Functions;
use super::refused::Refused;
use super::{Map, MapId, legacy};
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
        maps.push(definition.map);
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
        let map = &mut maps[id.0 as usize];
        if let Some(inner) = definitions.at(place, Some(symbol.value)) {
            map.inner_maps.push((key, inner));
        } else if let Some(function) =
            usize::try_from(symbol.value).ok().and_then(|value| functions.at(place, value / crate::insn::INSN_SIZE))
        {
            map.inner_programs.push((key, function));
        } else if !refused.has(place, Some(symbol.value)) {
            reporter.report(bad(format!("`{}` is neither a map nor a program", symbol.name)));
        }
    }
}

/// What a member of a definition sets.
enum Attribute {
    /// A number of four bytes.
    Number(fn(&mut plan::Map, u32)),
    /// A number of eight bytes.
    Wide(fn(&mut plan::Map, u64)),
    /// A size in bytes.
    Size(Part),
    /// A type, and its size.
    Type(Part),
    /// How the map is pinned.
    Pinning,
    /// What is in it at first.
    Values,
}

/// What an element of a map is made of.
#[derive(Clone, Copy)]
enum Part {
    Key,
    Value,
}

/// The members that a definition can have.
const ATTRIBUTES: &[(&str, Attribute)] = &[
    ("type", Attribute::Number(|def, number| def.map_type = MapType(number))),
    ("key", Attribute::Type(Part::Key)),
    ("value", Attribute::Type(Part::Value)),
    ("key_size", Attribute::Size(Part::Key)),
    ("value_size", Attribute::Size(Part::Value)),
    ("max_entries", Attribute::Number(|def, count| def.max_entries = count)),
    ("map_flags", Attribute::Number(|def, flags| def.flags |= flags)),
    (
        "numa_node",
        Attribute::Number(|def, node| {
            def.numa_node = node;
            def.flags |= map_flags::NUMA_NODE;
        }),
    ),
    ("map_extra", Attribute::Wide(|def, extra| def.extra = extra)),
    ("pinning", Attribute::Pinning),
    ("values", Attribute::Values),
];

/// The names of all attributes, for people.
fn attribute_names() -> String {
    let names: Vec<_> = ATTRIBUTES.iter().map(|(name, _)| *name).collect();
    let (last, others) = names.split_last().unwrap_or((&"", &[]));
    format!("{} and {last}", others.join(", "))
}

struct Definition {
    map: Map,
    /// Where `values` begins in the struct, in bytes.
    values_offset: Option<u32>,
}

impl Definition {
    fn read(btf: &Btf, ty: TypeId, name: &str, inner: bool) -> Result<Self, Diagnostic> {
        let bad = |message: String| Diagnostic::new(Code::BadMap, format!("map `{name}`: {message}"));
        let Kind::Struct(Composite { members, .. }) = &btf.get(btf.resolve(ty)).kind else {
            return Err(bad("its type is not a struct".into()));
        };
        let mut this = Self { map: Map::new(name, MapType::UNSPEC), values_offset: None };
        let map = &mut this.map;
        for member in members {
            let field = btf.str(member.name);
            let number = || number(btf, member.ty).ok_or_else(|| bad(format!("`{field}` is not a number (`__uint`)")));
            let narrow = || {
                number()
                    .and_then(|value| u32::try_from(value).map_err(|_| bad(format!("`{field}` is too large: {value}"))))
            };
            let sized = || {
                let Kind::Ptr(to) = btf.get(btf.resolve(member.ty)).kind else {
                    return Err(bad(format!("`{field}` is not a type (`__type`)")));
                };
                let size = btf.size_of(to).and_then(|size| u32::try_from(size).ok());
                size.map(|size| (to, size)).ok_or_else(|| bad(format!("`{field}` is a type without a size")))
            };
            let Some((_, attribute)) = ATTRIBUTES.iter().find(|(name, _)| *name == field) else {
                return Err(bad(format!("`{field}` is not an attribute of maps"))
                    .note(format!("attributes are {}", attribute_names())));
            };
            match attribute {
                Attribute::Number(set) => set(&mut map.def, narrow()?),
                Attribute::Wide(set) => set(&mut map.def, number()?),
                Attribute::Size(part) => part.set_size(map, narrow()?).map_err(bad)?,
                Attribute::Type(part) => {
                    let (to, size) = sized()?;
                    part.set_size(map, size).map_err(bad)?;
                    part.set_type(map, to);
                }
                Attribute::Pinning => match narrow()? {
                    0 => {}
                    1 => map.def.pin_by_name = true,
                    other => {
                        return Err(bad(format!("`pinning` is {other}, which is not a way to pin")).note(
                            "it is 0 or 1 (LIBBPF_PIN_NONE, LIBBPF_PIN_BY_NAME); other numbers belong to another loader: leave \
                             `pinning` out, and pin the map's handle",
                        ));
                    }
                },
                Attribute::Values if inner => return Err(bad("an inner map cannot have `values`".into())),
                Attribute::Values => {
                    this.values_offset = Some(member.bit_offset / 8);
                    map.inner = inner_definition(btf, member.ty, name)?.map(Box::new);
                }
            }
        }
        if map.def.map_type == MapType::UNSPEC {
            return Err(bad("it has no type (`__uint(type, …)`)".into()));
        }
        fix_sizes(map);
        Ok(this)
    }
}

impl Part {
    /// Sets the size, which several members can give if they agree.
    fn set_size(self, map: &mut Map, new: u32) -> Result<(), String> {
        let (size, what) = match self {
            Self::Key => (&mut map.def.key_size, "key"),
            Self::Value => (&mut map.def.value_size, "value"),
        };
        if *size != 0 && *size != new {
            return Err(format!("two {what} sizes"));
        }
        *size = new;
        Ok(())
    }

    fn set_type(self, map: &mut Map, ty: TypeId) {
        match self {
            Self::Key => map.key_type = Some(ty),
            Self::Value => map.value_type = Some(ty),
        }
    }
}

/// Sets the sizes of keys and values that follow from the type of a map.
fn fix_sizes(map: &mut Map) {
    let (has_key_type, has_value_type) = (map.key_type.is_some(), map.value_type.is_some());
    let (key, value) = (&mut map.def.key_size, &mut map.def.value_size);
    let set_if = |size: &mut u32, condition: bool, new: u32| *size = if condition { new } else { *size };
    match map.def.map_type {
        MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS | MapType::PROG_ARRAY => {
            set_if(key, *key == 0, 4);
            set_if(value, *value == 0, 4);
        }
        // Elements of these are events, one a CPU. A type of values is that of the records that programs output, as objects for
        // cilium/ebpf have it, and stays known.
        MapType::PERF_EVENT_ARRAY => {
            set_if(key, *key == 0 || has_key_type, 4);
            set_if(value, *value == 0 || has_value_type, 4);
        }
        // Ring buffers have neither keys nor values. The types are those of nothing and of their records, as aya-ebpf writes them.
        MapType::RINGBUF | MapType::USER_RINGBUF => {
            set_if(key, has_key_type, 0);
            set_if(value, has_value_type, 0);
        }
        _ => {}
    }
}

/// The definition that `values` gives for inner maps; `None` if it is for programs.
fn inner_definition(btf: &Btf, ty: TypeId, name: &str) -> Result<Option<Map>, Diagnostic> {
    let bad = |message: &str| Diagnostic::new(Code::BadMap, format!("map `{name}`: {message}"));
    let Kind::Array { element, .. } = btf.get(btf.resolve(ty)).kind else {
        return Err(bad("`values` is not an array (`__array`)"));
    };
    let Kind::Ptr(to) = btf.get(btf.resolve(element)).kind else {
        return Err(bad("`values` is not an array of pointers (`__array`)"));
    };
    match btf.get(btf.resolve(to)).kind {
        Kind::Struct(_) => Definition::read(btf, to, &format!("{name}.inner"), true).map(|inner| Some(inner.map)),
        Kind::FuncProto { .. } => Ok(None),
        _ => Err(bad("`values` points neither to map definitions nor to functions")),
    }
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
