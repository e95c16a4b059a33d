//! The parts of ELF files that probes need: sections, segments and symbols.
//!
//! This module reads the executables and shared libraries that programs attach to, such as the libc of the system. (A
//! skeleton's own object is never read at run time.) The crate `object` defines the layout of ELF; this module reads only
//! the needed parts of a file and limits their size, because the file is untrusted. Files are read, not mapped: access
//! to a mapped file that is truncated kills the process. This module reads symbols and does not choose among them.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::ffi::CStr;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use object::elf::{self, ProgramHeader64, SectionHeader64, Sym64};
use object::read::ReadRef;
use object::read::elf::{FileHeader, ProgramHeader as _, SectionHeader as _, Sym as _};
use object::{NativeEndian, U32, U64};

use crate::error::{Errno, Error, Result, Step, Subject};

/// The reason why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The file could not be read, with this error number.
    Io(i32),
    /// The content of the file is not valid, for this reason.
    Bad(Cow<'static, str>),
}

pub(super) const CUT: Fault = bad("the file is truncated or damaged");

const fn bad(why: &'static str) -> Fault {
    Fault::Bad(Cow::Borrowed(why))
}

/// Reads an ELF file to look for `what`.
///
/// # Errors
/// If the file cannot be opened or read, or is not an ELF file for this architecture.
pub(super) fn read_file<T>(path: &Path, what: &str, read: impl FnOnce(&Elf<'_>) -> Result<T, Fault>) -> Result<T> {
    let reading = || format!("cannot look for {what} in {}", path.display());
    // Opening a FIFO must not wait for a writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let of_path = |error: Error| error.during(Step::FindSymbol).about(Subject::Path(path));
    let file = file.map_err(|error| of_path(Error::io(reading(), &error)))?;
    let metadata = file.metadata().map_err(|error| of_path(Error::io(reading(), &error)))?;
    let result = if metadata.is_file() {
        read_source(&Source { bytes: &file, len: metadata.len() }, read)
    } else {
        Err(bad("the file is not a regular file"))
    };
    result.map_err(|fault| match fault {
        Fault::Io(number) => of_path(Error::refused(reading(), Errno::from_raw(number))),
        Fault::Bad(why) => of_path(Error::malformed(format_args!("{}: {why}", reading()))),
    })
}

/// Reads an ELF file from memory.
#[cfg(any(test, fuzzing))]
pub(super) fn read_bytes<T>(bytes: &[u8], read: impl FnOnce(&Elf<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
    read_source(&Source { bytes: &bytes, len: bytes.len() as u64 }, read)
}

fn read_source<T>(source: &Source<'_>, read: impl FnOnce(&Elf<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
    let data = Data { source, first: OnceCell::new(), failed: Cell::new(0) };
    let result = Elf::open(&data).and_then(|elf| read(&elf));
    match (result, data.failed.get()) {
        // `object` reports a failed read as damaged content.
        (Err(_), errno) if errno != 0 => Err(Fault::Io(errno)),
        (result, _) => result,
    }
}

/// Bytes with random access, and their length.
struct Source<'s> {
    bytes: &'s dyn ReadAt,
    len: u64,
}

trait ReadAt {
    /// Fills a buffer with the bytes at this position.
    fn read_at(&self, to: &mut [u8], position: u64) -> std::io::Result<()>;
}

impl ReadAt for File {
    fn read_at(&self, to: &mut [u8], position: u64) -> std::io::Result<()> {
        self.read_exact_at(to, position)
    }
}

#[cfg(any(test, fuzzing))]
impl ReadAt for &[u8] {
    fn read_at(&self, to: &mut [u8], position: u64) -> std::io::Result<()> {
        let from = usize::try_from(position).ok().and_then(|from| self.get(from..)?.get(..to.len()));
        to.copy_from_slice(from.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// The source that `object` reads from. Each range is read when it is first needed and stays in memory until the source
/// is dropped. (The `ReadCache` of `object` does this with hash tables, which are more code than this module's list.)
pub(super) struct Data<'s> {
    source: &'s Source<'s>,
    first: OnceCell<Box<Range>>,
    /// The error number of a failed read, which `object` does not return.
    failed: Cell<i32>,
}

struct Range {
    begin: u64,
    bytes: Vec<u8>,
    next: OnceCell<Box<Self>>,
}

impl<'d> ReadRef<'d> for &'d Data<'_> {
    fn len(self) -> Result<u64, ()> {
        Ok(self.source.len)
    }

    fn read_bytes_at(self, begin: u64, size: u64) -> Result<&'d [u8], ()> {
        let mut next = &self.first;
        // The list is short: headers, and the sections that are used.
        while let Some(range) = next.get() {
            if range.begin == begin && range.bytes.len() as u64 == size {
                return Ok(&range.bytes);
            }
            next = &range.next;
        }
        if size > MOST || begin.checked_add(size).is_none_or(|end| end > self.source.len) {
            return Err(());
        }
        let mut bytes = vec![0; usize::try_from(size).map_err(drop)?];
        let failed = |error: std::io::Error| self.failed.set(error.raw_os_error().unwrap_or(0));
        self.source.bytes.read_at(&mut bytes, begin).map_err(failed)?;
        Ok(&next.get_or_init(|| Box::new(Range { begin, bytes, next: OnceCell::new() })).bytes)
    }

    /// Not supported: string tables are read as a whole, and searched for the NUL in memory.
    fn read_bytes_at_until(self, _: std::ops::Range<u64>, _: u8) -> Result<&'d [u8], ()> {
        Err(())
    }
}

/// The maximum number of bytes in one read. A sparse file can claim any size.
const MOST: u64 = 1 << 30;
/// The maximum number of sections and of segments.
const MOST_HEADERS: u32 = 1 << 20;

/// An ELF file whose headers were read. Headers of 32-bit files are converted to those of 64-bit files, so that all
/// other code reads one class.
pub(super) struct Elf<'d> {
    data: &'d Data<'d>,
    is_64: bool,
    is_arm: bool,
    is_fixed: bool,
    pub(super) sections: Vec<Section>,
    /// The index of the section with the names of sections.
    names: Option<u32>,
    segments: Vec<Segment>,
}

pub(super) type Section = SectionHeader64<NativeEndian>;
pub(super) type Segment = ProgramHeader64<NativeEndian>;

/// Returns the file offset of an address, if one of these segments loads it.
pub(super) fn offset_in(segments: &[Segment], address: u64) -> Option<u64> {
    segments.iter().find_map(|segment| {
        let within = address.checked_sub(segment.p_vaddr(NativeEndian))?;
        let within = (within < segment.p_filesz(NativeEndian)).then_some(within)?;
        segment.p_offset(NativeEndian).checked_add(within)
    })
}

/// Returns the range of the file that a segment loads.
pub(super) fn file_range(segment: &Segment) -> std::ops::Range<u64> {
    let begin = segment.p_offset(NativeEndian);
    begin..begin.saturating_add(segment.p_filesz(NativeEndian))
}

/// Creates a segment that loads this range of a file, for tests.
#[cfg(test)]
pub(super) fn loading(range: std::ops::Range<u64>) -> Segment {
    let wide = |number| U64::new(NativeEndian, number);
    let len = wide(range.end - range.start);
    Segment {
        p_type: U32::new(NativeEndian, elf::PT_LOAD),
        p_flags: U32::new(NativeEndian, elf::PF_R),
        p_offset: wide(range.start),
        p_vaddr: wide(range.start),
        p_paddr: wide(0),
        p_filesz: len,
        p_memsz: len,
        p_align: wide(1),
    }
}

/// A kind of symbol table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// `.dynsym`: the symbols that the file exports and imports.
    Dynamic,
    /// `.symtab`: all symbols, unless the file was stripped.
    Full,
}

/// A symbol.
#[derive(Clone, Copy)]
pub(super) struct Symbol<'d> {
    /// The name in the table. In `.symtab`, a version can follow it.
    pub(super) name: &'d [u8],
    /// The index in the table.
    pub(super) index: usize,
    header: Sym64<NativeEndian>,
}

impl Symbol<'_> {
    pub(super) fn is_function(&self) -> bool {
        self.header.st_type() == elf::STT_FUNC
    }

    pub(super) fn is_indirect(&self) -> bool {
        self.header.st_type() == elf::STT_GNU_IFUNC
    }

    /// Returns whether the symbol has no type, as symbols of assembler code without `.type`.
    pub(super) fn is_untyped(&self) -> bool {
        self.header.st_type() == elf::STT_NOTYPE
    }

    /// Returns the size of the function in bytes.
    pub(super) fn size(&self) -> u64 {
        self.header.st_size(NativeEndian)
    }

    pub(super) fn is_weak(&self) -> bool {
        self.header.st_bind() == elf::STB_WEAK
    }

    pub(super) fn is_defined(&self) -> bool {
        !self.header.is_undefined(NativeEndian)
    }
}

impl<'d> Elf<'d> {
    fn open(data: &'d Data<'d>) -> Result<Self, Fault> {
        let ident = data.read_bytes_at(0, 16).map_err(|()| bad("the file is not an ELF file"))?;
        if !ident.starts_with(&elf::ELFMAG) {
            return Err(bad("the file is not an ELF file"));
        }
        let endians = [(1, "little-endian"), (2, "big-endian")];
        let [(own, native), (_, other)] =
            if cfg!(target_endian = "little") { endians } else { [endians[1], endians[0]] };
        if [1, 2].contains(&ident[5]) && ident[5] != own {
            return Err(Fault::Bad(format!("the file is {other}, but this system is {native}").into()));
        }
        match ident[4] {
            1 => Self::open_class::<elf::FileHeader32<NativeEndian>>(data),
            2 => Self::open_class::<elf::FileHeader64<NativeEndian>>(data),
            _ => Err(bad("the file is an ELF file of an unknown class")),
        }
    }

    fn open_class<H: FileHeader<Endian = NativeEndian>>(data: &'d Data<'d>) -> Result<Self, Fault> {
        let header = H::parse(data).map_err(|_| CUT)?;
        let machine = header.e_machine(NativeEndian);
        if !MACHINES.is_empty() && !MACHINES.contains(&machine) {
            let why =
                format!("the file is for a different architecture (ELF machine {}, not {})", machine.0, MACHINES[0].0);
            return Err(Fault::Bad(why.into()));
        }
        if ![elf::ET_EXEC, elf::ET_DYN].contains(&header.e_type(NativeEndian)) {
            return Err(bad("the file is not an executable or shared library, but an object file or a core dump"));
        }
        let count = |number: object::read::Result<u32>| number.ok().filter(|&number| number <= MOST_HEADERS).ok_or(CUT);
        count(header.shnum(NativeEndian, data))?;
        count(header.phnum(NativeEndian, data))?;
        let sections = header.section_headers(NativeEndian, data).map_err(|_| CUT)?;
        let segments = header.program_headers(NativeEndian, data).map_err(|_| CUT)?;
        Ok(Self {
            data,
            is_64: H::is_type_64_sized(),
            is_arm: machine == elf::EM_ARM,
            is_fixed: header.e_type(NativeEndian) == elf::ET_EXEC,
            sections: sections.iter().map(section).collect(),
            names: header.shstrndx(NativeEndian, data).ok(),
            segments: segments.iter().map(segment).filter(|it| it.p_type(NativeEndian) == elf::PT_LOAD).collect(),
        })
    }

    /// Returns whether the addresses are the same in every process: the file is not position-independent.
    pub(super) fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    /// Returns the source that `object` reads from.
    pub(super) fn data(&self) -> &'d Data<'d> {
        self.data
    }

    /// Returns the size of an address in this file, in bytes.
    pub(super) fn address_size(&self) -> usize {
        if self.is_64 { 8 } else { 4 }
    }

    /// Returns the file offset of an address, if a segment loads it.
    pub(super) fn offset_of(&self, address: u64) -> Option<u64> {
        offset_in(&self.segments, address)
    }

    /// Returns the loaded segments.
    pub(super) fn segments(&self) -> Vec<Segment> {
        self.segments.clone()
    }

    /// Returns the file offset of a function's code, if the function has code in the file.
    pub(super) fn code_of(&self, symbol: &Symbol<'_>) -> Option<u64> {
        let address = symbol.header.st_value(NativeEndian);
        // On Arm, the lowest bit of a function's address selects the instruction set (Thumb) and is not part of the
        // address.
        let address = if self.is_arm { address & !1 } else { address };
        (symbol.is_defined() && address != 0).then(|| self.offset_of(address))?
    }

    /// Returns the content of a section.
    pub(super) fn content(&self, section: &Section) -> Result<&'d [u8], Fault> {
        if section.sh_size(NativeEndian) > MOST && section.sh_type(NativeEndian) != elf::SHT_NOBITS {
            let size = section.sh_size(NativeEndian);
            return Err(Fault::Bad(format!("a section has {size} bytes, more than the limit of {MOST}").into()));
        }
        section.data(NativeEndian, self.data).map_err(|_| CUT)
    }

    /// Returns the string table of a section.
    pub(super) fn strings(&self, section: &Section) -> Result<&'d [u8], Fault> {
        self.content(self.sections.get(section.link(NativeEndian).0).ok_or(CUT)?)
    }

    /// Returns the address of the section with this name. A file without section names has none.
    pub(super) fn address_of_section(&self, name: &[u8]) -> Result<Option<u64>, Fault> {
        let names = self.names.and_then(|names| self.sections.get(usize::try_from(names).ok()?));
        let names = names.map_or(Ok(&[][..]), |names| self.content(names))?;
        let found = self.sections.iter().find(|section| text(names, section.sh_name.get(NativeEndian)) == Some(name));
        Ok(found.map(|section| section.sh_addr(NativeEndian)))
    }

    /// Returns the first section of this type.
    pub(super) fn section(&self, kind: elf::SectionType) -> Option<&Section> {
        self.sections.iter().find(|section| section.sh_type(NativeEndian) == kind)
    }

    /// Returns a symbol table, if the file has it.
    pub(super) fn table(&self, table: Table) -> Option<&Section> {
        self.section(match table {
            Table::Dynamic => elf::SHT_DYNSYM,
            Table::Full => elf::SHT_SYMTAB,
        })
    }

    /// Calls `take` with each symbol that has a name, in the order of the table.
    pub(super) fn symbols(&self, table: Table, take: &mut dyn FnMut(Symbol<'d>)) -> Result<(), Fault> {
        let Some(section) = self.table(table) else { return Ok(()) };
        let strings = self.strings(section)?;
        let bytes = self.content(section)?;
        if self.is_64 { each::<Sym64<NativeEndian>>(bytes, strings, take) } else { each::<Sym32>(bytes, strings, take) }
    }
}

/// Returns the NUL-terminated string at this offset of a string table.
pub(super) fn text(strings: &[u8], position: u32) -> Option<&[u8]> {
    CStr::from_bytes_until_nul(strings.get(usize::try_from(position).ok()?..)?).ok().map(CStr::to_bytes)
}

type Sym32 = elf::Sym32<NativeEndian>;

fn each<'d, S: object::read::elf::Sym<Endian = NativeEndian>>(
    bytes: &'d [u8],
    strings: &'d [u8],
    take: &mut dyn FnMut(Symbol<'d>),
) -> Result<(), Fault> {
    let count = bytes.len() / size_of::<S>();
    let (symbols, _) = object::pod::slice_from_bytes::<S>(bytes, count).map_err(|()| CUT)?;
    for (index, symbol) in symbols.iter().enumerate() {
        let Some(name) = text(strings, symbol.st_name(NativeEndian)) else { continue };
        if !name.is_empty() {
            take(Symbol { name, index, header: widened(symbol) });
        }
    }
    Ok(())
}

fn widened<S: object::read::elf::Sym<Endian = NativeEndian>>(symbol: &S) -> Sym64<NativeEndian> {
    Sym64 {
        st_name: U32::new(NativeEndian, symbol.st_name(NativeEndian)),
        st_info: symbol.st_info(),
        st_other: symbol.st_other(),
        st_shndx: object::U16::new(NativeEndian, symbol.st_shndx(NativeEndian)),
        st_value: U64::new(NativeEndian, symbol.st_value(NativeEndian).into()),
        st_size: U64::new(NativeEndian, symbol.st_size(NativeEndian).into()),
    }
}

fn section<S: object::read::elf::SectionHeader<Endian = NativeEndian>>(it: &S) -> Section {
    let (e, wide) = (NativeEndian, |number: S::Word| U64::new(NativeEndian, number.into()));
    SectionHeader64 {
        sh_name: U32::new(e, it.sh_name(e)),
        sh_type: U32::new(e, it.sh_type(e)),
        sh_flags: U64::new(e, it.sh_flags(e)),
        sh_addr: wide(it.sh_addr(e)),
        sh_offset: wide(it.sh_offset(e)),
        sh_size: wide(it.sh_size(e)),
        sh_link: U32::new(e, it.sh_link(e)),
        sh_info: U32::new(e, it.sh_info(e)),
        sh_addralign: wide(it.sh_addralign(e)),
        sh_entsize: wide(it.sh_entsize(e)),
    }
}

fn segment<P: object::read::elf::ProgramHeader<Endian = NativeEndian>>(it: &P) -> ProgramHeader64<NativeEndian> {
    let (e, wide) = (NativeEndian, |number: P::Word| U64::new(NativeEndian, number.into()));
    ProgramHeader64 {
        p_type: U32::new(e, it.p_type(e)),
        p_flags: U32::new(e, it.p_flags(e)),
        p_offset: wide(it.p_offset(e)),
        p_vaddr: wide(it.p_vaddr(e)),
        p_paddr: wide(it.p_paddr(e)),
        p_filesz: wide(it.p_filesz(e)),
        p_memsz: wide(it.p_memsz(e)),
        p_align: wide(it.p_align(e)),
    }
}

/// The ELF machines that this architecture executes; empty on other architectures, where the machine is not checked.
const MACHINES: &[elf::Machine] = if cfg!(target_arch = "x86_64") {
    &[elf::EM_X86_64, elf::EM_386]
} else if cfg!(target_arch = "x86") {
    // A 64-bit kernel also runs 32-bit files.
    &[elf::EM_386, elf::EM_X86_64]
} else if cfg!(target_arch = "aarch64") {
    &[elf::EM_AARCH64, elf::EM_ARM]
} else if cfg!(target_arch = "arm") {
    &[elf::EM_ARM, elf::EM_AARCH64]
} else if cfg!(target_arch = "s390x") {
    &[elf::EM_S390]
} else if cfg!(any(target_arch = "riscv64", target_arch = "riscv32")) {
    &[elf::EM_RISCV]
} else {
    &[]
};

impl fmt::Debug for Elf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elf").finish_non_exhaustive()
    }
}

/// Runs a reader on damaged files: it may fail, but must not panic.
#[cfg(test)]
pub(super) fn damage(whole: &[u8], read: impl Fn(&[u8])) {
    // Truncated files: the beginning byte by byte, the rest in steps.
    for len in (0..whole.len().min(512)).chain((0..whole.len()).step_by(97)) {
        read(&whole[..len]);
    }
    // Each byte of the file header and of the section headers, which are at the end, is changed in turn.
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
