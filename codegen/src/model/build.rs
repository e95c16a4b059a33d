//! From sections and symbols to meaning: the order in which an object is understood.
//!
//! Each step collects what is wrong and goes on, so that one run reports all of it.

use skelgen_abi::plan::{self, SectionKind as DataKind};

use super::data::{DataSections, is_data_section};
use super::functions::Functions;
use super::kconfig::Configs;
use super::references::References;
use super::refused::Refused;
use super::{BpfObject, Program, arena, exceptions, externs, maps, repair, sections, special, struct_ops, untyped};
use crate::btf::Btf;
use crate::btf::ext::BtfExt;
use crate::elf::{ElfObject, Place, Section, SectionKind};
use crate::error::{Code, Diagnostic, Reporter, Result};

impl BpfObject {
    /// Understands a parsed file. `name` is what the object is to be called.
    ///
    /// # Errors
    /// The codes of phases 02 and 03.
    pub fn from_elf(elf: &ElfObject<'_>, name: &str) -> Result<Self> {
        let mut reporter = Reporter::new();
        let mut refused = Refused::default();
        let (mut btf, ext) = types(elf)?;
        let externs = match &mut btf {
            Some(btf) => externs::collect(elf, btf),
            None => Vec::new(),
        };
        let mut data = DataSections::collect(elf, btf.as_mut(), name, &mut refused, &mut reporter);
        let functions = Functions::collect(elf, btf.as_ref(), &ext, &mut refused, &mut reporter);
        // Each function has its own records from here on; there are as many as instructions.
        drop(ext);
        let mut maps = data.maps;
        let kconfig = Configs::collect(elf, btf.as_mut(), name, &mut maps, &mut refused, &mut reporter);
        let definitions = maps::collect(elf, btf.as_ref(), &functions, &mut maps, &mut refused, &mut reporter);
        arena::collect(elf, btf.as_ref(), &mut maps, &mut data.by_section, &mut refused, &mut reporter);
        struct_ops::collect(elf, btf.as_ref(), &functions, &mut maps, &mut refused, &mut reporter);
        let references = References {
            elf,
            functions: &functions,
            data: &data.by_section,
            definitions: &definitions,
            externs: &externs,
            kconfig: &kconfig,
            maps: &maps,
            refused: &refused,
            btf: btf.as_ref(),
        };
        let found = references.resolve(&mut reporter);
        let programs = programs(&functions, btf.as_ref(), &refused, &mut reporter);
        let license = reporter.take(text_section(elf, "license")).flatten().unwrap_or_default();
        let kernel_version = reporter.take(version_section(elf)).unwrap_or_default();
        if let Some(btf) = &mut btf {
            special::check(btf, &maps, &mut reporter);
            hide_functions(elf, btf);
            repair::repair(btf);
        }
        reporter.finish(Self {
            endian: elf.endian,
            name: kernel_chars(name),
            license,
            kernel_version,
            btf,
            maps,
            functions: functions.with(found),
            programs,
            externs,
            kconfig: kconfig.list,
        })
    }
}

/// Replaces what a kernel name may not hold.
pub(super) fn kernel_chars(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '_' }).collect()
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

fn programs(functions: &Functions<'_>, btf: Option<&Btf>, refused: &Refused, reporter: &mut Reporter) -> Vec<Program> {
    let callbacks = btf.map(exceptions::callbacks).unwrap_or_default();
    let mut programs = Vec::new();
    for (function, entry) in functions.iter() {
        if entry.is_subprogram() {
            continue;
        }
        let meaning = match sections::meaning(entry.section.name) {
            Some(meaning) => meaning,
            None if entry.called => continue,
            None => sections::of_no_type(entry.section.name),
        };
        let exception = callbacks.get(entry.name).and_then(|callback| {
            let found = functions.iter().find(|(_, other)| other.name == *callback).map(|(id, _)| id);
            if found.is_none() && !refused.has_name(callback) {
                let message = format!("exception callback `{callback}` of program `{}` is not defined", entry.name);
                reporter.report(Diagnostic::new(Code::BadReference, message).section(entry.section.name));
            }
            found
        });
        let def = plan::Program { name: entry.name.to_owned().into(), ..meaning.def };
        programs.push(Program { function, exception, def, target: meaning.target });
    }
    programs
}

/// A function hidden from other files is static to the kernel too, so that it is verified with its callers.
fn hide_functions(elf: &ElfObject<'_>, btf: &mut Btf) {
    use crate::btf::{Kind, Linkage};
    let hidden: std::collections::BTreeSet<&str> = elf
        .symbols
        .iter()
        .filter(|symbol| symbol.hidden && symbol.kind == crate::elf::SymbolKind::Function)
        .map(|symbol| symbol.name)
        .collect();
    if hidden.is_empty() {
        return;
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
}

fn text_section(elf: &ElfObject<'_>, name: &str) -> Result<Option<String>> {
    let Some(section) = elf.section_named(name) else { return Ok(None) };
    let bytes = section.data.split(|&byte| byte == 0).next().unwrap_or_default();
    match std::str::from_utf8(bytes) {
        Ok(text) if section.data.contains(&0) => Ok(Some(text.to_owned())),
        _ => Err(Diagnostic::new(Code::BadLicense, "the license is not a text that ends in NUL").section(name).into()),
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

/// What kind of global data a section is, by its name.
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

/// The section a symbol is defined in.
pub(super) fn section_of<'e, 'data>(elf: &'e ElfObject<'data>, place: Place) -> Option<&'e Section<'data>> {
    match place {
        Place::Section(id) => Some(elf.section(id)),
        Place::Undefined | Place::Elsewhere => None,
    }
}
