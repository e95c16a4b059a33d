//! All pins below a directory of a bpffs.
//!
//! The kernel reports the kind of a pinned object only after it is opened. So each pin is opened, and returned as the
//! handle of its kind. To add a kind of object that can be pinned, add it to [`Pinned`] and to the kinds of file
//! descriptors in `opened.rs`.

use std::iter::FusedIterator;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use crate::error::{Errno, Error, Result, Step, Subject};
use crate::link::Link;
use crate::map::Untyped;
use crate::opened::Kind;
use crate::pins;
use crate::program::Program;
use crate::sys::c_path;
use crate::sys::link::open_pinned;
use crate::sys::mount::mount_of;

/// Opens all pins below a directory of a bpffs, with those of its subdirectories: each directory in the order of names.
/// Symbolic links are not followed, and not pins themselves.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::system::{self, Pinned};
///
/// for pin in system::pins("/sys/fs/bpf") {
///     let pin = pin?;
///     print!("{}: ", pin.path.display());
///     match pin.object {
///         Pinned::Program(program) => println!("program {} of type {}", program.name(), program.program_type()),
///         Pinned::Map(map) => println!("map {} of type {}", map.name(), map.map_type()),
///         Pinned::Link(link) => println!("link to {:?}", link.info()?.target),
///         _ => println!("something else"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The items are errors if the directory is not in a bpffs, a directory cannot be read or a pin cannot be opened. See
/// [`PinIter`].
pub fn pins(dir: impl AsRef<Path>) -> PinIter {
    PinIter { start: Some(dir.as_ref().to_owned()), left: Vec::new() }
}

/// An iterator over the pins below a directory. Returned by [`pins`].
///
/// Each pin is opened when its item is requested. Pins that are removed during the iteration are left out. If a pin or a
/// subdirectory cannot be opened, its item is the error, and the iteration continues with the next path.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// let mut pins = skelgen_runtime::system::pins("/sys/fs/bpf/counters");
/// let first = pins.next().transpose()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PinIter {
    /// The directory, before the first item.
    start: Option<PathBuf>,
    /// The paths that were not visited yet. The last element is the next one.
    left: Vec<PathBuf>,
}

/// A pin: a file in a bpffs that keeps an object loaded or attached. An item of [`PinIter`].
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// for pin in skelgen_runtime::system::pins("/sys/fs/bpf") {
///     println!("{}", pin?.path.display());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Pin {
    /// The path of the file.
    pub path: PathBuf,
    /// The object.
    pub object: Pinned,
}

/// The object of a [`Pin`], opened.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::system::{self, Pinned};
///
/// for pin in system::pins("/sys/fs/bpf") {
///     match pin?.object {
///         Pinned::Program(program) => println!("program {}", program.name()),
///         Pinned::Map(map) => println!("map {}", map.name()),
///         other => println!("{other:?}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Pinned {
    /// A program.
    Program(Program),
    /// A map.
    Map(Untyped),
    /// A link.
    Link(Link),
    /// An object of a kind that this version of the crate does not support.
    Other(OwnedFd),
}

impl Iterator for PinIter {
    type Item = Result<Pin>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(start) = self.start.take() {
            if let Err(error) = is_in_bpffs(&start).and_then(|()| self.enter(&start)) {
                return Some(Err(error));
            }
        }
        loop {
            let path = self.left.pop()?;
            // The file was removed after its directory was read.
            let Ok(kind) = path.symlink_metadata().map(|found| found.file_type()) else { continue };
            if kind.is_symlink() {
                continue;
            }
            let item = if kind.is_dir() { self.enter(&path).map(|()| None) } else { open(&path) };
            if let Some(item) = item.transpose() {
                return Some(item);
            }
        }
    }
}

impl FusedIterator for PinIter {}

impl PinIter {
    /// Adds the entries of a directory to the paths that are visited next.
    fn enter(&mut self, directory: &Path) -> Result<()> {
        let entries = std::fs::read_dir(directory).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()
        });
        let mut entries = entries.map_err(|error| {
            Error::io(format!("cannot list the pins in {}", directory.display()), &error)
                .during(Step::Open)
                .about(Subject::Path(directory))
        })?;
        entries.sort_unstable_by(|a, b| b.cmp(a));
        self.left.append(&mut entries);
        Ok(())
    }
}

/// Opens a pin; returns `None` if it was removed.
fn open(path: &Path) -> Result<Option<Pin>> {
    let opening = || format!("cannot open the pin {}", path.display());
    let fd = match open_pinned(None, &c_path(path)?) {
        Ok(fd) => fd,
        Err(errno) if errno.raw() == libc::ENOENT => return Ok(None),
        Err(errno) => return Err(pins::refused(path, opening(), errno).during(Step::Open)),
    };
    let kind = Kind::of(fd.as_fd()).map_err(|error| Error::io(opening(), &error).during(Step::Open));
    let object = match kind.map_err(|error| error.about(Subject::Path(path)))? {
        Some(Kind::Program) => Program::try_from(fd).map(Pinned::Program),
        Some(Kind::Map) => Untyped::try_from(fd).map(Pinned::Map),
        Some(Kind::Link) => Ok(Pinned::Link(Link::new(fd, path.display().to_string()))),
        Some(Kind::Btf) | None => Ok(Pinned::Other(fd)),
    };
    let object = object.map_err(|error| error.within(opening()).about(Subject::Path(path)))?;
    Ok(Some(Pin { path: path.to_owned(), object }))
}

/// Fails if a directory is not in a bpffs.
fn is_in_bpffs(directory: &Path) -> Result<()> {
    let listing = || format!("cannot list the pins in {}", directory.display());
    let refused = |errno: Errno| Error::refused(listing(), errno).during(Step::Open).about(Subject::Path(directory));
    if mount_of(&c_path(directory)?).map_err(refused)?.is_bpffs {
        return Ok(());
    }
    Err(Error::invalid(format!("{}: the directory is not in a bpffs", listing()))
        .during(Step::Open)
        .about(Subject::Path(directory))
        .with_help("pass a directory of a bpffs, which is usually mounted at /sys/fs/bpf"))
}
