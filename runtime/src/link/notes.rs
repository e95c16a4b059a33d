//! USDT probes of ELF files, which are described by notes in SystemTap's format.
//!
//! This module reads the notes; `usdt_arguments` parses their arguments. It depends on neither programs nor the kernel.

use object::NativeEndian;
use object::elf::SHT_NOTE;
use object::read::elf::{NoteIterator, SectionHeader as _};

use super::elf::{CUT, Elf, Fault};

/// A location of a probe; a probe can have several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// The file offset of the location.
    pub(super) offset: u64,
    /// The file offset of the probe's reference counter (semaphore); 0 if the probe has none.
    pub(super) counter: u64,
    /// The address of the location in memory, if it is the same in every process: in files that are not
    /// position-independent.
    pub(super) address: Option<u64>,
    /// The probe's arguments at the location, in the notation of the note.
    pub(super) arguments: String,
}

/// The owner name and the type of the notes that describe probes.
const OWNER: &[u8] = b"stapsdt";
const KIND: u32 = 3;

/// Returns the locations of the probe with this provider and name.
pub(super) fn locations(elf: &Elf<'_>, provider: &str, name: &str) -> Result<Vec<Note>, Fault> {
    // A tool such as prelink may have moved addresses after the notes were written. The address of this section shows
    // by how much.
    let base = elf.address_of_section(b".stapsdt.base")?;
    let mut found = Vec::new();
    for section in elf.sections.iter().filter(|section| section.sh_type(NativeEndian) == SHT_NOTE) {
        let bytes = elf.content(section)?;
        // Notes with an unknown alignment do not describe probes.
        let Ok(mut notes) = Notes::new(NativeEndian, section.sh_addralign(NativeEndian), bytes) else { continue };
        while let Some(note) = notes.next().map_err(|_| CUT)? {
            if note.name() != OWNER || note.n_type(NativeEndian).0 != KIND {
                continue;
            }
            let (description, width) = (note.desc(), elf.address_size());
            let mut words = description.get(3 * width..).ok_or(CUT)?.split(|&byte| byte == 0);
            let mut is = |wanted: &str| words.next() == Some(wanted.as_bytes());
            if !(is(provider) && is(name)) {
                continue;
            }
            let arguments = words.next().map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
            let address = |index| number(description, index, width).ok_or(CUT);
            let moved = base.map_or(Ok(0), |base| Ok(base.wrapping_sub(address(1)?)))?;
            let counter = match address(2)? {
                0 => 0,
                counter => elf.offset_of(wrapped(counter.wrapping_add(moved), width)).ok_or(CUT)?,
            };
            let here = wrapped(address(0)?.wrapping_add(moved), width);
            let offset = elf.offset_of(here).ok_or(CUT)?;
            found.push(Note { offset, counter, address: elf.is_fixed().then_some(here), arguments });
        }
    }
    Ok(found)
}

/// Notes of 32-bit and of 64-bit files have the same headers.
type Notes<'d> = NoteIterator<'d, object::elf::FileHeader64<NativeEndian>>;

/// Returns the `index`-th address at the start of a note's description. Addresses have `width` bytes.
fn number(description: &[u8], index: usize, width: usize) -> Option<u64> {
    let bytes = description.get(index * width..)?.get(..width)?;
    match width {
        8 => bytes.try_into().map(u64::from_ne_bytes).ok(),
        _ => bytes.try_into().map(|bytes| u32::from_ne_bytes(bytes).into()).ok(),
    }
}

/// Truncates an address to the file's address size.
fn wrapped(address: u64, width: usize) -> u64 {
    if width == 8 { address } else { address & u64::from(u32::MAX) }
}

#[cfg(test)]
mod tests {
    use super::super::elf::{damage, read_bytes};
    use super::*;

    #[test]
    fn damaged_files_are_errors() {
        let whole = std::fs::read("/bin/true").or_else(|_| std::fs::read("/proc/self/exe")).unwrap();
        assert_eq!(read_bytes(&whole, |elf| locations(elf, "nobody", "nothing")), Ok(Vec::new()));
        damage(&whole, |damaged| {
            let _ = read_bytes(damaged, |elf| locations(elf, "nobody", "nothing"));
        });
    }
}
