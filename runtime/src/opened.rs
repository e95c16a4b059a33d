//! Opens programs, maps, links and BTF by pin or id, and checks the kinds of file descriptors.
//!
//! The kernel opens a pin without checking its kind, and one command (`BPF_OBJ_GET_INFO_BY_FD`) reports information about
//! programs, maps and links. So the kind of each file descriptor that this crate did not create is checked before the
//! file descriptor becomes a handle. This module does not depend on handles.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::error::{Errno, Error, Result, Step, Subject};
use crate::pins::{self, PinPath};
pub(crate) use crate::sys::ids::Kind;
use crate::sys::shown;

impl Kind {
    /// Returns the name of the kind, for errors.
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Map => "map",
            Self::Link => "link",
            Self::Btf => "BTF object",
        }
    }

    /// Returns the names of the anonymous inodes of this kind.
    const fn inodes(self) -> &'static [&'static str] {
        match self {
            Self::Program => &["bpf-prog"],
            Self::Map => &["bpf-map"],
            Self::Link => &["bpf_link", "bpf-link"],
            Self::Btf => &["btf"],
        }
    }

    /// Returns the kind of a file descriptor, or `None` if it is not of any of these kinds. Requires `/proc`.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> std::io::Result<Option<Self>> {
        let name = inode(fd)?;
        Ok([Self::Program, Self::Map, Self::Link, Self::Btf].into_iter().find(|kind| kind.inodes().contains(&&*name)))
    }

    /// Returns what a file descriptor is if it is not of this kind. Returns `None` if it is of this kind, or if `/proc`
    /// is not mounted. Without `/proc`, the kernel itself rejects file descriptors of the wrong kind. The exception is
    /// `BPF_OBJ_GET_INFO_BY_FD`, whose callers must not rely on this check (see `sys/link_info.rs` and
    /// `sys/prog/info.rs`).
    pub(crate) fn other(self, fd: BorrowedFd<'_>) -> Option<String> {
        inode(fd).ok().filter(|name| !self.inodes().contains(&&**name))
    }

    /// Returns a file descriptor if it is of this kind.
    pub(crate) fn check(self, fd: OwnedFd) -> Result<OwnedFd> {
        match self.other(fd.as_fd()) {
            None => Ok(fd),
            Some(other) => {
                Err(self.mismatch(format_args!("the file descriptor is not a {}, but {other}", self.noun())))
            }
        }
    }

    /// Opens the object of this kind that is pinned at a path.
    pub(crate) fn pinned(self, path: &Path) -> Result<OwnedFd> {
        self.pinned_at(&PinPath::new(path))
    }

    /// Opens the object of this kind that is pinned at a path, which can be relative to a directory.
    pub(crate) fn pinned_at(self, pin: &PinPath<'_>) -> Result<OwnedFd> {
        let path = pin.shown();
        let opening = || format!("cannot open the {} pinned at {}", self.noun(), path.display());
        let refused = |errno: Errno| match errno.raw() {
            libc::ENOENT => Error::refused(opening(), errno).about(Subject::Path(path)),
            _ => pins::refused(path, opening(), errno),
        };
        let fd = pin.open()?.map_err(|errno| refused(errno).during(Step::Open))?;
        match self.other(fd.as_fd()) {
            None => Ok(fd),
            Some(other) => {
                Err(self.mismatch(format_args!("{}: the object is {other}", opening())).about(Subject::Path(path)))
            }
        }
    }

    /// Opens the object of this kind with this id.
    pub(crate) fn of_id(self, id: u32) -> Result<OwnedFd> {
        self.open(id).map_err(|errno| {
            let error = Error::refused(format_args!("cannot open the {} with id {id}", self.noun()), errno);
            let error = error.during(Step::Open).about(Subject::Id(id));
            match errno.raw() {
                libc::EPERM => error.with_help("run with CAP_SYS_ADMIN, or as root"),
                _ => error,
            }
        })
    }

    fn mismatch(self, what: impl std::fmt::Display) -> Error {
        Error::mismatch(what).during(Step::Open)
    }
}

/// Returns the name of the anonymous inode of a file descriptor, or the path of its file.
fn inode(fd: BorrowedFd<'_>) -> std::io::Result<String> {
    let target = std::fs::read_link(shown("fd", fd))?;
    let target = target.to_string_lossy();
    Ok(target.strip_prefix("anon_inode:").unwrap_or(&target).to_owned())
}
