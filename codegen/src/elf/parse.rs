//! Parsing of ELF files to an [`ElfObject`], with all checks that later phases rely on.

use object::Endianness;
use object::elf;
use object::read::elf::{FileHeader, Rel, Rela, SectionHeader, SectionTable, Sym, SymbolTable};
use object::read::{SectionIndex, SymbolIndex};

use super::{Binding, ElfObject, Relocation, RelocationKind, SymbolSection};
use super::{Section, SectionId, SectionKind, Symbol, SymbolId, SymbolKind, are_relocations_read};
use crate::error::{Code, Diagnostic, Error, Reporter, Result};
use crate::insn::{Endian, INSN_SIZE};

type Header = elf::FileHeader64<Endianness>;
type HeaderOfSection = elf::SectionHeader64<Endianness>;
type Table<'data> = SectionTable<'data, Header>;

/// The magic number of ELF files.
const MAGIC: &[u8] = b"\x7fELF";

pub(super) fn parse(bytes: &[u8]) -> Result<ElfObject<'_>> {
    let header = file_header(bytes)?;
    let endian = header.endian().map_err(|error| bad(error.to_string()))?;
    let table = header.sections(endian, bytes).map_err(|error| bad(error.to_string()))?;
    if table.is_empty() {
        return Err(bad("the file has no section table").into());
    }

    let file = File { bytes, endian, table };
    let mut reporter = Reporter::new();
    let mut sections = file.sections(&mut reporter);
    // Section indices are meaningful only if all sections are valid. Likewise for symbols below.
    let mut reporter = reporter.finish(()).map(|()| Reporter::new())?;
    file.check_overlaps(&sections, &mut reporter);
    let (symbols, symbol_table) = file.symbols(&sections, &mut reporter)?;
    let mut reporter = reporter.finish(()).map(|()| Reporter::new())?;
    file.relocations(&mut sections, &symbols, symbol_table, &mut reporter);
    reporter.finish(ElfObject { endian: order(endian), sections, symbols })
}

/// Returns the byte order and contents of the section of this name in a file for any architecture. Checks only the ELF
/// header and that section.
pub(super) fn section_of_any<'data>(bytes: &'data [u8], name: &str) -> Result<Option<(Endian, &'data [u8])>> {
    let header = any_header(bytes)?;
    let endian = header.endian().map_err(|error| bad(error.to_string()))?;
    let table = header.sections(endian, bytes).map_err(|error| bad(error.to_string()))?;
    let Some((_, section)) = table.section_by_name(endian, name.as_bytes()) else { return Ok(None) };
    let data = section.data(endian, bytes).map_err(|error| bad(error.to_string()).section(name))?;
    Ok(Some((order(endian), data)))
}

fn order(endian: Endianness) -> Endian {
    if endian == Endianness::Little { Endian::Little } else { Endian::Big }
}

/// Returns the header of a relocatable BPF object.
fn file_header(bytes: &[u8]) -> Result<&Header> {
    let header = any_header(bytes)?;
    let endian = header.endian().map_err(|error| bad(error.to_string()))?;
    let machine = header.e_machine(endian);
    if machine != elf::EM_BPF {
        let message = format!("the file is for ELF machine {}, not for BPF ({})", machine.0, elf::EM_BPF.0);
        return Err(Error::new(Code::NotBpf, message));
    }
    let kind = header.e_type(endian);
    if kind != elf::ET_REL {
        let message = format!("the file has ELF type {}, not relocatable ({})", kind.0, elf::ET_REL.0);
        return Err(Error::new(Code::NotBpf, message));
    }
    Ok(header)
}

/// Returns the header of a 64-bit ELF file.
fn any_header(bytes: &[u8]) -> Result<&Header> {
    if !bytes.starts_with(MAGIC) {
        let what =
            if bytes.is_empty() { "the file is empty" } else { "the file does not begin with the ELF magic number" };
        return Err(Error::new(Code::NotElf, what));
    }
    // Check the identification before the length: a short 32-bit file is not truncated.
    if let Some(&class) = bytes.get(MAGIC.len()) {
        if class == elf::ELFCLASS32.0 {
            return Err(Error::new(Code::NotBpf, "the file is a 32-bit ELF file; BPF objects are 64-bit"));
        }
    }
    Header::parse(bytes).map_err(|error| bad(error.to_string()).into())
}

fn bad(message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(Code::BadElf, message)
}

fn bad_relocation(message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(Code::BadRelocation, message)
}

/// The input of all parsing steps.
struct File<'data> {
    bytes: &'data [u8],
    endian: Endianness,
    table: Table<'data>,
}

impl<'data> File<'data> {
    fn sections(&self, reporter: &mut Reporter) -> Vec<Section<'data>> {
        let section = |(index, header): (SectionIndex, &'data HeaderOfSection)| self.section(index, header);
        self.table.enumerate().filter_map(|entry| reporter.take(section(entry))).collect()
    }

    fn section(&self, index: SectionIndex, header: &HeaderOfSection) -> Result<Section<'data>> {
        let endian = self.endian;
        let id = SectionId(index.0);
        if index.0 == 0 {
            // In a file with too many sections for the header, the size of the null section is their number.
            let (kind, data) = (SectionKind::Other, Default::default());
            let relocations = Vec::new();
            return Ok(Section { id, name: "", kind, flags: 0, entry_size: 0, data, size: 0, align: 1, relocations });
        }
        let name = self.table.section_name(endian, header);
        let name = name.map_err(|error| bad(format!("section {}: {error}", index.0)))?;
        let name = text(name).map_err(|shown| not_utf8(format!("name {shown} of section {} is not UTF-8", index.0)))?;

        let flags = header.sh_flags(endian).0;
        let kind = match header.sh_type(endian) {
            elf::SHT_PROGBITS if flags & elf::SHF_EXECINSTR.0 != 0 => SectionKind::Instructions,
            elf::SHT_PROGBITS => SectionKind::Bytes,
            elf::SHT_NOBITS => SectionKind::Zeros,
            _ => SectionKind::Other,
        };
        let size = header.sh_size(endian);
        if kind == SectionKind::Zeros && size > u64::from(u32::MAX) {
            return Err(bad(format!("the section's {size} bytes exceed the maximum size of a map"))
                .section(name)
                .into());
        }
        let data = header.data(endian, self.bytes).map_err(|_| {
            let offset = header.sh_offset(endian);
            let message = format!("the section's {size} bytes at byte {offset} of the file extend past the file's end");
            bad(message).section(name)
        })?;
        // In ELF, both 0 and 1 mean no alignment.
        let align = header.sh_addralign(endian).max(1);
        if !align.is_power_of_two() || align > u64::from(u32::MAX) {
            return Err(bad(format!("the section's alignment of {align} is not a power of two below 4 GiB"))
                .section(name)
                .into());
        }
        let entry_size = header.sh_entsize(endian);
        Ok(Section { id, name, kind, flags, entry_size, data, size, align, relocations: Vec::new() })
    }

    fn check_overlaps(&self, sections: &[Section<'data>], reporter: &mut Reporter) {
        let mut ranges: Vec<_> = self
            .table
            .iter()
            .zip(sections)
            .filter(|(_, section)| !section.data.is_empty())
            .map(|(header, section)| (header.sh_offset(self.endian), section))
            .collect();
        ranges.sort_by_key(|(offset, section)| (*offset, section.id));
        let mut furthest: Option<(u64, &Section<'_>)> = None;
        for (offset, section) in ranges {
            if let Some((end, before)) = furthest.filter(|(end, _)| offset < *end) {
                let message =
                    format!("the section overlaps the last {} bytes of section `{}`", end - offset, before.name);
                reporter.report(Diagnostic::new(Code::OverlappingSections, message).section(section.name));
            }
            // The range was checked to lie in the file, so the sum cannot overflow.
            let end = offset.saturating_add(section.size);
            if furthest.is_none_or(|(other, _)| end > other) {
                furthest = Some((end, section));
            }
        }
    }

    /// Reads the symbols. Also returns the index of the symbol table's section.
    fn symbols(
        &self,
        sections: &[Section<'data>],
        reporter: &mut Reporter,
    ) -> Result<(Vec<Symbol<'data>>, Option<SectionIndex>)> {
        let mut tables = self.table.enumerate().filter(|(_, header)| header.sh_type(self.endian) == elf::SHT_SYMTAB);
        let Some((index, header)) = tables.next() else {
            return Ok((Vec::new(), None));
        };
        if tables.next().is_some() {
            return Err(bad("the file has two symbol tables").into());
        }
        let parsed = SymbolTable::parse(self.endian, self.bytes, &self.table, index, header);
        let table = parsed.map_err(|error| bad(error.to_string()))?;
        let symbols = table.enumerate().filter_map(|(index, symbol)| {
            let symbol = self.symbol(&table, index, symbol, sections);
            reporter.take(symbol)
        });
        Ok((symbols.collect(), Some(index)))
    }

    fn symbol(
        &self,
        table: &SymbolTable<'data, Header>,
        index: SymbolIndex,
        symbol: &elf::Sym64<Endianness>,
        sections: &[Section<'data>],
    ) -> Result<Symbol<'data>> {
        let endian = self.endian;
        let about = |what: &str| Error::from(bad(format!("symbol {}: {what}", index.0)));
        // A file in which no symbol has a name may have no string table.
        let name = match symbol.st_name(endian) {
            0 => "",
            _ => {
                let name = table.symbol_name(endian, symbol).map_err(|error| about(&error.to_string()))?;
                text(name).map_err(|shown| match symbol.st_type() {
                    elf::STT_FILE => not_utf8(format!("name {shown} of the source file is not UTF-8"))
                        .with_help("rename the source file and compile it again"),
                    _ => not_utf8(format!("name {shown} of symbol {} is not UTF-8", index.0)),
                })?
            }
        };
        let number = table.symbol_section(endian, symbol, index).map_err(|error| about(&error.to_string()))?;
        let section = match number {
            Some(SectionIndex(number)) => match sections.get(number) {
                Some(section) if number != 0 => Some(section),
                _ => return Err(about(&format!("`{name}` is in section {number}, which does not exist"))),
            },
            None => None,
        };
        let definition = match section {
            Some(section) => SymbolSection::Section(section.id),
            None if symbol.st_shndx(endian) == elf::SHN_UNDEF => SymbolSection::Undefined,
            None => SymbolSection::Elsewhere,
        };
        let kind = match symbol.st_type() {
            elf::STT_NOTYPE => SymbolKind::None,
            elf::STT_OBJECT => SymbolKind::Object,
            elf::STT_FUNC => SymbolKind::Function,
            elf::STT_SECTION => SymbolKind::Section,
            _ => SymbolKind::Other,
        };
        let name = match section {
            Some(section) if kind == SymbolKind::Section => section.name,
            _ => name,
        };
        let binding = match symbol.st_bind() {
            elf::STB_LOCAL => Binding::Local,
            elf::STB_GLOBAL => Binding::Global,
            elf::STB_WEAK => Binding::Weak,
            other => return Err(about(&format!("`{name}` has the unknown binding {}", other.0))),
        };
        let visibility = symbol.st_visibility();
        Ok(Symbol {
            id: SymbolId(index.0),
            name,
            kind,
            binding,
            hidden: visibility == elf::STV_HIDDEN || visibility == elf::STV_INTERNAL,
            section: definition,
            value: symbol.st_value(endian),
            size: symbol.st_size(endian),
        })
    }

    fn relocations(
        &self,
        sections: &mut [Section<'data>],
        symbols: &[Symbol<'data>],
        symbol_table: Option<SectionIndex>,
        reporter: &mut Reporter,
    ) {
        for (index, header) in self.table.enumerate() {
            reporter.take(self.relocations_of(index, header, sections, symbols, symbol_table));
        }
        for section in sections {
            section.relocations.sort_by_key(|relocation| relocation.offset);
            for pair in section.relocations.windows(2) {
                if let [one, other] = pair {
                    if one.offset == other.offset {
                        let diagnostic = bad_relocation("two relocations change the same bytes");
                        reporter.report(at(diagnostic, section.name, section.kind, one.offset));
                    }
                }
            }
        }
    }

    /// Reads the relocations in this section, if it is a relocation section, into the section that they apply to.
    fn relocations_of(
        &self,
        index: SectionIndex,
        header: &HeaderOfSection,
        sections: &mut [Section<'data>],
        symbols: &[Symbol<'data>],
        symbol_table: Option<SectionIndex>,
    ) -> Result<()> {
        let endian = self.endian;
        let kind = header.sh_type(endian);
        if kind != elf::SHT_REL && kind != elf::SHT_RELA {
            return Ok(());
        }
        let own_name = sections.get(index.0).map_or("", |section| section.name);
        let target = usize::try_from(header.sh_info(endian)).unwrap_or(usize::MAX);
        let Some(target) = sections.get_mut(target).filter(|_| target != 0) else {
            let message =
                format!("the section's relocations apply to section {}, which does not exist", header.sh_info(endian));
            return Err(bad_relocation(message).section(own_name).into());
        };
        if !are_relocations_read(target.name.as_bytes()) {
            return Ok(());
        }
        if header.sh_size(endian) == 0 {
            return Ok(());
        }
        if symbol_table != Some(header.link(endian)) {
            let message = format!(
                "the section uses the symbols of section {}, which is not the symbol table",
                header.link(endian).0
            );
            return Err(bad_relocation(message).section(own_name).into());
        }
        let damaged = |error: object::read::Error| bad(error.to_string()).section(own_name);
        let entry = if kind == elf::SHT_REL {
            size_of::<elf::Rel64<Endianness>>()
        } else {
            size_of::<elf::Rela64<Endianness>>()
        };
        if header.sh_size(endian) % entry as u64 != 0 {
            return Err(bad(format!("the section's size is not a multiple of {entry} bytes")).section(own_name).into());
        }
        let mut reporter = Reporter::new();
        if let Some((entries, _)) = header.rel(endian, self.bytes).map_err(damaged)? {
            target.relocations.reserve_exact(entries.len());
            for entry in entries {
                let raw =
                    Raw { offset: entry.r_offset(endian), kind: entry.r_type(endian).0, symbol: entry.r_sym(endian) };
                if let Some(Some(relocation)) = reporter.take(raw.check(target, symbols)) {
                    target.relocations.push(relocation);
                }
            }
        }
        if let Some((entries, _)) = header.rela(endian, self.bytes).map_err(damaged)? {
            for entry in entries {
                let symbol = entry.r_sym(endian, false);
                let raw = Raw { offset: entry.r_offset(endian), kind: entry.r_type(endian, false).0, symbol };
                // BPF stores addends in the relocated bytes; an explicit addend would be ignored.
                if entry.r_addend(endian) != 0 {
                    let diagnostic =
                        bad_relocation(format!("the relocation has an explicit addend of {}", entry.r_addend(endian)));
                    reporter.report(at(diagnostic, target.name, target.kind, raw.offset));
                } else if let Some(Some(relocation)) = reporter.take(raw.check(target, symbols)) {
                    target.relocations.push(relocation);
                }
            }
        }
        reporter.finish(())
    }
}

/// An unchecked relocation.
struct Raw {
    offset: u64,
    kind: u32,
    symbol: u32,
}

impl Raw {
    /// Returns the relocation if it is valid for this section; `None` for `R_BPF_NONE`.
    fn check(&self, section: &Section<'_>, symbols: &[Symbol<'_>]) -> Result<Option<Relocation>> {
        let at = |message: String| Error::from(at(bad_relocation(message), section.name, section.kind, self.offset));
        let instructions = section.kind == SectionKind::Instructions;
        let slot = INSN_SIZE as u64;
        let (kind, width) = match self.kind {
            0 => return Ok(None),
            1 => (RelocationKind::Load, if instructions { 2 * slot } else { 8 }),
            2 => (RelocationKind::Abs64, 8),
            3 => (RelocationKind::Abs32, 4),
            4 => (RelocationKind::NoDyld32, 4),
            10 => (RelocationKind::Call, if instructions { slot } else { 4 }),
            other => return Err(at(format!("relocation type {other} is unknown"))),
        };
        if section.kind == SectionKind::Zeros {
            return Err(at("the section has relocations but no contents (SHT_NOBITS)".to_owned()));
        }
        if self.offset.checked_add(width).is_none_or(|end| end > section.size) {
            return Err(at(format!(
                "the relocation's {width} bytes extend past the section's end at byte {:#x}",
                section.size
            )));
        }
        let symbol = usize::try_from(self.symbol).unwrap_or(usize::MAX);
        match symbols.get(symbol) {
            Some(symbol) if symbol.id.0 != 0 => Ok(Some(Relocation { offset: self.offset, kind, symbol: symbol.id })),
            Some(_) => Err(at("the relocation has no symbol".to_owned())),
            None => Err(at(format!(
                "the relocation refers to symbol {symbol}, but the last symbol is {}",
                symbols.len().saturating_sub(1)
            ))),
        }
    }
}

/// Adds the location in a section: the byte offset and, for code, the instruction index.
fn at(diagnostic: Diagnostic, section: &str, kind: SectionKind, offset: u64) -> Diagnostic {
    let diagnostic = diagnostic.section(section).offset(offset);
    match usize::try_from(offset) {
        Ok(offset) if kind == SectionKind::Instructions => diagnostic.insn(offset / INSN_SIZE),
        _ => diagnostic,
    }
}

/// Returns a name, or its escaped form if it is not UTF-8.
fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| format!("`{}`", bytes.escape_ascii()))
}

fn not_utf8(message: String) -> Diagnostic {
    Diagnostic::new(Code::NotUtf8, message)
}
