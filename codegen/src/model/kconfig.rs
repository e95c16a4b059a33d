//! Kernel configuration that an object reads: the variables of BTF's data section `.kconfig`, laid out as the one value of a map.
//!
//! What they are worth is for the running kernel to say. The layout is that of libbpf 1.8, so that a map looks the same whoever
//! made it: largest alignment first, then smallest size, then by name.

use std::collections::BTreeMap;

use skelgen_abi::plan::{Kconfig, KconfigKind, SectionKind};
use skelgen_abi::uapi::{MapType, map_flags};

use super::data::kernel_name;
use super::refused::Refused;
use super::{DataSection, Map, MapId, Variable};
use crate::btf::{Btf, Datasec, Int, Kind, Linkage, SecVar, TypeId};
use crate::elf::{Binding, ElfObject, Place};
use crate::error::{Code, Diagnostic, Reporter};

const SECTION: &str = ".kconfig";

/// A variable that the running kernel's configuration gives a value.
struct Config {
    row: Kconfig,
    var: TypeId,
    ty: TypeId,
    align: u32,
}

/// The configuration that an object reads, and which map it is.
#[derive(Debug, Default)]
pub(super) struct Configs {
    pub(super) list: Vec<Kconfig>,
    map: Option<MapId>,
}

impl Configs {
    /// Finds the variables, lays them out in `btf`, and adds their map to `maps`.
    pub(super) fn collect(
        elf: &ElfObject<'_>,
        btf: Option<&mut Btf>,
        object: &str,
        maps: &mut Vec<Map>,
        refused: &mut Refused,
        reporter: &mut Reporter,
    ) -> Self {
        let found = btf.and_then(|btf| btf.datasec(SECTION).map(|id| (btf, id)));
        let Some((btf, id)) = found else { return Self::default() };
        let mut list = variables(elf, btf, id, refused, reporter);
        list.sort_by(|a, b| (b.align, a.row.size, &a.row.name).cmp(&(a.align, b.row.size, &b.row.name)));
        let mut end = 0u32;
        for config in &mut list {
            config.row.offset = end.next_multiple_of(config.align);
            end = config.row.offset.saturating_add(config.row.size);
        }
        define(btf, id, &list, end);
        if list.is_empty() {
            return Self::default();
        }
        let map = MapId(u32::try_from(maps.len()).unwrap_or(u32::MAX));
        maps.push(section(&list, end, id, object));
        Self { list: list.into_iter().map(|config| config.row).collect(), map: Some(map) }
    }

    /// Where the variable of this name is.
    pub(super) fn place(&self, name: &str) -> Option<(MapId, u32)> {
        let config = self.list.iter().find(|config| config.name == name)?;
        Some((self.map?, config.offset))
    }
}

fn variables(
    elf: &ElfObject<'_>,
    btf: &Btf,
    section: TypeId,
    refused: &mut Refused,
    reporter: &mut Reporter,
) -> Vec<Config> {
    let weak: BTreeMap<&str, bool> = elf
        .symbols
        .iter()
        .filter(|symbol| symbol.place == Place::Undefined)
        .map(|symbol| (symbol.name, symbol.binding == Binding::Weak))
        .collect();
    let Kind::Datasec(section) = &btf.get(section).kind else { return Vec::new() };
    let mut list: Vec<Config> = Vec::new();
    for var in &section.vars {
        let Kind::Var { ty, .. } = btf.get(var.ty).kind else { continue };
        let name = btf.name(var.ty);
        let size = btf.size_of(ty).and_then(|size| u32::try_from(size).ok());
        let (Some(kind), Some(size)) = (kind(btf, ty), size) else {
            refused.name(name);
            let message = format!("`{name}` has a type that kernel configuration cannot be");
            reporter.report(
                Diagnostic::new(Code::BadExtern, message)
                    .section(SECTION)
                    .note("it can be bool, char, an integer, `enum libbpf_tristate` or an array of char"),
            );
            continue;
        };
        let known = name.starts_with("CONFIG_") || name.starts_with("LINUX_");
        if !known {
            refused.name(name);
            let message = format!("`{name}` is no kernel configuration: names begin with CONFIG_ or LINUX_");
            reporter.report(Diagnostic::new(Code::BadExtern, message).section(SECTION));
            continue;
        }
        let weak = weak.get(name).copied().unwrap_or(true);
        list.push(Config {
            row: Kconfig { name: name.to_owned().into(), weak, ..Kconfig::new("", kind, 0, size) },
            var: var.ty,
            ty,
            align: btf.align_of(ty).unwrap_or(1),
        });
    }
    list
}

/// What a type can hold, if it is one that configuration can be (`find_kcfg_type` of libbpf 1.8).
fn kind(btf: &Btf, ty: TypeId) -> Option<KconfigKind> {
    let id = btf.resolve(ty);
    match &btf.get(id).kind {
        Kind::Int(Int { bool: true, size: 1, .. }) => Some(KconfigKind::Bool),
        Kind::Int(Int { bool: true, .. }) => None,
        Kind::Int(Int { size: 1, signed, .. }) => Some(KconfigKind::Char { signed: *signed }),
        Kind::Int(Int { size: 2 | 4 | 8, signed, .. }) => Some(KconfigKind::Integer { signed: *signed }),
        Kind::Enum(values) if values.size == 4 && btf.name(id) == "libbpf_tristate" => Some(KconfigKind::Tristate),
        Kind::Array { element, len: 1.., .. } => {
            matches!(kind(btf, *element), Some(KconfigKind::Char { .. })).then_some(KconfigKind::Text)
        }
        _ => None,
    }
}

/// Makes the declarations definitions, which is what the kernel takes.
fn define(btf: &mut Btf, section: TypeId, list: &[Config], size: u32) {
    for config in list {
        btf.get_mut(config.var).kind = Kind::Var { ty: config.ty, linkage: Linkage::Global };
    }
    let vars =
        list.iter().map(|config| SecVar { ty: config.var, offset: config.row.offset, size: config.row.size }).collect();
    btf.get_mut(section).kind = Kind::Datasec(Datasec { size, vars });
}

fn section(list: &[Config], size: u32, datasec: TypeId, object: &str) -> Map {
    let variables = list
        .iter()
        .map(|config| Variable {
            name: config.row.name.clone().into_owned(),
            ty: config.ty,
            offset: config.row.offset,
            size: config.row.size,
            visible: true,
        })
        .collect();
    let contents = DataSection {
        kind: SectionKind::Kconfig,
        size,
        align: list.iter().map(|config| config.align).max().unwrap_or(1),
        bytes: Vec::new(),
        variables,
        addresses: Vec::new(),
    };
    let mut map = Map::of_section(SECTION, MapType::ARRAY, contents);
    map.def.kernel_name = kernel_name(SECTION, SectionKind::Kconfig, object).into();
    map.def.flags = map_flags::RDONLY_PROG | map_flags::MMAPABLE;
    map.value_type = Some(datasec);
    map
}
