//! Attaches programs, opens iterators, and pins objects.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::attr::{
    IterCreate, KprobeMulti, LinkCreate, LinkCreateWide, LinkDetach, LinkUpdate, Netfilter, Obj, ProgAttach, ProgQuery,
    RawTracepoint, TracingMulti, UprobeMulti,
};
use super::probe::Probe;
use super::{address, address_mut, bpf, bpf_fd, len32};
use crate::error::Errno;
use crate::uapi::{AttachType, Command, attach_flags};

/// `BPF_F_PATH_FD` of `BPF_OBJ_PIN` and `BPF_OBJ_GET`.
const PATH_FD: u32 = 1 << 14;
/// `BPF_F_UPROBE_MULTI_RETURN` and `BPF_F_UPROBE_MULTI_PATH_FD`.
const UPROBE_MULTI_RETURN: u32 = 1 << 0;
const UPROBE_MULTI_PATH_FD: u32 = 1 << 1;

/// Attaches to a raw tracepoint. Without a name, attaches to the target that the program was loaded for, as kernels
/// before Linux 5.8 require.
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

/// Attaches to a target: a file descriptor, the index of a network interface, or 0 for the target that the program was loaded
/// for.
///
/// `first` and `second` depend on the attach type: a BTF id and a cookie, or another program or link and a revision.
pub(crate) fn create(
    program: BorrowedFd<'_>,
    target: i32,
    attach_type: AttachType,
    flags: u32,
    (first, second): (u32, u64),
) -> Result<OwnedFd, Errno> {
    let mut attr = LinkCreate {
        prog_fd: program.as_raw_fd(),
        target,
        attach_type: attach_type.0,
        flags,
        first,
        second,
        ..LinkCreate::default()
    };
    // SAFETY: for the attach types that callers pass (no iterators, kprobe.multi or uprobe.multi), `attr` contains no
    // pointers.
    unsafe { bpf_fd(Command::LINK_CREATE, &mut attr) }
}

/// Attaches an iterator; `info` is a `union bpf_iter_link_info`, or empty.
pub(crate) fn create_iter(program: BorrowedFd<'_>, info: &[u8]) -> Result<OwnedFd, Errno> {
    let mut attr = LinkCreateWide {
        prog_fd: program.as_raw_fd(),
        attach_type: AttachType::TRACE_ITER.0,
        first: address(info),
        second: len32(info.len())?,
        ..LinkCreateWide::default()
    };
    // SAFETY: the only pointer in `attr` is that of a slice that outlives the call, and `attr` has the length of the
    // slice.
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
    // SAFETY: `attr` contains no pointers.
    unsafe { bpf_fd(Command::LINK_CREATE, &mut attr) }
}

/// Kernel functions to attach to at once, either by name or by address: one of the two slices is empty.
#[derive(Debug)]
pub(crate) struct Functions<'a> {
    pub(crate) names: &'a [&'a CStr],
    pub(crate) addresses: &'a [u64],
    /// The cookie of each function, or empty.
    pub(crate) cookies: &'a [u64],
}

/// Attaches to several kernel functions (Linux 5.18).
pub(crate) fn create_kprobe_multi(
    program: BorrowedFd<'_>,
    attach_type: AttachType,
    functions: &Functions<'_>,
    at_return: bool,
) -> Result<OwnedFd, Errno> {
    let count = functions.names.len().max(functions.addresses.len());
    if ![0, count].contains(&functions.cookies.len()) {
        return Err(Errno::from_raw(libc::EINVAL));
    }
    let names: Vec<u64> = functions.names.iter().map(|name| name.as_ptr().expose_provenance() as u64).collect();
    let mut attr = KprobeMulti {
        prog_fd: program.as_raw_fd(),
        attach_type: attach_type.0,
        multi_flags: u32::from(at_return),
        count: len32(count)?,
        syms: address(&names),
        addrs: if names.is_empty() { address(functions.addresses) } else { 0 },
        cookies: address(functions.cookies),
        ..KprobeMulti::default()
    };
    // SAFETY: the names end with NUL. The array of names or addresses, and that of the cookies, have as many entries as the count, and all
    // outlive the call.
    unsafe { bpf_fd(Command::LINK_CREATE, &mut attr) }
}

/// Offsets in a file to attach to at once.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    pub(crate) file: File<'a>,
    pub(crate) offsets: &'a [u64],
    /// The offset of the reference counter for each offset, or empty.
    pub(crate) ref_ctr_offsets: &'a [u64],
    /// The cookie of each offset, or empty.
    pub(crate) cookies: &'a [u64],
    /// The only process that triggers the program, or 0 for all.
    pub(crate) pid: u32,
}

/// The file of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum File<'a> {
    Path(&'a CStr),
    /// An open file (Linux 7.2).
    Open(BorrowedFd<'a>),
}

/// Attaches to several offsets in a file (Linux 6.6).
pub(crate) fn create_uprobe_multi(
    program: BorrowedFd<'_>,
    attach_type: AttachType,
    places: &Places<'_>,
    at_return: bool,
) -> Result<OwnedFd, Errno> {
    let count = places.offsets.len();
    if ![0, count].contains(&places.cookies.len()) || ![0, count].contains(&places.ref_ctr_offsets.len()) {
        return Err(Errno::from_raw(libc::EINVAL));
    }
    let (path, path_fd, by_descriptor) = match places.file {
        File::Path(path) => (path.as_ptr().expose_provenance() as u64, 0, 0),
        File::Open(file) => (0, file.as_raw_fd(), UPROBE_MULTI_PATH_FD),
    };
    let at_return = if at_return { UPROBE_MULTI_RETURN } else { 0 };
    let mut attr = UprobeMulti {
        prog_fd: program.as_raw_fd(),
        attach_type: attach_type.0,
        path,
        offsets: address(places.offsets),
        ref_ctr_offsets: address(places.ref_ctr_offsets),
        cookies: address(places.cookies),
        count: len32(count)?,
        multi_flags: at_return | by_descriptor,
        pid: places.pid,
        path_fd,
        ..UprobeMulti::default()
    };
    // SAFETY: a path ends with NUL, each non-empty array has as many entries as the count, and all outlive the call.
    unsafe { bpf_fd(Command::LINK_CREATE, &mut attr) }
}

/// Attaches to several functions of the kernel by their BTF ids (Linux 7.2), with a cookie for each or without cookies.
pub(crate) fn create_tracing_multi(
    program: BorrowedFd<'_>,
    attach_type: AttachType,
    ids: &[u32],
    cookies: &[u64],
) -> Result<OwnedFd, Errno> {
    if ![0, ids.len()].contains(&cookies.len()) {
        return Err(Errno::from_raw(libc::EINVAL));
    }
    let mut attr = TracingMulti {
        prog_fd: program.as_raw_fd(),
        attach_type: attach_type.0,
        ids: address(ids),
        cookies: address(cookies),
        count: len32(ids.len())?,
        ..TracingMulti::default()
    };
    // SAFETY: each non-empty array has as many entries as the count, and both outlive the call.
    unsafe { bpf_fd(Command::LINK_CREATE, &mut attr) }
}

/// Attaches to a hook of netfilter (Linux 6.4) in this thread's network namespace.
pub(crate) fn create_netfilter(
    program: BorrowedFd<'_>,
    (family, hook): (u32, u32),
    priority: i32,
    hook_flags: u32,
) -> Result<OwnedFd, Errno> {
    let mut attr = Netfilter {
        prog_fd: program.as_raw_fd(),
        attach_type: AttachType::NETFILTER.0,
        family,
        hook,
        priority,
        hook_flags,
        ..Netfilter::default()
    };
    // SAFETY: `attr` contains no pointers.
    unsafe { bpf_fd(Command::LINK_CREATE, &mut attr) }
}

/// Attaches without a link. `replaced` is the program to replace, if the flags request that.
pub(crate) fn attach(
    program: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    attach_type: AttachType,
    flags: u32,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attr = ProgAttach {
        target: target.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: attach_type.0,
        attach_flags: flags,
        replace_bpf_fd: replaced.map_or(0, |program| program.as_raw_fd()),
    };
    // SAFETY: `attr` contains no pointers.
    unsafe { bpf(Command::PROG_ATTACH, &mut attr) }.map(drop)
}

/// Requests to attach a program that does not exist. The kernel checks the attach type first: `EINVAL` means that the
/// kernel does not support the type, or only with links; `EBADF` means that the kernel supports the type.
pub(crate) fn attach_nothing(attach_type: AttachType) -> Result<(), Errno> {
    let mut attr = ProgAttach { target: -1, attach_bpf_fd: -1, attach_type: attach_type.0, ..ProgAttach::default() };
    // SAFETY: `attr` contains no pointers.
    unsafe { bpf(Command::PROG_ATTACH, &mut attr) }.map(drop)
}

/// Detaches a program that was attached without a link.
pub(crate) fn detach(program: BorrowedFd<'_>, target: BorrowedFd<'_>, attach_type: AttachType) -> Result<(), Errno> {
    let mut attr = ProgAttach {
        target: target.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: attach_type.0,
        ..ProgAttach::default()
    };
    // SAFETY: `attr` contains no pointers.
    unsafe { bpf(Command::PROG_DETACH, &mut attr) }.map(drop)
}

/// Detaches a program that was attached without a link to a network interface (Linux 6.6).
pub(crate) fn detach_from_interface(
    program: BorrowedFd<'_>,
    ifindex: u32,
    attach_type: AttachType,
) -> Result<(), Errno> {
    let mut attr = ProgAttach {
        target: i32::from_ne_bytes(ifindex.to_ne_bytes()),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: attach_type.0,
        ..ProgAttach::default()
    };
    // SAFETY: `attr` contains no pointers.
    unsafe { bpf(Command::PROG_DETACH, &mut attr) }.map(drop)
}

/// The answer to a query of attached programs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queried {
    /// The number of programs.
    pub(crate) count: usize,
    /// The flags with which they are attached.
    pub(crate) flags: u32,
    /// The revision of the list of programs, or 0 if the kernel has no revisions.
    pub(crate) revision: u64,
}

/// Queries the ids of the programs that are attached to a target, and of their links unless `links` is empty. If
/// `is_effective` is set, includes the programs of the ancestors of a cgroup.
pub(crate) fn query(
    target: i32,
    (attach_type, is_effective): (AttachType, bool),
    programs: &mut [u32],
    links: &mut [u32],
) -> Result<Queried, Errno> {
    /// `BPF_F_QUERY_EFFECTIVE`.
    const EFFECTIVE: u32 = 1;
    if ![0, programs.len()].contains(&links.len()) {
        return Err(Errno::from_raw(libc::EINVAL));
    }
    // For LSM hooks of a cgroup, which can be several hooks, the kernel requires an array for the flags of each
    // program.
    let has_flags = attach_type == AttachType::LSM_CGROUP && !is_effective;
    let mut flags = vec![0_u32; if has_flags { programs.len() } else { 0 }];
    let mut attr = ProgQuery {
        target,
        attach_type: attach_type.0,
        query_flags: if is_effective { EFFECTIVE } else { 0 },
        prog_ids: address_mut(programs),
        count: len32(programs.len())?,
        prog_attach_flags: address_mut(&mut flags),
        link_ids: address_mut(links),
        ..ProgQuery::default()
    };
    // SAFETY: each array whose pointer is set has as many entries as the count, and all outlive the call.
    unsafe { bpf(Command::PROG_QUERY, &mut attr) }?;
    let count = usize::try_from(attr.count).unwrap_or(usize::MAX);
    Ok(Queried { count, flags: attr.attach_flags, revision: attr.revision })
}

/// Detaches a link's program, even if the link is open elsewhere (Linux 5.9).
pub(crate) fn detach_link(link: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = LinkDetach { link_fd: link.as_raw_fd() };
    // SAFETY: `attr` contains no pointers.
    unsafe { bpf(Command::LINK_DETACH, &mut attr) }.map(drop)
}

/// Returns whether a file descriptor is that of a link, without `/proc`.
///
/// The length of the kernel's description does not identify a link: the descriptions of links and of BTF had 32 bytes
/// in some versions, and they grow. So this function requests to replace the link's program by one whose file
/// descriptor is never open. The kernel looks up the link first, and rejects any other object with `EINVAL`; for a link
/// it then reports `EBADF`, and changes nothing (`link_update`, Linux 5.7 to 7.3.4).
pub(crate) fn is_link(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut attr = LinkUpdate { link_fd: fd.as_raw_fd(), new_fd: NOT_OPEN, flags: 0, old_fd: 0 };
    // SAFETY: `attr` contains no pointers.
    match unsafe { bpf(Command::LINK_UPDATE, &mut attr) } {
        Err(errno) if errno.raw() == libc::EBADF => Ok(true),
        Err(errno) if errno.raw() == libc::EINVAL => Ok(false),
        result => result.map(|_| false),
    }
}

/// Returns whether the kernel can detach a link's program before the link is closed (Linux 5.9).
pub(crate) fn can_detach() -> crate::Result<bool> {
    static PROBE: Probe = Probe::new("can detach links (BPF_LINK_DETACH)");
    PROBE.run(|| {
        let mut attr = LinkDetach { link_fd: NOT_OPEN };
        // SAFETY: `attr` contains no pointers.
        match unsafe { bpf(Command::LINK_DETACH, &mut attr) } {
            Err(errno) if errno.raw() == libc::EBADF => Ok(true),
            // The command is unknown.
            Err(errno) if errno.raw() == libc::EINVAL => Ok(false),
            result => result.map(|_| true),
        }
    })
}

/// A file descriptor that is never open.
const NOT_OPEN: i32 = -1;

/// Opens an instance of an attached iterator.
pub(crate) fn open_iter(link: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mut attr = IterCreate { link_fd: link.as_raw_fd(), flags: 0 };
    // SAFETY: `attr` contains no pointers.
    unsafe { bpf_fd(Command::ITER_CREATE, &mut attr) }
}

/// Pins a map, program or link to a path in a bpffs, relative to a directory (Linux 6.5) or the working directory.
pub(crate) fn pin(object: BorrowedFd<'_>, dir: Option<BorrowedFd<'_>>, path: &CStr) -> Result<(), Errno> {
    let mut attr = Obj { bpf_fd: object.as_raw_fd(), ..of_path(dir, path) };
    // SAFETY: the path ends with NUL and outlives the call.
    unsafe { bpf(Command::OBJ_PIN, &mut attr) }.map(drop)
}

/// Opens the map, program or link that is pinned at a path, relative to a directory (Linux 6.5) or the working directory.
pub(crate) fn open_pinned(dir: Option<BorrowedFd<'_>>, path: &CStr) -> Result<OwnedFd, Errno> {
    let mut attr = of_path(dir, path);
    // SAFETY: the path ends with NUL and outlives the call.
    unsafe { bpf_fd(Command::OBJ_GET, &mut attr) }
}

/// Returns a request with a path, which must outlive the call.
fn of_path(dir: Option<BorrowedFd<'_>>, path: &CStr) -> Obj {
    let pathname = path.as_ptr().expose_provenance() as u64;
    match dir {
        Some(dir) => Obj { pathname, file_flags: PATH_FD, path_fd: dir.as_raw_fd(), ..Obj::default() },
        None => Obj { pathname, ..Obj::default() },
    }
}

/// Replaces the program of a link, or its struct_ops map (Linux 6.4). If `old` is set, the kernel rejects the request
/// unless the link has that program or map.
pub(crate) fn update(link: BorrowedFd<'_>, new: BorrowedFd<'_>, old: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    let mut attr = LinkUpdate {
        link_fd: link.as_raw_fd(),
        new_fd: new.as_raw_fd(),
        flags: if old.is_some() { attach_flags::REPLACE } else { 0 },
        old_fd: old.map_or(0, |old| old.as_raw_fd()),
    };
    // SAFETY: `attr` contains no pointers.
    unsafe { bpf(Command::LINK_UPDATE, &mut attr) }.map(drop)
}
