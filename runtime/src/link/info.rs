//! Information that the kernel reports about a link.

use std::os::fd::BorrowedFd;

use super::CgroupOrder;
use crate::error::Errno;
use crate::sys::link_info as sys;
use crate::uapi::{AttachType, LinkType, NetfilterFamily, NetfilterHook};

/// A link as the kernel reports it.
///
/// ```no_run
/// # fn f(link: &skelgen_runtime::Link) -> skelgen_runtime::Result<()> {
/// let info = link.info()?;
/// println!("link {}: {} with program {:?}", info.id, info.kind, info.program_id);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkInfo {
    /// The link's id.
    pub id: u32,
    /// The link's kind.
    pub kind: LinkType,
    /// The id of the link's program, or `None` for a struct_ops map.
    pub program_id: Option<u32>,
    /// The attach target; [`LinkTarget::Unknown`] if the kernel does not report it or its kind is unknown.
    pub target: LinkTarget,
}

/// The attach target of a link. Strings and lists are empty and numbers 0 if an older kernel does not report them;
/// `None` means that the kernel reports the target as absent. Addresses are absent for a process that the kernel hides
/// them from (`/proc/sys/kernel/kptr_restrict`).
///
/// ```no_run
/// # fn f(link: &skelgen_runtime::Link) -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::link::LinkTarget;
///
/// match link.info()?.target {
///     LinkTarget::Xdp { ifindex, .. } => println!("interface {ifindex:?}"),
///     LinkTarget::RawTracepoint { name, .. } => println!("tracepoint {name}"),
///     other => println!("{other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names of the fields describe them")]
pub enum LinkTarget {
    /// A raw tracepoint.
    #[non_exhaustive]
    RawTracepoint { name: String, cookie: u64 },
    /// A function or tracepoint, by its BTF id. `object_id` is the id of the BTF object that has the function or
    /// tracepoint or, for `freplace`, of the program that has the function.
    #[non_exhaustive]
    Tracing { attach_type: AttachType, object_id: u32, btf_id: u32, cookie: u64 },
    /// Many functions or tracepoints, by their BTF ids in the BTF object `object_id`. Each list has an entry for each
    /// of them.
    #[non_exhaustive]
    TracingMulti {
        attach_type: AttachType,
        count: u32,
        object_id: u32,
        btf_ids: Vec<u32>,
        addresses: Vec<u64>,
        cookies: Vec<u64>,
    },
    /// A cgroup; `None` after the cgroup was removed.
    #[non_exhaustive]
    Cgroup { id: Option<u64>, attach_type: AttachType },
    /// An iterator, and the objects that it visits.
    #[non_exhaustive]
    Iter { name: String, scope: IterScope },
    /// A network namespace, by the inode of its file; `None` after the namespace was removed.
    #[non_exhaustive]
    Netns { inode: Option<u32>, attach_type: AttachType },
    /// A network interface; `None` after the interface was removed.
    #[non_exhaustive]
    Xdp { ifindex: Option<u32> },
    /// A network interface and a direction; `None` after the interface was removed.
    #[non_exhaustive]
    Tcx { ifindex: Option<u32>, attach_type: AttachType },
    /// A netkit interface; `None` after the interface was removed.
    #[non_exhaustive]
    Netkit { ifindex: Option<u32>, attach_type: AttachType },
    /// A sockmap or sockhash; `None` after the map was removed.
    #[non_exhaustive]
    Sockmap { map_id: Option<u32>, attach_type: AttachType },
    /// A struct_ops map; `None` after the map was detached.
    #[non_exhaustive]
    StructOps { map_id: Option<u32> },
    /// A netfilter hook.
    #[non_exhaustive]
    Netfilter { family: NetfilterFamily, hook: NetfilterHook, priority: i32, defragment: bool },
    /// Many kernel functions. Each list has an entry for each function, in the same order.
    #[non_exhaustive]
    KprobeMulti { count: u32, at_return: bool, missed: u64, addresses: Vec<u64>, cookies: Vec<u64> },
    /// Many offsets in a file, in one process or in all (`None`). Each list has an entry for each offset, in the same
    /// order.
    #[non_exhaustive]
    UprobeMulti {
        path: String,
        count: u32,
        at_return: bool,
        pid: Option<u32>,
        offsets: Vec<u64>,
        ref_ctr_offsets: Vec<u64>,
        cookies: Vec<u64>,
    },
    /// A kernel function. `address` is `None` if the kernel hides it.
    #[non_exhaustive]
    Kprobe { function: String, offset: u32, at_return: bool, address: Option<u64>, missed: u64, cookie: u64 },
    /// An offset in a file.
    #[non_exhaustive]
    Uprobe { path: String, offset: u32, at_return: bool, ref_ctr_offset: u64, cookie: u64 },
    /// A tracepoint.
    #[non_exhaustive]
    Tracepoint { name: String, cookie: u64 },
    /// A perf event.
    #[non_exhaustive]
    PerfEvent { event_type: u32, config: u64, cookie: u64 },
    /// A target of a kind that this version of the crate does not support, or that the kernel does not report.
    Unknown,
}

/// The objects that an attached iterator visits; see [`IterTarget`](super::IterTarget).
///
/// ```no_run
/// # fn f(link: &skelgen_runtime::Link) -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::link::{IterScope, LinkTarget};
///
/// if let LinkTarget::Iter { scope: IterScope::Map { id, .. }, .. } = link.info()?.target {
///     println!("it visits the elements of map {id}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names of the fields describe them")]
pub enum IterScope {
    /// All objects of the kind.
    All,
    /// The elements of a map.
    #[non_exhaustive]
    Map { id: u32 },
    /// The cgroups in this order, relative to a cgroup; `None` for an order that this version of the crate does not
    /// support.
    #[non_exhaustive]
    Cgroup { id: u64, order: Option<CgroupOrder> },
    /// One thread.
    #[non_exhaustive]
    Thread { id: u32 },
    /// The threads of one process.
    #[non_exhaustive]
    Process { id: u32 },
}

impl LinkInfo {
    pub(crate) fn of(link: BorrowedFd<'_>) -> Result<Self, Errno> {
        let found = sys::info(link)?;
        let words = found.words;
        let kind = LinkType(words.at(0));
        Ok(Self { id: words.at(1), kind, program_id: id(words.at(2)), target: target(kind, found) })
    }
}

/// Returns the target from `struct bpf_link_info`. Its fields after the program id depend on the kind of link.
fn target(kind: LinkType, found: sys::LinkInfo) -> LinkTarget {
    let sys::LinkInfo { words, name, lists: [first, second, third], ids } = found;
    let name = || String::from_utf8_lossy(&name).into_owned();
    let attach_type = |index| AttachType(words.at(index));
    match kind {
        LinkType::RAW_TRACEPOINT => LinkTarget::RawTracepoint { name: name(), cookie: words.wide_at(8) },
        LinkType::TRACING => LinkTarget::Tracing {
            attach_type: attach_type(4),
            object_id: words.at(5),
            btf_id: words.at(6),
            cookie: words.wide_at(8),
        },
        LinkType::TRACING_MULTI => LinkTarget::TracingMulti {
            attach_type: attach_type(4),
            count: words.at(5),
            object_id: words.at(6),
            btf_ids: ids,
            addresses: shown(first),
            cookies: second,
        },
        LinkType::CGROUP => LinkTarget::Cgroup { id: wide(words.wide_at(4)), attach_type: attach_type(6) },
        LinkType::ITER => {
            let name = name();
            LinkTarget::Iter { scope: scope(&name, &words), name }
        }
        LinkType::NETNS => LinkTarget::Netns { inode: id(words.at(4)), attach_type: attach_type(5) },
        LinkType::XDP => LinkTarget::Xdp { ifindex: id(words.at(4)) },
        LinkType::TCX => LinkTarget::Tcx { ifindex: id(words.at(4)), attach_type: attach_type(5) },
        LinkType::NETKIT => LinkTarget::Netkit { ifindex: id(words.at(4)), attach_type: attach_type(5) },
        LinkType::SOCKMAP => LinkTarget::Sockmap { map_id: id(words.at(4)), attach_type: attach_type(5) },
        LinkType::STRUCT_OPS => LinkTarget::StructOps { map_id: id(words.at(4)) },
        LinkType::NETFILTER => LinkTarget::Netfilter {
            family: NetfilterFamily(words.at(4)),
            hook: NetfilterHook(words.at(5)),
            priority: i32::from_ne_bytes(words.at(6).to_ne_bytes()),
            // BPF_F_NETFILTER_IP_DEFRAG
            defragment: words.at(7) & 1 != 0,
        },
        LinkType::KPROBE_MULTI => LinkTarget::KprobeMulti {
            count: words.at(6),
            at_return: words.at(7) & 1 != 0,
            missed: words.wide_at(8),
            addresses: shown(first),
            cookies: second,
        },
        LinkType::UPROBE_MULTI => LinkTarget::UprobeMulti {
            path: name(),
            count: words.at(13),
            at_return: words.at(14) & 1 != 0,
            pid: id(words.at(15)),
            offsets: first,
            ref_ctr_offsets: second,
            cookies: third,
        },
        LinkType::PERF_EVENT => event(&words, name()),
        _ => LinkTarget::Unknown,
    }
}

/// Returns the target of a perf event, whose kind is one of `enum bpf_perf_event_type`.
fn event(words: &sys::Words, name: String) -> LinkTarget {
    match words.at(4) {
        kind @ (1 | 2) => LinkTarget::Uprobe {
            path: name,
            offset: words.at(9),
            at_return: kind == 2,
            ref_ctr_offset: words.wide_at(12),
            cookie: words.wide_at(10),
        },
        kind @ (3 | 4) => LinkTarget::Kprobe {
            function: name,
            offset: words.at(9),
            at_return: kind == 4,
            address: wide(words.wide_at(10)),
            missed: words.wide_at(12),
            cookie: words.wide_at(14),
        },
        5 => LinkTarget::Tracepoint { name, cookie: words.wide_at(10) },
        6 => LinkTarget::PerfEvent { event_type: words.at(8), config: words.wide_at(6), cookie: words.wide_at(10) },
        _ => LinkTarget::Unknown,
    }
}

/// Returns the objects that an iterator visits. The name of the iterator determines which fields of the information are
/// valid.
fn scope(name: &str, words: &sys::Words) -> IterScope {
    match name {
        "bpf_map_elem" | "bpf_sk_storage_map" | "sockmap" => IterScope::Map { id: words.at(7) },
        "cgroup" => {
            let order = words.at(10);
            let order = CgroupOrder::ALL.into_iter().find(|known| *known as u32 == order);
            IterScope::Cgroup { id: words.wide_at(8), order }
        }
        "task" | "task_file" | "task_vma" => match (words.at(8), words.at(9)) {
            (0, 0) => IterScope::All,
            (0, id) => IterScope::Process { id },
            (id, _) => IterScope::Thread { id },
        },
        _ => IterScope::All,
    }
}

/// Returns addresses; an empty list if the kernel hides them, which it reports as zeros.
fn shown(addresses: Vec<u64>) -> Vec<u64> {
    if addresses.iter().any(|address| *address != 0) { addresses } else { Vec::new() }
}

/// Returns a 64-bit id or address that the kernel reported, or `None` for 0.
fn wide(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

/// Returns an id that the kernel reported, or `None` for 0.
pub(super) fn id(id: u32) -> Option<u32> {
    (id != 0).then_some(id)
}
