//! Attaches programs, opens iterators, and pins objects.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::attr::{
    GetInfo, IterCreate, KprobeMulti, LinkCreate, LinkCreateWide, LinkDetach, LinkUpdate, Netfilter, Obj, ProgAttach,
    ProgQuery, RawTracepoint, TracingMulti, UprobeMulti,
};
use super::{address, address_mut, bpf, bpf_fd, len32};
use crate::error::Errno;
use crate::uapi::{AttachType, Command, attach_flags};

/// Attaches to a raw tracepoint, or without a name to what the program was loaded for (before 5.8).
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

/// Attaches to a target, which is a file descriptor or a network interface, or to what the program was loaded for (target 0).
///
/// `first` and `second` are a BTF id and a cookie, or another program or link and a revision.
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
    // SAFETY: for the attach types of the callers (no iterators, no multi-probes) the request has no address.
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
    // SAFETY: the address is that of a slice that outlives the call, next to its length.
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
    // SAFETY: the request has no address.
    unsafe { bpf_fd(Command::LINK_CREATE, &mut attr) }
}

/// Kernel functions to attach to at once, by names or by addresses; the other slice is empty.
#[derive(Debug)]
pub(crate) struct Functions<'a> {
    pub(crate) names: &'a [&'a CStr],
    pub(crate) addresses: &'a [u64],
    /// One for each, or empty.
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
    pub(crate) path: &'a CStr,
    pub(crate) offsets: &'a [u64],
    /// One for each, or empty.
    pub(crate) ref_ctr_offsets: &'a [u64],
    /// One for each, or empty.
    pub(crate) cookies: &'a [u64],
    /// The only process that triggers the program, or 0 for all.
    pub(crate) pid: u32,
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
    let mut attr = UprobeMulti {
        prog_fd: program.as_raw_fd(),
        attach_type: attach_type.0,
        path: places.path.as_ptr().expose_provenance() as u64,
        offsets: address(places.offsets),
        ref_ctr_offsets: address(places.ref_ctr_offsets),
        cookies: address(places.cookies),
        count: len32(count)?,
        multi_flags: u32::from(at_return),
        pid: places.pid,
        ..UprobeMulti::default()
    };
    // SAFETY: the path ends with NUL, each non-empty array has as many entries as the count, and all outlive the call.
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
    // SAFETY: the request has no address.
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
    // SAFETY: the request has no address.
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
    // SAFETY: the request has no address.
    unsafe { bpf(Command::PROG_DETACH, &mut attr) }.map(drop)
}

/// Queries the programs that are attached to a target, by their ids, and their links if there is room for them. Returns their number and
/// the revision, if the kernel counts it.
pub(crate) fn query(
    target: i32,
    attach_type: AttachType,
    programs: &mut [u32],
    links: &mut [u32],
) -> Result<(usize, u64), Errno> {
    if ![0, programs.len()].contains(&links.len()) {
        return Err(Errno::from_raw(libc::EINVAL));
    }
    // For hooks of several kinds, the kernel requires an array for the flags of each program.
    let mut flags = vec![0_u32; if attach_type == AttachType::LSM_CGROUP { programs.len() } else { 0 }];
    let mut attr = ProgQuery {
        target,
        attach_type: attach_type.0,
        prog_ids: address_mut(programs),
        count: len32(programs.len())?,
        prog_attach_flags: address_mut(&mut flags),
        link_ids: address_mut(links),
        ..ProgQuery::default()
    };
    // SAFETY: each array whose address is set has as many entries as the count, and all outlive the call.
    unsafe { bpf(Command::PROG_QUERY, &mut attr) }?;
    Ok((usize::try_from(attr.count).unwrap_or(usize::MAX), attr.revision))
}

/// Detaches a link's program, even if the link is open elsewhere (Linux 5.9).
pub(crate) fn detach_link(link: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = LinkDetach { link_fd: link.as_raw_fd() };
    // SAFETY: the request has no address.
    unsafe { bpf(Command::LINK_DETACH, &mut attr) }.map(drop)
}

/// The kernel's description of a link: `struct bpf_link_info`, 64 bytes as of 7.3.4, in words.
pub(crate) type Info = [u64; 8];

/// Reads the description of a link. `name` is a buffer for the name that some kinds of links have, with the indices of the words for its
/// address and (in the lower half) its length.
pub(crate) fn info(link: BorrowedFd<'_>, name: Option<(usize, usize, &mut [u8])>) -> Result<Info, Errno> {
    let mut info = Info::default();
    if let Some((address_at, length_at, name)) = name {
        let length = len32(name.len())?.to_ne_bytes();
        let place = info.get_mut(length_at).ok_or(Errno::from_raw(libc::EINVAL))?;
        *place = u64::from_ne_bytes([length[0], length[1], length[2], length[3], 0, 0, 0, 0]);
        *info.get_mut(address_at).ok_or(Errno::from_raw(libc::EINVAL))? = address_mut(name);
    }
    let mut attr =
        GetInfo { bpf_fd: link.as_raw_fd(), info_len: len32(size_of_val(&info))?, info: address_mut(&mut info) };
    // SAFETY: the kernel writes at most `info_len` bytes to `info`, and at most the length next to its address to `name`, which outlives
    // the call; all other addresses are zero.
    unsafe { bpf(Command::OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(info)
}

/// Opens an instance of an attached iterator.
pub(crate) fn open_iter(link: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mut attr = IterCreate { link_fd: link.as_raw_fd(), flags: 0 };
    // SAFETY: the request has no address.
    unsafe { bpf_fd(Command::ITER_CREATE, &mut attr) }
}

/// Pins a map, program or link to a path in a bpffs.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
    let mut attr =
        Obj { pathname: path.as_ptr().expose_provenance() as u64, bpf_fd: object.as_raw_fd(), file_flags: 0 };
    // SAFETY: the path ends with NUL and outlives the call.
    unsafe { bpf(Command::OBJ_PIN, &mut attr) }.map(drop)
}

/// Opens the map, program or link that is pinned at a path.
pub(crate) fn open_pinned(path: &CStr) -> Result<OwnedFd, Errno> {
    let mut attr = Obj { pathname: path.as_ptr().expose_provenance() as u64, ..Obj::default() };
    // SAFETY: the path ends with NUL and outlives the call.
    unsafe { bpf_fd(Command::OBJ_GET, &mut attr) }
}

/// Replaces the program of a link. `old` is the program that must be attached now, if set.
pub(crate) fn update(link: BorrowedFd<'_>, program: BorrowedFd<'_>, old: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    let mut attr = LinkUpdate {
        link_fd: link.as_raw_fd(),
        new_fd: program.as_raw_fd(),
        flags: if old.is_some() { attach_flags::REPLACE } else { 0 },
        old_fd: old.map_or(0, |old| old.as_raw_fd()),
    };
    // SAFETY: the request has no address.
    unsafe { bpf(Command::LINK_UPDATE, &mut attr) }.map(drop)
}

/// Replaces the struct_ops map of a link (Linux 6.4).
pub(crate) fn update_map(link: BorrowedFd<'_>, map: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = LinkUpdate { link_fd: link.as_raw_fd(), new_fd: map.as_raw_fd(), ..LinkUpdate::default() };
    // SAFETY: the request has no address.
    unsafe { bpf(Command::LINK_UPDATE, &mut attr) }.map(drop)
}
