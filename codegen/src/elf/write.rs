//! Writing of ELF files: the sections in their order, then the relocation sections and the tables.

use object::Endianness;
use object::elf;
use object::write::elf::{FileHeader, Rel, SectionHeader, Sym, Writer};
use object::write::{Error as WriteError, StringId};

use super::{Binding, ElfObject, RelocationKind, Section, SectionKind, Symbol, SymbolKind, SymbolSection};
use crate::error::{Code, Diagnostic, Result};
use crate::insn::Endian;

/// The maximum alignment of sections in the file, in bytes. Larger alignments matter only in memory.
const MAX_ALIGN: u64 = 4096;

pub(super) fn write(object: &ElfObject<'_>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let too_large = |error: WriteError| Diagnostic::new(Code::TooLarge, format!("cannot write the object: {error}"));
    put(object, &mut bytes).map_err(too_large)?;
    Ok(bytes)
}

/// A section with its place in the file.
struct Placed<'a, 'data> {
    section: &'a Section<'data>,
    name: StringId,
    offset: u64,
}

fn put(object: &ElfObject<'_>, bytes: &mut Vec<u8>) -> Result<(), WriteError> {
    let endian = if object.endian == Endian::Little { Endianness::Little } else { Endianness::Big };
    let sections: Vec<_> = object.sections.iter().filter(|section| section.kind != SectionKind::Other).collect();
    let relocated: Vec<_> = sections.iter().copied().filter(|section| !section.relocations.is_empty()).collect();
    let relocation_names: Vec<String> = relocated.iter().map(|section| format!(".rel{}", section.name)).collect();

    let mut writer = Writer::new(endian, true, bytes);
    writer.reserve_file_header();
    writer.reserve_null_section_index();
    // The index in the file of each section of the object.
    let mut indices = vec![None; object.sections.len()];
    let mut placed = Vec::new();
    for section in sections {
        let index = writer.reserve_section_index();
        if let Some(place) = indices.get_mut(section.id.0) {
            *place = Some(index);
        }
        let name = writer.add_section_name(section.name.as_bytes());
        let offset = writer.reserve(section.data.len() as u64, section.align.min(MAX_ALIGN));
        placed.push(Placed { section, name, offset });
    }
    let mut tables = Vec::new();
    for (section, name) in relocated.iter().zip(&relocation_names) {
        writer.reserve_section_index();
        let name = writer.add_section_name(name.as_bytes());
        tables.push((*section, name, writer.reserve_relocations(section.relocations.len(), false)));
    }
    let mut symbols = Vec::new();
    writer.reserve_null_symbol_index();
    for symbol in object.symbols.iter().skip(1) {
        let section = match symbol.section {
            SymbolSection::Section(id) => indices.get(id.0).copied().flatten(),
            SymbolSection::Undefined | SymbolSection::Elsewhere => None,
        };
        let named = symbol.kind != SymbolKind::Section && !symbol.name.is_empty();
        let name = named.then(|| writer.add_string(symbol.name.as_bytes()));
        writer.reserve_symbol_index(section);
        symbols.push((symbol, name, section));
    }
    let symbol_table = writer.reserve_symtab_section_index();
    writer.reserve_symtab();
    if writer.symtab_shndx_needed() {
        writer.reserve_symtab_shndx_section_index();
    }
    writer.reserve_symtab_shndx();
    writer.reserve_strtab_section_index();
    writer.reserve_strtab()?;
    writer.reserve_shstrtab_section_index();
    writer.reserve_shstrtab()?;
    writer.reserve_section_headers();

    writer.write_file_header(&FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_REL,
        e_machine: elf::EM_BPF,
        e_entry: 0,
        e_flags: elf::FileFlags(0),
    })?;
    for Placed { section, offset, .. } in &placed {
        writer.pad_until(*offset);
        writer.write(section.data);
    }
    for (section, _, _) in &tables {
        writer.write_align_relocation();
        for relocation in &section.relocations {
            writer.write_relocation(
                false,
                &Rel {
                    r_offset: relocation.offset,
                    r_sym: u32::try_from(relocation.symbol.0).unwrap_or(u32::MAX),
                    r_type: elf::RelocationType(number(relocation.kind)),
                    r_addend: 0,
                },
            );
        }
    }
    writer.write_null_symbol();
    for (symbol, name, section) in &symbols {
        let name = writer.string_offset(*name);
        writer.write_symbol(&record(symbol, name, section.map(|index| index.0)));
    }
    writer.write_symtab_shndx();
    writer.write_strtab();
    writer.write_shstrtab();

    writer.write_null_section_header();
    for Placed { section, name, offset } in &placed {
        let sh_name = writer.section_name_offset(Some(*name));
        writer.write_section_header(&SectionHeader {
            sh_name,
            sh_type: if section.kind == SectionKind::Zeros { elf::SHT_NOBITS } else { elf::SHT_PROGBITS },
            sh_flags: elf::SectionFlags(section.flags),
            sh_addr: 0,
            sh_offset: *offset,
            sh_size: section.size,
            sh_link: 0,
            sh_info: 0,
            sh_addralign: section.align,
            sh_entsize: section.entry_size,
        });
    }
    for (section, name, offset) in tables {
        let Some(index) = indices.get(section.id.0).copied().flatten() else { continue };
        writer.write_relocation_section_header(name, index, symbol_table, offset, section.relocations.len(), false);
    }
    let locals = object.symbols.iter().take_while(|symbol| symbol.binding == Binding::Local).count();
    writer.write_symtab_section_header(u32::try_from(locals).unwrap_or(u32::MAX));
    writer.write_symtab_shndx_section_header();
    writer.write_strtab_section_header();
    writer.write_shstrtab_section_header();
    Ok(())
}

fn record(symbol: &Symbol<'_>, name: u32, section: Option<u32>) -> Sym {
    let binding = match symbol.binding {
        Binding::Local => elf::STB_LOCAL,
        Binding::Global => elf::STB_GLOBAL,
        Binding::Weak => elf::STB_WEAK,
    };
    let kind = match symbol.kind {
        SymbolKind::None | SymbolKind::Other => elf::STT_NOTYPE,
        SymbolKind::Object => elf::STT_OBJECT,
        SymbolKind::Function => elf::STT_FUNC,
        SymbolKind::Section => elf::STT_SECTION,
    };
    let visibility = if symbol.hidden { elf::STV_HIDDEN } else { elf::STV_DEFAULT };
    let outside = if symbol.section == SymbolSection::Elsewhere { elf::SHN_ABS } else { elf::SHN_UNDEF };
    Sym {
        section,
        st_name: name,
        st_info: elf::SymbolInfo::new(binding, kind),
        st_other: elf::SymbolOther(visibility.0),
        st_shndx: outside,
        st_value: symbol.value,
        st_size: symbol.size,
    }
}

/// Returns the number of a relocation type in the BPF ABI.
fn number(kind: RelocationKind) -> u32 {
    match kind {
        RelocationKind::Load => 1,
        RelocationKind::Abs64 => 2,
        RelocationKind::Abs32 => 3,
        RelocationKind::NoDyld32 => 4,
        RelocationKind::Call => 10,
    }
}
