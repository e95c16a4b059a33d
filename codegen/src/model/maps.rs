//! BTF-defined maps: the variables of section `.maps`. [`super::legacy`] reads the older form of definitions.
//!
//! A definition is a variable whose struct type has the attributes as members. A member `int (*name)[N]` sets the
//! attribute to the number N, and `T *name` to the type T. The relocations of `values` name the initial elements.

use skelgen_abi::plan;
use skelgen_abi::uapi::{MapType, map_flags};

use super::functions::Functions;
use super::pass::{Notes, Pass};
use super::refused::Refused;
use super::table::{self, Defined, Element, MapTable};
use super::{Map, MapId};
use crate::btf::{Btf, Composite, Kind, TypeId};
use crate::elf::{ElfObject, Relocation, RelocationKind, SymbolSection};
use crate::error::{Code, Diagnostic};
use crate::insn::INSN_SIZE;

/// The section's name.
const SECTION: &str = ".maps";

/// Finds the BTF-defined maps of the object.
pub(super) fn maps(elf: &ElfObject<'_>, btf: Option<&Btf>) -> Pass<Vec<Defined>> {
    let mut notes = Notes::default();
    let mut maps = Vec::new();
    let Some(section) = elf.section_named(SECTION) else { return notes.with(maps) };
    let Some(btf) = btf else {
        notes.refused.section(section.id);
        let message = "the object has maps in `.maps` but no BTF, which defines them";
        notes.report(Diagnostic::new(Code::MissingBtf, message).section(SECTION));
        return notes.with(maps);
    };
    let Some(Kind::Datasec(datasec)) = btf.datasec(SECTION).map(|id| &btf.get(id).kind) else {
        notes.report(Diagnostic::new(Code::BadMap, "the BTF has no data section of this name").section(SECTION));
        notes.refused.section(section.id);
        return notes.with(maps);
    };
    for var in &datasec.vars {
        let Kind::Var { ty, .. } = btf.get(var.ty).kind else { continue };
        let (offset, size) = (u64::from(var.offset), u64::from(var.size));
        match Definition::read(btf, ty, btf.name(var.ty), false) {
            Ok(Definition { map, values_offset }) => {
                let values = values_offset.map(|from| offset + u64::from(from)..offset + size);
                maps.push(Defined {
                    map,
                    location: table::Location::Definition { section: section.id, offset, values },
                });
            }
            Err(diagnostic) => {
                notes.refused.part(section.id, offset, size);
                notes.report(diagnostic.section(SECTION).offset(offset));
            }
        }
    }
    notes.with(maps)
}

/// Finds the initial elements of maps of maps and program arrays: for each, the map, the key and the element.
pub(super) fn elements(
    elf: &ElfObject<'_>,
    table: &MapTable,
    functions: &Functions<'_>,
    refused: &Refused,
) -> Pass<Vec<(MapId, u32, Element)>> {
    let mut notes = Notes::default();
    let mut elements = Vec::new();
    for (id, section, values) in table.values() {
        let relocations = elf.section(*section).relocations.iter();
        for relocation in relocations.filter(|relocation| values.contains(&relocation.offset)) {
            let Ok(key) = u32::try_from((relocation.offset - values.start) / 8) else { continue };
            match element(elf, relocation, table, functions, refused) {
                Ok(element) => elements.extend(element.map(|element| (*id, key, element))),
                Err(message) => {
                    let diagnostic = Diagnostic::new(Code::BadMap, message);
                    notes.report(diagnostic.section(SECTION).offset(relocation.offset));
                }
            }
        }
    }
    notes.with(elements)
}

/// Returns the element that a relocation refers to; `None` if that map or program was already refused.
fn element(
    elf: &ElfObject<'_>,
    relocation: &Relocation,
    table: &MapTable,
    functions: &Functions<'_>,
    refused: &Refused,
) -> Result<Option<Element>, String> {
    let symbol = elf.symbol(relocation.symbol);
    let (SymbolSection::Section(target), RelocationKind::Abs64) = (symbol.section, relocation.kind) else {
        if refused.has_name(symbol.name) {
            return Ok(None);
        }
        return Err(format!(
            "`{}` cannot be an element of `values`: it is not the address of a map or program of this object",
            symbol.name
        ));
    };
    if let Some(inner) = table.defined_at(target, Some(symbol.value)) {
        return Ok(Some(Element::Map(inner)));
    }
    let slot = usize::try_from(symbol.value).ok().map(|value| value / INSN_SIZE);
    match slot.and_then(|slot| functions.at(target, slot)) {
        Some(function) => Ok(Some(Element::Function(function))),
        None if refused.has(target, Some(symbol.value)) => Ok(None),
        None => Err(format!("`{}` is neither a map nor a program", symbol.name)),
    }
}

/// The attribute that a member of a map definition sets.
enum Attribute {
    /// A 32-bit number.
    Number(fn(&mut plan::Map, u32)),
    /// A 64-bit number.
    Wide(fn(&mut plan::Map, u64)),
    /// A size in bytes.
    Size(Part),
    /// A type, which also sets the size.
    Type(Part),
    /// Whether the map is pinned by its name.
    Pinning,
    /// The initial elements.
    Values,
}

/// The parts of a map element.
#[derive(Clone, Copy)]
enum Part {
    Key,
    Value,
}

/// The members that a map definition can have.
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

/// Lists the names of all attributes for a message.
fn attribute_names() -> String {
    let names: Vec<_> = ATTRIBUTES.iter().map(|(name, _)| *name).collect();
    let (last, others) = names.split_last().unwrap_or((&"", &[]));
    format!("{} and {last}", others.join(", "))
}

struct Definition {
    map: Map,
    /// The offset of `values` in the struct, in bytes.
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
                number().and_then(|value| {
                    u32::try_from(value).map_err(|_| bad(format!("`{field}` is {value}, which exceeds 32 bits")))
                })
            };
            let sized = || {
                let Kind::Ptr(to) = btf.get(btf.resolve(member.ty)).kind else {
                    return Err(bad(format!("`{field}` is not a type (`__type`)")));
                };
                let size = btf.size_of(to).and_then(|size| u32::try_from(size).ok());
                size.map(|size| (to, size)).ok_or_else(|| bad(format!("the type of `{field}` has no size")))
            };
            let Some((_, attribute)) = ATTRIBUTES.iter().find(|(name, _)| *name == field) else {
                return Err(
                    bad(format!("`{field}` is not a map attribute")).with_help(format!("use {}", attribute_names()))
                );
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
                        return Err(bad(format!("`pinning` is {other}, which is not supported")).with_help(
                            "set it to LIBBPF_PIN_NONE (0) or LIBBPF_PIN_BY_NAME (1); for a value of another loader, leave `pinning` out \
                             and pin the map's handle",
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
    /// Sets the size. Several members may set the same size.
    fn set_size(self, map: &mut Map, new: u32) -> Result<(), String> {
        let (size, what) = match self {
            Self::Key => (&mut map.def.key_size, "key"),
            Self::Value => (&mut map.def.value_size, "value"),
        };
        if *size != 0 && *size != new {
            return Err(format!("it has two different {what} sizes"));
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

/// Sets the sizes of keys and values that the map type determines.
fn fix_sizes(map: &mut Map) {
    let (has_key_type, has_value_type) = (map.key_type.is_some(), map.value_type.is_some());
    let (key, value) = (&mut map.def.key_size, &mut map.def.value_size);
    let set_if = |size: &mut u32, condition: bool, new: u32| *size = if condition { new } else { *size };
    match map.def.map_type {
        MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS | MapType::PROG_ARRAY => {
            set_if(key, *key == 0, 4);
            set_if(value, *value == 0, 4);
        }
        // The elements are file descriptors of perf events, one for each CPU. A value type, as in objects for
        // cilium/ebpf, is the type of the records that programs output, and is kept.
        MapType::PERF_EVENT_ARRAY => {
            set_if(key, *key == 0 || has_key_type, 4);
            set_if(value, *value == 0 || has_value_type, 4);
        }
        // Ring buffers have neither keys nor values. The types that aya-ebpf writes are `()` and the type of the
        // records.
        MapType::RINGBUF | MapType::USER_RINGBUF => {
            set_if(key, has_key_type, 0);
            set_if(value, has_value_type, 0);
        }
        _ => {}
    }
}

/// Returns the definition of the inner maps in `values`; `None` if the elements of `values` are programs.
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

/// Returns the number that a type encodes: N for `int (*name)[N]`, and the only enumerator of an enumeration
/// (`__ulong`).
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
