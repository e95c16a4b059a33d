//! The constants of `linux/bpf.h` (Linux 7.3.4) that skelgen uses: commands, types, flags and pseudo registers.
//!
//! Numbers are ABI: newer kernels only add to them. The enumerations are therefore open: unknown numbers are kept and
//! printed, never rejected. The layouts of requests are in module `attr`.

/// Defines a newtype over `u32` with named values and their lower-case names.
macro_rules! open_enum {
    ($(#[$doc:meta])* $name:ident { $($value:ident = $number:literal => $text:literal,)* }) => {
        $(#[$doc])*
        ///
        /// An open enumeration: any `u32` is a value, and known values have names.
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(pub u32);

        impl $name {
            $(
                #[doc = concat!("`", $text, "`, number ", $number, ".")]
                pub const $value: Self = Self($number);
            )*

            /// Returns the lower-case name of the value, or `None` if it is unknown.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some($text),)*
                    _ => None,
                }
            }

            /// Returns the name of the value's constant, in `SCREAMING_CASE`, or `None` if it is unknown.
            #[must_use]
            pub const fn constant(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($value)),)*
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => write!(f, "{}", self.0),
                }
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.constant() {
                    Some(name) => write!(f, concat!(stringify!($name), "::{}"), name),
                    None => write!(f, concat!(stringify!($name), "({})"), self.0),
                }
            }
        }
    };
}

/// Defines a set of flags: a type for users, and a module with the numbers of its flags for requests and plans.
macro_rules! flags {
    ($(#[$doc:meta])* $name:ident($number:ident) in $module:ident { $($(#[$about:meta])* $flag:ident = $value:expr,)* }) => {
        #[doc = concat!("The numbers of [`", stringify!($name), "`], for requests and plans.")]
        #[doc(hidden)]
        pub mod $module {
            $($(#[$about])* pub const $flag: $number = $value;)*
        }

        $(#[$doc])*
        ///
        /// An open set: bits without a name in this version are kept, so that flags of newer kernels can be set with
        /// [`from_bits`](Self::from_bits).
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        #[repr(transparent)]
        #[must_use]
        pub struct $name($number);

        impl $name {
            $($(#[$about])* pub const $flag: Self = Self($value);)*

            /// Returns a set without flags.
            pub const fn empty() -> Self {
                Self(0)
            }

            /// Returns the set of these bits, with or without a name.
            pub const fn from_bits(bits: $number) -> Self {
                Self(bits)
            }

            /// Returns the bits of the set.
            #[must_use]
            pub const fn bits(self) -> $number {
                self.0
            }

            /// Returns whether the set has no flags.
            #[must_use]
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// Returns whether all flags of `other` are in this set.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Returns this set without the flags of `other`.
            pub const fn difference(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }
        }

        impl core::ops::BitOr for $name {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl core::ops::BitOrAssign for $name {
            fn bitor_assign(&mut self, other: Self) {
                self.0 |= other.0;
            }
        }

        /// The names of the flags, and a number for bits without a name: `NO_PREALLOC | 0x80000000`.
        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                let names = [$((stringify!($flag), Self::$flag)),*];
                let known = names.into_iter().filter(|(_, flag)| !flag.is_empty() && self.contains(*flag));
                let (mut rest, mut separator) = (*self, "");
                for (name, flag) in known {
                    write!(f, "{separator}{name}")?;
                    (rest, separator) = (rest.difference(flag), " | ");
                }
                if !rest.is_empty() || self.is_empty() {
                    write!(f, "{separator}{:#x}", rest.0)?;
                }
                Ok(())
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

mod helpers;

pub use helpers::Helper;

open_enum! {
    /// A command of the bpf() system call (`enum bpf_cmd`).
    Command {
        MAP_CREATE = 0 => "map_create",
        MAP_LOOKUP_ELEM = 1 => "map_lookup_elem",
        MAP_UPDATE_ELEM = 2 => "map_update_elem",
        MAP_DELETE_ELEM = 3 => "map_delete_elem",
        MAP_GET_NEXT_KEY = 4 => "map_get_next_key",
        PROG_LOAD = 5 => "prog_load",
        OBJ_PIN = 6 => "obj_pin",
        OBJ_GET = 7 => "obj_get",
        PROG_ATTACH = 8 => "prog_attach",
        PROG_DETACH = 9 => "prog_detach",
        PROG_TEST_RUN = 10 => "prog_test_run",
        PROG_GET_NEXT_ID = 11 => "prog_get_next_id",
        MAP_GET_NEXT_ID = 12 => "map_get_next_id",
        PROG_GET_FD_BY_ID = 13 => "prog_get_fd_by_id",
        MAP_GET_FD_BY_ID = 14 => "map_get_fd_by_id",
        OBJ_GET_INFO_BY_FD = 15 => "obj_get_info_by_fd",
        PROG_QUERY = 16 => "prog_query",
        RAW_TRACEPOINT_OPEN = 17 => "raw_tracepoint_open",
        BTF_LOAD = 18 => "btf_load",
        BTF_GET_FD_BY_ID = 19 => "btf_get_fd_by_id",
        TASK_FD_QUERY = 20 => "task_fd_query",
        MAP_LOOKUP_AND_DELETE_ELEM = 21 => "map_lookup_and_delete_elem",
        MAP_FREEZE = 22 => "map_freeze",
        BTF_GET_NEXT_ID = 23 => "btf_get_next_id",
        MAP_LOOKUP_BATCH = 24 => "map_lookup_batch",
        MAP_LOOKUP_AND_DELETE_BATCH = 25 => "map_lookup_and_delete_batch",
        MAP_UPDATE_BATCH = 26 => "map_update_batch",
        MAP_DELETE_BATCH = 27 => "map_delete_batch",
        LINK_CREATE = 28 => "link_create",
        LINK_UPDATE = 29 => "link_update",
        LINK_GET_FD_BY_ID = 30 => "link_get_fd_by_id",
        LINK_GET_NEXT_ID = 31 => "link_get_next_id",
        ENABLE_STATS = 32 => "enable_stats",
        ITER_CREATE = 33 => "iter_create",
        LINK_DETACH = 34 => "link_detach",
        PROG_BIND_MAP = 35 => "prog_bind_map",
        TOKEN_CREATE = 36 => "token_create",
        PROG_STREAM_READ_BY_FD = 37 => "prog_stream_read_by_fd",
        PROG_ASSOC_STRUCT_OPS = 38 => "prog_assoc_struct_ops",
    }
}

open_enum! {
    /// The type of a map (`enum bpf_map_type`).
    MapType {
        UNSPEC = 0 => "unspec",
        HASH = 1 => "hash",
        ARRAY = 2 => "array",
        PROG_ARRAY = 3 => "prog_array",
        PERF_EVENT_ARRAY = 4 => "perf_event_array",
        PERCPU_HASH = 5 => "percpu_hash",
        PERCPU_ARRAY = 6 => "percpu_array",
        STACK_TRACE = 7 => "stack_trace",
        CGROUP_ARRAY = 8 => "cgroup_array",
        LRU_HASH = 9 => "lru_hash",
        LRU_PERCPU_HASH = 10 => "lru_percpu_hash",
        LPM_TRIE = 11 => "lpm_trie",
        ARRAY_OF_MAPS = 12 => "array_of_maps",
        HASH_OF_MAPS = 13 => "hash_of_maps",
        DEVMAP = 14 => "devmap",
        SOCKMAP = 15 => "sockmap",
        CPUMAP = 16 => "cpumap",
        XSKMAP = 17 => "xskmap",
        SOCKHASH = 18 => "sockhash",
        CGROUP_STORAGE = 19 => "cgroup_storage",
        REUSEPORT_SOCKARRAY = 20 => "reuseport_sockarray",
        PERCPU_CGROUP_STORAGE = 21 => "percpu_cgroup_storage",
        QUEUE = 22 => "queue",
        STACK = 23 => "stack",
        SK_STORAGE = 24 => "sk_storage",
        DEVMAP_HASH = 25 => "devmap_hash",
        STRUCT_OPS = 26 => "struct_ops",
        RINGBUF = 27 => "ringbuf",
        INODE_STORAGE = 28 => "inode_storage",
        TASK_STORAGE = 29 => "task_storage",
        BLOOM_FILTER = 30 => "bloom_filter",
        USER_RINGBUF = 31 => "user_ringbuf",
        CGRP_STORAGE = 32 => "cgrp_storage",
        ARENA = 33 => "arena",
        INSN_ARRAY = 34 => "insn_array",
        RHASH = 35 => "rhash",
    }
}

open_enum! {
    /// The type of a program (`enum bpf_prog_type`).
    ProgramType {
        UNSPEC = 0 => "unspec",
        SOCKET_FILTER = 1 => "socket_filter",
        KPROBE = 2 => "kprobe",
        SCHED_CLS = 3 => "sched_cls",
        SCHED_ACT = 4 => "sched_act",
        TRACEPOINT = 5 => "tracepoint",
        XDP = 6 => "xdp",
        PERF_EVENT = 7 => "perf_event",
        CGROUP_SKB = 8 => "cgroup_skb",
        CGROUP_SOCK = 9 => "cgroup_sock",
        LWT_IN = 10 => "lwt_in",
        LWT_OUT = 11 => "lwt_out",
        LWT_XMIT = 12 => "lwt_xmit",
        SOCK_OPS = 13 => "sock_ops",
        SK_SKB = 14 => "sk_skb",
        CGROUP_DEVICE = 15 => "cgroup_device",
        SK_MSG = 16 => "sk_msg",
        RAW_TRACEPOINT = 17 => "raw_tracepoint",
        CGROUP_SOCK_ADDR = 18 => "cgroup_sock_addr",
        LWT_SEG6LOCAL = 19 => "lwt_seg6local",
        LIRC_MODE2 = 20 => "lirc_mode2",
        SK_REUSEPORT = 21 => "sk_reuseport",
        FLOW_DISSECTOR = 22 => "flow_dissector",
        CGROUP_SYSCTL = 23 => "cgroup_sysctl",
        RAW_TRACEPOINT_WRITABLE = 24 => "raw_tracepoint_writable",
        CGROUP_SOCKOPT = 25 => "cgroup_sockopt",
        TRACING = 26 => "tracing",
        STRUCT_OPS = 27 => "struct_ops",
        EXT = 28 => "ext",
        LSM = 29 => "lsm",
        SK_LOOKUP = 30 => "sk_lookup",
        SYSCALL = 31 => "syscall",
        NETFILTER = 32 => "netfilter",
    }
}

open_enum! {
    /// The attach type of a program (`enum bpf_attach_type`).
    AttachType {
        CGROUP_INET_INGRESS = 0 => "cgroup_inet_ingress",
        CGROUP_INET_EGRESS = 1 => "cgroup_inet_egress",
        CGROUP_INET_SOCK_CREATE = 2 => "cgroup_inet_sock_create",
        CGROUP_SOCK_OPS = 3 => "cgroup_sock_ops",
        SK_SKB_STREAM_PARSER = 4 => "sk_skb_stream_parser",
        SK_SKB_STREAM_VERDICT = 5 => "sk_skb_stream_verdict",
        CGROUP_DEVICE = 6 => "cgroup_device",
        SK_MSG_VERDICT = 7 => "sk_msg_verdict",
        CGROUP_INET4_BIND = 8 => "cgroup_inet4_bind",
        CGROUP_INET6_BIND = 9 => "cgroup_inet6_bind",
        CGROUP_INET4_CONNECT = 10 => "cgroup_inet4_connect",
        CGROUP_INET6_CONNECT = 11 => "cgroup_inet6_connect",
        CGROUP_INET4_POST_BIND = 12 => "cgroup_inet4_post_bind",
        CGROUP_INET6_POST_BIND = 13 => "cgroup_inet6_post_bind",
        CGROUP_UDP4_SENDMSG = 14 => "cgroup_udp4_sendmsg",
        CGROUP_UDP6_SENDMSG = 15 => "cgroup_udp6_sendmsg",
        LIRC_MODE2 = 16 => "lirc_mode2",
        FLOW_DISSECTOR = 17 => "flow_dissector",
        CGROUP_SYSCTL = 18 => "cgroup_sysctl",
        CGROUP_UDP4_RECVMSG = 19 => "cgroup_udp4_recvmsg",
        CGROUP_UDP6_RECVMSG = 20 => "cgroup_udp6_recvmsg",
        CGROUP_GETSOCKOPT = 21 => "cgroup_getsockopt",
        CGROUP_SETSOCKOPT = 22 => "cgroup_setsockopt",
        TRACE_RAW_TP = 23 => "trace_raw_tp",
        TRACE_FENTRY = 24 => "trace_fentry",
        TRACE_FEXIT = 25 => "trace_fexit",
        MODIFY_RETURN = 26 => "modify_return",
        LSM_MAC = 27 => "lsm_mac",
        TRACE_ITER = 28 => "trace_iter",
        CGROUP_INET4_GETPEERNAME = 29 => "cgroup_inet4_getpeername",
        CGROUP_INET6_GETPEERNAME = 30 => "cgroup_inet6_getpeername",
        CGROUP_INET4_GETSOCKNAME = 31 => "cgroup_inet4_getsockname",
        CGROUP_INET6_GETSOCKNAME = 32 => "cgroup_inet6_getsockname",
        XDP_DEVMAP = 33 => "xdp_devmap",
        CGROUP_INET_SOCK_RELEASE = 34 => "cgroup_inet_sock_release",
        XDP_CPUMAP = 35 => "xdp_cpumap",
        SK_LOOKUP = 36 => "sk_lookup",
        XDP = 37 => "xdp",
        SK_SKB_VERDICT = 38 => "sk_skb_verdict",
        SK_REUSEPORT_SELECT = 39 => "sk_reuseport_select",
        SK_REUSEPORT_SELECT_OR_MIGRATE = 40 => "sk_reuseport_select_or_migrate",
        PERF_EVENT = 41 => "perf_event",
        TRACE_KPROBE_MULTI = 42 => "trace_kprobe_multi",
        LSM_CGROUP = 43 => "lsm_cgroup",
        STRUCT_OPS = 44 => "struct_ops",
        NETFILTER = 45 => "netfilter",
        TCX_INGRESS = 46 => "tcx_ingress",
        TCX_EGRESS = 47 => "tcx_egress",
        TRACE_UPROBE_MULTI = 48 => "trace_uprobe_multi",
        CGROUP_UNIX_CONNECT = 49 => "cgroup_unix_connect",
        CGROUP_UNIX_SENDMSG = 50 => "cgroup_unix_sendmsg",
        CGROUP_UNIX_RECVMSG = 51 => "cgroup_unix_recvmsg",
        CGROUP_UNIX_GETPEERNAME = 52 => "cgroup_unix_getpeername",
        CGROUP_UNIX_GETSOCKNAME = 53 => "cgroup_unix_getsockname",
        NETKIT_PRIMARY = 54 => "netkit_primary",
        NETKIT_PEER = 55 => "netkit_peer",
        TRACE_KPROBE_SESSION = 56 => "trace_kprobe_session",
        TRACE_UPROBE_SESSION = 57 => "trace_uprobe_session",
        TRACE_FSESSION = 58 => "trace_fsession",
        TRACE_FENTRY_MULTI = 59 => "trace_fentry_multi",
        TRACE_FEXIT_MULTI = 60 => "trace_fexit_multi",
        TRACE_FSESSION_MULTI = 61 => "trace_fsession_multi",
    }
}

open_enum! {
    /// The kind of a link (`enum bpf_link_type`).
    LinkType {
        UNSPEC = 0 => "unspec",
        RAW_TRACEPOINT = 1 => "raw_tracepoint",
        TRACING = 2 => "tracing",
        CGROUP = 3 => "cgroup",
        ITER = 4 => "iter",
        NETNS = 5 => "netns",
        XDP = 6 => "xdp",
        PERF_EVENT = 7 => "perf_event",
        KPROBE_MULTI = 8 => "kprobe_multi",
        STRUCT_OPS = 9 => "struct_ops",
        NETFILTER = 10 => "netfilter",
        TCX = 11 => "tcx",
        UPROBE_MULTI = 12 => "uprobe_multi",
        NETKIT = 13 => "netkit",
        SOCKMAP = 14 => "sockmap",
        TRACING_MULTI = 15 => "tracing_multi",
    }
}

open_enum! {
    /// A netfilter hook: the point in the path of packets where a program runs (`enum nf_inet_hooks` of
    /// `linux/netfilter.h`).
    NetfilterHook {
        PRE_ROUTING = 0 => "pre_routing",
        LOCAL_IN = 1 => "local_in",
        FORWARD = 2 => "forward",
        LOCAL_OUT = 3 => "local_out",
        POST_ROUTING = 4 => "post_routing",
    }
}

open_enum! {
    /// A netfilter protocol family (`NFPROTO_*` of `linux/netfilter.h`); only these two accept BPF programs.
    NetfilterFamily {
        IPV4 = 2 => "ipv4",
        IPV6 = 10 => "ipv6",
    }
}

/// The maximum length of a kernel object's name in bytes, without the terminating NUL (`BPF_OBJ_NAME_LEN` - 1).
pub const OBJ_NAME_MAX: usize = 15;

flags! {
    /// The flags of a map (`BPF_MAP_CREATE`).
    ///
    /// ```
    /// use skelgen_abi::uapi::MapFlags;
    /// let mut flags = MapFlags::NO_PREALLOC | MapFlags::RDONLY_PROG;
    /// flags |= MapFlags::from_bits(1 << 31);
    /// assert!(flags.contains(MapFlags::NO_PREALLOC));
    /// assert_eq!(format!("{flags:?}"), "MapFlags(NO_PREALLOC | RDONLY_PROG | 0x80000000)");
    /// ```
    MapFlags(u32) in map_flags {
        /// Allocate hash elements on insertion (`BPF_F_NO_PREALLOC`).
        NO_PREALLOC = 1 << 0,
        /// Use a separate LRU list for each CPU (`BPF_F_NO_COMMON_LRU`).
        NO_COMMON_LRU = 1 << 1,
        /// The request has a NUMA node (`BPF_F_NUMA_NODE`).
        NUMA_NODE = 1 << 2,
        /// System calls can only read (`BPF_F_RDONLY`).
        RDONLY = 1 << 3,
        /// System calls can only write (`BPF_F_WRONLY`).
        WRONLY = 1 << 4,
        /// Stack traces contain build ids and offsets instead of addresses (`BPF_F_STACK_BUILD_ID`).
        STACK_BUILD_ID = 1 << 5,
        /// Hash without a random seed, for tests (`BPF_F_ZERO_SEED`).
        ZERO_SEED = 1 << 6,
        /// Programs can only read (`BPF_F_RDONLY_PROG`).
        RDONLY_PROG = 1 << 7,
        /// Programs can only write (`BPF_F_WRONLY_PROG`).
        WRONLY_PROG = 1 << 8,
        /// Child sockets inherit a copy of the element (`BPF_F_CLONE`).
        CLONE = 1 << 9,
        /// The map can be mapped into user space (`BPF_F_MMAPABLE`).
        MMAPABLE = 1 << 10,
        /// Perf events stay in the map when the file descriptor that inserted them is closed (`BPF_F_PRESERVE_ELEMS`).
        PRESERVE_ELEMS = 1 << 11,
        /// The inner map's size may differ from its template's (`BPF_F_INNER_MAP`).
        INNER_MAP = 1 << 12,
        /// The struct_ops map is registered by a link (`BPF_F_LINK`).
        LINK = 1 << 13,
        /// The field `value_type_btf_obj_fd` is set (`BPF_F_VTYPE_BTF_OBJ_FD`).
        VTYPE_BTF_OBJ_FD = 1 << 15,
        /// The field `map_token_fd` is set (`BPF_F_TOKEN_FD`).
        TOKEN_FD = 1 << 16,
        /// A fault in an arena raises SIGSEGV instead of allocating a page (`BPF_F_SEGV_ON_FAULT`).
        SEGV_ON_FAULT = 1 << 17,
        /// Arena addresses are not converted for user space (`BPF_F_NO_USER_CONV`).
        NO_USER_CONV = 1 << 18,
        /// A full ring buffer drops its oldest records (`BPF_F_RB_OVERWRITE`).
        RB_OVERWRITE = 1 << 19,
    }
}

flags! {
    /// The flags of requests about map elements.
    ///
    /// ```
    /// use skelgen_abi::uapi::ElemFlags;
    /// assert_eq!(ElemFlags::on_cpu(3), ElemFlags::from_bits(3 << 32) | ElemFlags::CPU);
    /// assert_eq!(format!("{:?} {:?}", ElemFlags::ANY, ElemFlags::EXIST | ElemFlags::LOCK), "ElemFlags(0x0) ElemFlags(EXIST | LOCK)");
    /// ```
    ElemFlags(u64) in elem_flags {
        /// Create or replace (`BPF_ANY`).
        ANY = 0,
        /// Create only (`BPF_NOEXIST`).
        NOEXIST = 1,
        /// Replace only (`BPF_EXIST`).
        EXIST = 2,
        /// Hold the element's spin lock (`BPF_F_LOCK`).
        LOCK = 4,
        /// The upper 32 bits of the flags are the CPU (`BPF_F_CPU`, Linux 7.0).
        CPU = 8,
        /// Write one value for all CPUs (`BPF_F_ALL_CPUS`, Linux 7.0).
        ALL_CPUS = 16,
    }
}

impl ElemFlags {
    /// Returns the flags for the value of one CPU (`BPF_F_CPU` with its number in the upper 32 bits, Linux 7.0).
    pub const fn on_cpu(cpu: u32) -> Self {
        Self(elem_flags::CPU | (cpu as u64) << 32)
    }
}

flags! {
    /// The flags of a program (`BPF_PROG_LOAD`).
    ProgramFlags(u32) in prog_flags {
        /// The program may sleep (`BPF_F_SLEEPABLE`).
        SLEEPABLE = 1 << 4,
        /// The XDP program supports packets of several fragments (`BPF_F_XDP_HAS_FRAGS`).
        XDP_HAS_FRAGS = 1 << 5,
        /// The XDP program reads metadata of the device that it is loaded for, but runs on the CPU
        /// (`BPF_F_XDP_DEV_BOUND_ONLY`, Linux 6.3).
        XDP_DEV_BOUND_ONLY = 1 << 6,
        /// The field `prog_token_fd` is set (`BPF_F_TOKEN_FD`).
        TOKEN_FD = 1 << 16,
    }
}

flags! {
    /// The flags for attaching a program, with or without a link.
    AttachFlags(u32) in attach_flags {
        /// Descendant cgroups may override this program (`BPF_F_ALLOW_OVERRIDE`).
        ALLOW_OVERRIDE = 1 << 0,
        /// Programs of descendant cgroups run in addition to this one (`BPF_F_ALLOW_MULTI`).
        ALLOW_MULTI = 1 << 1,
        /// Replace another program (`BPF_F_REPLACE`).
        REPLACE = 1 << 2,
        /// Attach before another program or link (`BPF_F_BEFORE`).
        BEFORE = 1 << 3,
        /// Attach after another program or link (`BPF_F_AFTER`).
        AFTER = 1 << 4,
        /// The position refers to a program or link by its id instead of a file descriptor (`BPF_F_ID`).
        ID = 1 << 5,
        /// Run before the programs of descendant cgroups (`BPF_F_PREORDER`).
        PREORDER = 1 << 6,
        /// The position refers to a link instead of a program (`BPF_F_LINK`).
        LINK = 1 << 13,
    }
}

flags! {
    /// The flags for attaching an XDP program (`linux/if_link.h`). Without flags, the kernel chooses the mode. Links accept
    /// only the flags of a mode.
    XdpFlags(u32) in xdp_flags {
        /// Fail if a program is already attached (`XDP_FLAGS_UPDATE_IF_NOEXIST`).
        UPDATE_IF_NOEXIST = 1 << 0,
        /// Attach in generic mode, in the network stack (`XDP_FLAGS_SKB_MODE`).
        SKB_MODE = 1 << 1,
        /// Attach in native mode, in the driver (`XDP_FLAGS_DRV_MODE`).
        DRV_MODE = 1 << 2,
        /// Offload to the hardware (`XDP_FLAGS_HW_MODE`).
        HW_MODE = 1 << 3,
        /// The request has the file descriptor of the program that it replaces (`XDP_FLAGS_REPLACE`, Linux 5.7).
        REPLACE = 1 << 4,
    }
}

flags! {
    /// The XDP features of a network interface (`enum netdev_xdp_act` of `linux/netdev.h`).
    XdpFeatureFlags(u64) in xdp_feature_flags {
        /// Native programs that return `XDP_ABORTED`, `XDP_DROP`, `XDP_PASS` or `XDP_TX` (`NETDEV_XDP_ACT_BASIC`).
        BASIC = 1 << 0,
        /// Native programs that redirect packets (`NETDEV_XDP_ACT_REDIRECT`).
        REDIRECT = 1 << 1,
        /// Packets can be redirected to the interface (`NETDEV_XDP_ACT_NDO_XMIT`).
        XMIT = 1 << 2,
        /// Zero-copy AF_XDP sockets (`NETDEV_XDP_ACT_XSK_ZEROCOPY`).
        XSK_ZERO_COPY = 1 << 3,
        /// Programs that are offloaded to the device (`NETDEV_XDP_ACT_HW_OFFLOAD`).
        OFFLOAD = 1 << 4,
        /// Received packets of several fragments (`NETDEV_XDP_ACT_RX_SG`).
        FRAGMENTS = 1 << 5,
        /// Packets of several fragments can be redirected to the interface (`NETDEV_XDP_ACT_NDO_XMIT_SG`).
        XMIT_FRAGMENTS = 1 << 6,
    }
}

flags! {
    /// The metadata of received packets that a network interface offers to XDP programs (`enum netdev_xdp_rx_metadata`
    /// of `linux/netdev.h`).
    XdpMetadataFlags(u64) in xdp_metadata_flags {
        /// The time of reception (`bpf_xdp_metadata_rx_timestamp`).
        TIMESTAMP = 1 << 0,
        /// The hash of the packet (`bpf_xdp_metadata_rx_hash`).
        HASH = 1 << 1,
        /// The VLAN tag (`bpf_xdp_metadata_rx_vlan_tag`).
        VLAN_TAG = 1 << 2,
    }
}

flags! {
    /// The features of AF_XDP sockets for packets that they send by a network interface (`enum netdev_xsk_flags` of
    /// `linux/netdev.h`).
    XskFeatureFlags(u64) in xsk_feature_flags {
        /// The time of transmission (`NETDEV_XSK_FLAGS_TX_TIMESTAMP`).
        TX_TIMESTAMP = 1 << 0,
        /// Checksums that the device computes (`NETDEV_XSK_FLAGS_TX_CHECKSUM`).
        TX_CHECKSUM = 1 << 1,
        /// Launch times of packets, in FIFO order (`NETDEV_XSK_FLAGS_TX_LAUNCH_TIME_FIFO`).
        TX_LAUNCH_TIME_FIFO = 1 << 2,
    }
}

/// Values of an instruction's source register that determine the meaning of its immediate.
pub mod pseudo {
    /// `ld_imm64`: the immediate is a map's file descriptor.
    pub const MAP_FD: u8 = 1;
    /// `ld_imm64`: a map's file descriptor, and an offset into its value in the second immediate.
    pub const MAP_VALUE: u8 = 2;
    /// `ld_imm64`: the BTF id of a kernel variable, and a BTF file descriptor in the second immediate.
    pub const BTF_ID: u8 = 3;
    /// `ld_imm64`: the address of a BPF function, as a distance in instructions.
    pub const FUNC: u8 = 4;
    /// `ld_imm64`: an index into the array of file descriptors (`fd_array`).
    pub const MAP_IDX: u8 = 5;
    /// `ld_imm64`: an index into the array of file descriptors (`fd_array`), and an offset into the map's value.
    pub const MAP_IDX_VALUE: u8 = 6;
    /// `call`: a BPF function, as a distance in instructions.
    pub const CALL: u8 = 1;
    /// `call`: the BTF id of a kernel function.
    pub const KFUNC_CALL: u8 = 2;
}
