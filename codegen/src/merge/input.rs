//! The files to link: parsed, and in an order that does not depend on the order of the arguments.

use std::collections::{BTreeMap, BTreeSet};

use crate::btf::Btf;
use crate::btf::ext::BtfExt;
use crate::elf::{Binding, ElfObject, Relocation, Section, SectionId, SectionKind, Symbol, SymbolKind, SymbolSection};
use crate::elf::{Member, archive_members};
use crate::error::{Diagnostic, Error, Reporter, Result};

/// A file to link: its name for messages, and its bytes.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// The name, such as a path.
    pub name: &'a str,
    /// The bytes of an object, or of an archive of objects.
    pub bytes: &'a [u8],
}

/// A parsed file.
pub(super) struct Input<'a> {
    pub(super) name: String,
    bytes: &'a [u8],
    pub(super) elf: ElfObject<'a>,
    pub(super) btf: Option<Btf>,
    pub(super) ext: BtfExt,
}

/// Parses the files. Of archives, only the objects are used that define names that are otherwise missing, unless there are
/// only archives. The order of the result depends only on their contents.
pub(super) fn parse<'a>(files: &[File<'a>]) -> Result<Vec<Input<'a>>> {
    let mut reporter = Reporter::new();
    let (mut inputs, mut members) = (Vec::new(), Vec::new());
    for file in files {
        let found = archive_members(file.bytes).map_err(|error| error.in_file(file.name.as_ref()));
        match reporter.take(found) {
            Some(Some(found)) => {
                for Member { name, data } in found {
                    members.extend(reporter.take(Input::parse(format!("{}({name})", file.name), data)));
                }
            }
            Some(None) => inputs.extend(reporter.take(Input::parse(file.name.to_owned(), file.bytes))),
            None => {}
        }
    }
    reporter.finish(())?;
    sort(&mut members);
    if inputs.is_empty() {
        inputs = members;
    } else {
        add_needed(&mut inputs, members);
    }
    sort(&mut inputs);
    Ok(inputs)
}

/// Sorts files by their contents, and by their bytes only if these are the same: the bytes depend on the directory of the
/// compiler, by debug information.
fn sort(inputs: &mut [Input<'_>]) {
    inputs.sort_by(|one, other| one.contents().cmp(other.contents()).then_with(|| one.bytes.cmp(other.bytes)));
}

/// Adds the objects of archives that define a name that is otherwise missing.
fn add_needed<'a>(inputs: &mut Vec<Input<'a>>, members: Vec<Input<'a>>) {
    let mut definitions: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        for name in member.globals(true) {
            definitions.entry(name).or_insert(index);
        }
    }
    let mut defined: BTreeSet<&str> = inputs.iter().flat_map(|input| input.globals(true)).collect();
    let mut needed: Vec<&str> = inputs.iter().flat_map(|input| input.globals(false)).collect();
    let mut members: Vec<_> = members.into_iter().map(Some).collect();
    while let Some(name) = needed.pop() {
        let found = definitions.get(name).filter(|_| !defined.contains(name));
        if let Some(member) = found.and_then(|&index| members[index].take()) {
            defined.extend(member.globals(true));
            needed.extend(member.globals(false));
            inputs.push(member);
        }
    }
}

impl<'a> Input<'a> {
    /// Parses a file. Errors name it.
    fn parse(name: String, bytes: &'a [u8]) -> Result<Self> {
        let (elf, btf, ext) = parts(bytes).map_err(|error| error.in_file(name.as_ref()))?;
        Ok(Self { name, bytes, elf, btf, ext })
    }

    /// Returns the global names that the file defines, or those that it uses without a definition.
    fn globals(&self, defined: bool) -> impl Iterator<Item = &'a str> {
        let of_file = move |symbol: &&Symbol<'a>| {
            let is_defined = matches!(symbol.section, SymbolSection::Section(_));
            symbol.binding != Binding::Local && !symbol.name.is_empty() && is_defined == defined
        };
        self.elf.symbols.iter().filter(of_file).map(|symbol| symbol.name)
    }

    fn contents(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.elf.sections.iter().filter(|section| is_linked(section)).map(|section| (section.name, section.data))
    }

    /// Returns an error about this file.
    pub(super) fn error(&self, diagnostic: Diagnostic) -> Error {
        Error::from(diagnostic).in_file(self.name.as_ref())
    }

    /// Returns what contains this offset of a section, for messages: the function, or else the section.
    pub(super) fn user(&self, section: SectionId, offset: u64) -> &'a str {
        let contains = |symbol: &&Symbol<'a>| {
            matches!(symbol.kind, SymbolKind::Function | SymbolKind::Object)
                && symbol.section == SymbolSection::Section(section)
                && offset.checked_sub(symbol.value).is_some_and(|inside| inside < symbol.size)
        };
        self.elf.symbols.iter().find(contains).map_or(self.elf.section(section).name, |symbol| symbol.name)
    }

    /// Returns the sections to link with their relocations.
    pub(super) fn sections(&self) -> impl Iterator<Item = &Section<'a>> {
        self.elf.sections.iter().filter(|section| is_linked(section))
    }

    /// Returns the relocations of the sections to link.
    pub(super) fn relocations(&self) -> impl Iterator<Item = (&Section<'a>, &Relocation)> {
        self.sections().flat_map(|section| section.relocations.iter().map(move |relocation| (section, relocation)))
    }
}

/// Parses the sections and types of a file.
fn parts(bytes: &[u8]) -> Result<(ElfObject<'_>, Option<Btf>, BtfExt)> {
    let elf = ElfObject::parse(bytes)?;
    let section = |name: &str| elf.section_named(name);
    let btf = section(".BTF").map(|section| Btf::parse(section.data, elf.endian)).transpose()?;
    let ext = match (&btf, section(".BTF.ext")) {
        (Some(btf), Some(section)) => BtfExt::parse(section.data, elf.endian, btf)?,
        _ => BtfExt::default(),
    };
    Ok((elf, btf, ext))
}

/// Returns whether a section is a part of the result. BTF is merged on its own, debug information is not kept, and tables
/// are written again.
pub(super) fn is_linked(section: &Section<'_>) -> bool {
    let skipped = [".BTF", ".debug_", ".comment", ".note", ".llvm"];
    section.kind != SectionKind::Other && !skipped.iter().any(|prefix| section.name.starts_with(prefix))
}
