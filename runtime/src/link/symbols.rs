//! Where functions are in program files: names to offsets in the file, as the kernel wants them for uprobes.
//!
//! A skeleton's own object is never read where it runs. This is about files of others, which are known only there: the libc of the
//! machine, a server that was updated since. So nothing is read here but what leads from a name to an offset: section headers, the two
//! symbol tables, and the program headers that say which part of the file an address is. Files can be anything, so every number in them
//! is checked against the file's length before it is used. Knows neither programs nor the kernel.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

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

/// Why a file has no functions to offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It could not be read: the error number.
    Io(i32),
    /// It is none that could have them, as this says.
    Bad(&'static str),
}

/// Bytes that can be read anywhere.
pub(super) trait Source {
    /// How many there are.
    fn len(&self) -> Result<u64, Fault>;

    /// Those of a range that lies within them.
    fn fill(&self, to: &mut [u8], offset: u64) -> Result<(), Fault>;
}

impl Source for File {
    fn len(&self) -> Result<u64, Fault> {
        self.metadata().map(|data| data.len()).map_err(|error| fault(&error))
    }

    fn fill(&self, to: &mut [u8], offset: u64) -> Result<(), Fault> {
        self.read_exact_at(to, offset).map_err(|error| fault(&error))
    }
}

fn fault(error: &std::io::Error) -> Fault {
    error.raw_os_error().map_or(CUT, Fault::Io)
}

const CUT: Fault = Fault::Bad("it is cut short or damaged");

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
            let (Some(name), Some(address)) = elf.function(symbol, &names) else { continue };
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
/// `PT_LOAD`.
const LOAD: u64 = 1;
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

struct Elf<'a, S> {
    source: &'a S,
    len: u64,
    wide: bool,
    header: [u8; 64],
}

struct Section {
    kind: u64,
    offset: u64,
    size: u64,
    link: u64,
}

struct Segment {
    offset: u64,
    address: u64,
    size: u64,
}

impl Segment {
    fn offset_of(&self, address: u64) -> Option<u64> {
        let within = address.checked_sub(self.address).filter(|&within| within < self.size)?;
        self.offset.checked_add(within)
    }
}

impl<'a, S: Source> Elf<'a, S> {
    fn open(source: &'a S) -> Result<Self, Fault> {
        let len = source.len()?;
        let mut header = [0; 64];
        let size = usize::try_from(len).unwrap_or(usize::MAX).min(header.len());
        source.fill(&mut header[..size], 0)?;
        if !header.starts_with(b"\x7fELF") {
            return Err(Fault::Bad("it is no ELF file"));
        }
        let wide = match header[4] {
            1 => false,
            2 => true,
            _ => return Err(Fault::Bad("it is an ELF file of an unknown class")),
        };
        if header[5] != if cfg!(target_endian = "little") { 1 } else { 2 } {
            return Err(Fault::Bad("it is of a machine with the other order of bytes"));
        }
        Ok(Self { source, len, wide, header })
    }

    /// What files of 64 and of 32 bits differ in.
    fn pick<T>(&self, wide: T, narrow: T) -> T {
        if self.wide { wide } else { narrow }
    }

    fn number(&self, bytes: &[u8], at: usize, width: usize) -> Option<u64> {
        let bytes = bytes.get(at..at.checked_add(width)?)?;
        let mut number = [0; 8];
        if cfg!(target_endian = "little") {
            number[..width].copy_from_slice(bytes);
        } else {
            number[8 - width..].copy_from_slice(bytes);
        }
        Some(u64::from_ne_bytes(number))
    }

    /// A number that is as wide as the file's addresses.
    fn address(&self, bytes: &[u8], wide: usize, narrow: usize) -> Option<u64> {
        self.number(bytes, self.pick(wide, narrow), self.pick(8, 4))
    }

    fn read(&self, offset: u64, size: u64) -> Result<Vec<u8>, Fault> {
        let end = offset.checked_add(size).ok_or(CUT)?;
        if end > self.len {
            return Err(CUT);
        }
        let mut bytes = vec![0; usize::try_from(size).map_err(|_| CUT)?];
        self.source.fill(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// The entries of one of the two tables of headers, at least as long as we read them.
    fn table(&self, offset: u64, entry: u64, count: u64, least: u64) -> Result<(Vec<u8>, usize), Fault> {
        if count == 0 {
            return Ok((Vec::new(), 1));
        }
        if entry < least {
            return Err(CUT);
        }
        let bytes = self.read(offset, entry.checked_mul(count).ok_or(CUT)?)?;
        Ok((bytes, usize::try_from(entry).map_err(|_| CUT)?))
    }

    fn segments(&self) -> Result<Vec<Segment>, Fault> {
        let half = |wide, narrow| self.number(&self.header, self.pick(wide, narrow), 2).ok_or(CUT);
        let offset = self.address(&self.header, 32, 28).ok_or(CUT)?;
        let (bytes, entry) = self.table(offset, half(54, 42)?, half(56, 44)?, self.pick(56, 32))?;
        let segment = |header: &[u8]| {
            (self.number(header, 0, 4)? == LOAD).then_some(())?;
            Some(Segment {
                offset: self.address(header, 8, 4)?,
                address: self.address(header, 16, 8)?,
                size: self.address(header, 32, 16)?,
            })
        };
        Ok(bytes.chunks_exact(entry).filter_map(segment).collect())
    }

    fn sections(&self) -> Result<Vec<Section>, Fault> {
        let half = |wide, narrow| self.number(&self.header, self.pick(wide, narrow), 2).ok_or(CUT);
        let offset = self.address(&self.header, 40, 32).ok_or(CUT)?;
        let (entry, mut count, least) = (half(58, 46)?, half(60, 48)?, self.pick(64, 40));
        if count == 0 && offset != 0 {
            // More than fit into the header: the first section says how many.
            let (first, _) = self.table(offset, entry, 1, least)?;
            count = self.address(&first, 32, 20).ok_or(CUT)?;
        }
        let (bytes, entry) = self.table(offset, entry, count, least)?;
        let section = |header: &[u8]| {
            Some(Section {
                kind: self.number(header, 4, 4)?,
                offset: self.address(header, 24, 16)?,
                size: self.address(header, 32, 20)?,
                link: self.number(header, self.pick(40, 24), 4)?,
            })
        };
        bytes.chunks_exact(entry).map(|header| section(header).ok_or(CUT)).collect()
    }

    /// The name and the address of a symbol, if it is a function of this file.
    fn function<'n>(&self, symbol: &[u8], names: &'n [u8]) -> (Option<&'n [u8]>, Option<u64>) {
        let defined = self.number(symbol, self.pick(6, 14), 2).is_some_and(|section| section != 0);
        if !defined || symbol.get(self.pick(4, 12)).is_none_or(|info| info & 0xf != FUNC) {
            return (None, None);
        }
        let name = self.number(symbol, 0, 4).and_then(|at| names.get(usize::try_from(at).ok()?..));
        let name = name.and_then(|name| name.split(|&byte| byte == 0).next());
        let is_arm = self.number(&self.header, 18, 2) == Some(ARM);
        let address = self.address(symbol, 8, 4).map(|address| if is_arm { address & !1 } else { address });
        (name.filter(|name| !name.is_empty()), address.filter(|&address| address != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Source for Vec<u8> {
        fn len(&self) -> Result<u64, Fault> {
            Ok(self.as_slice().len() as u64)
        }

        fn fill(&self, to: &mut [u8], offset: u64) -> Result<(), Fault> {
            let from = usize::try_from(offset).map_err(|_| CUT)?;
            let end = from.checked_add(to.len()).ok_or(CUT)?;
            to.copy_from_slice(self.get(from..end).ok_or(CUT)?);
            Ok(())
        }
    }

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
        // Cut anywhere in what is read: the beginning byte by byte, the rest in steps.
        for len in (0..whole.len().min(512)).chain((0..whole.len()).step_by(97)) {
            let _ = functions(&whole[..len].to_vec(), |_| true);
        }
        // Each byte of the header and of the headers of sections in turn another number.
        let mut damaged = whole.clone();
        let tail = whole.len().saturating_sub(4096)..whole.len();
        for at in (0..whole.len().min(1024)).chain(tail) {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                damaged[at] = value;
                let _ = functions(&damaged, |_| true);
            }
            damaged[at] = whole[at];
        }
        assert_eq!(functions(&b"#!/bin/sh".to_vec(), |_| true), Err(Fault::Bad("it is no ELF file")));
    }
}
