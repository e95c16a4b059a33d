//! Partial reading of object files: skips debug information, which is often most of the file, and the relocations of
//! BTF.
//!
//! Skipped ranges are zero in the result, and their memory is never touched. Unusual files are read completely, so that
//! the parser can report what is wrong with them.

use std::io::{ErrorKind, Read, Result, Seek, SeekFrom};
use std::ops::Range;

use object::Endianness;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, SectionHeader, SectionTable};

use super::{DEBUG, are_relocations_read};

/// The size of an ELF header, in bytes.
const HEADER: usize = size_of::<FileHeader64<Endianness>>();

/// The maximum file size. Directories and sparse files can report sizes that no memory can contain.
const MAX_LEN: usize = 1 << 35;

/// Reads the bytes of a file, without the sections that no phase uses.
pub(crate) fn read(mut file: impl Read + Seek) -> Result<Vec<u8>> {
    let Some(len) = length(&mut file).filter(|&len| len >= HEADER) else {
        return whole(file, 0);
    };
    // For a directory, this read returns the error to report.
    file.read_exact(&mut [0; HEADER])?;
    if len > MAX_LEN {
        return Err(ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; len];
    fill(&mut file, &mut bytes, 0..HEADER)?;
    for find in [headers, names] {
        match find(&bytes) {
            Some(range) => fill(&mut file, &mut bytes, range)?,
            None => return whole(file, len),
        }
    }
    match contents(&bytes) {
        Some(ranges) => {
            ranges.into_iter().try_for_each(|range| fill(&mut file, &mut bytes, range))?;
            Ok(bytes)
        }
        None => whole(file, len),
    }
}

/// Returns the file's length; `None` if it is not seekable, such as a pipe.
fn length(file: &mut impl Seek) -> Option<usize> {
    let len = file.seek(SeekFrom::End(0)).ok()?;
    file.rewind().ok()?;
    usize::try_from(len).ok()
}

fn whole(mut file: impl Read + Seek, len: usize) -> Result<Vec<u8>> {
    // If the file is not seekable, it is still at its beginning, so the error does not matter.
    drop(file.rewind());
    let mut bytes = Vec::with_capacity(len);
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn fill(file: &mut (impl Read + Seek), bytes: &mut [u8], range: Range<usize>) -> Result<()> {
    file.seek(SeekFrom::Start(range.start as u64))?;
    match bytes.get_mut(range) {
        Some(bytes) => file.read_exact(bytes),
        None => Ok(()),
    }
}

fn header(bytes: &[u8]) -> Option<(&FileHeader64<Endianness>, Endianness)> {
    let header = FileHeader64::<Endianness>::parse(bytes).ok()?;
    Some((header, header.endian().ok()?))
}

/// Returns the range of the section table; `None` if the file has none, or if the header does not contain its size.
fn headers(bytes: &[u8]) -> Option<Range<usize>> {
    let (header, endian) = header(bytes)?;
    let size = usize::from(header.e_shnum(endian)) * usize::from(header.e_shentsize(endian));
    within(bytes, header.e_shoff(endian), size as u64).filter(|range| !range.is_empty())
}

/// Returns the range of the section names.
fn names(bytes: &[u8]) -> Option<Range<usize>> {
    let (header, endian) = header(bytes)?;
    let sections = header.section_headers(endian, bytes).ok()?;
    let section = sections.get(header.shstrndx(endian, bytes).ok()? as usize)?;
    let (offset, size) = section.file_range(endian)?;
    within(bytes, offset, size)
}

/// Returns the ranges of all sections that are not skipped, in order and without overlap.
fn contents(bytes: &[u8]) -> Option<Vec<Range<usize>>> {
    let (header, endian) = header(bytes)?;
    let table = header.sections(endian, bytes).ok()?;
    let mut ranges = Vec::new();
    for section in table.iter() {
        if let (Some((offset, size)), false) = (section.file_range(endian), is_skipped(&table, section, endian)?) {
            ranges.push(within(bytes, offset, size)?);
        }
    }
    ranges.sort_by_key(|range| range.start);
    // Sections of a damaged file can overlap. Merge them, so that each byte is read once.
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    Some(merged)
}

/// Returns whether a section is debug information, or relocations that the parser ignores. Checks the type too, not
/// only the name. Returns `None` if the section has no name.
fn is_skipped(
    table: &SectionTable<'_, FileHeader64<Endianness>>,
    section: &elf::SectionHeader64<Endianness>,
    endian: Endianness,
) -> Option<bool> {
    let name = |section| table.section_name(endian, section).ok();
    match section.sh_type(endian) {
        elf::SHT_REL | elf::SHT_RELA => {
            let target = usize::try_from(section.sh_info(endian)).ok()?;
            table.iter().nth(target).map_or(Some(false), |target| name(target).map(|name| !are_relocations_read(name)))
        }
        elf::SHT_PROGBITS => {
            let flags = section.sh_flags(endian).0;
            let used = flags & (elf::SHF_ALLOC.0 | elf::SHF_EXECINSTR.0) != 0;
            name(section).map(|name| name.starts_with(DEBUG) && !used)
        }
        _ => name(section).map(|_| false),
    }
}

fn within(bytes: &[u8], offset: u64, size: u64) -> Option<Range<usize>> {
    let begin = usize::try_from(offset).ok()?;
    let end = begin.checked_add(usize::try_from(size).ok()?)?;
    (end <= bytes.len()).then_some(begin..end)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn only_unused_bytes_are_skipped() {
        let object = include_bytes!("../../../fixtures/corpus/objects/percpu.bpf.o");
        let read = read(Cursor::new(object)).expect("memory can be read");
        assert_eq!(read.len(), object.len());
        let parsed = crate::elf::ElfObject::parse(object).expect("it is an object");
        let partial = crate::elf::ElfObject::parse(&read).expect("it is still valid");
        let mut skipped = 0;
        for (whole, partial) in parsed.sections.iter().zip(&partial.sections) {
            let relocated = whole.name.strip_prefix(".rel");
            if whole.name.starts_with(".debug_") || relocated.is_some_and(|name| !are_relocations_read(name.as_bytes()))
            {
                skipped += usize::from(whole.data != partial.data);
            } else {
                assert_eq!(whole.data, partial.data, "{}", whole.name);
            }
        }
        let has_debug = parsed.sections.iter().any(|section| section.name.starts_with(".debug_"));
        assert_eq!(skipped > 0, has_debug);
    }

    #[test]
    fn a_name_alone_does_not_make_debug_information() {
        let object = include_bytes!("../../../fixtures/corpus/objects/jumps.bpf.o").to_vec();
        let header = header(&object).expect("it has a header");
        let table = header.0.sections(header.1, object.as_slice()).expect("it has sections");
        let (debug, _) = table.section_by_name(header.1, b".debug_abbrev").expect("it has debug information");
        let name = table.section(debug).expect("it exists").sh_name.get(header.1).to_le_bytes();
        let table_begins = usize::try_from(header.0.e_shoff(header.1)).expect("it is in memory");
        let sections = table.iter().enumerate();
        let used = sections.filter(|(_, section)| match section.sh_type(header.1) {
            elf::SHT_REL => table
                .section_name(header.1, section)
                .is_ok_and(|name| name.strip_prefix(b".rel").is_some_and(are_relocations_read)),
            elf::SHT_PROGBITS => section.sh_flags(header.1).0 & elf::SHF_ALLOC.0 != 0,
            _ => false,
        });
        let used: Vec<usize> = used.map(|(index, _)| index).collect();
        assert!(used.len() > 3);
        for index in used {
            let mut object = object.clone();
            let at = table_begins + index * size_of::<elf::SectionHeader64<Endianness>>();
            object[at..at + 4].copy_from_slice(&name);
            let read = read(Cursor::new(&object)).expect("memory can be read");
            let whole = crate::elf::ElfObject::parse(&object).expect("it is an object");
            let partial = crate::elf::ElfObject::parse(&read).expect("it is still valid");
            let (whole, partial) = (&whole.sections[index], &partial.sections[index]);
            assert_eq!((whole.name, whole.data), (".debug_abbrev", partial.data));
        }
    }

    #[test]
    fn a_wrong_file_length_is_an_error() {
        struct Directory;
        impl Read for Directory {
            fn read(&mut self, _: &mut [u8]) -> Result<usize> {
                Err(ErrorKind::IsADirectory.into())
            }
        }
        impl Seek for Directory {
            fn seek(&mut self, _: SeekFrom) -> Result<u64> {
                Ok(i64::MAX.unsigned_abs())
            }
        }
        assert_eq!(read(Directory).map_err(|error| error.kind()).err(), Some(ErrorKind::IsADirectory));
        let long = tempfile::tempfile().expect("a file");
        long.set_len(1 << 40).expect("sparse files use no space");
        assert_eq!(read(long).map_err(|error| error.kind()).err(), Some(ErrorKind::FileTooLarge));
    }

    #[test]
    fn overlapping_sections_are_read_once() {
        let mut object = include_bytes!("../../../fixtures/corpus/objects/sections.bpf.o").to_vec();
        let (header, endian) = header(&object).expect("it has a header");
        let (begin, count) = (header.e_shoff(endian), usize::from(header.e_shnum(endian)));
        let (begin, len) = (usize::try_from(begin).expect("it is in memory"), object.len());
        let names = header.shstrndx(endian, object.as_slice()).expect("they have names") as usize;
        for section in (1..count).filter(|&section| section != names) {
            let at = begin + section * size_of::<elf::SectionHeader64<Endianness>>();
            object[at + 4..at + 8].copy_from_slice(&elf::SHT_PROGBITS.0.to_le_bytes());
            object[at + 8..at + 16].fill(0);
            object[at + 8] = 6;
            object[at + 24..at + 32].fill(0);
            object[at + 32..at + 40].copy_from_slice(&(len as u64).to_le_bytes());
        }
        assert!(contents(&object).is_some_and(|ranges| matches!(&ranges[..], [range] if *range == (0..len))));
    }

    #[test]
    fn other_files_are_read_completely() {
        for bytes in [&b""[..], b"not ELF", &[0x7f; 200], &b"\x7fELF\x02\x01\x01".repeat(40)] {
            assert_eq!(read(Cursor::new(bytes)).expect("memory can be read"), bytes);
        }
    }
}
