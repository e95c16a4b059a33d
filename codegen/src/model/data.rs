//! Sections of global data, each the only value of a map, and their layout, which compilers omit from BTF.
//!
//! Compilers write data sections into BTF without their size and without the offsets of global variables, because the
//! linker decides both. This module sets them from the ELF file, so that the kernel's types and the fields in Rust
//! agree.

use std::collections::{BTreeMap, BTreeSet};

use skelgen_abi::plan::SectionKind as DataKind;
use skelgen_abi::uapi::{MapType, OBJ_NAME_MAX, map_flags};

use super::pass::{Notes, Pass};
use super::table::{self, Defined};
use super::{DataSection, Map, Variable, wrappers};
use crate::btf::{Btf, Kind, Linkage, TypeId};
use crate::elf::{Binding, ElfObject, Section, SectionId, SectionKind, SymbolKind, SymbolSection};
use crate::error::{Code, Diagnostic};

/// Returns the kind of global data in a section, by the section's name.
pub(super) fn data_kind(section: &Section<'_>) -> Option<DataKind> {
    let is = |prefix: &str| is_data_section(section.name, prefix);
    match section.kind {
        SectionKind::Bytes | SectionKind::Zeros => {}
        SectionKind::Instructions | SectionKind::Other => return None,
    }
    if is(".data") {
        Some(DataKind::Data)
    } else if is(".rodata") {
        Some(DataKind::Rodata)
    } else if is(".bss") {
        Some(DataKind::Bss)
    } else if is(".percpu") {
        Some(DataKind::Percpu)
    } else {
        None
    }
}

/// Replaces characters that kernel names cannot contain.
pub(super) fn kernel_chars(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '_' }).collect()
}

/// Returns whether a section's name is `prefix`, or `prefix` followed by a dot and more text.
fn is_data_section(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Defines the maps of global data sections. Skips sections whose names are in `duplicates`.
pub(super) fn maps(
    elf: &ElfObject<'_>,
    btf: Option<&Btf>,
    duplicates: &BTreeSet<&str>,
    object: &str,
) -> Pass<Vec<Defined>> {
    let mut notes = Notes::default();
    let mut maps = Vec::new();
    for section in &elf.sections {
        let Some(kind) = data_kind(section) else { continue };
        if section.size == 0 {
            continue;
        }
        let Ok(size) = u32::try_from(section.size) else {
            let message = format!("the section's {} bytes exceed the maximum size of a map value", section.size);
            notes.report(Diagnostic::new(Code::BadData, message).section(section.name));
            notes.refused.section(section.id);
            continue;
        };
        if duplicates.contains(section.name) {
            notes.refused.section(section.id);
            continue;
        }
        maps.push(Defined {
            map: map(section, kind, size, btf, object),
            location: table::Location::Section(section.id),
        });
    }
    notes.with(maps)
}

/// Returns the names that several global data sections share, and reports each. BTF refers to sections by name, so
/// sections with the same name are ambiguous.
pub(super) fn duplicates<'a>(elf: &'a ElfObject<'_>) -> Pass<BTreeSet<&'a str>> {
    let mut notes = Notes::default();
    let mut seen: BTreeMap<&str, SectionId> = BTreeMap::new();
    let mut duplicates = BTreeSet::new();
    for section in elf.sections.iter().filter(|section| data_kind(section).is_some() && section.size > 0) {
        let Some(first) = seen.insert(section.name, section.id) else { continue };
        if !duplicates.insert(section.name) {
            continue;
        }
        let [before, after] = [first, section.id].map(|id| variables_of(elf, id));
        let message = format!(
            "two sections have this name, one with {before} and one with {after}: a section attribute puts \
             variables of different kinds into sections of the same name"
        );
        let help = format!(
            "declare these variables alike (all const, all initialized, or all uninitialized), or move some of them to a section \
             with a different name, such as SEC(\"{}.own\")",
            section.name
        );
        notes.report(Diagnostic::new(Code::OverlappingSections, message).section(section.name).with_help(help));
    }
    notes.with(duplicates)
}

/// Lists the variables of a section, by its symbols, for a message.
fn variables_of(elf: &ElfObject<'_>, section: SectionId) -> String {
    const SHOWN: usize = 5;
    let in_it = |symbol: &&crate::elf::Symbol<'_>| {
        symbol.section == SymbolSection::Section(section)
            && symbol.kind == SymbolKind::Object
            && !symbol.name.is_empty()
    };
    let names: Vec<_> = elf.symbols.iter().filter(in_it).map(|symbol| format!("`{}`", symbol.name)).collect();
    match names.len() {
        0 => "variables without names".to_owned(),
        more if more > SHOWN => format!("{} and {} more", names[..SHOWN].join(", "), more - SHOWN),
        _ => names.join(", "),
    }
}

fn map(section: &Section<'_>, kind: DataKind, size: u32, btf: Option<&Btf>, object: &str) -> Map {
    let datasec = btf.and_then(|btf| btf.datasec(section.name));
    let variables = match (btf, datasec) {
        (Some(btf), Some(id)) => variables(btf, id),
        _ => Vec::new(),
    };
    let readable = if kind == DataKind::Rodata { map_flags::RDONLY_PROG } else { 0 };
    let mapped = if kind != DataKind::Percpu && variables.iter().any(|variable| variable.visible) {
        map_flags::MMAPABLE
    } else {
        0
    };
    let zero = section.data.iter().all(|&byte| byte == 0);
    let map_type = if kind == DataKind::Percpu { MapType::PERCPU_ARRAY } else { MapType::ARRAY };
    let contents = DataSection {
        kind,
        size,
        align: u32::try_from(section.align).unwrap_or(1).max(1),
        bytes: if zero { Vec::new() } else { section.data.to_vec() },
        variables,
        addresses: addresses(section),
    };
    let mut map = Map::of_section(section.name, map_type, contents);
    map.def.kernel_name = kernel_name(section.name, kind, object).into();
    map.def.flags = readable | mapped;
    map.value_type = datasec;
    map
}

/// Returns the kernel name of a section's map. Percpu sections and sections with a second dot keep their own name.
/// Other names begin with the object's name, so that the maps of two objects differ.
pub(super) fn kernel_name(section: &str, kind: DataKind, object: &str) -> String {
    let own = section.get(1..).is_some_and(|rest| rest.contains('.')) || kind == DataKind::Percpu;
    let suffix = section.len().clamp(7, OBJ_NAME_MAX);
    let prefix = if own { 0 } else { OBJ_NAME_MAX - suffix };
    let object = kernel_chars(object);
    let name: String = object.chars().take(prefix).chain(section.chars().take(suffix)).collect();
    kernel_chars(&name)
}

/// Returns the offsets in a section's initial value that contain addresses.
pub(super) fn addresses(section: &Section<'_>) -> Vec<u32> {
    section.relocations.iter().filter_map(|relocation| u32::try_from(relocation.offset).ok()).collect()
}

pub(super) fn variables(btf: &Btf, datasec: TypeId) -> Vec<Variable> {
    let Kind::Datasec(section) = &btf.get(datasec).kind else { return Vec::new() };
    section
        .vars
        .iter()
        .filter_map(|var| {
            let Kind::Var { ty, linkage } = btf.get(var.ty).kind else { return None };
            Some(Variable {
                name: btf.name(var.ty).to_owned(),
                ty: wrappers::unwrapped(btf, ty),
                offset: var.offset,
                size: var.size,
                visible: linkage == Linkage::Global,
            })
        })
        .collect()
}

/// Sets the layout that the compiler omitted: the size of each data section, and the offsets and order of its
/// variables. Hidden variables become static, because other files cannot refer to them.
pub(super) fn lay_out(elf: &ElfObject<'_>, mut btf: Btf, duplicates: &BTreeSet<&str>) -> Pass<Btf> {
    let mut notes = Notes::default();
    let symbols: BTreeMap<(SectionId, &str), _> = elf
        .symbols
        .iter()
        .filter(|symbol| symbol.binding != Binding::Local && symbol.kind != SymbolKind::Section)
        .filter_map(|symbol| match symbol.section {
            SymbolSection::Section(id) => Some(((id, symbol.name), symbol)),
            SymbolSection::Undefined | SymbolSection::Elsewhere => None,
        })
        .collect();
    let statics = Statics::new(elf);
    let ids: Vec<TypeId> = btf.iter().filter(|(_, ty)| matches!(ty.kind, Kind::Datasec(_))).map(|(id, _)| id).collect();
    for id in ids {
        let name = btf.name(id).to_owned();
        if duplicates.contains(&name[..]) {
            continue;
        }
        let Some(section) = elf.section_named(&name) else { continue };
        let Kind::Datasec(datasec) = &btf.get(id).kind else { continue };
        let mut datasec = datasec.clone();
        datasec.size = u32::try_from(section.size).unwrap_or(u32::MAX);
        datasec.vars.retain(|var| {
            let of_one_file = matches!(btf.get(var.ty).kind, Kind::Var { linkage: Linkage::Static, .. });
            let of_other_file = matches!(btf.get(var.ty).kind, Kind::Var { linkage: Linkage::Extern, .. });
            let is_here = symbols.contains_key(&(section.id, btf.name(var.ty)));
            // An undefined variable is reported where it is used.
            !(of_one_file && statics.are_elsewhere(btf.name(var.ty), section.id) || of_other_file && !is_here)
        });
        for var in &mut datasec.vars {
            let Kind::Var { linkage, .. } = btf.get(var.ty).kind else { continue };
            if linkage == Linkage::Static {
                continue;
            }
            let Some(symbol) = symbols.get(&(section.id, btf.name(var.ty))) else {
                let message = format!("variable `{}` has a type but no symbol", btf.name(var.ty));
                notes.report(Diagnostic::new(Code::BadData, message).section(&name));
                continue;
            };
            // Static linkers set the offsets, except for a variable that one file declares and another file, linked
            // later, defines.
            var.offset = u32::try_from(symbol.value).unwrap_or(u32::MAX);
            if symbol.hidden {
                if let Kind::Var { linkage, .. } = &mut btf.get_mut(var.ty).kind {
                    *linkage = Linkage::Static;
                }
            }
        }
        datasec.vars.sort_by_key(|var| var.offset);
        let mut end = 0u64;
        for var in &datasec.vars {
            if u64::from(var.offset) < end || u64::from(var.offset) + u64::from(var.size) > section.size {
                let message = format!(
                    "variable `{}` ({} bytes at offset {}) overlaps another variable or is outside the section's {} bytes",
                    btf.name(var.ty),
                    var.size,
                    var.offset,
                    section.size
                );
                let code = if name == ".maps" { Code::BadMap } else { Code::BadData };
                notes.report(Diagnostic::new(code, message).section(&name));
            }
            end = u64::from(var.offset) + u64::from(var.size);
        }
        btf.get_mut(id).kind = Kind::Datasec(datasec);
    }
    notes.with(btf)
}

/// The sections of static variables. clang 14 lists constants in the BTF of .rodata although it puts them into sections
/// such as .rodata.cst16. Their offsets there collide with those of variables in .rodata.
struct Statics<'a>(BTreeMap<&'a str, BTreeSet<SectionId>>);

impl<'a> Statics<'a> {
    fn new(elf: &'a ElfObject<'_>) -> Self {
        let mut sections: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for symbol in &elf.symbols {
            if let (Binding::Local, SymbolKind::Object, SymbolSection::Section(id)) =
                (symbol.binding, symbol.kind, symbol.section)
            {
                sections.entry(symbol.name).or_default().insert(id);
            }
        }
        Self(sections)
    }

    /// Returns whether static variables of this name exist only in other sections. Returns `false` for objects without
    /// local symbols.
    fn are_elsewhere(&self, name: &str, section: SectionId) -> bool {
        self.0.get(name).is_some_and(|sections| !sections.contains(&section))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::{Datasec, Int, SecVar, Type};
    use crate::elf::{SectionKind, Symbol, SymbolId};
    use crate::insn::Endian;

    fn section(id: usize, name: &'static str) -> Section<'static> {
        let (kind, id) = (SectionKind::Bytes, SectionId(id));
        let relocations = Vec::new();
        Section { id, name, kind, flags: 0, entry_size: 0, data: &[0; 8], size: 8, align: 4, relocations }
    }

    fn local(name: &'static str, section: usize) -> Symbol<'static> {
        let (kind, binding, section) = (SymbolKind::Object, Binding::Local, SymbolSection::Section(SectionId(section)));
        Symbol { id: SymbolId(0), name, kind, binding, hidden: false, section, value: 0, size: 8 }
    }

    /// Returns the variables that remain in the BTF of `.rodata` after layout. The compiler lists two static variables.
    fn left(symbols: Vec<Symbol<'static>>) -> Result<Vec<String>, Vec<String>> {
        let elf = ElfObject {
            endian: Endian::Little,
            sections: vec![section(0, ""), section(1, ".rodata"), section(2, ".rodata.cst8")],
            symbols,
        };
        let mut btf = Btf::new();
        let int = Int { size: 8, bits: 64, bit_offset: 0, signed: true, char: false, bool: false };
        let name = btf.add_string("long");
        let ty = btf.push(Type { name, kind: Kind::Int(int) });
        let vars = ["here", "there"].map(|name| {
            let name = btf.add_string(name);
            SecVar { ty: btf.push(Type { name, kind: Kind::Var { ty, linkage: Linkage::Static } }), offset: 0, size: 8 }
        });
        let name = btf.add_string(".rodata");
        let datasec = btf.push(Type { name, kind: Kind::Datasec(Datasec { size: 0, vars: vars.to_vec() }) });
        let mut notes = Notes::default();
        let btf = notes.join(lay_out(&elf, btf, &BTreeSet::new()));
        let left = variables(&btf, datasec).into_iter().map(|variable| variable.name).collect();
        notes.reporter.finish(left).map_err(|error| error.diagnostics().iter().map(|it| it.message.clone()).collect())
    }

    #[test]
    fn static_variables_are_in_the_section_of_their_symbol() {
        assert_eq!(left(vec![local("here", 1), local("there", 2)]), Ok(vec!["here".to_owned()]));
        // After static linking, both sections can have variables of the same name.
        assert!(left(vec![local("here", 1), local("there", 2), local("there", 1)]).is_err());
        // Without local symbols, the BTF is the only source.
        assert!(left(Vec::new()).is_err());
    }
}
