//! Linking: several objects become one, before the model.
//!
//! The result is written as a file and read like any other, so that what `skelgen link` writes is what skeletons of
//! several inputs contain. The order of the inputs does not matter: they are sorted by their contents. This phase does not
//! know what sections and maps mean, except that definitions of maps must agree.

mod agree;
mod declarations;
mod input;
mod layout;
mod references;
mod symbols;
pub mod types;

use std::collections::BTreeSet;

use self::declarations::Types;
use self::input::Input;
use self::layout::{Joined, Layout};
use self::references::References;
use self::symbols::Globals;
use crate::btf::{Btf, Kind};
use crate::elf::{ElfObject, Section, SectionId, SectionKind};
use crate::error::{Code, Diagnostic, Result};
use crate::insn::Endian;

pub use self::input::File;

/// Objects that were linked: the sections, symbols, relocations and types of one object.
#[derive(Debug)]
pub struct Merged<'a> {
    endian: Endian,
    sections: Vec<Joined<'a>>,
    references: References<'a>,
    types: Option<Types>,
}

impl<'a> Merged<'a> {
    /// Links files.
    ///
    /// # Errors
    /// The problems of each file, and diagnostics with codes `SK09xx`.
    pub fn new(files: &[File<'a>]) -> Result<Self> {
        let mut inputs = input::parse(files)?;
        let endian = byte_order(&inputs)?;
        let globals = Globals::resolve(&inputs)?;
        declarations::settle(&mut inputs, &globals)?;
        let mut layout = Layout::new(&inputs, &globals)?;
        let types = declarations::merge(&inputs, &globals, &layout)?;
        let of_kernel = types.as_ref().map(|types| of_kernel(&types.btf)).unwrap_or_default();
        let references = references::merge(&inputs, &globals, &mut layout, endian, &of_kernel)?;
        Ok(Self { endian, sections: layout.sections, references, types })
    }

    /// Writes the object as an ELF file.
    ///
    /// # Errors
    /// [`Code::TooLarge`] if the object exceeds the limits of ELF.
    pub fn write(self) -> Result<Vec<u8>> {
        let Self { endian, sections, references, types } = self;
        let records = types.map(|types| (types.btf.write(endian), types.ext.write(endian)));
        let mut relocations = references.relocations.into_iter();
        let mut object =
            ElfObject { endian, sections: vec![section("", SectionKind::Other, &[])], symbols: Vec::new() };
        for joined in &sections {
            object.sections.push(Section {
                id: SectionId(object.sections.len()),
                flags: joined.flags,
                entry_size: joined.entry_size,
                size: joined.size,
                align: joined.align,
                relocations: relocations.next().unwrap_or_default(),
                ..section(joined.name, joined.kind, &joined.data)
            });
        }
        if let Some((btf, ext)) = &records {
            for (name, data) in [(".BTF", btf), (".BTF.ext", ext)] {
                let id = SectionId(object.sections.len());
                object.sections.push(Section { id, align: 8, ..section(name, SectionKind::Bytes, data) });
            }
        }
        object.symbols = references.symbols;
        object.write()
    }
}

fn section<'a>(name: &'a str, kind: SectionKind, data: &'a [u8]) -> Section<'a> {
    let size = data.len() as u64;
    Section { id: SectionId(0), name, kind, flags: 0, entry_size: 0, data, size, align: 1, relocations: Vec::new() }
}

/// Returns the byte order that all files have.
fn byte_order(inputs: &[Input<'_>]) -> Result<Endian> {
    let Some(first) = inputs.first() else {
        return Err(Diagnostic::new(Code::BadOptions, "cannot link without objects").into());
    };
    let Some(other) = inputs.iter().find(|input| input.elf.endian != first.elf.endian) else {
        return Ok(first.elf.endian);
    };
    let message = format!("{} and {} have different byte orders", first.name, other.name);
    let help = "compile all files with the same `--target`: bpfel or bpfeb";
    Err(Diagnostic::new(Code::Disagreement, message).with_help(help).into())
}

/// Returns the names that the kernel defines: kernel symbols, and kernel configuration.
fn of_kernel(btf: &Btf) -> BTreeSet<&str> {
    let sections = [".ksyms", ".kconfig"].into_iter().filter_map(|section| btf.datasec(section));
    let vars = sections.filter_map(|id| match &btf.get(id).kind {
        Kind::Datasec(section) => Some(section.vars.iter()),
        _ => None,
    });
    vars.flatten().map(|var| btf.name(var.ty)).collect()
}
