//! ELF files as tables of sections, symbols and relocations.
//!
//! The crate `object` parses; only this module uses it. The result borrows the file and is checked: names are UTF-8,
//! ranges lie in the file, sections do not overlap, symbols name existing sections, and relocations lie in their
//! sections. The model interprets the sections.

mod archive;
mod parse;
pub(crate) mod partial;
mod write;

#[cfg(test)]
mod tests;

use crate::error::Result;
use crate::insn::Endian;

/// A parsed object file.
#[derive(Debug)]
pub struct ElfObject<'data> {
    /// The file's byte order.
    pub endian: Endian,
    /// The file's sections, by index; the first is the null section.
    pub sections: Vec<Section<'data>>,
    /// The file's symbols, by index; the first is the null symbol.
    pub symbols: Vec<Symbol<'data>>,
}

/// The index of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectionId(pub usize);

/// The index of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolId(pub usize);

/// A section.
#[derive(Debug)]
pub struct Section<'data> {
    /// The section's index.
    pub id: SectionId,
    /// The section's name.
    pub name: &'data str,
    /// The kind of its contents, by its ELF type and flags.
    pub kind: SectionKind,
    /// The section's ELF flags (`SHF_*`). Only a linker needs them.
    pub flags: u64,
    /// The size of an entry, in bytes, if the section consists of entries of one size, such as strings; else 0.
    pub entry_size: u64,
    /// The section's bytes; empty for a section of kind `Zeros`.
    pub data: &'data [u8],
    /// The section's size in bytes, even if the file does not contain the bytes.
    pub size: u64,
    /// The section's alignment in bytes: a power of two, at least 1.
    pub align: u64,
    /// The relocations of its bytes, by ascending offset. Relocations of debug information and BTF are not read.
    pub relocations: Vec<Relocation>,
}

/// The kind of a section's contents, by its ELF type and flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionKind {
    /// Instructions (`SHT_PROGBITS` with `SHF_EXECINSTR`).
    Instructions,
    /// Other bytes (`SHT_PROGBITS`).
    Bytes,
    /// Zeros that the file does not contain (`SHT_NOBITS`).
    Zeros,
    /// Anything else: symbol tables, string tables, relocations, groups.
    Other,
}

/// A symbol.
#[derive(Debug)]
pub struct Symbol<'data> {
    /// The symbol's index.
    pub id: SymbolId,
    /// The symbol's name; of a section symbol, the name of the section.
    pub name: &'data str,
    /// The symbol's type.
    pub kind: SymbolKind,
    /// The symbol's binding.
    pub binding: Binding,
    /// Whether the symbol is hidden (`STV_HIDDEN` or `STV_INTERNAL`).
    pub hidden: bool,
    /// The section that defines the symbol.
    pub section: SymbolSection,
    /// The symbol's offset in the section, in bytes.
    pub value: u64,
    /// The symbol's size in bytes.
    pub size: u64,
}

/// The type of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolKind {
    /// `STT_NOTYPE`.
    None,
    /// `STT_OBJECT`.
    Object,
    /// `STT_FUNC`.
    Function,
    /// `STT_SECTION`.
    Section,
    /// Anything else, such as `STT_FILE`.
    Other,
}

/// The binding of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// Local to its file.
    Local,
    /// Visible in all files.
    Global,
    /// Visible in all files; may be missing or overridden.
    Weak,
}

/// The section of a symbol's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolSection {
    /// None: another file defines it.
    Undefined,
    /// This section.
    Section(SectionId),
    /// None: the symbol is absolute (`SHN_ABS`) or common (`SHN_COMMON`).
    Elsewhere,
}

/// A relocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relocation {
    /// The offset of the relocated bytes in the section.
    pub offset: u64,
    /// The type of the relocation.
    pub kind: RelocationKind,
    /// The symbol.
    pub symbol: SymbolId,
}

/// The relocation types of the BPF ABI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelocationKind {
    /// `R_BPF_64_64` (1): both immediates of an `ld_imm64`. Compilers before LLVM 13 also wrote it for eight bytes of data.
    Load,
    /// `R_BPF_64_ABS64` (2): eight bytes of data.
    Abs64,
    /// `R_BPF_64_ABS32` (3): four bytes of data.
    Abs32,
    /// `R_BPF_64_NODYLD32` (4): four bytes in debug information or BTF.
    NoDyld32,
    /// `R_BPF_64_32` (10): the immediate of a call. Compilers before LLVM 13 also wrote it for four bytes of data.
    Call,
}

/// Returns the byte order and contents of the first section of this name in a 64-bit ELF file for any architecture, such
/// as a kernel image.
///
/// # Errors
/// A diagnostic with a code `SK01xx`, if the file is not a 64-bit ELF file or the section is out of bounds.
pub fn section_of_any<'data>(bytes: &'data [u8], name: &str) -> Result<Option<(Endian, &'data [u8])>> {
    parse::section_of_any(bytes, name)
}

/// A file in a static archive.
#[derive(Debug, Clone)]
pub struct Member<'data> {
    /// The file's name.
    pub name: String,
    /// The file's contents.
    pub data: &'data [u8],
}

/// Returns the files in a static archive (`.a`), in their order; `None` if the file is not an
/// archive.
///
/// # Errors
/// A diagnostic with a code `SK01xx`, if the archive is damaged.
pub fn archive_members(bytes: &[u8]) -> Result<Option<Vec<Member<'_>>>> {
    archive::members(bytes)
}

impl<'data> ElfObject<'data> {
    /// Parses an object file.
    ///
    /// # Errors
    /// Diagnostics with codes `SK01xx`.
    pub fn parse(bytes: &'data [u8]) -> Result<Self> {
        parse::parse(bytes)
    }

    /// Writes the object as a file: the sections with contents, their relocations, and the symbols.
    ///
    /// Local symbols must come before the others, and sections of kind `Other` are not written.
    ///
    /// # Errors
    /// [`Code::TooLarge`](crate::Code::TooLarge) if the tables exceed the limits of ELF.
    pub fn write(&self) -> Result<Vec<u8>> {
        write::write(self)
    }

    /// Returns the section with this index.
    ///
    /// # Panics
    /// If this object has no section with this index.
    #[must_use]
    pub fn section(&self, id: SectionId) -> &Section<'data> {
        &self.sections[id.0]
    }

    /// Returns the first section of this name.
    #[must_use]
    pub fn section_named(&self, name: &str) -> Option<&Section<'data>> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Returns the symbol with this index.
    ///
    /// # Panics
    /// If this object has no symbol with this index.
    #[must_use]
    pub fn symbol(&self, id: SymbolId) -> &Symbol<'data> {
        &self.symbols[id.0]
    }
}

/// The prefix of the names of debug information sections.
const DEBUG: &[u8] = b".debug_";

/// Returns whether the relocations of the section with this name are read. Those of debug information, `.BTF` and
/// `.BTF.ext` are only for linkers: in an object that is not linked further, the bytes are correct without them.
fn are_relocations_read(section: &[u8]) -> bool {
    !section.starts_with(DEBUG) && section != b".BTF" && section != b".BTF.ext"
}
