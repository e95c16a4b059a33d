//! The ELF file as a table of sections, symbols and relocations: syntax only.
//!
//! Parsing is the crate `object`'s work and this is the one module that names it. What comes out borrows the file and is checked:
//! names are text, ranges lie in the file, sections do not overlap, symbols name existing sections, relocations lie in theirs.
//! What a section means is the model's business.

mod parse;
pub(crate) mod partial;

#[cfg(test)]
mod tests;

use crate::error::Result;
use crate::insn::Endian;

/// A parsed object file.
#[derive(Debug)]
pub struct ElfObject<'data> {
    /// Its byte order.
    pub endian: Endian,
    /// Its sections, by section number; the first is the null section.
    pub sections: Vec<Section<'data>>,
    /// Its symbols, by symbol number; the first is the null symbol.
    pub symbols: Vec<Symbol<'data>>,
}

/// Number of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectionId(pub usize);

/// Number of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolId(pub usize);

/// A section.
#[derive(Debug)]
pub struct Section<'data> {
    /// Its number.
    pub id: SectionId,
    /// Its name.
    pub name: &'data str,
    /// What it holds, as far as ELF says.
    pub kind: SectionKind,
    /// Whether its bytes are loaded (`SHF_ALLOC`).
    pub alloc: bool,
    /// Whether it may be written (`SHF_WRITE`).
    pub write: bool,
    /// Its bytes; empty for a section of kind `Zeros`.
    pub data: &'data [u8],
    /// Its size in bytes, also where the file has no bytes for it.
    pub size: u64,
    /// Its alignment in bytes: a power of two, at least 1.
    pub align: u64,
    /// The relocations of its bytes, by rising offset; of debug information and BTF always none.
    pub relocations: Vec<Relocation>,
}

/// What a section holds, as far as ELF says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionKind {
    /// Instructions (`SHT_PROGBITS` with `SHF_EXECINSTR`).
    Instructions,
    /// Bytes (`SHT_PROGBITS`).
    Bytes,
    /// Zeros that the file does not hold (`SHT_NOBITS`).
    Zeros,
    /// Anything else: symbol tables, string tables, relocations, groups.
    Other,
}

/// A symbol.
#[derive(Debug)]
pub struct Symbol<'data> {
    /// Its number.
    pub id: SymbolId,
    /// Its name; for a section symbol, which has none, that of the section.
    pub name: &'data str,
    /// Its type.
    pub kind: SymbolKind,
    /// Who sees it.
    pub binding: Binding,
    /// Whether it is hidden (`STV_HIDDEN` or `STV_INTERNAL`).
    pub hidden: bool,
    /// Where it is defined.
    pub place: Place,
    /// Its offset in the section, in bytes.
    pub value: u64,
    /// Its size in bytes.
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

/// Who sees a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// Its own file.
    Local,
    /// Every file.
    Global,
    /// Every file, and it may be missing or be overridden.
    Weak,
}

/// Where a symbol is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In another file.
    Undefined,
    /// In this section.
    Section(SectionId),
    /// Nowhere: its value is absolute, or it is common.
    Elsewhere,
}

/// A relocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relocation {
    /// Where in the section, in bytes.
    pub offset: u64,
    /// What its bytes become.
    pub kind: RelocationKind,
    /// The symbol.
    pub symbol: SymbolId,
}

/// The relocation types of the BPF ABI that objects hold.
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

/// The bytes of the first section of this name in a 64-bit ELF file for any machine, such as a kernel's image, and their order.
///
/// # Errors
/// The codes of phase 01, if the file is no such one or the section does not lie in it.
pub fn section_of_any<'data>(bytes: &'data [u8], name: &str) -> Result<Option<(Endian, &'data [u8])>> {
    parse::section_of_any(bytes, name)
}

impl<'data> ElfObject<'data> {
    /// Reads an object file.
    ///
    /// # Errors
    /// The codes of phase 01.
    pub fn parse(bytes: &'data [u8]) -> Result<Self> {
        parse::parse(bytes)
    }

    /// The section of this number.
    ///
    /// # Panics
    /// If the number is not of this object.
    #[must_use]
    pub fn section(&self, id: SectionId) -> &Section<'data> {
        &self.sections[id.0]
    }

    /// The first section of this name.
    #[must_use]
    pub fn section_named(&self, name: &str) -> Option<&Section<'data>> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The symbol of this number.
    ///
    /// # Panics
    /// If the number is not of this object.
    #[must_use]
    pub fn symbol(&self, id: SymbolId) -> &Symbol<'data> {
        &self.symbols[id.0]
    }
}

/// How the names of sections of debug information begin.
const DEBUG: &[u8] = b".debug_";

/// Whether the relocations of the section of this name say anything. Those of debug information, which is not read, are not asked for;
/// those of `.BTF` and `.BTF.ext` serve linkers, which move what these sections tell of: the bytes themselves are right.
fn are_relocations_read(section: &[u8]) -> bool {
    !section.starts_with(DEBUG) && section != b".BTF" && section != b".BTF.ext"
}
