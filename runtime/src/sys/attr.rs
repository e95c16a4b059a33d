//! The promise that a request has the layout that the kernel expects. The layouts are in [`skelgen_abi::attr`]; the other modules of `sys`
//! check values.

pub(crate) use skelgen_abi::attr::*;

/// A request: the beginning of `union bpf_attr`.
///
/// # Safety
/// The type must be `repr(C)`, without padding, and laid out as the kernel expects for the commands it is used with.
#[allow(unsafe_code, reason = "a promise about layout, kept by the constant assertions beside each request")]
pub(crate) unsafe trait Attr {}

/// Declares types as requests.
macro_rules! requests {
    ($($name:ident,)*) => {
        // SAFETY: `repr(C)`; assertions beside each definition fix every offset and leave no padding.
        $(unsafe impl Attr for $name {})*
    };
}

requests! {
    MapCreate,
    MapElem,
    MapBatch,
    LinkUpdate,
    ProgLoad,
    BtfLoad,
    Obj,
    TestRun,
    GetId,
    GetInfo,
    TaskFdQuery,
    RawTracepoint,
    LinkCreate,
    LinkCreateWide,
    KprobeMulti,
    UprobeMulti,
    TracingMulti,
    Netfilter,
    ProgAttach,
    ProgQuery,
    LinkDetach,
    IterCreate,
    BindMap,
    AssocStructOps,
    StreamRead,
    TokenCreate,
    EnableStats,
}

/// The information about a map that `BPF_OBJ_GET_INFO_BY_FD` returns: the beginning of `struct bpf_map_info`. Fields
/// that the kernel does not have stay zero.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct MapInfo {
    pub(crate) map_type: u32,
    pub(crate) id: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) map_flags: u32,
    pub(crate) name: [u8; 16],
    pub(crate) ifindex: u32,
    pub(crate) btf_vmlinux_value_type_id: u32,
    pub(crate) netns_dev: u64,
    pub(crate) netns_ino: u64,
    pub(crate) btf_id: u32,
    pub(crate) btf_key_type_id: u32,
    pub(crate) btf_value_type_id: u32,
    pub(crate) btf_vmlinux_id: u32,
    pub(crate) map_extra: u64,
}

const _: () = assert!(size_of::<MapInfo>() == 88);

impl MapInfo {
    /// Returns the map's name in the kernel, empty if it has none.
    pub(crate) fn name(&self) -> String {
        let text = self.name.split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}

/// The information about a BTF object that `BPF_OBJ_GET_INFO_BY_FD` returns: `struct bpf_btf_info`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct BtfInfo {
    pub(crate) btf: u64,
    pub(crate) btf_size: u32,
    pub(crate) id: u32,
    pub(crate) name: u64,
    pub(crate) name_len: u32,
    pub(crate) kernel_btf: u32,
}

const _: () = assert!(size_of::<BtfInfo>() == 32);
