//! Ids of kernel types by name, from one pass over /sys/kernel/btf/vmlinux.
//!
//! No index of the whole is made: one pass over the strings finds where the wanted names are, one over the types finds which
//! have them, and both stop as soon as nothing is left to find. Both take the file in pieces, so a kernel whose BTF cannot be
//! mapped into memory is read through one small buffer. BTF that cannot be read to its end gives what comes before, and a note: of the
//! kernel's own that is its beginning up to a kind that is not known, of a module it may be nothing. Knows names and ids; not who wants
//! them.

mod scan;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use scan::{Progress, StringScan, TypeScan};

use super::causes;
use crate::abi::SymbolKind;
use crate::btf::format::{Gap, HEADER, Header, Layout, Section};
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

/// How much of the numbering of types and strings a base has taken, and its layout of kinds; nothing for vmlinux itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Base {
    types: u32,
    strings: u32,
    layout: Layout,
}

/// Finds what it can of the wanted names in the BTF of the running kernel, whose ids no other file has. If that could not be read to its
/// end, a note says why.
pub(crate) fn find(wanted: &mut [Wanted<'_>]) -> Result<Option<String>> {
    let gap = Source::vmlinux()?.find(&Base::default(), wanted)?;
    Ok(gap.map(|gap| unread(Path::new("vmlinux"), &gap)))
}

/// What was found in modules.
#[derive(Debug, Default)]
pub(crate) struct InModules {
    /// For each name the position of its module among the modules, if it has one.
    pub(crate) positions: Vec<Option<usize>>,
    /// The modules' names, and their BTF if this process may open it.
    pub(crate) modules: Vec<(String, Result<OwnedFd>)>,
    /// What could not be read, each with the reason.
    pub(crate) unread: Vec<String>,
}

/// Finds in the modules' BTF what was not found yet, each in the first module that has it, in one pass over each.
pub(crate) fn find_in_modules(wanted: &mut [Wanted<'_>]) -> Result<InModules> {
    let mut found = InModules { positions: vec![None; wanted.len()], ..InModules::default() };
    if wanted.iter().all(|wanted| wanted.id.is_some()) {
        return Ok(found);
    }
    let paths = module_paths();
    if paths.is_empty() {
        return Ok(found);
    }
    let base = match Source::vmlinux()?.measure()? {
        Ok(base) => base,
        Err(gap) => {
            found.unread.push(format!(
                "the BTF of modules continues that of vmlinux, which could not be read to its end: {gap}"
            ));
            return Ok(found);
        }
    };
    let sources = paths.iter().map(|path| (path, Source::open(path, true)));
    let with_names = find_in(sources, &base, wanted, &mut found)?;
    for path in with_names {
        let module = module_name(path);
        // Without its module the id would be that of something else.
        let opened = open_module(&module).and_then(|opened| {
            opened
                .ok_or_else(|| Error::invalid(format_args!("kernel module `{module}` has gone while it was looked at")))
        });
        found.modules.push((module, opened));
    }
    Ok(found)
}

/// The files of the modules' BTF, in the order of their names.
pub(crate) fn module_paths() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(FOLDER) else {
        return Vec::new();
    };
    let vmlinux = Path::new(FOLDER).join("vmlinux");
    let mut modules: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| *path != vmlinux).collect();
    modules.sort();
    modules
}

/// The name of the module whose BTF this is.
pub(crate) fn module_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The note that the BTF of the kernel or of a module could not be read.
pub(crate) fn unread(path: &Path, why: &dyn std::fmt::Display) -> String {
    match path.ends_with("vmlinux") {
        true => format!("the BTF of vmlinux could not be read to its end: {why}"),
        false => format!("the BTF of module `{}` could not be read: {why}", module_name(path).escape_debug()),
    }
}

/// Finds names in modules, and returns those that have one of them. One whose BTF is malformed, or not for this process to read, is
/// noted and passed over; a read that failed otherwise is an error, since it does not say that a name is absent.
fn find_in<'a>(
    sources: impl Iterator<Item = (&'a PathBuf, Result<Source, Unopened>)>,
    base: &Base,
    wanted: &mut [Wanted<'_>],
    found: &mut InModules,
) -> Result<Vec<&'a PathBuf>> {
    let in_vmlinux: Vec<_> = wanted.iter().map(|wanted| wanted.name_offset).collect();
    let mut modules = Vec::new();
    for (path, source) in sources {
        let missing: Vec<usize> = (0..wanted.len()).filter(|&index| wanted[index].id.is_none()).collect();
        if missing.is_empty() {
            break;
        }
        let mut source = match source {
            Ok(source) => source,
            // A module may go at any moment; then it has not what we look for.
            Err(Unopened::Gone) => continue,
            Err(Unopened::Malformed(why)) => {
                found.unread.push(unread(path, &why));
                continue;
            }
            Err(Unopened::Io(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                found.unread.push(unread(path, &error));
                continue;
            }
            Err(Unopened::Io(error)) => {
                let module = module_name(path);
                return Err(Error::io(format_args!("reading the BTF of kernel module `{module}`"), &error));
            }
        };
        // Where one module has a name among its strings says nothing about the next.
        for &index in &missing {
            wanted[index].name_offset = in_vmlinux[index];
        }
        match source.find(base, wanted) {
            Ok(None) => {}
            Ok(Some(gap)) => found.unread.push(unread(path, &gap)),
            Err(error) if error.errno().is_some() => return Err(error),
            Err(error) => {
                found.unread.push(unread(path, &error));
                // What was found before it made no sense may make none either.
                for &index in &missing {
                    wanted[index].id = None;
                }
            }
        }
        let mut has_any = false;
        for index in missing.into_iter().filter(|&index| wanted[index].id.is_some()) {
            found.positions[index] = Some(modules.len());
            has_any = true;
        }
        if has_any {
            modules.push(path);
        }
    }
    Ok(modules)
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
    header: Header,
    layout: Layout,
}

/// Why a file of BTF was not opened.
#[derive(Debug)]
enum Unopened {
    /// It is no longer there.
    Gone,
    /// It is not BTF, for this reason.
    Malformed(String),
    /// It could not be read.
    Io(std::io::Error),
}

impl From<std::io::Error> for Unopened {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Gone,
            _ => Self::Io(error),
        }
    }
}

impl Source {
    fn vmlinux() -> Result<Self> {
        let path = Path::new(FOLDER).join("vmlinux");
        Self::open(&path, true).map_err(|why| {
            let what = format!("reading the kernel's BTF at {}", path.display());
            match why {
                Unopened::Gone => {
                    let gone = std::io::Error::from_raw_os_error(libc::ENOENT);
                    let why = causes::no_btf(&gone);
                    Error::io(what, &gone).note(format_args!("the kernel's types are looked up there: {why}"))
                }
                Unopened::Malformed(why) => {
                    Error::invalid(format_args!("{what}: {why}")).note("the kernel's types are looked up there")
                }
                Unopened::Io(error) => {
                    let why = causes::no_btf(&error);
                    Error::io(what, &error).note(format_args!("the kernel's types are looked up there: {why}"))
                }
            }
        })
    }

    fn open(path: &Path, sysfs: bool) -> Result<Self, Unopened> {
        let file = File::open(path)?;
        let mut beginning = [0_u8; HEADER];
        let mut read = 0;
        while read < HEADER {
            match file.read_at(&mut beginning[read..], read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let len = file.metadata()?.len();
        let header = Header::parse(&beginning[..read], len).map_err(|why| Unopened::Malformed(why.to_owned()))?;
        let mut layout = vec![0; usize::try_from(header.layout.len).unwrap_or(0)];
        file.read_exact_at(&mut layout, header.layout.offset)?;
        // Only of the kernel's own files may it be assumed that they never change.
        let mapped = usize::try_from(len).ok().filter(|_| sysfs).and_then(|len| sys::MappedFile::of_sysfs(&file, len));
        Ok(Self { file, path: path.display().to_string(), mapped, header, layout: Layout::parse(&layout) })
    }

    /// Finds names; the gap if the types could not be read to their end and something was still to be found.
    fn find(&mut self, base: &Base, wanted: &mut [Wanted<'_>]) -> Result<Option<Gap>> {
        let mut strings = StringScan::new(wanted, base.strings);
        self.feed(self.header.strings, |piece| strings.scan(piece, wanted))?;
        let mut types = TypeScan::new(wanted, base.types);
        let layout = self.layout(base);
        self.feed(self.header.types, |piece| types.scan(piece, layout, wanted))?;
        Ok(types.gap)
    }

    /// How many types and bytes of strings there are, which is where a module's begin.
    fn measure(&mut self) -> Result<Result<Base, Gap>> {
        let mut types = TypeScan::new(&[], 0);
        types.stop_early = false;
        self.feed(self.header.types, |piece| types.scan(piece, &self.layout, &mut []))?;
        Ok(match types.gap {
            Some(gap) => Err(gap),
            None => Ok(Base {
                types: types.id,
                strings: u32::try_from(self.header.strings.len).unwrap_or(u32::MAX),
                layout: self.layout.clone(),
            }),
        })
    }

    /// The file's layout of kinds, or its base's, which may be written there alone.
    fn layout<'a>(&'a self, base: &'a Base) -> &'a Layout {
        if self.layout.is_empty() { &base.layout } else { &self.layout }
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
                Progress::Used(_) => Err(bad()),
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
