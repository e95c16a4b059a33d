//! Ids of kernel types by name, from one pass over /sys/kernel/btf/vmlinux.
//!
//! No index of the whole is made: one pass over the strings finds where the wanted names are, one over the types finds which
//! have them, and both stop as soon as nothing is left to find. Both take the file in pieces, so a kernel whose BTF cannot be
//! mapped into memory is read through one small buffer. Knows names and ids; not who wants them.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::causes;
use crate::abi::SymbolKind;
use crate::error::{Errno, Error, Result};
use crate::sys::btf as sys;

/// Where the kernel's BTF is, and that of its modules.
pub(crate) const FOLDER: &str = "/sys/kernel/btf";

/// How much is read at a time where the file cannot be mapped. Larger than any one string or type record need be in practice;
/// grown for one that is not.
const CHUNK: usize = 64 << 10;

/// A name to find, and what was found.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: SymbolKind,
    /// Where the name is in the strings, once seen; a module's types name strings of vmlinux too.
    name_offset: Option<u32>,
    /// The type's id.
    pub(crate) id: Option<u32>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(name: &'a str, kind: SymbolKind) -> Self {
        Self { name, kind, name_offset: None, id: None }
    }
}

/// How much of the numbering of types and strings a base has taken; nothing for vmlinux itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Base {
    types: u32,
    strings: u32,
}

/// Finds what it can of the wanted names in the BTF of the running kernel, whose ids no other file has.
pub(crate) fn find(wanted: &mut [Wanted<'_>]) -> Result<()> {
    let mut source = Source::open(&Path::new(FOLDER).join("vmlinux"), true)?;
    source.find(Base::default(), wanted)
}

/// For each name the place of its module, if it has one, and the modules.
type InModules = (Vec<Option<usize>>, Vec<Result<OwnedFd>>);

/// Finds in the modules' BTF what was not found yet, each in the first module that has it, in one pass over each. For every name the
/// place of its module among those that come with it, opened if this process may.
pub(crate) fn find_in_modules(wanted: &mut [Wanted<'_>]) -> Result<InModules> {
    let nowhere = vec![None; wanted.len()];
    let vmlinux = Path::new(FOLDER).join("vmlinux");
    if wanted.iter().all(|wanted| wanted.id.is_some()) {
        return Ok((nowhere, Vec::new()));
    }
    let Ok(entries) = std::fs::read_dir(FOLDER) else {
        return Ok((nowhere, Vec::new()));
    };
    let mut modules: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| *path != vmlinux).collect();
    modules.sort();
    if modules.is_empty() {
        return Ok((nowhere, Vec::new()));
    }
    let base = Source::open(&vmlinux, true)?.measure()?;
    // A module may go at any moment; then it has not what we look for.
    let sources = modules.iter().filter_map(|path| Some((path, Source::open(path, true).ok()?)));
    let (places, found) = find_in(sources, base, wanted)?;
    let open = |path: &PathBuf| {
        let module = path.file_name().unwrap_or_default().to_string_lossy();
        // Without its module the id would be that of something else.
        open_module(&module)?
            .ok_or_else(|| Error::invalid(format_args!("kernel module `{module}` has gone while it was looked at")))
    };
    Ok((places, found.into_iter().map(open).collect()))
}

/// For each name the place of its module among those that have one of the names.
fn find_in<T>(
    sources: impl Iterator<Item = (T, Source)>,
    base: Base,
    wanted: &mut [Wanted<'_>],
) -> Result<(Vec<Option<usize>>, Vec<T>)> {
    let in_vmlinux: Vec<_> = wanted.iter().map(|wanted| wanted.name_offset).collect();
    let mut places = vec![None; wanted.len()];
    let mut found = Vec::new();
    for (module, mut source) in sources {
        let missing: Vec<usize> = (0..wanted.len()).filter(|&index| wanted[index].id.is_none()).collect();
        if missing.is_empty() {
            break;
        }
        // Where one module has a name among its strings says nothing about the next.
        for &index in &missing {
            wanted[index].name_offset = in_vmlinux[index];
        }
        source.find(base, wanted)?;
        let mut has_any = false;
        for index in missing.into_iter().filter(|&index| wanted[index].id.is_some()) {
            places[index] = Some(found.len());
            has_any = true;
        }
        if has_any {
            found.push(module);
        }
    }
    Ok((places, found))
}

/// Opens the BTF of this module.
pub(crate) fn open_module(name: &str) -> Result<Option<OwnedFd>> {
    let refused = |errno: Errno| {
        let error = Error::refused(format_args!("looking for the BTF of kernel module `{name}`"), errno);
        match errno.raw() {
            libc::EPERM => {
                error.note("that takes CAP_SYS_ADMIN, in the first user namespace: a BPF token does not give it")
            }
            _ => error,
        }
    };
    let mut id = 0;
    while let Some(next) = sys::next_id(id).map_err(refused)? {
        id = next;
        let fd = match sys::open(id, None) {
            Ok(fd) => fd,
            // What has gone since we learnt its id was another's.
            Err(errno) if errno.raw() == libc::ENOENT => continue,
            Err(errno) => return Err(refused(errno)),
        };
        if sys::kernel_name(fd.as_fd()).map_err(refused)?.as_deref() == Some(name) {
            return Ok(Some(fd));
        }
    }
    Ok(None)
}

/// A file of BTF.
struct Source {
    file: File,
    path: String,
    mapped: Option<sys::MappedFile>,
    types: Section,
    strings: Section,
}

/// A section of it.
#[derive(Clone, Copy, Debug)]
struct Section {
    offset: u64,
    len: u64,
}

impl Source {
    fn open(path: &Path, sysfs: bool) -> Result<Self> {
        let name = path.display().to_string();
        let failed = |error: std::io::Error| {
            Error::io(format_args!("reading the kernel's BTF at {name}"), &error)
                .note(format_args!("the kernel's types are looked up there: {}", causes::no_btf(&error)))
        };
        let file = File::open(path).map_err(failed)?;
        let mut header = [0_u8; 24];
        file.read_exact_at(&mut header, 0).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let field = |at: usize| {
            header.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |&bytes| u32::from_ne_bytes(bytes))
        };
        // Magic 0xeb9f in this machine's order, version 1.
        if header[..2] != 0xeb9f_u16.to_ne_bytes() || header[2] != 1 {
            return Err(Error::invalid(format_args!("{name} is no BTF of this machine")));
        }
        let section = |at| Section { offset: u64::from(field(4)) + u64::from(field(at)), len: field(at + 4).into() };
        let (types, strings) = (section(8), section(16));
        if [types, strings].iter().any(|section| section.offset + section.len > len) {
            return Err(Error::invalid(format_args!("{name} is shorter than its header says")));
        }
        // Only of the kernel's own files may it be assumed that they never change.
        let mapped = usize::try_from(len).ok().filter(|_| sysfs).and_then(|len| sys::MappedFile::of_sysfs(&file, len));
        Ok(Self { file, path: name, mapped, types, strings })
    }

    fn find(&mut self, base: Base, wanted: &mut [Wanted<'_>]) -> Result<()> {
        let mut strings = StringScan::new(wanted, base.strings);
        self.feed(self.strings, |piece| strings.scan(piece, wanted))?;
        let mut types = TypeScan::new(wanted, base.types);
        self.feed(self.types, |piece| types.scan(piece, wanted))
    }

    /// How many types and bytes of strings there are, which is where a module's begin.
    fn measure(&mut self) -> Result<Base> {
        let mut types = TypeScan::new(&[], 0);
        types.stop_early = false;
        self.feed(self.types, |piece| types.scan(piece, &mut []))?;
        Ok(Base { types: types.id, strings: u32::try_from(self.strings.len).unwrap_or(u32::MAX) })
    }

    /// Hands a section to `take`, which says how much of each piece it has used up, or that it needs no more.
    fn feed(&self, section: Section, mut take: impl FnMut(&[u8]) -> Progress) -> Result<()> {
        let bad = || Error::invalid(format_args!("{} holds BTF that cannot be understood", self.path));
        if let Some(mapped) = &self.mapped {
            let begin = usize::try_from(section.offset).map_err(|_| bad())?;
            let len = usize::try_from(section.len).map_err(|_| bad())?;
            let piece = mapped.get(begin..).and_then(|rest| rest.get(..len)).ok_or_else(bad)?;
            return match take(piece) {
                Progress::Done => Ok(()),
                Progress::Used(used) if used == len => Ok(()),
                Progress::Used(_) | Progress::Unknown => Err(bad()),
            };
        }
        let mut buffer = vec![0; CHUNK];
        let (mut at, mut held) = (0_u64, 0_usize);
        loop {
            let want = usize::try_from(section.len - at).unwrap_or(usize::MAX).min(buffer.len() - held);
            self.file
                .read_exact_at(&mut buffer[held..held + want], section.offset + at)
                .map_err(|error| Error::io(format_args!("reading the kernel's BTF at {}", self.path), &error))?;
            at += want as u64;
            held += want;
            match take(&buffer[..held]) {
                Progress::Done => return Ok(()),
                Progress::Unknown => return Err(bad()),
                Progress::Used(used) => {
                    buffer.copy_within(used..held, 0);
                    held -= used;
                    if at == section.len {
                        return if held == 0 { Ok(()) } else { Err(bad()) };
                    }
                    if held == buffer.len() {
                        buffer.resize(buffer.len() * 2, 0);
                    }
                }
            }
        }
    }
}

/// What became of a piece.
enum Progress {
    /// There is nothing left to find.
    Done,
    /// This many bytes are dealt with; the rest is the beginning of something.
    Used(usize),
    /// It is not what it should be.
    Unknown,
}

/// Looks for wanted names among strings.
struct StringScan {
    /// Bit n: a wanted name is n bytes long, or 64 or more than that.
    lengths: u64,
    /// The offset of the next piece.
    offset: u32,
    left: usize,
}

impl StringScan {
    fn new(wanted: &[Wanted<'_>], offset: u32) -> Self {
        let (mut lengths, mut left) = (0, 0);
        for wanted in wanted.iter().filter(|wanted| wanted.name_offset.is_none()) {
            lengths |= 1 << (wanted.name.len() % 64);
            left += 1;
        }
        Self { lengths, offset, left }
    }

    fn scan(&mut self, piece: &[u8], wanted: &mut [Wanted<'_>]) -> Progress {
        if self.left == 0 {
            return Progress::Done;
        }
        let mut begin = 0;
        let (words, rest) = piece.as_chunks_of_eight();
        for (at, word) in words.enumerate() {
            let mut zeros = zero_bytes(word);
            while zeros != 0 {
                let end = at * 8 + zeros.trailing_zeros() as usize / 8;
                zeros &= zeros - 1;
                if self.ends(piece, begin, end, wanted) {
                    return Progress::Done;
                }
                begin = end + 1;
            }
        }
        for end in piece.len() - rest.len()..piece.len() {
            if piece[end] == 0 {
                if self.ends(piece, begin, end, wanted) {
                    return Progress::Done;
                }
                begin = end + 1;
            }
        }
        self.offset = self.offset.wrapping_add(u32::try_from(begin).unwrap_or(u32::MAX));
        Progress::Used(begin)
    }

    /// Looks at one string; whether it was the last that was wanted.
    #[inline]
    fn ends(&mut self, piece: &[u8], begin: usize, end: usize, wanted: &mut [Wanted<'_>]) -> bool {
        self.lengths & (1 << ((end - begin) % 64)) != 0 && self.compare(&piece[begin..end], begin, wanted)
    }

    fn compare(&mut self, string: &[u8], begin: usize, wanted: &mut [Wanted<'_>]) -> bool {
        for wanted in wanted {
            if wanted.name_offset.is_none() && wanted.name.as_bytes() == string {
                wanted.name_offset = u32::try_from(begin).ok().and_then(|begin| self.offset.checked_add(begin));
                self.left -= 1;
            }
        }
        self.left == 0
    }
}

/// Splits bytes into words of eight, lowest byte first.
trait Words {
    fn as_chunks_of_eight(&self) -> (impl Iterator<Item = u64>, &[u8]);
}

impl Words for [u8] {
    fn as_chunks_of_eight(&self) -> (impl Iterator<Item = u64>, &[u8]) {
        let chunks = self.chunks_exact(8);
        let rest = chunks.remainder();
        (chunks.map(|chunk| chunk.first_chunk().map_or(0, |&bytes| u64::from_le_bytes(bytes))), rest)
    }
}

/// The top bit of every byte that is zero, and no other.
fn zero_bytes(word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    !(((word & LOW) + LOW) | word | LOW)
}

/// Looks for types with wanted names.
struct TypeScan {
    /// A bit for each remainder by 4096 that a wanted name's offset has.
    filter: [u64; 64],
    /// The id of the last type seen.
    id: u32,
    left: usize,
    stop_early: bool,
}

impl TypeScan {
    fn new(wanted: &[Wanted<'_>], base: u32) -> Self {
        let (mut filter, mut left) = ([0; 64], 0);
        for wanted in wanted {
            if let (Some(offset), None) = (wanted.name_offset, wanted.id) {
                filter[offset as usize % 4096 / 64] |= 1 << (offset % 64);
                left += 1;
            }
        }
        Self { filter, id: base, left, stop_early: true }
    }

    fn scan(&mut self, piece: &[u8], wanted: &mut [Wanted<'_>]) -> Progress {
        let mut at = 0;
        while self.left != 0 || !self.stop_early {
            let Some(&head) = piece.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
                return Progress::Used(at);
            };
            let word = u64::from_ne_bytes(head);
            let (name, info) = if cfg!(target_endian = "little") {
                (word as u32, (word >> 32) as u32)
            } else {
                ((word >> 32) as u32, word as u32)
            };
            // Since 7.1 the count has 24 bits and the kind 7; before, the additional ones are zero.
            let (kind, count) = (info >> 24 & 0x7f, (info & 0xff_ffff) as usize);
            let Some(tail) = tail_len(kind, count) else {
                return Progress::Unknown;
            };
            let end = at + 12 + tail;
            if end > piece.len() {
                return Progress::Used(at);
            }
            self.id = self.id.wrapping_add(1);
            if self.filter[name as usize % 4096 / 64] & 1 << (name % 64) != 0 {
                self.compare(name, kind, wanted);
            }
            at = end;
        }
        Progress::Done
    }

    fn compare(&mut self, name: u32, kind: u32, wanted: &mut [Wanted<'_>]) {
        for wanted in wanted {
            if wanted.id.is_none() && wanted.name_offset == Some(name) && number(wanted.kind) == kind {
                wanted.id = Some(self.id);
                self.left -= 1;
            }
        }
    }
}

/// The number of a kind (`BTF_KIND_*` of `linux/btf.h`).
fn number(kind: SymbolKind) -> u32 {
    match kind {
        SymbolKind::Struct => 4,
        SymbolKind::Typedef => 8,
        SymbolKind::Function => 12,
        SymbolKind::Variable => 14,
        // No type is of this kind (`BTF_KIND_UNKN`): addresses are looked up elsewhere.
        SymbolKind::Address => 0,
    }
}

/// How many bytes follow the twelve of every type.
pub(crate) fn tail_len(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7..=12 | 16 | 18 => 0,
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => 4,
        // ARRAY
        3 => 12,
        // STRUCT, UNION, DATASEC, ENUM64
        4 | 5 | 15 | 19 => count.checked_mul(12)?,
        // ENUM, FUNC_PROTO
        6 | 13 => count.checked_mul(8)?,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_bytes_are_exact() {
        assert_eq!(zero_bytes(0x0100_ff80_0001_007f), 0x0080_0000_8000_8000);
        assert_eq!(zero_bytes(u64::MAX), 0);
        assert_eq!(zero_bytes(0), 0x8080_8080_8080_8080);
    }

    #[test]
    fn what_one_module_calls_so_is_not_looked_for_in_the_next() {
        use crate::kernel::types::{kind, testing::Btf};
        let folder = std::env::temp_dir().join(format!("skelgen-modules-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let module = |name: &str, btf: &Btf| {
            std::fs::write(folder.join(name), btf.bytes()).unwrap();
            (name.to_owned(), Source::open(&folder.join(name), false).unwrap())
        };
        // The first has a member of the name, the second a function of another name in the same place, the third the function.
        let (mut first, mut second, mut third) = (Btf::new(), Btf::new(), Btf::new());
        first.structure("s", 8, &[("probe", 0, 0)]);
        second.add("other", kind::FUNC, false, 0, 0, &[]);
        third.structure("longer", 8, &[]);
        third.add("probe", kind::FUNC, false, 0, 0, &[]);
        let sources = [module("first", &first), module("second", &second), module("third", &third)];
        let mut wanted = ["probe", "other", "nothing"].map(|name| Wanted::new(name, SymbolKind::Function));
        let found = find_in(sources.into_iter(), Base { types: 100, strings: 0 }, &mut wanted);
        std::fs::remove_dir_all(&folder).unwrap();
        let (places, modules) = found.unwrap();
        assert_eq!((places, modules), (vec![Some(1), Some(0), None], vec!["second".to_owned(), "third".to_owned()]));
        assert_eq!(wanted.map(|wanted| wanted.id), [Some(102), Some(101), None]);
    }

    #[test]
    fn mapped_and_streamed_agree() {
        let path = Path::new(FOLDER).join("vmlinux");
        if !path.exists() {
            eprintln!("skipped: this kernel has no BTF");
            return;
        }
        let names = [
            ("btf_trace_sched_switch", SymbolKind::Typedef),
            ("bpf_iter_task", SymbolKind::Function),
            ("task_struct", SymbolKind::Struct),
            ("no_such_name_anywhere", SymbolKind::Struct),
        ];
        let find = |sysfs| {
            let mut wanted: Vec<_> = names.iter().map(|&(name, kind)| Wanted::new(name, kind)).collect();
            Source::open(&path, sysfs).unwrap().find(Base::default(), &mut wanted).unwrap();
            wanted.iter().map(|wanted| wanted.id).collect::<Vec<_>>()
        };
        let found = find(true);
        assert!(found[..3].iter().all(Option::is_some), "{found:?}");
        assert_eq!(found[3], None);
        assert_eq!(found, find(false));
    }
}
