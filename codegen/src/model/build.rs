//! Construction of the model from sections and symbols, as a sequence of passes.
//!
//! Each pass collects errors and continues, so that one run reports all of them.

use std::collections::BTreeSet;

use skelgen_abi::plan;

use super::data::{self, kernel_chars};
use super::functions::Functions;
use super::kconfig::{self, Configs};
use super::pass::{Notes, Pass};
use super::references::References;
use super::refused::Refused;
use super::table::MapTable;
use super::{
    BpfObject, Program, arena, exceptions, externs, legacy, maps, repair, sections, special, struct_ops, undefined,
    untyped,
};
use crate::btf::Btf;
use crate::btf::ext::BtfExt;
use crate::elf::ElfObject;
use crate::error::{Code, Diagnostic, Result};

impl BpfObject {
    /// Creates the model of a parsed file with the given name.
    ///
    /// # Errors
    /// Diagnostics with codes `SK02xx` and `SK03xx`.
    pub fn from_elf(elf: &ElfObject<'_>, name: &str) -> Result<Self> {
        let mut notes = Notes::default();
        let (btf, ext) = types(elf)?;
        let duplicates = notes.join(data::duplicates(elf));
        let Types { btf, externs, configs } = match btf {
            Some(btf) => notes.join(Types::lay_out(elf, btf, &duplicates)),
            None => Types::none(),
        };
        let data = notes.join(data::maps(elf, btf.as_ref(), &duplicates, name));
        let functions = notes.join(Functions::collect(elf, btf.as_ref(), &ext));
        // Free the records: each function has its own copy now, and there are as many records as instructions.
        drop(ext);
        let configs = notes.join(configs);
        let legacy = notes.join(legacy::maps(elf));
        let defined = notes.join(maps::maps(elf, btf.as_ref()));
        let table = MapTable::new(data.into_iter().chain(configs.map(name)).chain(legacy).chain(defined));
        notes.join(undefined::check(elf, btf.as_ref(), &functions, &table, &externs, &notes.refused));
        let elements = notes.join(maps::elements(elf, &table, &functions, &notes.refused));
        let variables = notes.join(arena::variables(elf, btf.as_ref(), &table, &notes.refused));
        let struct_ops = notes.join(struct_ops::maps(elf, btf.as_ref(), &functions, &notes.refused));
        let table = table.with(elements, variables, struct_ops);
        let references = References {
            elf,
            functions: &functions,
            maps: &table,
            externs: &externs,
            refused: &notes.refused,
            btf: btf.as_ref(),
        };
        let resolved = references.resolve();
        let found = notes.join(resolved);
        let programs = notes.join(programs(&functions, btf.as_ref(), &notes.refused));
        let license = notes.reporter.take(text_section(elf, "license")).flatten().unwrap_or_default();
        let kernel_version = notes.reporter.take(version_section(elf)).unwrap_or_default();
        if let Some(btf) = &btf {
            notes.join(special::check(btf, &table.maps));
        }
        notes.reporter.finish(Self {
            endian: elf.endian,
            name: kernel_chars(name),
            license,
            kernel_version,
            btf: btf.map(|btf| repair::repair(hide_functions(elf, btf))),
            maps: table.maps,
            functions: functions.with(found),
            programs,
            externs,
            kconfig: configs.into_rows(),
        })
    }
}

/// The types that are loaded into the kernel, and the declarations of their data sections.
struct Types {
    btf: Option<Btf>,
    externs: Vec<plan::Symbol>,
    configs: Pass<Configs>,
}

impl Types {
    /// Returns the types of an object without BTF.
    fn none() -> Self {
        Self { btf: None, externs: Vec::new(), configs: Notes::default().with(Configs::default()) }
    }

    /// Lays out the data sections. Externs and kernel configuration are laid out by their own passes.
    fn lay_out(elf: &ElfObject<'_>, btf: Btf, duplicates: &BTreeSet<&str>) -> Pass<Self> {
        let mut notes = Notes::default();
        let (btf, externs) = externs::declare(elf, btf);
        let btf = notes.join(data::lay_out(elf, btf, duplicates));
        let (btf, configs) = kconfig::lay_out(elf, btf);
        notes.with(Self { btf: Some(btf), externs, configs })
    }
}

fn types(elf: &ElfObject<'_>) -> Result<(Option<Btf>, BtfExt)> {
    let Some(section) = elf.section_named(".BTF") else {
        return Ok((untyped::types(elf), BtfExt::default()));
    };
    let btf = Btf::parse(section.data, elf.endian)?;
    let ext = match elf.section_named(".BTF.ext") {
        Some(section) => BtfExt::parse(section.data, elf.endian, &btf)?,
        None => BtfExt::default(),
    };
    Ok((Some(btf), ext))
}

fn programs(functions: &Functions<'_>, btf: Option<&Btf>, refused: &Refused) -> Pass<Vec<Program>> {
    let mut notes = Notes::default();
    let callbacks = btf.map(exceptions::callbacks).unwrap_or_default();
    let mut programs = Vec::new();
    for (function, entry) in functions.iter() {
        if entry.is_subprogram() {
            continue;
        }
        let meaning = match sections::meaning(entry.section.name) {
            Some(meaning) => meaning,
            None if entry.called => continue,
            None => sections::unknown(entry.section.name),
        };
        let exception = callbacks.get(entry.name).and_then(|callback| {
            let found = functions.iter().find(|(_, other)| other.name == *callback).map(|(id, _)| id);
            if found.is_none() && !refused.has_name(callback) {
                let message = format!("exception callback `{callback}` of program `{}` is not defined", entry.name);
                notes.report(Diagnostic::new(Code::BadReference, message).section(entry.section.name));
            }
            found
        });
        let def = plan::Program { name: entry.name.to_owned().into(), ..meaning.def };
        programs.push(Program { function, exception, def, target: meaning.target });
    }
    notes.with(programs)
}

/// Makes functions with hidden visibility static. The kernel verifies static functions together with their callers.
fn hide_functions(elf: &ElfObject<'_>, mut btf: Btf) -> Btf {
    use crate::btf::{Kind, Linkage};
    let hidden: BTreeSet<&str> = elf
        .symbols
        .iter()
        .filter(|symbol| symbol.hidden && symbol.kind == crate::elf::SymbolKind::Function)
        .map(|symbol| symbol.name)
        .collect();
    if hidden.is_empty() {
        return btf;
    }
    let ids: Vec<_> = btf
        .iter()
        .filter(|(id, ty)| {
            matches!(ty.kind, Kind::Func { linkage: Linkage::Global, .. }) && hidden.contains(btf.name(*id))
        })
        .map(|(id, _)| id)
        .collect();
    for id in ids {
        if let Kind::Func { linkage, .. } = &mut btf.get_mut(id).kind {
            *linkage = Linkage::Static;
        }
    }
    btf
}

fn text_section(elf: &ElfObject<'_>, name: &str) -> Result<Option<String>> {
    let Some(section) = elf.section_named(name) else { return Ok(None) };
    let bytes = section.data.split(|&byte| byte == 0).next().unwrap_or_default();
    match std::str::from_utf8(bytes) {
        Ok(text) if section.data.contains(&0) => Ok(Some(text.to_owned())),
        _ => Err(Diagnostic::new(Code::BadLicense, "the license is not a NUL-terminated string").section(name).into()),
    }
}

fn version_section(elf: &ElfObject<'_>) -> Result<u32> {
    let Some(section) = elf.section_named("version") else { return Ok(0) };
    let bytes: [u8; 4] = section.data.try_into().map_err(|_| {
        Diagnostic::new(Code::BadLicense, format!("the version has {} bytes instead of 4", section.data.len()))
            .section("version")
    })?;
    Ok(elf.endian.u32(bytes))
}
