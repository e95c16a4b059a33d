//! Reads an object file without what nobody asks of it: debug information, which is often most of the file.
//!
//! What is left out is zeros in the bytes that come out, of which the memory is never touched. Anything unusual is read whole, for
//! the parser to find out what is wrong with it.

use std::io::{Read, Result, Seek, SeekFrom};
use std::ops::Range;

use object::Endianness;
use object::elf::FileHeader64;
use object::read::StringTable;
use object::read::elf::{FileHeader, SectionHeader};

/// Bytes of an ELF file's header.
const HEADER: usize = size_of::<FileHeader64<Endianness>>();

/// The bytes of a file, but for those of sections of debug information.
pub(crate) fn read(mut file: impl Read + Seek) -> Result<Vec<u8>> {
    let Some(len) = length(&mut file).filter(|&len| len >= HEADER) else {
        return whole(file, 0);
    };
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

/// What cannot be sought in, such as a pipe, has none.
fn length(file: &mut impl Seek) -> Option<usize> {
    let len = file.seek(SeekFrom::End(0)).ok()?;
    file.rewind().ok()?;
    usize::try_from(len).ok()
}

fn whole(mut file: impl Read + Seek, len: usize) -> Result<Vec<u8>> {
    // What cannot be sought in is still at its beginning.
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

/// Where the table of sections is; `None` if there is none, or it is so large that its size stands elsewhere.
fn headers(bytes: &[u8]) -> Option<Range<usize>> {
    let (header, endian) = header(bytes)?;
    let size = usize::from(header.e_shnum(endian)) * usize::from(header.e_shentsize(endian));
    within(bytes, header.e_shoff(endian), size as u64).filter(|range| !range.is_empty())
}

/// Where the names of sections are.
fn names(bytes: &[u8]) -> Option<Range<usize>> {
    let (header, endian) = header(bytes)?;
    let sections = header.section_headers(endian, bytes).ok()?;
    let section = sections.get(header.shstrndx(endian, bytes).ok()? as usize)?;
    let (offset, size) = section.file_range(endian)?;
    within(bytes, offset, size)
}

/// Where the contents of all sections are but those of debug information.
fn contents(bytes: &[u8]) -> Option<Vec<Range<usize>>> {
    let (header, endian) = header(bytes)?;
    let names = names(bytes)?;
    let names = StringTable::new(bytes, names.start as u64, names.end as u64);
    let mut ranges = Vec::new();
    for section in header.section_headers(endian, bytes).ok()? {
        let name = section.name(endian, names).ok()?;
        if let (Some((offset, size)), false) = (section.file_range(endian), is_debug(name)) {
            ranges.push(within(bytes, offset, size)?);
        }
    }
    Some(ranges)
}

fn is_debug(name: &[u8]) -> bool {
    [".debug_", ".rel.debug_", ".rela.debug_"].iter().any(|prefix| name.starts_with(prefix.as_bytes()))
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
    fn only_debug_information_is_left_out() {
        let object = include_bytes!("../../../fixtures/objects/percpu.bpf.o");
        let read = read(Cursor::new(object)).expect("memory can be read");
        assert_eq!(read.len(), object.len());
        let parsed = crate::elf::ElfObject::parse(object).expect("it is an object");
        let partial = crate::elf::ElfObject::parse(&read).expect("it still is");
        let mut left_out = 0;
        for (whole, partial) in parsed.sections.iter().zip(&partial.sections) {
            if is_debug(whole.name.as_bytes()) {
                left_out += usize::from(whole.data != partial.data);
            } else {
                assert_eq!(whole.data, partial.data, "{}", whole.name);
            }
        }
        let has_debug = parsed.sections.iter().any(|section| section.name.starts_with(".debug_"));
        assert_eq!(left_out > 0, has_debug);
    }

    #[test]
    fn anything_else_is_read_whole() {
        for bytes in [&b""[..], b"not ELF", &[0x7f; 200], &b"\x7fELF\x02\x01\x01".repeat(40)] {
            assert_eq!(read(Cursor::new(bytes)).expect("memory can be read"), bytes);
        }
    }
}
