//! Probes that program files name themselves: USDT, in notes of SystemTap's format.
//!
//! Reads the notes. What their arguments mean is up to `usdt`. Knows neither programs nor the kernel.

use super::elf::{CUT, Elf, Fault, Source, text};

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

/// `SHT_NOTE`, and the name and type of notes of probes.
const NOTE: u64 = 7;
const OWNER: &[u8] = b"stapsdt\0";
const KIND: u64 = 3;
/// `ET_EXEC`.
const EXECUTABLE: u64 = 2;

/// The places of the probe of this provider and name.
pub(super) fn places(source: &impl Source, provider: &str, name: &str) -> Result<Vec<Note>, Fault> {
    let elf = Elf::open(source)?;
    let (segments, sections) = (elf.segments()?, elf.sections()?);
    let names = elf.section_names(&sections)?;
    // Where this section ended up says by how much addresses have moved since the notes were written.
    let base = sections.iter().find(|section| text(&names, section.name) == Some(b".stapsdt.base"));
    let offset_of = |address: u64| segments.iter().find_map(|segment| segment.offset_of(address));
    let mut found = Vec::new();
    for section in sections.iter().filter(|section| section.kind == NOTE) {
        let bytes = elf.read(section.offset, section.size)?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (owner, kind, description);
            (owner, kind, description, rest) = note(&elf, rest).ok_or(CUT)?;
            if owner != OWNER || kind != KIND {
                continue;
            }
            let wide = elf.pick(8, 4);
            let mut words = description.get(3 * wide..).ok_or(CUT)?.split(|&byte| byte == 0);
            let is = |word: Option<&[u8]>, wanted: &str| word == Some(wanted.as_bytes());
            if !(is(words.next(), provider) && is(words.next(), name)) {
                continue;
            }
            let arguments = words.next().map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
            let address = |index| elf.number(description, index * wide, wide).ok_or(CUT);
            let moved = base.map_or(Ok(0), |base| Ok(base.address.wrapping_sub(address(1)?)))?;
            let counter = match address(2)? {
                0 => 0,
                counter => offset_of(counter.wrapping_add(moved)).ok_or(CUT)?,
            };
            let here = address(0)?.wrapping_add(moved);
            let offset = offset_of(here).ok_or(CUT)?;
            let is_fixed = elf.number(&elf.header, 16, 2) == Some(EXECUTABLE);
            found.push(Note { offset, counter, address: is_fixed.then_some(here), arguments });
        }
    }
    Ok(found)
}

/// A note's owner, kind and description, and what follows it.
type Raw<'b> = (&'b [u8], u64, &'b [u8], &'b [u8]);

/// The first note of these bytes.
fn note<'b>(elf: &Elf<'_, impl Source>, bytes: &'b [u8]) -> Option<Raw<'b>> {
    let size = |at| usize::try_from(elf.number(bytes, at, 4)?).ok();
    let (owner_size, size, kind) = (size(0)?, size(4)?, elf.number(bytes, 8, 4)?);
    let begin = owner_size.checked_next_multiple_of(4)?.checked_add(12)?;
    let owner = bytes.get(12..)?.get(..owner_size)?;
    let description = bytes.get(begin..)?.get(..size)?;
    let end = begin.checked_add(size.checked_next_multiple_of(4)?)?;
    Some((owner, kind, description, bytes.get(end..).unwrap_or(&[])))
}

#[cfg(test)]
mod tests {
    use super::super::elf::damage;
    use super::*;

    #[test]
    fn damaged_files_are_errors() {
        let whole = std::fs::read("/bin/true").or_else(|_| std::fs::read("/proc/self/exe")).unwrap();
        assert_eq!(places(&whole, "nobody", "nothing"), Ok(Vec::new()));
        damage(&whole, |damaged| {
            let _ = places(damaged, "nobody", "nothing");
        });
    }
}
