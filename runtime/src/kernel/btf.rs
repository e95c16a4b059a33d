//! Ids of kernel types by name.
//!
//! What this process has found before is known (`known.rs`). Otherwise the kernel itself looks up the names where that is faster
//! (`in_kernel.rs`), or one pass over the types of `/sys/kernel/btf/vmlinux` finds them (`scan.rs`). If the BTF cannot be read completely, the
//! types before the unreadable type are found, and a note states why the other types are missing. This module does not depend on the users
//! of the ids.

mod in_kernel;
mod known;
mod scan;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use scan::{Stop, Strings};

use super::causes;
use crate::abi::SymbolKind;
use crate::btf::Bytes;
use crate::btf::format::{Gap, HEADER, Header, Layout};
use crate::error::{Errno, Error, ErrorKind, Result, Step, Subject};
use crate::sys::btf as sys;
use crate::sys::ids::Kind;

/// The directory with the BTF of the kernel and of its modules.
pub(crate) const DIRECTORY: &str = "/sys/kernel/btf";

/// The BTF of the kernel.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Help for a process that has no permission to open BTF by its id.
pub(super) const NEEDS_ADMIN: &str =
    "run with CAP_SYS_ADMIN in the initial user namespace; a BPF token cannot delegate this capability";

/// A name to find, and the type that was found.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: SymbolKind,
    /// The type's id.
    pub(crate) id: Option<u32>,
    /// Whether neither vmlinux nor a module has the type.
    is_absent: bool,
    /// Whether this process had found the type before.
    is_known: bool,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(name: &'a str, kind: SymbolKind) -> Self {
        // Strings of BTF end with NUL, and types without a name are not found by it.
        Self { name, kind, id: None, is_absent: name.is_empty() || name.contains('\0'), is_known: false }
    }

    /// Returns whether it is still unknown where the type is.
    fn is_open(&self) -> bool {
        self.id.is_none() && !self.is_absent
    }
}

/// What a module's BTF continues: the types and strings of vmlinux. Empty for vmlinux itself.
#[derive(Clone, Copy, Debug)]
struct Base<'a> {
    /// The number of types.
    types: u32,
    strings: &'a [u8],
    layout: &'a Layout,
}

/// Finds the wanted names in the BTF of the running kernel. Returns a note if the BTF could not be read completely and
/// a name is still missing. Type ids are valid for the BTF of the running kernel only: a different file has different
/// ids.
pub(crate) fn find(wanted: &mut [Wanted<'_>]) -> Result<Option<String>> {
    known::recall(wanted);
    let mut gap = None;
    if wanted.iter().any(Wanted::is_open) && !in_kernel::find(wanted) {
        gap = Source::vmlinux()?.find(&Base { types: 0, strings: &[], layout: &Layout::default() }, wanted)?;
    }
    known::remember(wanted.iter().filter(|wanted| !wanted.is_known));
    Ok(gap.map(|gap| unread(Path::new("vmlinux"), &gap)))
}

/// The result of a search in modules.
#[derive(Debug, Default)]
pub(crate) struct InModules {
    /// For each name, the index of its module in `modules`, if it was found. Empty if no module was searched.
    positions: Vec<Option<usize>>,
    /// The modules' names, with their BTF if this process has the right to open it.
    pub(crate) modules: Vec<(String, Result<OwnedFd>)>,
    /// The BTF that could not be read, each with the reason.
    pub(crate) unread: Vec<String>,
}

impl InModules {
    /// Returns the index in `modules` of the module in which the name with this index was found.
    pub(crate) fn position(&self, name: usize) -> Option<usize> {
        self.positions.get(name).copied().flatten()
    }
}

/// Finds the remaining names in the BTF of modules, in one pass over each. If several modules have a name, the first is
/// the result.
pub(crate) fn find_in_modules(wanted: &mut [Wanted<'_>]) -> Result<InModules> {
    let mut found = InModules::default();
    if !wanted.iter().any(Wanted::is_open) {
        return Ok(found);
    }
    let paths = module_paths();
    if paths.is_empty() {
        return Ok(found);
    }
    let vmlinux = Source::vmlinux()?;
    let base = match vmlinux.as_base()? {
        Ok(base) => base,
        Err(gap) => {
            found.unread.push(format!(
                "the BTF of modules was not searched, because it extends the BTF of vmlinux, which cannot be read completely: {gap}"
            ));
            return Ok(found);
        }
    };
    found.positions = vec![None; wanted.len()];
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
    let mut modules: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| *path != Path::new(VMLINUX)).collect();
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
    sources: impl Iterator<Item = (&'a PathBuf, Result<Source<'a>, Unopened>)>,
    base: &Base<'_>,
    wanted: &mut [Wanted<'_>],
    found: &mut InModules,
) -> Result<Vec<&'a PathBuf>> {
    let mut modules = Vec::new();
    for (path, source) in sources {
        let missing: Vec<usize> = (0..wanted.len()).filter(|&index| wanted[index].is_open()).collect();
        if missing.is_empty() {
            break;
        }
        let source = match source {
            Ok(source) => source,
            // A module can be unloaded at any time; its BTF is then skipped.
            Err(Unopened::Gone) => continue,
            Err(Unopened::Malformed(why)) => {
                found.unread.push(unread(path, &why));
                continue;
            }
            Err(Unopened::Io(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
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
        match source.find(base, wanted) {
            Ok(None) => {}
            Ok(Some(gap)) => found.unread.push(unread(path, &gap)),
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

/// Reads a BTF file. Files of the kernel are mapped into memory instead, if the kernel supports that (Linux 6.16).
pub(super) fn read(path: &Path, sysfs: bool) -> io::Result<Bytes> {
    let mut file = File::open(path)?;
    // A mapping requires that the file never changes, which only the kernel's own files guarantee.
    let mapped = if sysfs { sys::MappedFile::of_sysfs(&file)? } else { None };
    if let Some(mapped) = mapped {
        return Ok(Bytes::Mapped(mapped));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(Bytes::Owned(bytes))
}

/// A BTF file.
struct Source<'p> {
    bytes: Bytes,
    path: &'p Path,
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
    Io(io::Error),
}

impl From<io::Error> for Unopened {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Gone,
            _ => Self::Io(error),
        }
    }
}

impl<'p> Source<'p> {
    fn vmlinux() -> Result<Self> {
        let path = Path::new(VMLINUX);
        Self::open(path, true).map_err(|why| {
            let what = format!("cannot read the kernel's BTF at {}", path.display());
            match why {
                Unopened::Gone => {
                    let gone = io::Error::from_raw_os_error(libc::ENOENT);
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

    fn open(path: &'p Path, sysfs: bool) -> Result<Self, Unopened> {
        let bytes = read(path, sysfs)?;
        let header = Header::parse(&bytes[..bytes.len().min(HEADER)], bytes.len() as u64)
            .map_err(|why| Unopened::Malformed(why.to_owned()))?;
        let layout = Layout::parse(header.layout.of(&bytes).unwrap_or_default());
        Ok(Self { bytes, path, header, layout })
    }

    /// Finds names. Returns the type after which types could not be read, if a name is still missing.
    fn find(&self, base: &Base<'_>, wanted: &mut [Wanted<'_>]) -> Result<Option<Gap>> {
        let strings = Strings { base: base.strings, own: self.header.strings.of(&self.bytes).unwrap_or_default() };
        let layout = if self.layout.is_empty() { base.layout } else { &self.layout };
        match scan::find(self.types(), strings, layout, base.types, wanted) {
            Ok(()) => Ok(None),
            Err(Stop::Gap(gap)) => Ok(Some(gap)),
            Err(Stop::Cut) => Err(self.cut()),
        }
    }

    /// Returns what the BTF of modules continues, or the type after which types could not be read.
    fn as_base(&self) -> Result<Result<Base<'_>, Gap>> {
        let strings = self.header.strings.of(&self.bytes).unwrap_or_default();
        match scan::count(self.types(), &self.layout) {
            Ok(types) => Ok(Ok(Base { types, strings, layout: &self.layout })),
            Err(Stop::Gap(gap)) => Ok(Err(gap)),
            Err(Stop::Cut) => Err(self.cut()),
        }
    }

    fn types(&self) -> &[u8] {
        self.header.types.of(&self.bytes).unwrap_or_default()
    }

    fn cut(&self) -> Error {
        Error::malformed(format_args!("{} has malformed BTF", self.path.display())).during(Step::ReadKernel)
    }
}
