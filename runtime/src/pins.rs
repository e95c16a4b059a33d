//! Pins: files of a bpffs that keep maps and links, the directories they are in, and why the kernel refuses one.
//!
//! Pins are made by [`PinSet`], which removes what it has made unless it is kept. Must not know objects or plans.
//!
//! A set of pins is not atomic: a process that is killed while it pins leaves those it has made. The next load finds the maps among
//! them and pins the rest; directories that were made stay.

use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{Errno, Error, Result};
use crate::sys;
use crate::sys::c_path;
use crate::sys::mount::{Mount, mount_of};

/// The pins that were made together, with the directories made for them. All are removed when it is dropped, unless it is kept.
#[derive(Debug, Default)]
pub(crate) struct PinSet {
    files: Vec<PathBuf>,
    directories: Vec<PathBuf>,
}

impl PinSet {
    /// Makes a directory for pins, with those above it, if it is not there. It must be below a bpffs.
    pub(crate) fn directory(&mut self, path: &Path) -> Result<()> {
        let missing: Vec<&Path> =
            path.ancestors().filter(|path| !path.as_os_str().is_empty()).take_while(|path| is_missing(path)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let refused = |path: &Path| format!("making directory {} for pins", path.display());
        let base = missing.last().and_then(|path| path.parent()).filter(|path| !path.as_os_str().is_empty());
        let base = base.unwrap_or_else(|| Path::new("."));
        if base.is_dir() && mount_of(&c_path(base)?).is_ok_and(|mount| !mount.is_bpffs) {
            return Err(Error::invalid(format_args!("{}: {} is not in a bpffs", refused(path), base.display()))
                .note("pins can only be in a bpffs: use a directory below /sys/fs/bpf, or mount one (`mount -t bpf bpf DIRECTORY`)"));
        }
        for path in missing.into_iter().rev() {
            match std::fs::create_dir(path) {
                Ok(()) => self.directories.push(path.to_owned()),
                // Another process has made it since.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => {}
                Err(error) => {
                    let cause = why(path, error.raw_os_error().map_or(Errno::from_raw(0), Errno::from_raw));
                    let error = Error::io(refused(path), &error);
                    return Err(match cause {
                        Some(cause) => error.note(cause),
                        None => error,
                    });
                }
            }
        }
        Ok(())
    }

    /// Pins an object; `doing` is for the error.
    pub(crate) fn pin(&mut self, object: BorrowedFd<'_>, path: &Path, doing: impl std::fmt::Display) -> Result<()> {
        pin(object, path, doing)?;
        self.add(path.to_owned());
        Ok(())
    }

    /// Takes over a pin that was made elsewhere.
    pub(crate) fn add(&mut self, path: PathBuf) {
        self.files.push(path);
    }

    /// Keeps what was made.
    pub(crate) fn keep(mut self) {
        self.files.clear();
        self.directories.clear();
    }
}

impl Drop for PinSet {
    fn drop(&mut self) {
        // Nothing can be done about one that stays, and the error to report is another. A directory that others use is not empty.
        for path in self.files.drain(..).rev() {
            let _ = std::fs::remove_file(path);
        }
        for path in self.directories.drain(..).rev() {
            let _ = std::fs::remove_dir(path);
        }
    }
}

/// Pins an object.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path, doing: impl std::fmt::Display) -> Result<()> {
    let name: CString = c_path(path)?;
    sys::link::pin(object, &name).map_err(|errno| refused(path, doing, errno))
}

/// The error of something that the kernel does not pin at a path, or does not open there.
pub(crate) fn refused(path: &Path, doing: impl std::fmt::Display, errno: Errno) -> Error {
    let error = Error::refused(doing, errno);
    match why(path, errno) {
        Some(cause) => error.note(cause),
        None => error,
    }
}

fn is_missing(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// The cause of an error number at a path of a bpffs: what is there, what its directory is, how that is mounted.
fn why(path: &Path, errno: Errno) -> Option<String> {
    let at = path.display();
    if let Ok(found) = path.symlink_metadata() {
        let kind = found.file_type();
        if kind.is_symlink() && path.metadata().is_err() {
            return Some(format!(
                "{at} is a symbolic link to something that does not exist: remove it, or pin at another path"
            ));
        }
        if path.is_dir() {
            return Some(format!("{at} is a directory: remove it, or pin at another path"));
        }
        if mount_of(&c_path(path).ok()?).is_ok_and(|mount| !mount.is_bpffs) {
            return Some(format!("{at} is a file that is not in a bpffs: pin below /sys/fs/bpf"));
        }
        if errno.raw() == libc::EEXIST {
            return Some("something has that path already: remove it, or pin at another path".into());
        }
        if matches!(errno.raw(), libc::EACCES | libc::EPERM) {
            return Some(format!("{at} may not be read and written by this user, or is not a map, program or link"));
        }
    }
    let directory = path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let inside = directory.display();
    match directory.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Some(format!(
                "directory {inside} does not exist: make it in a bpffs (`mount -t bpf bpf /sys/fs/bpf`), or choose another"
            ));
        }
        Err(error) => return Some(format!("directory {inside} cannot be used: {error}")),
        Ok(found) if !found.is_dir() => return Some(format!("{inside} is not a directory")),
        Ok(_) => {}
    }
    let mount: Mount = mount_of(&c_path(directory).ok()?).ok()?;
    if !mount.is_bpffs {
        return Some(format!(
            "directory {inside} is not in a bpffs: pin below /sys/fs/bpf, or mount one there (`mount -t bpf bpf {inside}`)"
        ));
    }
    if mount.is_read_only {
        return Some(format!("the bpffs of {inside} is mounted read-only: mount it for writing, or pin in another"));
    }
    let name = path.file_name()?;
    if name.as_bytes().contains(&b'.') {
        return Some("names in a bpffs have no dots: pin at another path".into());
    }
    match errno.raw() {
        libc::EACCES => Some(format!("this user may not write to directory {inside}")),
        libc::EPERM => Some("pinning takes the capability CAP_BPF, or root".into()),
        _ => None,
    }
}
