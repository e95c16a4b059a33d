//! All objects of one kind, by their ids.
//!
//! An iteration opens one object at a time, and closes it before it returns its description. Other processes can create
//! and remove objects during the iteration: an object that is removed before it is opened is skipped. To add a kind of
//! object, add a function with its kind and the function that reads its description.

use std::fmt;
use std::iter::FusedIterator;
use std::os::fd::{AsFd as _, BorrowedFd};

use super::BtfInfo;
use crate::error::{Errno, Error, LinuxVersion, Result, Step, Subject};
use crate::kernel::causes;
use crate::link::{LinkInfo, without_ids};
use crate::map::MapInfo;
use crate::opened::Kind;
use crate::program::ProgramInfo;

/// Returns all programs of the system, in the order of their ids: those that `bpftool prog` lists, including programs
/// of other processes (Linux 4.13). [`Program::from_id`](crate::Program::from_id) opens one.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// for program in skelgen_runtime::system::programs() {
///     let program = program?;
///     println!("{}: {} {} of user {}", program.id, program.program_type, program.name, program.uid);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The items are errors if the process does not have `CAP_SYS_ADMIN`, or a program's description cannot be read. See
/// [`Objects`].
pub fn programs() -> Objects<ProgramInfo> {
    Objects::new(Kind::Program, ProgramInfo::of)
}

/// Returns all maps of the system, in the order of their ids (Linux 4.13).
/// [`map::Untyped::from_id`](crate::map::Untyped::from_id) opens one.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// let mut bytes = 0;
/// for map in skelgen_runtime::system::maps() {
///     bytes += map?.memory.unwrap_or(0);
/// }
/// println!("maps use {bytes} bytes");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The items are errors if the process does not have `CAP_SYS_ADMIN`, or a map's description cannot be read. See
/// [`Objects`].
pub fn maps() -> Objects<MapInfo> {
    Objects::new(Kind::Map, MapInfo::of)
}

/// Returns all links of the system, in the order of their ids (Linux 5.8). Attachments without a link, such as the
/// programs of perf events before Linux 5.15, are not among them. [`Link::from_id`](crate::Link::from_id) opens one.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::{link::LinkTarget, system};
/// for link in system::links() {
///     if let LinkTarget::Xdp { ifindex: Some(ifindex), .. } = link?.target {
///         println!("interface {ifindex} has an XDP program");
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The items are errors if the process does not have `CAP_SYS_ADMIN`, the kernel is older than Linux 5.8, or a link's
/// description cannot be read. See [`Objects`].
pub fn links() -> Objects<LinkInfo> {
    Objects::new(Kind::Link, LinkInfo::of)
}

/// Returns all BTF objects of the system, in the order of their ids (Linux 5.4): those that programs and maps were
/// loaded with and, since Linux 5.11, those of the kernel and of its modules.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// for btf in skelgen_runtime::system::btfs() {
///     let btf = btf?;
///     println!("{}: {} bytes, {}", btf.id, btf.size, btf.name.as_deref().unwrap_or("of programs"));
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The items are errors if the process does not have `CAP_SYS_ADMIN`, or a description cannot be read. See
/// [`Objects`].
pub fn btfs() -> Objects<BtfInfo> {
    Objects::new(Kind::Btf, BtfInfo::of)
}

/// An iterator over the descriptions of all objects of one kind, in the order of their ids. Returned by [`programs`],
/// [`maps`], [`links`] and [`btfs`].
///
/// Each item is read when it is requested, and its file descriptor is closed before the item is returned. Objects that
/// are removed during the iteration are left out. Objects that are created during the iteration are included if their
/// ids are higher than that of the current item.
///
/// If one object cannot be described, its item is the error, and the iteration continues with the next object. An error
/// of the iteration itself, such as a missing permission, is the last item.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::system;
///
/// let of_root = system::programs().filter(|program| program.as_ref().is_ok_and(|program| program.uid == 0));
/// println!("root loaded {} programs", of_root.count());
/// # Ok(())
/// # }
/// ```
pub struct Objects<T> {
    kind: Kind,
    /// The id of the last object, 0 before the first; `None` after the end.
    last: Option<u32>,
    read: fn(BorrowedFd<'_>) -> Result<T, Errno>,
}

impl<T> Objects<T> {
    const fn new(kind: Kind, read: fn(BorrowedFd<'_>) -> Result<T, Errno>) -> Self {
        Self { kind, last: Some(0), read }
    }

    /// Returns the description of the object with this id, or `None` if it was removed.
    fn describe(&self, id: u32) -> Result<Option<T>> {
        let fd = match self.kind.of_id(id) {
            // A link that is being created has an id already, but cannot be opened yet (`EAGAIN`).
            Err(error) if error.errno().is_some_and(|errno| [libc::ENOENT, libc::EAGAIN].contains(&errno.raw())) => {
                return Ok(None);
            }
            result => result?,
        };
        (self.read)(fd.as_fd()).map(Some).map_err(|errno| {
            let what = format!("cannot read the description of the {} with id {id}", self.kind.noun());
            Error::refused(what, errno).during(Step::ReadInfo).about(Subject::Id(id))
        })
    }

    fn unlisted(&self, errno: Errno) -> Error {
        let error = Error::refused(format!("cannot list the {}s of the system", self.kind.noun()), errno);
        let error = error.during(Step::ReadInfo);
        match (errno.raw(), self.kind) {
            (libc::EPERM, _) => error.with_help("run with CAP_SYS_ADMIN, or as root"),
            (_, Kind::Link) => without_ids(error),
            (libc::EINVAL, Kind::Btf) => {
                causes::since(error, LinuxVersion::new(5, 4), "BTF objects can be listed since Linux 5.4")
            }
            _ => error,
        }
    }
}

impl<T> Iterator for Objects<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.kind.next_id(self.last?) {
                Ok(next) => self.last = next,
                Err(errno) => {
                    self.last = None;
                    return Some(Err(self.unlisted(errno)));
                }
            }
            if let Some(item) = self.describe(self.last?).transpose() {
                return Some(item);
            }
        }
    }
}

impl<T> FusedIterator for Objects<T> {}

impl<T> Clone for Objects<T> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<T> fmt::Debug for Objects<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("kind", &self.kind).field("last", &self.last).finish_non_exhaustive()
    }
}
