//! The arguments of bpf() commands as `repr(C)` structs, with the layout of `union bpf_attr` of `linux/bpf.h` (Linux
//! 7.3.4).
//!
//! Each struct has the fields that its command reads, from the beginning of the union. Older kernels accept the longer request if the
//! fields that they do not know are zero. This module has only the layout: the runtime makes requests with it, and the generator writes
//! requests that a program in the kernel makes.

use crate::uapi::OBJ_NAME_MAX;

/// Defines a request: each field with its asserted offset, and the size, so that there is no padding.
macro_rules! attr {
    ($(#[$doc:meta])* $name:ident: $size:literal { $($field:ident: $type:ty = $offset:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        #[repr(C)]
        #[allow(missing_docs, reason = "the fields have the names of `union bpf_attr`")]
        pub struct $name {
            $(pub $field: $type,)*
        }

        const _: () = {
            $(assert!(core::mem::offset_of!($name, $field) == $offset);)*
            assert!(size_of::<$name>() == $size);
            assert!($size == 0 $(+ size_of::<$type>())*);
        };
    };
}

attr! {
    /// `BPF_MAP_CREATE`.
    MapCreate: 96 {
        map_type: u32 = 0,
        key_size: u32 = 4,
        value_size: u32 = 8,
        max_entries: u32 = 12,
        map_flags: u32 = 16,
        inner_map_fd: i32 = 20,
        numa_node: u32 = 24,
        map_name: [u8; 16] = 28,
        map_ifindex: u32 = 44,
        btf_fd: i32 = 48,
        btf_key_type_id: u32 = 52,
        btf_value_type_id: u32 = 56,
        btf_vmlinux_value_type_id: u32 = 60,
        map_extra: u64 = 64,
        value_type_btf_obj_fd: i32 = 72,
        map_token_fd: i32 = 76,
        excl_prog_hash: u64 = 80,
        excl_prog_hash_size: u32 = 88,
        zero: u32 = 92,
    }
}

attr! {
    /// The attributes that any command accepts in addition to its own with [`COMMON_ATTRS`] (`struct bpf_common_attr`, Linux 7.2).
    CommonAttr: 24 {
        log_buf: u64 = 0,
        log_size: u32 = 8,
        log_level: u32 = 12,
        log_true_size: u32 = 16,
        zero: u32 = 20,
    }
}

/// The bit in a command number that announces a [`CommonAttr`] (`BPF_COMMON_ATTRS`).
pub const COMMON_ATTRS: u32 = 1 << 16;

attr! {
    /// `BPF_MAP_*_ELEM`, `BPF_MAP_GET_NEXT_KEY` and `BPF_MAP_FREEZE`.
    MapElem: 32 {
        map_fd: i32 = 0,
        zero: u32 = 4,
        key: u64 = 8,
        value: u64 = 16,
        flags: u64 = 24,
    }
}

attr! {
    /// `BPF_MAP_*_BATCH`.
    MapBatch: 56 {
        in_batch: u64 = 0,
        out_batch: u64 = 8,
        keys: u64 = 16,
        values: u64 = 24,
        count: u32 = 32,
        map_fd: i32 = 36,
        elem_flags: u64 = 40,
        flags: u64 = 48,
    }
}

attr! {
    /// `BPF_LINK_UPDATE`.
    LinkUpdate: 16 {
        link_fd: i32 = 0,
        new_fd: i32 = 4,
        flags: u32 = 8,
        old_fd: i32 = 12,
    }
}

attr! {
    /// `BPF_PROG_LOAD`.
    ProgLoad: 152 {
        prog_type: u32 = 0,
        insn_cnt: u32 = 4,
        insns: u64 = 8,
        license: u64 = 16,
        log_level: u32 = 24,
        log_size: u32 = 28,
        log_buf: u64 = 32,
        kern_version: u32 = 40,
        prog_flags: u32 = 44,
        prog_name: [u8; 16] = 48,
        prog_ifindex: u32 = 64,
        expected_attach_type: u32 = 68,
        prog_btf_fd: i32 = 72,
        func_info_rec_size: u32 = 76,
        func_info: u64 = 80,
        func_info_cnt: u32 = 88,
        line_info_rec_size: u32 = 92,
        line_info: u64 = 96,
        line_info_cnt: u32 = 104,
        attach_btf_id: u32 = 108,
        attach_btf_obj_fd: i32 = 112,
        core_relo_cnt: u32 = 116,
        fd_array: u64 = 120,
        core_relos: u64 = 128,
        core_relo_rec_size: u32 = 136,
        log_true_size: u32 = 140,
        prog_token_fd: i32 = 144,
        fd_array_cnt: u32 = 148,
    }
}

attr! {
    /// `BPF_BTF_LOAD`.
    BtfLoad: 40 {
        btf: u64 = 0,
        log_buf: u64 = 8,
        btf_size: u32 = 16,
        log_size: u32 = 20,
        log_level: u32 = 24,
        log_true_size: u32 = 28,
        btf_flags: u32 = 32,
        btf_token_fd: i32 = 36,
    }
}

attr! {
    /// `BPF_OBJ_PIN` and `BPF_OBJ_GET`.
    Obj: 24 {
        pathname: u64 = 0,
        bpf_fd: i32 = 8,
        file_flags: u32 = 12,
        path_fd: i32 = 16,
        unused: u32 = 20,
    }
}

attr! {
    /// `BPF_PROG_TEST_RUN`.
    TestRun: 80 {
        prog_fd: i32 = 0,
        retval: u32 = 4,
        data_size_in: u32 = 8,
        data_size_out: u32 = 12,
        data_in: u64 = 16,
        data_out: u64 = 24,
        repeat: u32 = 32,
        duration: u32 = 36,
        ctx_size_in: u32 = 40,
        ctx_size_out: u32 = 44,
        ctx_in: u64 = 48,
        ctx_out: u64 = 56,
        flags: u32 = 64,
        cpu: u32 = 68,
        batch_size: u32 = 72,
        zero: u32 = 76,
    }
}

attr! {
    /// `BPF_*_GET_NEXT_ID` and `BPF_*_GET_FD_BY_ID`.
    GetId: 16 {
        id: u32 = 0,
        next_id: u32 = 4,
        open_flags: u32 = 8,
        token_fd: i32 = 12,
    }
}

attr! {
    /// `BPF_OBJ_GET_INFO_BY_FD`.
    GetInfo: 16 {
        bpf_fd: i32 = 0,
        info_len: u32 = 4,
        info: u64 = 8,
    }
}

attr! {
    /// `BPF_TASK_FD_QUERY`.
    TaskFdQuery: 48 {
        pid: u32 = 0,
        fd: u32 = 4,
        flags: u32 = 8,
        buf_len: u32 = 12,
        buf: u64 = 16,
        prog_id: u32 = 24,
        fd_type: u32 = 28,
        probe_offset: u64 = 32,
        probe_addr: u64 = 40,
    }
}

attr! {
    /// `BPF_RAW_TRACEPOINT_OPEN`.
    RawTracepoint: 24 {
        name: u64 = 0,
        prog_fd: i32 = 8,
        zero: u32 = 12,
        cookie: u64 = 16,
    }
}

attr! {
    /// `BPF_LINK_CREATE` for link types whose fields begin with a 32-bit value: `tracing` (BTF id, cookie), `tcx`
    /// (relative, expected revision).
    LinkCreate: 32 {
        prog_fd: i32 = 0,
        target: i32 = 4,
        attach_type: u32 = 8,
        flags: u32 = 12,
        first: u32 = 16,
        zero: u32 = 20,
        second: u64 = 24,
    }
}

attr! {
    /// `BPF_LINK_CREATE` for link types whose fields begin with a 64-bit value: iterators (pointer and length), perf
    /// events (cookie).
    LinkCreateWide: 32 {
        prog_fd: i32 = 0,
        target: i32 = 4,
        attach_type: u32 = 8,
        flags: u32 = 12,
        first: u64 = 16,
        second: u32 = 24,
        zero: u32 = 28,
    }
}

attr! {
    /// `BPF_LINK_CREATE` with `kprobe_multi`.
    KprobeMulti: 48 {
        prog_fd: i32 = 0,
        target: i32 = 4,
        attach_type: u32 = 8,
        flags: u32 = 12,
        multi_flags: u32 = 16,
        count: u32 = 20,
        syms: u64 = 24,
        addrs: u64 = 32,
        cookies: u64 = 40,
    }
}

attr! {
    /// `BPF_LINK_CREATE` with `uprobe_multi`.
    UprobeMulti: 64 {
        prog_fd: i32 = 0,
        target: i32 = 4,
        attach_type: u32 = 8,
        flags: u32 = 12,
        path: u64 = 16,
        offsets: u64 = 24,
        ref_ctr_offsets: u64 = 32,
        cookies: u64 = 40,
        count: u32 = 48,
        multi_flags: u32 = 52,
        pid: u32 = 56,
        path_fd: i32 = 60,
    }
}

attr! {
    /// `BPF_LINK_CREATE` with `tracing_multi`.
    TracingMulti: 40 {
        prog_fd: i32 = 0,
        target: i32 = 4,
        attach_type: u32 = 8,
        flags: u32 = 12,
        ids: u64 = 16,
        cookies: u64 = 24,
        count: u32 = 32,
        zero: u32 = 36,
    }
}

attr! {
    /// `BPF_LINK_CREATE` with `netfilter`.
    Netfilter: 32 {
        prog_fd: i32 = 0,
        target: i32 = 4,
        attach_type: u32 = 8,
        flags: u32 = 12,
        family: u32 = 16,
        hook: u32 = 20,
        priority: i32 = 24,
        hook_flags: u32 = 28,
    }
}

attr! {
    /// `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`, with the fields of kernels before 6.6.
    ProgAttach: 20 {
        target: i32 = 0,
        attach_bpf_fd: i32 = 4,
        attach_type: u32 = 8,
        attach_flags: u32 = 12,
        replace_bpf_fd: i32 = 16,
    }
}

attr! {
    /// `BPF_PROG_QUERY`.
    ProgQuery: 64 {
        target: i32 = 0,
        attach_type: u32 = 4,
        query_flags: u32 = 8,
        attach_flags: u32 = 12,
        prog_ids: u64 = 16,
        count: u32 = 24,
        zero: u32 = 28,
        prog_attach_flags: u64 = 32,
        link_ids: u64 = 40,
        link_attach_flags: u64 = 48,
        revision: u64 = 56,
    }
}

attr! {
    /// `BPF_LINK_DETACH`.
    LinkDetach: 4 {
        link_fd: i32 = 0,
    }
}

attr! {
    /// `BPF_ITER_CREATE`.
    IterCreate: 8 {
        link_fd: i32 = 0,
        flags: u32 = 4,
    }
}

attr! {
    /// `BPF_PROG_BIND_MAP`.
    BindMap: 12 {
        prog_fd: i32 = 0,
        map_fd: i32 = 4,
        flags: u32 = 8,
    }
}

attr! {
    /// `BPF_PROG_ASSOC_STRUCT_OPS`.
    AssocStructOps: 12 {
        map_fd: i32 = 0,
        prog_fd: i32 = 4,
        flags: u32 = 8,
    }
}

attr! {
    /// `BPF_PROG_STREAM_READ_BY_FD`.
    StreamRead: 24 {
        stream_buf: u64 = 0,
        stream_buf_len: u32 = 8,
        stream_id: u32 = 12,
        prog_fd: i32 = 16,
        zero: u32 = 20,
    }
}

attr! {
    /// `BPF_TOKEN_CREATE`.
    TokenCreate: 8 {
        flags: u32 = 0,
        bpffs_fd: i32 = 4,
    }
}

attr! {
    /// `BPF_ENABLE_STATS`.
    EnableStats: 4 {
        stats_type: u32 = 0,
    }
}

/// Converts a name for a request: truncated to 15 bytes, padded with zeros, and with `_` instead of every byte that the
/// kernel rejects.
#[must_use]
pub fn name16(name: &str) -> [u8; 16] {
    let mut field = [0; 16];
    for (to, byte) in field.iter_mut().take(OBJ_NAME_MAX).zip(name.bytes()) {
        *to = if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.' { byte } else { b'_' };
    }
    field
}
