//! Information that the kernel reports about a link.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use crate::error::Errno;
use crate::sys::link::{self as sys, Info};
use crate::uapi::{AttachType, LinkType, NetfilterFamily, NetfilterHook};

/// A link as the kernel reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkInfo {
    /// Its id.
    pub id: u32,
    /// Its kind.
    pub kind: LinkType,
    /// The id of its program, or `None` for a struct_ops map.
    pub program_id: Option<u32>,
    /// The attach target, as far as the kind is known and the kernel reports it.
    pub target: LinkTarget,
}

/// The attach target of a link. Strings are empty and numbers 0 if an older kernel does not report them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names of the fields describe them")]
pub enum LinkTarget {
    /// A raw tracepoint.
    RawTracepoint { name: String, cookie: u64 },
    /// A function or tracepoint, by its BTF id in the object with the id `object_id`: BTF or, for `freplace`, a
    /// program.
    Tracing { attach_type: AttachType, object_id: u32, btf_id: u32, cookie: u64 },
    /// Many functions or tracepoints.
    TracingMulti { attach_type: AttachType, count: u32 },
    /// A cgroup; its id is 0 after it was removed.
    Cgroup { id: u64, attach_type: AttachType },
    /// An iterator.
    Iter { name: String },
    /// A network namespace, by the inode of its file; 0 after it was removed.
    Netns { inode: u32, attach_type: AttachType },
    /// A network interface; 0 after it was removed.
    Xdp { ifindex: u32 },
    /// A network interface and a direction; 0 after it was removed.
    Tcx { ifindex: u32, attach_type: AttachType },
    /// A netkit interface; 0 after it was removed.
    Netkit { ifindex: u32, attach_type: AttachType },
    /// A map of sockets; 0 after it was removed.
    Sockmap { map_id: u32, attach_type: AttachType },
    /// A struct_ops map; 0 after it was detached.
    StructOps { map_id: u32 },
    /// A netfilter hook.
    Netfilter { family: NetfilterFamily, hook: NetfilterHook, priority: i32, defragment: bool },
    /// Many kernel functions.
    KprobeMulti { count: u32, at_return: bool, missed: u64 },
    /// Many offsets in a file.
    UprobeMulti { path: String, count: u32, at_return: bool, pid: u32 },
    /// A kernel function.
    Kprobe { function: String, offset: u32, at_return: bool, cookie: u64 },
    /// An offset in a file.
    Uprobe { path: String, offset: u32, at_return: bool, cookie: u64 },
    /// A tracepoint.
    Tracepoint { name: String, cookie: u64 },
    /// A perf event.
    PerfEvent { event_type: u32, config: u64, cookie: u64 },
    /// A target that this version does not know, or that the kernel does not report.
    Unknown,
}

/// The size of the buffer for a name, which may be a path.
const NAME: usize = 4096;

impl LinkInfo {
    pub(super) fn of(link: BorrowedFd<'_>) -> Result<Self, Errno> {
        let plain = sys::info(link, None)?;
        let mut name = vec![0; NAME];
        let kind = LinkType(low(plain[0]));
        // Kinds with a name are queried again, with a buffer at the offset of the name in their part of the structure.
        // A name that the kernel cannot report (a path of another namespace) stays empty.
        let named = match kind {
            LinkType::RAW_TRACEPOINT | LinkType::ITER => Some((2, 3)),
            LinkType::UPROBE_MULTI => Some((2, 6)),
            LinkType::PERF_EVENT if (1..=5).contains(&low(plain[2])) => Some((3, 4)),
            _ => None,
        };
        let asked = named.and_then(|(address, length)| sys::info(link, Some((address, length, &mut name))).ok());
        let info = asked.unwrap_or(plain);
        let name = if asked.is_some() { text(&name) } else { String::new() };
        Ok(Self { id: high(info[0]), kind, program_id: id(low(info[1])), target: target(kind, &info, name) })
    }
}

/// Returns the target from the part of `struct bpf_link_info` that each kind of link has, from its third word on.
fn target(kind: LinkType, info: &Info, name: String) -> LinkTarget {
    let [_, _, a, b, c, d, e, f] = *info;
    match kind {
        LinkType::RAW_TRACEPOINT => LinkTarget::RawTracepoint { name, cookie: c },
        LinkType::TRACING => {
            LinkTarget::Tracing { attach_type: AttachType(low(a)), object_id: high(a), btf_id: low(b), cookie: c }
        }
        LinkType::TRACING_MULTI => LinkTarget::TracingMulti { attach_type: AttachType(low(a)), count: high(a) },
        LinkType::CGROUP => LinkTarget::Cgroup { id: a, attach_type: AttachType(low(b)) },
        LinkType::ITER => LinkTarget::Iter { name },
        LinkType::NETNS => LinkTarget::Netns { inode: low(a), attach_type: AttachType(high(a)) },
        LinkType::XDP => LinkTarget::Xdp { ifindex: low(a) },
        LinkType::TCX => LinkTarget::Tcx { ifindex: low(a), attach_type: AttachType(high(a)) },
        LinkType::NETKIT => LinkTarget::Netkit { ifindex: low(a), attach_type: AttachType(high(a)) },
        LinkType::SOCKMAP => LinkTarget::Sockmap { map_id: low(a), attach_type: AttachType(high(a)) },
        LinkType::STRUCT_OPS => LinkTarget::StructOps { map_id: low(a) },
        LinkType::NETFILTER => LinkTarget::Netfilter {
            family: NetfilterFamily(low(a)),
            hook: NetfilterHook(high(a)),
            priority: i32::from_ne_bytes(low(b).to_ne_bytes()),
            // BPF_F_NETFILTER_IP_DEFRAG
            defragment: high(b) & 1 != 0,
        },
        LinkType::KPROBE_MULTI => LinkTarget::KprobeMulti { count: low(b), at_return: high(b) & 1 != 0, missed: c },
        LinkType::UPROBE_MULTI => {
            LinkTarget::UprobeMulti { path: name, count: high(e), at_return: low(f) & 1 != 0, pid: high(f) }
        }
        // The event type is one of `enum bpf_perf_event_type`.
        LinkType::PERF_EVENT => match low(a) {
            kind @ (1 | 2) => LinkTarget::Uprobe { path: name, offset: high(c), at_return: kind == 2, cookie: d },
            kind @ (3 | 4) => LinkTarget::Kprobe { function: name, offset: high(c), at_return: kind == 4, cookie: f },
            5 => LinkTarget::Tracepoint { name, cookie: d },
            6 => LinkTarget::PerfEvent { event_type: low(c), config: b, cookie: d },
            _ => LinkTarget::Unknown,
        },
        _ => LinkTarget::Unknown,
    }
}

/// Returns an id that the kernel reported, or `None` for 0.
pub(super) fn id(id: u32) -> Option<u32> {
    (id != 0).then_some(id)
}

/// Returns the first of the two 32-bit fields in a word.
fn low(word: u64) -> u32 {
    let [a, b, c, d, ..] = word.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

/// Returns the second of the two 32-bit fields in a word.
fn high(word: u64) -> u32 {
    let [.., a, b, c, d] = word.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

fn text(bytes: &[u8]) -> String {
    CStr::from_bytes_until_nul(bytes).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}
