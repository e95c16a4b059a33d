//! Attached programs.
//!
//! A link is what holds a program to the place where it runs; it is a file descriptor, and the place is free again when the last
//! one is closed. Knows nothing of objects or plans.

mod attach;

pub(crate) use attach::{attach, way};

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::sys::link as sys;

/// A program attached. Dropping it detaches, unless it was pinned.
#[derive(Debug)]
#[must_use = "dropping a link detaches the program"]
pub struct Link {
    fd: OwnedFd,
    /// The program's name, for messages.
    program: &'static str,
    /// What undoes an attachment that the kernel has no link for.
    registered: Option<Registered>,
}

/// A table of functions that is registered for as long as its map has a value.
#[derive(Debug)]
struct Registered(Option<OwnedFd>);

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(map) = &self.0 {
            // Nothing can be done if the kernel does not let go of it; it is busy until its last user is gone.
            let _ = crate::sys::map::remove_first(map.as_fd());
        }
    }
}

impl Link {
    pub(crate) fn new(fd: OwnedFd, program: &'static str) -> Self {
        Self { fd, program, registered: None }
    }

    /// A table of functions without a link of the kernel's, by its map.
    pub(crate) fn registered(map: OwnedFd, table: &'static str) -> Result<Self> {
        let other =
            map.try_clone().map_err(|error| Error::io(format_args!("attaching struct_ops `{table}`"), &error))?;
        Ok(Self { fd: map, program: table, registered: Some(Registered(Some(other))) })
    }

    /// Pins the link to a path in a bpffs: the program stays attached until the file is removed.
    ///
    /// # Errors
    /// If the path is in no bpffs, is taken, or the way of attaching is an old one without a link (perf events before 5.15).
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        sys::pin(self.fd.as_fd(), &c_path(path)?).map_err(|errno| {
            Error::refused(format_args!("pinning the link of program `{}` to {}", self.program, path.display()), errno)
        })
    }

    /// Runs an attached iterator: what it writes is what the file holds. Every call is a new run.
    ///
    /// # Errors
    /// If the program is no iterator.
    pub fn read_iter(&self) -> Result<File> {
        sys::open_iter(self.fd.as_fd())
            .map(File::from)
            .map_err(|errno| Error::refused(format_args!("opening an instance of iterator `{}`", self.program), errno))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Link> for OwnedFd {
    /// The link's file descriptor. What has none stays registered; the file descriptor is that of its map then.
    fn from(link: Link) -> Self {
        if let Some(mut registered) = link.registered {
            registered.0 = None;
        }
        link.fd
    }
}

/// A path as the kernel takes it.
pub(crate) fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::invalid(format_args!("the path {} holds a zero byte", path.display())))
}
