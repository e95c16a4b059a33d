//! Pins: files in a bpffs that keep maps and links alive, their directories, and why the kernel rejects a path.
//!
//! A [`PinSet`] creates pins, and removes them when it is dropped, unless it is kept. A [`PinPath`] is the path of a
//! pin. This module does not depend on objects or plans.
//!
//! A set of pins is not atomic: if a process is killed while it pins, the pins and directories that it has created
//! remain. The next load reuses the pinned maps and pins the others.

use std::borrow::Cow;
use std::ffi::CString;
use std::fs;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Errno, Error, ErrorKind, Result, Step, Subject};
use crate::sys;
use crate::sys::c_path;
use crate::sys::mount::{Mount, mount_of};

/// The path of a pin: relative to the working directory, or to the descriptor of a directory.
#[derive(Debug)]
pub(crate) struct PinPath<'a> {
    dir: Option<BorrowedFd<'a>>,
    path: &'a Path,
    /// The path for messages and for examining the file.
    shown: Cow<'a, Path>,
}

impl<'a> PinPath<'a> {
    pub(crate) fn new(path: &'a Path) -> Self {
        Self { dir: None, path, shown: Cow::Borrowed(path) }
    }

    /// Creates a path relative to a directory (Linux 6.5).
    pub(crate) fn at(dir: BorrowedFd<'a>, path: &'a Path) -> Self {
        Self { dir: Some(dir), path, shown: Cow::Owned(path_of(dir).join(path)) }
    }

    /// Returns the path for messages. It leads to the file unless `/proc` is missing.
    pub(crate) fn shown(&self) -> &Path {
        &self.shown
    }

    /// Pins an object.
    pub(crate) fn pin(&self, object: BorrowedFd<'_>, doing: impl std::fmt::Display) -> Result<()> {
        let name: CString = c_path(self.path)?;
        sys::link::pin(object, self.dir, &name).map_err(|errno| refused(&self.shown, doing, errno).during(Step::Pin))
    }

    /// Opens the pinned object, of any kind.
    pub(crate) fn open(&self) -> Result<Result<OwnedFd, Errno>> {
        Ok(sys::link::open_pinned(self.dir, &c_path(self.path)?))
    }
}

/// Returns a path of an open directory: the target of its link in `/proc` or, if that path does not lead to the
/// directory, the path of the link.
pub(crate) fn path_of(dir: BorrowedFd<'_>) -> PathBuf {
    let link = PathBuf::from(sys::shown("fd", dir));
    let inode = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let name = fs::read_link(&link).ok().filter(|name| inode(name).is_some_and(|found| inode(&link) == Some(found)));
    name.unwrap_or(link)
}

/// The pins of one operation, with the directories that were created for them. All are removed on drop unless the set is kept.
#[derive(Debug, Default)]
pub struct PinSet {
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
}

impl PinSet {
    /// Creates a directory for pins, with its parents, if it does not exist. It must be in a bpffs.
    ///
    /// # Errors
    /// If it cannot be created, or is not in a bpffs.
    pub fn directory(&mut self, path: &Path) -> Result<()> {
        let missing: Vec<&Path> =
            path.ancestors().filter(|path| !path.as_os_str().is_empty()).take_while(|path| is_missing(path)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let refused = |path: &Path| format!("cannot create directory {} for pins", path.display());
        let base = missing.last().and_then(|path| path.parent()).filter(|path| !path.as_os_str().is_empty());
        let base = base.unwrap_or_else(|| Path::new("."));
        if base.is_dir() && mount_of(&c_path(base)?).is_ok_and(|mount| !mount.is_bpffs) {
            return Err(Error::invalid(format_args!("{}: {} is not in a bpffs", refused(path), base.display()))
                .during(Step::Pin)
                .about(Subject::Path(path))
                .with_help("pins can only be in a bpffs: use a directory below /sys/fs/bpf, or mount one (`mount -t bpf bpf DIRECTORY`)"));
        }
        for path in missing.into_iter().rev() {
            match fs::create_dir(path) {
                Ok(()) => self.directories.push(path.to_owned()),
                // Another process has created the directory in the meantime.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => {}
                Err(error) => {
                    let cause = why(path, error.raw_os_error().map_or(Errno::from_raw(0), Errno::from_raw));
                    let error = Error::io(refused(path), &error).during(Step::Pin).about(Subject::Path(path));
                    return Err(explained(error, cause));
                }
            }
        }
        Ok(())
    }

    /// Pins an object; `doing` is the first line of an error.
    pub(crate) fn pin(&mut self, object: BorrowedFd<'_>, path: &Path, doing: impl std::fmt::Display) -> Result<()> {
        pin(object, path, doing)?;
        self.add(path.to_owned());
        Ok(())
    }

    /// Adds a pin that another function created.
    pub fn add(&mut self, path: PathBuf) {
        self.files.push(path);
    }

    /// Keeps the pins and directories.
    pub fn keep(mut self) {
        self.files.clear();
        self.directories.clear();
    }
}

/// The pins of a load. A trait, so that a binary whose loads pin nothing does not contain the code that removes pins.
pub(crate) trait Pinned: std::fmt::Debug + Send + Sync {
    /// Keeps the pins, which are removed on drop otherwise.
    fn keep(self: Box<Self>);
}

impl Pinned for PinSet {
    fn keep(self: Box<Self>) {
        Self::keep(*self);
    }
}

impl Drop for PinSet {
    fn drop(&mut self) {
        // Errors are ignored, because the error that caused the removal is already reported. A directory with other files is not
        // removed.
        for path in self.files.drain(..).rev() {
            let _ = fs::remove_file(path);
        }
        for path in self.directories.drain(..).rev() {
            let _ = fs::remove_dir(path);
        }
    }
}

/// Pins an object.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path, doing: impl std::fmt::Display) -> Result<()> {
    PinPath::new(path).pin(object, doing)
}

/// Returns the error for a path at which the kernel rejected a new pin, or could not open an existing one.
pub(crate) fn refused(path: &Path, doing: impl std::fmt::Display, errno: Errno) -> Error {
    let error = Error::refused(doing, errno).about(Subject::Path(path));
    explained(error, why(path, errno))
}

fn explained(error: Error, cause: Option<(Option<ErrorKind>, String)>) -> Error {
    match cause {
        Some((Some(kind), cause)) => error.with_kind(kind).with_help(cause),
        Some((None, cause)) => error.with_help(cause),
        None => error,
    }
}

fn is_missing(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// Examines a path, its directory and its mount. Returns why a request about the path failed with this error number, and
/// the kind of the error if it does not follow from the number.
fn why(path: &Path, errno: Errno) -> Option<(Option<ErrorKind>, String)> {
    let because = |why: String| Some((None, why));
    let wrong = |why: String| Some((Some(ErrorKind::InvalidInput), why));
    let at = path.display();
    if let Ok(found) = path.symlink_metadata() {
        let kind = found.file_type();
        if kind.is_symlink() && path.metadata().is_err() {
            return because(format!(
                "{at} is a symbolic link whose target does not exist: remove the link, or pin at a different path"
            ));
        }
        if path.is_dir() {
            return because(format!("{at} is a directory: remove it, or pin at a different path"));
        }
        if mount_of(&c_path(path).ok()?).is_ok_and(|mount| !mount.is_bpffs) {
            return wrong(format!("{at} is a file that is not in a bpffs: pin below /sys/fs/bpf"));
        }
        if errno.raw() == libc::EEXIST {
            return because("the path exists already: remove it, or pin at a different path".into());
        }
        if matches!(errno.raw(), libc::EACCES | libc::EPERM) {
            return because(format!(
                "this user has no permission to read and write {at}, or the file is not the pin of a map, program or link"
            ));
        }
    }
    let directory = path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let inside = directory.display();
    match directory.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return because(format!(
                "directory {inside} does not exist: create it in a bpffs (`mount -t bpf bpf /sys/fs/bpf`), or choose a different one"
            ));
        }
        Err(error) => return because(format!("directory {inside} cannot be used: {error}")),
        Ok(found) if !found.is_dir() => return because(format!("{inside} is not a directory")),
        Ok(_) => {}
    }
    let mount: Mount = mount_of(&c_path(directory).ok()?).ok()?;
    if !mount.is_bpffs {
        return wrong(format!(
            "directory {inside} is not in a bpffs: pin below /sys/fs/bpf, or mount one there (`mount -t bpf bpf {inside}`)"
        ));
    }
    if mount.is_read_only {
        return because(format!(
            "the bpffs of {inside} is mounted read-only: remount it for writing, or pin in a different one"
        ));
    }
    let name = path.file_name()?;
    if name.as_bytes().contains(&b'.') {
        return wrong("file names in a bpffs cannot contain dots: pin at a different path".into());
    }
    match errno.raw() {
        libc::EACCES => because(format!("this user has no permission to write to directory {inside}")),
        libc::EPERM => because("pinning requires the capability CAP_BPF".into()),
        _ => None,
    }
}
