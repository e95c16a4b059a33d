//! Where functions are in program files: names to offsets in the file, as the kernel wants them for uprobes.
//!
//! Reads the two symbol tables. Knows neither programs nor the kernel.

use super::elf::{CUT, Elf, Fault, Source, text};

/// A function that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// Its name, without the version that may follow it.
    pub(super) name: Vec<u8>,
    /// Where its code begins in the file.
    pub(super) offset: u64,
    /// How much it counts beside others of its name: local symbols the least, global ones the most.
    pub(super) rank: u8,
}

/// Every function of the file whose name is wanted, in the order of its tables; those of both tables are there twice.
pub(super) fn functions(source: &impl Source, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<Function>, Fault> {
    let elf = Elf::open(source)?;
    let segments = elf.segments()?;
    let sections = elf.sections()?;
    let mut found = Vec::new();
    for (index, section) in sections.iter().enumerate().filter(|(_, section)| [SYMTAB, DYNSYM].contains(&section.kind))
    {
        let names = usize::try_from(section.link).ok().and_then(|link| sections.get(link)).ok_or(CUT)?;
        let names = elf.read(names.offset, names.size)?;
        let versions = sections
            .iter()
            .find(|other| other.kind == VERSYM && usize::try_from(other.link) == Ok(index))
            .map(|versions| elf.read(versions.offset, versions.size))
            .transpose()?;
        let symbols = elf.read(section.offset, section.size)?;
        for (place, symbol) in symbols.chunks_exact(elf.pick(24, 16)).enumerate() {
            let (Some(name), Some(address)) = function(&elf, symbol, &names) else { continue };
            let hidden = versions.as_ref().and_then(|versions| elf.number(versions, place.checked_mul(2)?, 2));
            if hidden.is_some_and(|version| version & HIDDEN != 0) {
                continue;
            }
            // The table of a linker has versions in names: `name@@VERSION` is the one that is meant by the name.
            let name = name.windows(2).position(|pair| pair == b"@@").map_or(name, |at| &name[..at]);
            let Some(offset) = segments.iter().find_map(|segment| segment.offset_of(address)) else { continue };
            if wanted(name) {
                let rank = rank(symbol[elf.pick(4, 12)] >> 4);
                found.push(Function { name: name.to_vec(), offset, rank });
            }
        }
    }
    Ok(found)
}

/// `SHT_SYMTAB`, `SHT_DYNSYM` and `SHT_GNU_versym`.
const SYMTAB: u64 = 2;
const DYNSYM: u64 = 11;
const VERSYM: u64 = 0x6fff_ffff;
/// `VERSYM_HIDDEN`: a version that is only for programs that were linked to it.
const HIDDEN: u64 = 0x8000;
/// `STT_FUNC`.
const FUNC: u8 = 2;
/// `EM_ARM`, whose addresses of functions say in their last bit how these are encoded.
const ARM: u64 = 40;

/// By `STB_GLOBAL` and `STB_WEAK`.
fn rank(binding: u8) -> u8 {
    match binding {
        1 => 2,
        2 => 1,
        _ => 0,
    }
}

/// The name and the address of a symbol, if it is a function of this file.
fn function<'n>(elf: &Elf<'_, impl Source>, symbol: &[u8], names: &'n [u8]) -> (Option<&'n [u8]>, Option<u64>) {
    let defined = elf.number(symbol, elf.pick(6, 14), 2).is_some_and(|section| section != 0);
    if !defined || symbol.get(elf.pick(4, 12)).is_none_or(|info| info & 0xf != FUNC) {
        return (None, None);
    }
    let name = elf.number(symbol, 0, 4).and_then(|at| text(names, at));
    let is_arm = elf.number(&elf.header, 18, 2) == Some(ARM);
    let address = elf.address(symbol, 8, 4).map(|address| if is_arm { address & !1 } else { address });
    (name.filter(|name| !name.is_empty()), address.filter(|&address| address != 0))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::super::elf::damage;
    use super::*;

    /// A function to be found. Its symbol has this name in it, whatever the compiler puts around.
    #[inline(never)]
    fn skelgen_symbols_are_found(number: u32) -> u32 {
        std::hint::black_box(number).wrapping_mul(0x1234_5677)
    }

    #[test]
    fn this_program_is_read() {
        assert_eq!(skelgen_symbols_are_found(1), 0x1234_5677);
        let file = File::open("/proc/self/exe").unwrap();
        let found = functions(&file, |name| name.windows(25).any(|part| part == b"skelgen_symbols_are_found")).unwrap();
        let offset = found.first().expect("test programs have symbols").offset;
        // What lies there in the file is what lies in memory: the place of the mapping tells the one from the other.
        let address = skelgen_symbols_are_found as *const () as usize as u64;
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mapped = maps.lines().find_map(|line| {
            let mut words = line.split(' ');
            let (from, to) = words.next()?.split_once('-')?;
            let number = |text| u64::from_str_radix(text, 16).ok();
            let (from, to) = (number(from)?, number(to)?);
            let file = number(words.nth(1)?)?;
            (from..to).contains(&address).then(|| address - from + file)
        });
        assert_eq!(mapped, Some(offset));
    }

    #[test]
    fn damaged_files_are_errors() {
        let whole = std::fs::read("/bin/true").or_else(|_| std::fs::read("/proc/self/exe")).unwrap();
        let all = functions(&whole, |_| true);
        assert!(all.is_ok(), "{all:?}");
        damage(&whole, |damaged| {
            let _ = functions(damaged, |_| true);
        });
        assert_eq!(functions(&b"#!/bin/sh".to_vec(), |_| true), Err(Fault::Bad("it is no ELF file")));
    }
}
