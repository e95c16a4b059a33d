//! Kernel configuration that an object reads: the variables of the BTF data section `.kconfig`, as the only value of a
//! map.
//!
//! The running kernel determines their values. The layout is the same as libbpf 1.8's, so that the map does not depend
//! on the loader: by descending alignment, then ascending size, then name.

use std::collections::BTreeMap;

use skelgen_abi::plan::{Kconfig, KconfigKind, SectionKind};
use skelgen_abi::uapi::{MapType, map_flags};

use super::data::kernel_name;
use super::pass::{Notes, Pass};
use super::table::{self, Defined};
use super::{DataSection, Map, Variable};
use crate::btf::{Btf, Datasec, Int, Kind, Linkage, SecVar, TypeId};
use crate::elf::{Binding, ElfObject, SymbolSection};
use crate::error::{Code, Diagnostic};

const SECTION: &str = ".kconfig";

/// A variable whose value the running kernel's configuration determines.
struct Config {
    row: Kconfig,
    var: TypeId,
    ty: TypeId,
    align: u32,
}

/// The configuration variables of an object, with their layout.
#[derive(Default)]
pub(super) struct Configs {
    list: Vec<Config>,
    size: u32,
    /// The BTF data section.
    section: TypeId,
}

/// Finds the variables and lays them out.
pub(super) fn lay_out(elf: &ElfObject<'_>, mut btf: Btf) -> (Btf, Pass<Configs>) {
    let mut notes = Notes::default();
    let Some(section) = btf.datasec(SECTION) else { return (btf, notes.with(Configs::default())) };
    let mut list = variables(elf, &btf, section, &mut notes);
    list.sort_by(|a, b| (b.align, a.row.size, &a.row.name).cmp(&(a.align, b.row.size, &b.row.name)));
    let mut size = 0u32;
    for config in &mut list {
        config.row.offset = size.next_multiple_of(config.align);
        size = config.row.offset.saturating_add(config.row.size);
    }
    define(&mut btf, section, &list, size);
    (btf, notes.with(Configs { list, size, section }))
}

impl Configs {
    /// Defines the map of the values, if there are variables.
    pub(super) fn map(&self, object: &str) -> Option<Defined> {
        let map = || map(&self.list, self.size, self.section, object);
        (!self.list.is_empty()).then(|| Defined { map: map(), location: table::Location::Names })
    }

    /// Returns the rows of the plan for the variables.
    pub(super) fn into_rows(self) -> Vec<Kconfig> {
        self.list.into_iter().map(|config| config.row).collect()
    }
}

fn variables(elf: &ElfObject<'_>, btf: &Btf, section: TypeId, notes: &mut Notes) -> Vec<Config> {
    let weak: BTreeMap<&str, bool> = elf
        .symbols
        .iter()
        .filter(|symbol| symbol.section == SymbolSection::Undefined)
        .map(|symbol| (symbol.name, symbol.binding == Binding::Weak))
        .collect();
    let Kind::Datasec(section) = &btf.get(section).kind else { return Vec::new() };
    let mut list: Vec<Config> = Vec::new();
    for var in &section.vars {
        let Kind::Var { ty, .. } = btf.get(var.ty).kind else { continue };
        let name = btf.name(var.ty);
        let size = btf.size_of(ty).and_then(|size| u32::try_from(size).ok());
        let (Some(kind), Some(size)) = (kind(btf, ty), size) else {
            notes.refused.name(name);
            let message = format!("the type of `{name}` is not supported for a kernel configuration option");
            notes.report(
                Diagnostic::new(Code::BadExtern, message)
                    .section(SECTION)
                    .with_help("declare it as bool, char, an integer, `enum libbpf_tristate` or an array of char"),
            );
            continue;
        };
        let known = name.starts_with("CONFIG_") || name.starts_with("LINUX_");
        if !known {
            notes.refused.name(name);
            let message = format!(
                "`{name}` is not a kernel configuration option: its name does not begin with CONFIG_ or LINUX_"
            );
            notes.report(Diagnostic::new(Code::BadExtern, message).section(SECTION));
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

/// Returns the kind of configuration value that a variable of this type has; `None` if the type is not supported
/// (`find_kcfg_type` of libbpf 1.8).
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

/// Replaces the declarations by definitions, because the kernel rejects extern declarations.
fn define(btf: &mut Btf, section: TypeId, list: &[Config], size: u32) {
    for config in list {
        btf.get_mut(config.var).kind = Kind::Var { ty: config.ty, linkage: Linkage::Global };
    }
    let vars =
        list.iter().map(|config| SecVar { ty: config.var, offset: config.row.offset, size: config.row.size }).collect();
    btf.get_mut(section).kind = Kind::Datasec(Datasec { size, vars });
}

fn map(list: &[Config], size: u32, datasec: TypeId, object: &str) -> Map {
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
