//! Ids of kernel types by name, from one pass over `/sys/kernel/btf/vmlinux`.
//!
//! One pass over the strings finds the offsets of the wanted names, and one over the types finds the types with these
//! names. Both stop when nothing is left to find, and read the file in pieces: if the kernel's BTF cannot be mapped
//! into memory, one small buffer is enough. If the BTF cannot be read completely, the types before the unreadable type
//! are found, and a note states why the other types are missing. This module does not depend on the users of the ids.

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
use crate::error::{Errno, Error, ErrorKind, Result, Step, Subject};
use crate::sys::btf as sys;
use crate::sys::ids::Kind;

/// The directory with the BTF of the kernel and of its modules.
pub(crate) const DIRECTORY: &str = "/sys/kernel/btf";

/// The number of bytes that are read at a time if the file cannot be mapped. The buffer grows for a string or type record that is longer.
const CHUNK: usize = 64 << 10;

/// Help for a process that has no permission to open BTF by its id.
pub(super) const NEEDS_ADMIN: &str =
    "run with CAP_SYS_ADMIN in the initial user namespace; a BPF token cannot delegate this capability";

/// A name to find, and the type that was found.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: SymbolKind,
    /// The offset of the name in the strings, once found. A module's types can refer to strings of vmlinux.
    name_offset: Option<u32>,
    /// The type's id.
    pub(crate) id: Option<u32>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(name: &'a str, kind: SymbolKind) -> Self {
        Self { name, kind, name_offset: None, id: None }
    }
}

/// The base of a module's BTF: its number of type ids, its length of strings in bytes, and its kind layout. Empty for
/// vmlinux itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Base {
    types: u32,
    strings: u32,
    layout: Layout,
}

/// Finds the wanted names in the BTF of the running kernel. Returns a note if the BTF could not be read completely and
/// a name is still missing. Type ids are valid for the BTF of the running kernel only: a different file has different
/// ids.
pub(crate) fn find(wanted: &mut [Wanted<'_>]) -> Result<Option<String>> {
    let gap = Source::vmlinux()?.find(&Base::default(), wanted)?;
    Ok(gap.map(|gap| unread(Path::new("vmlinux"), &gap)))
}

/// The result of a search in modules.
#[derive(Debug, Default)]
pub(crate) struct InModules {
    /// For each name, the index of its module in `modules`, if it was found.
    pub(crate) positions: Vec<Option<usize>>,
    /// The modules' names, with their BTF if this process has the right to open it.
    pub(crate) modules: Vec<(String, Result<OwnedFd>)>,
    /// The BTF that could not be read, each with the reason.
    pub(crate) unread: Vec<String>,
}

/// Finds the remaining names in the BTF of modules, in one pass over each. If several modules have a name, the first is
/// the result.
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
                "the BTF of modules was not searched, because it extends the BTF of vmlinux, which cannot be read completely: {gap}"
            ));
            return Ok(found);
        }
    };
    let sources = paths.iter().map(|path| (path, Source::open(path, true)));
    let with_names = find_in(sources, &base, wanted, &mut found)?;
    for path in with_names {
        let module = module_name(path);
        // The id is valid only together with the module's BTF.
        let opened = open_module(&module).and_then(|opened| {
            opened.ok_or_else(|| {
                Error::of(ErrorKind::Busy, format_args!("kernel module `{module}` was unloaded during the lookup"))
                    .during(Step::ReadKernel)
            })
        });
        found.modules.push((module, opened));
    }
    Ok(found)
}

/// Returns the paths of the modules' BTF, ordered by name.
pub(crate) fn module_paths() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(DIRECTORY) else {
        return Vec::new();
    };
    let vmlinux = Path::new(DIRECTORY).join("vmlinux");
    let mut modules: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| *path != vmlinux).collect();
    modules.sort();
    modules
}

/// Returns the name of the module whose BTF this is.
pub(crate) fn module_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the note that the BTF of the kernel or of a module could not be read.
pub(crate) fn unread(path: &Path, why: &dyn std::fmt::Display) -> String {
    match path.ends_with("vmlinux") {
        true => format!("the BTF of vmlinux could not be read completely: {why}"),
        false => format!("the BTF of module `{}` could not be read: {why}", module_name(path).escape_debug()),
    }
}

/// Finds names in modules, and returns the modules that have one. A module whose BTF is malformed, or which this
/// process has no permission to read, is skipped with a note. Any other failed read is an error.
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
            // A module can be unloaded at any time; its BTF is then skipped.
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
                return Err(Error::io(format_args!("cannot read the BTF of kernel module `{module}`"), &error)
                    .during(Step::ReadKernel)
                    .about(Subject::Module(&module)));
            }
        };
        // The offset of a name in one module's strings is not valid in the next module's.
        for &index in &missing {
            wanted[index].name_offset = in_vmlinux[index];
        }
        match source.find(base, wanted) {
            Ok(None) => {}
            Ok(Some(gap)) => found.unread.push(unread(path, &gap)),
            Err(error) if error.errno().is_some() => return Err(error),
            Err(error) => {
                found.unread.push(unread(path, &error));
                // Types before the malformed part may be malformed as well.
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

/// Opens the BTF of the module with this name.
pub(crate) fn open_module(name: &str) -> Result<Option<OwnedFd>> {
    let refused = |errno: Errno| {
        let error = Error::refused(format_args!("cannot look up the BTF of kernel module `{name}`"), errno)
            .during(Step::ReadKernel)
            .about(Subject::Module(name));
        match errno.raw() {
            libc::EPERM => error.with_help(NEEDS_ADMIN),
            _ => error,
        }
    };
    let mut id = 0;
    while let Some(next) = Kind::Btf.next_id(id).map_err(refused)? {
        id = next;
        let fd = match sys::open(id, None) {
            Ok(fd) => fd,
            // This BTF was unloaded after its id was listed; continue with the next one.
            Err(errno) if errno.raw() == libc::ENOENT => continue,
            Err(errno) => return Err(refused(errno)),
        };
        if sys::kernel_name(fd.as_fd()).map_err(refused)?.as_deref() == Some(name) {
            return Ok(Some(fd));
        }
    }
    Ok(None)
}

/// A BTF file.
struct Source {
    file: File,
    path: String,
    mapped: Option<sys::MappedFile>,
    header: Header,
    layout: Layout,
}

/// Why a BTF file was not opened.
#[derive(Debug)]
enum Unopened {
    /// The file no longer exists.
    Gone,
    /// The file is not valid BTF, for this reason.
    Malformed(String),
    /// The file could not be read.
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
        let path = Path::new(DIRECTORY).join("vmlinux");
        Self::open(&path, true).map_err(|why| {
            let what = format!("cannot read the kernel's BTF at {}", path.display());
            match why {
                Unopened::Gone => {
                    let gone = std::io::Error::from_raw_os_error(libc::ENOENT);
                    let why = causes::no_btf(&gone);
                    Error::io(what, &gone).during(Step::ReadKernel).note(format_args!("{why}"))
                }
                Unopened::Malformed(why) => Error::malformed(format_args!("{what}: {why}"))
                    .during(Step::ReadKernel)
                    .note("the types of the kernel are read from this file"),
                Unopened::Io(error) => {
                    let why = causes::no_btf(&error);
                    Error::io(what, &error).during(Step::ReadKernel).note(format_args!("{why}"))
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
        // A mapping requires that the file never changes, which only the kernel's own files guarantee.
        let mapped = usize::try_from(len).ok().filter(|_| sysfs).and_then(|len| sys::MappedFile::of_sysfs(&file, len));
        Ok(Self { file, path: path.display().to_string(), mapped, header, layout: Layout::parse(&layout) })
    }

    /// Finds names. Returns the type after which types could not be read, if a name is still missing.
    fn find(&mut self, base: &Base, wanted: &mut [Wanted<'_>]) -> Result<Option<Gap>> {
        let mut strings = StringScan::new(wanted, base.strings);
        self.feed(self.header.strings, |piece| strings.scan(piece, wanted))?;
        let mut types = TypeScan::new(wanted, base.types);
        let layout = self.layout(base);
        self.feed(self.header.types, |piece| types.scan(piece, layout, wanted))?;
        Ok(types.gap)
    }

    /// Returns the number of types and the length of the strings in bytes: the first id and the first string offset of
    /// a module's BTF.
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

    /// Returns the file's kind layout, or that of its base if the file has none.
    fn layout<'a>(&'a self, base: &'a Base) -> &'a Layout {
        if self.layout.is_empty() { &base.layout } else { &self.layout }
    }

    /// Passes a section to `scan` in pieces. `scan` returns how many bytes of a piece it has used, or that it is done.
    fn feed(&self, section: Section, mut scan: impl FnMut(&[u8]) -> Progress) -> Result<()> {
        let bad = || Error::malformed(format_args!("{} has malformed BTF", self.path)).during(Step::ReadKernel);
        if let Some(mapped) = &self.mapped {
            let begin = usize::try_from(section.offset).map_err(|_| bad())?;
            let len = usize::try_from(section.len).map_err(|_| bad())?;
            let piece = mapped.get(begin..).and_then(|rest| rest.get(..len)).ok_or_else(bad)?;
            return match scan(piece) {
                Progress::Done => Ok(()),
                Progress::Used(used) if used == len => Ok(()),
                Progress::Used(_) => Err(bad()),
            };
        }
        let mut buffer = vec![0; CHUNK];
        let (mut at, mut filled) = (0_u64, 0_usize);
        loop {
            let want = usize::try_from(section.len - at).unwrap_or(usize::MAX).min(buffer.len() - filled);
            self.file.read_exact_at(&mut buffer[filled..filled + want], section.offset + at).map_err(|error| {
                Error::io(format_args!("cannot read the kernel's BTF at {}", self.path), &error)
                    .during(Step::ReadKernel)
            })?;
            at += want as u64;
            filled += want;
            match scan(&buffer[..filled]) {
                Progress::Done => return Ok(()),
                Progress::Used(used) => {
                    buffer.copy_within(used..filled, 0);
                    filled -= used;
                    if at == section.len {
                        return if filled == 0 { Ok(()) } else { Err(bad()) };
                    }
                    if filled == buffer.len() {
                        buffer.resize(buffer.len() * 2, 0);
                    }
                }
            }
        }
    }
}
