//! Program files as far as probes need them: which sections they have, and which part of the file an address is.
//!
//! A skeleton's own object is never read where it runs. This is about files of others, which are known only there: the libc of the
//! machine, a server that was updated since. Such files can be anything, so every number in them is checked against the file's length
//! before it is used. Knows no symbols, notes or programs.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// Why a file has nothing to offer.
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

pub(super) const CUT: Fault = Fault::Bad("it is cut short or damaged");

/// `PT_LOAD`.
const LOAD: u64 = 1;
/// `SHT_NOBITS`: a section that has a size, but no bytes in the file.
const NOBITS: u64 = 8;

/// A file with its header.
pub(super) struct Elf<'a, S> {
    source: &'a S,
    len: u64,
    wide: bool,
    pub(super) header: [u8; 64],
}

/// A section: what it is, where, and which other it belongs to.
pub(super) struct Section {
    /// Where its name is among those of sections.
    pub(super) name: u64,
    pub(super) kind: u64,
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) link: u64,
}

/// A part of the file that is loaded.
pub(super) struct Segment {
    offset: u64,
    address: u64,
    size: u64,
}

impl Segment {
    /// Where an address is in the file, if it is in this part.
    pub(super) fn offset_of(&self, address: u64) -> Option<u64> {
        let within = address.checked_sub(self.address).filter(|&within| within < self.size)?;
        self.offset.checked_add(within)
    }
}

impl<'a, S: Source> Elf<'a, S> {
    /// Reads the header.
    pub(super) fn open(source: &'a S) -> Result<Self, Fault> {
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
    pub(super) fn pick<T>(&self, wide: T, narrow: T) -> T {
        if self.wide { wide } else { narrow }
    }

    /// A number of so many bytes.
    pub(super) fn number(&self, bytes: &[u8], at: usize, width: usize) -> Option<u64> {
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
    pub(super) fn address(&self, bytes: &[u8], wide: usize, narrow: usize) -> Option<u64> {
        self.number(bytes, self.pick(wide, narrow), self.pick(8, 4))
    }

    /// A range of the file.
    pub(super) fn read(&self, offset: u64, size: u64) -> Result<Vec<u8>, Fault> {
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

    /// The parts that are loaded.
    pub(super) fn segments(&self) -> Result<Vec<Segment>, Fault> {
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

    /// The sections.
    pub(super) fn sections(&self) -> Result<Vec<Section>, Fault> {
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
            let kind = self.number(header, 4, 4)?;
            Some(Section {
                name: self.number(header, 0, 4)?,
                kind,
                address: self.address(header, 16, 12)?,
                offset: self.address(header, 24, 16)?,
                size: if kind == NOBITS { 0 } else { self.address(header, 32, 20)? },
                link: self.number(header, self.pick(40, 24), 4)?,
            })
        };
        bytes.chunks_exact(entry).map(|header| section(header).ok_or(CUT)).collect()
    }

    /// The bytes in which the names of sections are; none if the file has none.
    pub(super) fn section_names(&self, sections: &[Section]) -> Result<Vec<u8>, Fault> {
        let index = self.number(&self.header, self.pick(62, 50), 2).ok_or(CUT)?;
        // `SHN_XINDEX`: the number does not fit, and the first section says it.
        let index = if index == 0xffff { sections.first().map_or(0, |first| first.link) } else { index };
        match usize::try_from(index).ok().and_then(|index| sections.get(index)) {
            Some(names) => self.read(names.offset, names.size),
            None => Ok(Vec::new()),
        }
    }
}

/// The text that begins at this place and ends with a zero byte.
pub(super) fn text(bytes: &[u8], at: u64) -> Option<&[u8]> {
    bytes.get(usize::try_from(at).ok()?..)?.split(|&byte| byte == 0).next()
}

/// Tries a reader on damaged files: it may fail, but must not panic.
#[cfg(test)]
pub(super) fn damage(whole: &[u8], read: impl Fn(&Vec<u8>)) {
    // Cut anywhere: the beginning byte by byte, the rest in steps.
    for len in (0..whole.len().min(512)).chain((0..whole.len()).step_by(97)) {
        read(&whole[..len].to_vec());
    }
    // Each byte of the header and of the headers of sections, which are at the end, in turn another number.
    let mut damaged = whole.to_vec();
    let tail = whole.len().saturating_sub(4096)..whole.len();
    for at in (0..whole.len().min(1024)).chain(tail) {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            damaged[at] = value;
            read(&damaged);
        }
        damaged[at] = whole[at];
    }
}

#[cfg(test)]
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
