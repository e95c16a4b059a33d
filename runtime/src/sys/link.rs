//! Links: programs attached, iterators opened, objects pinned.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::attr::{IterCreate, LinkCreate, LinkCreateWide, LinkUpdate, Obj, RawTracepoint};
use super::{bpf, bpf_fd};
use crate::error::Errno;
use crate::uapi::{AttachType, Command};

/// Attaches to a raw tracepoint; without a name to what the program was loaded for (the way before 5.8).
pub(crate) fn raw_tracepoint(program: BorrowedFd<'_>, name: Option<&CStr>, cookie: u64) -> Result<OwnedFd, Errno> {
    let mut attr = RawTracepoint {
        name: name.map_or(0, |name| name.as_ptr().expose_provenance() as u64),
        prog_fd: program.as_raw_fd(),
        cookie,
        ..RawTracepoint::default()
    };
    // SAFETY: the name, if there is one, ends with NUL and outlives the call.
    unsafe { bpf_fd(Command::RAW_TRACEPOINT_OPEN, &mut attr) }
}

/// Attaches to a target that is a file descriptor or a network interface, or to what the program was loaded for (target 0).
pub(crate) fn create(
    program: BorrowedFd<'_>,
    target: i32,
    attach_type: AttachType,
    flags: u32,
    cookie: u64,
) -> Result<OwnedFd, Errno> {
    let mut attr = LinkCreate {
        prog_fd: program.as_raw_fd(),
        target,
        attach_type: attach_type.0,
        flags,
        second: cookie,
        ..LinkCreate::default()
    };
    // SAFETY: for the attach types of the callers (not iterators or probes of several places) the request holds no address.
    unsafe { bpf_fd(Command::LINK_CREATE, &mut attr) }
}

/// Attaches an iterator; `info` is a `union bpf_iter_link_info`, empty for none.
pub(crate) fn create_iter(program: BorrowedFd<'_>, info: &[u8]) -> Result<OwnedFd, Errno> {
    let mut attr = LinkCreateWide {
        prog_fd: program.as_raw_fd(),
        attach_type: AttachType::TRACE_ITER.0,
        first: super::address(info),
        second: super::len32(info.len())?,
        ..LinkCreateWide::default()
    };
    // SAFETY: the address is that of a slice that outlives the call and stands beside its length.
    unsafe { bpf_fd(Command::LINK_CREATE, &mut attr) }
}

/// Attaches to a perf event (Linux 5.15).
pub(crate) fn create_perf(program: BorrowedFd<'_>, event: BorrowedFd<'_>, cookie: u64) -> Result<OwnedFd, Errno> {
    let mut attr = LinkCreateWide {
        prog_fd: program.as_raw_fd(),
        target: event.as_raw_fd(),
        attach_type: AttachType::PERF_EVENT.0,
        first: cookie,
        ..LinkCreateWide::default()
    };
    // SAFETY: the request holds no address.
    unsafe { bpf_fd(Command::LINK_CREATE, &mut attr) }
}

/// Opens an instance of an attached iterator.
pub(crate) fn open_iter(link: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mut attr = IterCreate { link_fd: link.as_raw_fd(), flags: 0 };
    // SAFETY: the request holds no address.
    unsafe { bpf_fd(Command::ITER_CREATE, &mut attr) }
}

/// Pins a map, program or link to a path in a bpffs.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
    let mut attr =
        Obj { pathname: path.as_ptr().expose_provenance() as u64, bpf_fd: object.as_raw_fd(), file_flags: 0 };
    // SAFETY: the path ends with NUL and outlives the call.
    unsafe { bpf(Command::OBJ_PIN, &mut attr) }.map(drop)
}

/// Opens what is pinned at a path.
pub(crate) fn open_pinned(path: &CStr) -> Result<OwnedFd, Errno> {
    let mut attr = Obj { pathname: path.as_ptr().expose_provenance() as u64, ..Obj::default() };
    // SAFETY: the path ends with NUL and outlives the call.
    unsafe { bpf_fd(Command::OBJ_GET, &mut attr) }
}

/// Puts a table of functions in the place of the one that a link registered (Linux 6.4).
pub(crate) fn update_map(link: BorrowedFd<'_>, map: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = LinkUpdate { link_fd: link.as_raw_fd(), new_fd: map.as_raw_fd(), ..LinkUpdate::default() };
    // SAFETY: the request holds no address.
    unsafe { bpf(Command::LINK_UPDATE, &mut attr) }.map(drop)
}
