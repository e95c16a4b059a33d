//! Probes that program files name themselves: USDT, in notes of SystemTap's format.
//!
//! Reads the notes. What their arguments mean is up to `usdt_arguments`. Knows neither programs nor the kernel.

use object::NativeEndian;
use object::elf::SHT_NOTE;
use object::read::elf::{NoteIterator, SectionHeader as _};

use super::elf::{CUT, Elf, Fault};

/// One place of a probe; a probe can have several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// Where it is in the file.
    pub(super) offset: u64,
    /// Where in the file its counter of those who look is; 0 if it has none.
    pub(super) counter: u64,
    /// Its address in memory, if that is the same in every process: of programs that are not position-independent.
    pub(super) address: Option<u64>,
    /// Where its arguments are when it is reached.
    pub(super) arguments: String,
}

/// The name and type of notes of probes.
const OWNER: &[u8] = b"stapsdt";
const KIND: u32 = 3;

/// The places of the probe of this provider and name.
pub(super) fn places(elf: &Elf<'_>, provider: &str, name: &str) -> Result<Vec<Note>, Fault> {
    // Where this section ended up says by how much addresses have moved since the notes were written.
    let base = elf.address_of_section(b".stapsdt.base")?;
    let mut found = Vec::new();
    for section in elf.sections.iter().filter(|section| section.sh_type(NativeEndian) == SHT_NOTE) {
        let bytes = elf.content(section)?;
        // Notes of an alignment that does not exist are no probes' notes.
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

/// The address at this index among those with which a description begins.
fn number(description: &[u8], index: usize, width: usize) -> Option<u64> {
    let bytes = description.get(index * width..)?.get(..width)?;
    match width {
        8 => bytes.try_into().map(u64::from_ne_bytes).ok(),
        _ => bytes.try_into().map(|bytes| u32::from_ne_bytes(bytes).into()).ok(),
    }
}

/// An address as wide as the file's.
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
        assert_eq!(read_bytes(&whole, |elf| places(elf, "nobody", "nothing")), Ok(Vec::new()));
        damage(&whole, |damaged| {
            let _ = read_bytes(damaged, |elf| places(elf, "nobody", "nothing"));
        });
    }
}
