//! The names in the generated file: of maps, sections and programs, and the handle types of maps.
//!
//! Names depend only on the names in the object, so they are stable. Duplicates get a number as suffix, in the object's
//! order. This module generates no text.

mod missing;
mod names;
mod records;
mod request;

use skelgen_abi::plan::SectionKind;
use skelgen_abi::uapi::{MapType, map_flags};

use crate::btf::{Btf, TypeId};
use crate::error::{Code, Error, Result};
use crate::model::{BpfObject, Map, MapId, ProgramId};

pub use missing::Missing;
pub use names::{Scope, field_name, type_ident, type_name};
#[cfg(feature = "cli")]
pub(crate) use records::types_named;
pub use request::Requested;

/// The names of the items in the generated file.
#[derive(Debug, Clone)]
pub struct Skeleton {
    /// The module's name.
    pub module: String,
    /// The global data sections with visible variables.
    pub sections: Vec<SectionField>,
    /// The maps that the object defines.
    pub maps: Vec<MapField>,
    /// The struct_ops maps.
    pub struct_ops: Vec<StructOpsField>,
    /// The programs.
    pub programs: Vec<ProgramField>,
}

/// A struct_ops map.
#[derive(Debug, Clone)]
pub struct StructOpsField {
    /// The map.
    pub map: MapId,
    /// The name of its field.
    pub field: String,
    /// The name of its field in the struct of links, which also has fields for programs.
    pub link: String,
    /// The map's struct, as the object declares it.
    pub ty: TypeId,
}

/// A section of global data.
#[derive(Debug, Clone)]
pub struct SectionField {
    /// The map.
    pub map: MapId,
    /// The name of its accessors.
    pub field: String,
    /// The name of its struct.
    pub ty: String,
}

/// A map.
#[derive(Debug, Clone)]
pub struct MapField {
    /// The map.
    pub map: MapId,
    /// The name of its field.
    pub field: String,
    /// The map's handle.
    pub handle: Handle,
    /// Whether a load may omit the map.
    pub optional: bool,
}

/// A program.
#[derive(Debug, Clone)]
pub struct ProgramField {
    /// The program.
    pub program: ProgramId,
    /// The name of its field.
    pub field: String,
}

/// The runtime's handle type for a map and its type parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    /// The name in `skelgen_runtime::map`.
    pub name: &'static str,
    /// The key type, if the handle has one.
    pub key: Option<Data>,
    /// The value type, if the handle has one.
    pub value: Option<Data>,
    /// For maps of maps, the handle type of the inner maps.
    pub inner: Option<InnerHandle>,
}

/// The handle type for an inner map, which cannot contain maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InnerHandle {
    /// The name in `skelgen_runtime::map`.
    pub name: &'static str,
    /// The key type, if the handle has one.
    pub key: Option<Data>,
    /// The value type, if the handle has one.
    pub value: Option<Data>,
}

/// The type of a key or a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// A type of the object.
    Type(TypeId),
    /// An untyped value of this size in bytes.
    Bytes(u32),
}

/// The settings of maps in the options, by the names of maps.
#[derive(Debug, Clone, Copy)]
pub struct MapChoices<'o> {
    /// The maps that a load may omit.
    pub optional: &'o [String],
    /// The maps with untyped handles.
    pub untyped: &'o [String],
    /// The maps whose records have a type, with the type's name.
    pub records: &'o [(String, String)],
}

impl Skeleton {
    /// Chooses the names for an object.
    ///
    /// # Errors
    /// [`Code::BadName`] if the object's name cannot be the name of a module; [`Code::BadOptions`] if an option for
    /// records does not match the object.
    pub fn new(object: &BpfObject, choices: &MapChoices<'_>) -> Result<Self> {
        let module = field_name(&object.name.replace('.', "_"));
        if module.trim_matches('_').is_empty() {
            let message = format!("cannot make a module name from `{}`", object.name);
            return Err(Error::new(Code::BadName, message));
        }
        let (mut fields, mut types) = (Scope::default(), Scope::default());
        for taken in ["attach", "load", "maps", "programs", "options", "struct_ops"] {
            fields.claim(taken);
        }
        for taken in
            ["Open", "OpenMaps", "OpenPrograms", "OpenStructOps", "Skeleton", "Maps", "Programs", "StructOps", "Links"]
        {
            types.claim(taken);
        }
        let mut tables = Vec::new();
        let (mut map_fields, mut program_fields) = (Scope::default(), Scope::default());
        let mut this =
            Self { module, sections: Vec::new(), maps: Vec::new(), struct_ops: Vec::new(), programs: Vec::new() };
        let records = records::chosen(object, choices.records, choices.untyped)?;
        let maps = || (0..).map(MapId).zip(&object.maps);
        // Maps keep their names. A section has one name, for its map and its methods; if a map already has that name,
        // the section gets a suffix.
        for (id, map) in maps().filter(|(_, map)| is_definition(map)) {
            let name = &*map.def.name;
            let field = map_fields.claim(&field_name(name));
            let is_untyped = choices.untyped.iter().any(|it| it == name) && map.section.is_none();
            let mut handle = if is_untyped { UNTYPED } else { handle(map, object.btf.as_ref()) };
            if let Some((_, record)) = records.iter().find(|(map, _)| *map == id) {
                handle.value = Some(Data::Type(*record));
            }
            let optional = choices.optional.iter().any(|it| it == name);
            this.maps.push(MapField { map: id, field, handle, optional });
            if map.section.as_ref().is_some_and(|section| section.variables.iter().any(|variable| variable.visible)) {
                let (field, ty) = (fields.claim("arena"), types.claim("Arena"));
                this.sections.push(SectionField { map: id, field, ty });
            }
        }
        for map in &this.maps {
            fields.claim(&map.field);
        }
        for (id, map) in maps().filter(|(_, map)| !is_definition(map)) {
            let name = map.def.name.trim_start_matches('.');
            match &map.section {
                Some(section) if section.variables.iter().any(|variable| variable.visible) => {
                    // Also reserve the derived names: `data_mut` could be section `.data.mut`.
                    let field = fields.claim_with_endings(&field_name(name), &["_mut", "_resize"]);
                    let ty = types.claim_with_endings(&type_name(name), &["Cells"]);
                    this.sections.push(SectionField { map: id, field, ty });
                }
                Some(_) if map.def.struct_ops.is_some() => tables.extend(map.value_type.map(|ty| (id, name, ty))),
                Some(section) if section.kind == SectionKind::JumpTable => {}
                // All variables are static or hidden, but the map can be pinned and reused like any other map.
                _ => {
                    let field = fields.claim(&field_name(name));
                    this.maps.push(MapField { map: id, field, handle: UNTYPED, optional: false });
                }
            }
        }
        this.maps.sort_by_key(|map| map.map);
        this.sections.sort_by_key(|section| section.map);
        for (index, program) in object.programs.iter().enumerate() {
            let name = &object.functions[program.function.0 as usize].name;
            let program = ProgramId(u32::try_from(index).unwrap_or(u32::MAX));
            this.programs.push(ProgramField { program, field: program_fields.claim(&field_name(name)) });
        }
        let mut table_fields = Scope::default();
        for (map, name, ty) in tables {
            let (field, link) = (table_fields.claim(&field_name(name)), program_fields.claim(&field_name(name)));
            this.struct_ops.push(StructOpsField { map, field, link, ty });
        }
        Ok(this)
    }
}

/// Returns whether the source defines the map explicitly, rather than by a section of global data.
fn is_definition(map: &Map) -> bool {
    map.section.as_ref().is_none_or(|section| section.kind == SectionKind::Arena)
}

/// The handle type for a map of any type.
const UNTYPED: Handle = Handle { name: "Untyped", key: None, value: None, inner: None };

/// Returns the handle type for a map. If keys or values have no size in the object, the user sets the size before the
/// load, so they have no Rust type.
fn handle(map: &Map, btf: Option<&Btf>) -> Handle {
    let typed = typed_handle(map, btf);
    let unknown = Some(Data::Bytes(0));
    if typed.key == unknown || typed.value == unknown { UNTYPED } else { typed }
}

fn typed_handle(map: &Map, btf: Option<&Btf>) -> Handle {
    use MapType as M;
    let def = &map.def;
    let key = Some(map.key_type.map_or(Data::Bytes(def.key_size), Data::Type));
    let value = Some(map.value_type.map_or(Data::Bytes(def.value_size), Data::Type));
    let inner = map.inner.as_deref().map(|inner| {
        let Handle { name, key, value, .. } = handle(inner, btf);
        InnerHandle { name, key, value }
    });
    let both = |name| Handle { name, key, value, inner: None };
    let only_value = |name| Handle { name, key: None, value, inner: None };
    let only_key = |name| Handle { name, key, value: None, inner: None };
    let records = |name| Handle { name, key: None, value: records::declared(btf, map).map(Data::Type), inner: None };
    let plain = |name| Handle { name, key: None, value: None, inner: None };
    match def.map_type {
        M::STACK_TRACE if is_addresses(map) => plain("StackTraces"),
        M::ARRAY => only_value("Array"),
        M::DEVMAP | M::CPUMAP => only_value("Redirects"),
        M::HASH | M::LRU_HASH | M::DEVMAP_HASH | M::STACK_TRACE | M::CGROUP_STORAGE | M::RHASH => both("HashMap"),
        M::LPM_TRIE => both("LpmTrie"),
        M::PERCPU_ARRAY => only_value("PercpuArray"),
        M::PERCPU_HASH | M::LRU_PERCPU_HASH | M::PERCPU_CGROUP_STORAGE => both("PercpuHashMap"),
        M::QUEUE => only_value("Queue"),
        M::STACK => only_value("Stack"),
        M::BLOOM_FILTER => only_value("BloomFilter"),
        M::RINGBUF => records("RingBuf"),
        M::USER_RINGBUF => records("UserRingBuf"),
        M::ARENA => plain("Arena"),
        M::PROG_ARRAY => plain("ProgArray"),
        M::ARRAY_OF_MAPS => Handle { inner, ..plain("ArrayOfMaps") },
        M::HASH_OF_MAPS => Handle { inner, ..only_key("HashOfMaps") },
        M::PERF_EVENT_ARRAY => records("PerfEventArray"),
        M::CGROUP_ARRAY => plain("CgroupArray"),
        M::SOCKMAP => plain("SockMap"),
        M::SOCKHASH => only_key("SockHash"),
        M::XSKMAP => plain("XskMap"),
        M::REUSEPORT_SOCKARRAY => plain("ReuseportArray"),
        M::SK_STORAGE | M::INODE_STORAGE | M::TASK_STORAGE | M::CGRP_STORAGE => only_value("Storage"),
        _ => UNTYPED,
    }
}

/// Returns whether the values of a stack trace map are addresses. The size of its values may also be set before the
/// load.
fn is_addresses(map: &Map) -> bool {
    let def = &map.def;
    def.key_size == 4 && def.value_size % 8 == 0 && def.flags & map_flags::STACK_BUILD_ID == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stack_traces_are_addresses() {
        let of = |value_size, flags| {
            let mut map = Map::new("stacks", MapType::STACK_TRACE);
            (map.def.key_size, map.def.value_size, map.def.flags) = (4, value_size, flags);
            let Handle { name, key, value, .. } = handle(&map, None);
            (name, key, value)
        };
        assert_eq!(of(127 * 8, 0), ("StackTraces", None, None));
        let bytes = |len| ("HashMap", Some(Data::Bytes(4)), Some(Data::Bytes(len)));
        assert_eq!(of(127 * 32, map_flags::STACK_BUILD_ID), bytes(127 * 32));
        assert_eq!(of(12, 0), bytes(12));
        assert_eq!(of(0, 0).0, "StackTraces", "how deep they are is chosen before the load");
    }
}
