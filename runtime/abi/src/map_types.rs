//! The kernel's requirements on map definitions, by map type. The generator and the runtime share this table.
//!
//! The generator warns about what the user must set before the load, and the runtime explains rejected maps. The table
//! is never a reason to reject a definition, because kernels differ. This module does not depend on objects or system
//! calls, and of plans only on the rows of maps.
//!
//! To add a map type, add a row to the table `TYPES`. The facts are those of the type's `map_alloc_check` and
//! `map_alloc`, of `map_create_alloc` in kernel/bpf/syscall.c, and of `bpf_map_meta_alloc` in kernel/bpf/map_in_map.c
//! (Linux 7.3).

use core::fmt;

use crate::plan::Map;
use crate::uapi::{MapFlags, MapType, map_flags as flag};

/// A map definition, as `BPF_MAP_CREATE` receives it.
///
/// Its `Display` is the description in messages.
///
/// ```
/// use skelgen_abi::map_types::{Definition, Fault};
/// use skelgen_abi::uapi::MapType;
///
/// let events = Definition::new(MapType::RINGBUF, 0, 0, 0);
/// let fault = events.faults().next().expect("it has no size");
/// assert_eq!(fault.setter(), "set_max_entries");
/// assert!(fault.to_string().contains("a power of two"));
/// assert_eq!(Definition { max_entries: 4096, ..events }.faults().next(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The map type.
    pub map_type: MapType,
    /// The key size in bytes.
    pub key_size: u32,
    /// The value size in bytes.
    pub value_size: u32,
    /// The maximum number of elements; for ring buffers the size in bytes.
    pub max_entries: u32,
    /// Flags of `BPF_MAP_CREATE`.
    pub flags: u32,
    /// The type-specific setting (`map_extra`).
    pub extra: u64,
    /// Whether the definition has a template of the inner maps.
    pub inner: bool,
    /// Whether the definition has BTF types of keys and values.
    pub typed: bool,
}

impl Definition {
    /// Creates a definition with BTF types, without flags and inner maps.
    #[must_use]
    pub const fn new(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> Self {
        Self { map_type, key_size, value_size, max_entries, flags: 0, extra: 0, inner: false, typed: true }
    }

    /// Creates the definition of a row of a plan. `inner` and `typed` have the meaning of the fields.
    #[must_use]
    pub const fn of(row: &Map, inner: bool, typed: bool) -> Self {
        let Map { map_type, key_size, value_size, max_entries, flags, extra, .. } = *row;
        Self { map_type, key_size, value_size, max_entries, flags, extra, inner, typed }
    }

    /// Returns the faults of the definition that make all kernels with the map type reject it; none for a type that is
    /// not in the table.
    pub fn faults(&self) -> impl Iterator<Item = Fault> + use<> {
        let of = MapFacts::of(self.map_type);
        of.map(|facts| self.check(facts)).into_iter().flatten().flatten()
    }

    fn check(&self, facts: &MapFacts) -> [Option<Fault>; 8] {
        let map_type = self.map_type;
        let lacking = facts.required_flags & !self.flags;
        // These flags enable other fields and are valid for all map types.
        let unknown = self.flags & !(facts.flags | facts.required_flags | flag::NUMA_NODE | flag::TOKEN_FD);
        [
            match facts.inner {
                true if !self.inner => Some(Fault::NoInner { map_type }),
                false if self.inner => Some(Fault::Inner { map_type }),
                _ => None,
            },
            (!facts.key.allows(self.key_size)).then_some(Fault::KeySize {
                map_type,
                size: self.key_size,
                required: facts.key,
            }),
            (!facts.value.allows(self.value_size)).then_some(Fault::ValueSize {
                map_type,
                size: self.value_size,
                required: facts.value,
            }),
            (!facts.entries.allows(self.max_entries)).then_some(Fault::MaxEntries {
                map_type,
                count: self.max_entries,
                required: facts.entries,
            }),
            (lacking != 0).then_some(Fault::FlagsLacking { map_type, flags: lacking }),
            (unknown != 0).then_some(Fault::FlagsUnknown { map_type, flags: unknown }),
            (self.extra != 0 && !facts.extra).then_some(Fault::Extra { map_type, extra: self.extra }),
            (facts.requires_types && !self.typed).then_some(Fault::Untyped { map_type }),
        ]
    }

    /// Returns whether a map with this definition can be an element of a map of maps with this template: the type,
    /// sizes and flags must be equal, and for some types the number of elements.
    #[must_use]
    pub fn is_compatible_with(&self, template: &Self) -> bool {
        let fixed = matches!(self.map_type, MapType::ARRAY | MapType::PERCPU_ARRAY | MapType::XSKMAP);
        let any_len = !fixed || template.flags & flag::INNER_MAP != 0;
        let sizes = |it: &Self| (it.map_type, it.key_size, it.value_size, it.flags);
        sizes(self) == sizes(template) && (any_len || self.max_entries == template.max_entries)
    }
}

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { map_type, key_size, value_size, max_entries, flags, .. } = self;
        let flags = MapFlags::from_bits(*flags);
        write!(f, "{map_type}, {key_size}-byte keys, {value_size}-byte values, {max_entries} entries, flags {flags}")
    }
}

/// A fault in a map definition. Its `Display` is a clause whose subject is the map: "its keys have 8 bytes; …".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A map of maps has no template of its inner maps.
    NoInner {
        /// The map's type.
        map_type: MapType,
    },
    /// A map that is not a map of maps has a template of inner maps.
    Inner {
        /// The map's type.
        map_type: MapType,
    },
    /// The type does not support the key size.
    KeySize {
        /// The map's type.
        map_type: MapType,
        /// The size in bytes.
        size: u32,
        /// The requirement of the type.
        required: Size,
    },
    /// The type does not support the value size.
    ValueSize {
        /// The map's type.
        map_type: MapType,
        /// The size in bytes.
        size: u32,
        /// The requirement of the type.
        required: Size,
    },
    /// The type does not support the maximum number of elements.
    MaxEntries {
        /// The map's type.
        map_type: MapType,
        /// The number.
        count: u32,
        /// The requirement of the type.
        required: Entries,
    },
    /// Required flags are missing.
    FlagsLacking {
        /// The map's type.
        map_type: MapType,
        /// The flags.
        flags: u32,
    },
    /// The type does not support these flags.
    FlagsUnknown {
        /// The map's type.
        map_type: MapType,
        /// The flags.
        flags: u32,
    },
    /// The type does not support an extra setting (`map_extra`).
    Extra {
        /// The map's type.
        map_type: MapType,
        /// The setting.
        extra: u64,
    },
    /// The type requires BTF types of keys and values.
    Untyped {
        /// The map's type.
        map_type: MapType,
    },
}

impl Fault {
    /// Returns the method of an open map that corrects the fault. BTF types can come only from the source, so for a map
    /// without BTF types this is the method that reuses another map.
    #[must_use]
    pub const fn setter(&self) -> &'static str {
        match self {
            Self::NoInner { .. } => "set_inner_map",
            Self::Inner { .. } => "set_map_type",
            Self::KeySize { .. } => "set_key_size",
            Self::ValueSize { .. } => "set_value_size",
            Self::MaxEntries { .. } => "set_max_entries",
            Self::FlagsLacking { .. } | Self::FlagsUnknown { .. } => "set_flags",
            Self::Extra { .. } => "set_extra",
            Self::Untyped { .. } => "reuse_fd",
        }
    }

    /// Returns the attribute to set in the BPF source instead.
    #[must_use]
    pub const fn source(&self) -> &'static str {
        match self {
            Self::NoInner { .. } => "`__array(values, …)`",
            Self::Inner { .. } => "a different `type`",
            Self::KeySize { .. } => "a different `key` or `key_size`",
            Self::ValueSize { .. } => "a different `value` or `value_size`",
            Self::MaxEntries { .. } => "`max_entries`",
            Self::FlagsLacking { .. } | Self::FlagsUnknown { .. } => "`map_flags`",
            Self::Extra { .. } => "`map_extra`",
            Self::Untyped { .. } => "`__type(key, …)` and `__type(value, …)`",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInner { map_type } => {
                write!(f, "it has no definition of its inner maps, which maps of type {map_type} require")
            }
            Self::Inner { map_type } => write!(f, "it has inner maps, which maps of type {map_type} do not support"),
            Self::KeySize { map_type, size, required } => {
                write!(f, "its keys have {size} bytes; maps of type {map_type} require {required}")
            }
            Self::ValueSize { map_type, size, required } => {
                write!(f, "its values have {size} bytes; maps of type {map_type} require {required}")
            }
            Self::MaxEntries { map_type, count, required } => {
                write!(f, "its max_entries is {count}; maps of type {map_type} require {required}")
            }
            Self::FlagsLacking { map_type, flags } => {
                write!(f, "its flags lack {}, which maps of type {map_type} require", MapFlags::from_bits(*flags))
            }
            Self::FlagsUnknown { map_type, flags } => {
                write!(f, "maps of type {map_type} do not support its flags {}", MapFlags::from_bits(*flags))
            }
            Self::Extra { map_type, extra } => {
                write!(f, "its map_extra is {extra:#x}, which maps of type {map_type} do not support")
            }
            Self::Untyped { map_type } => {
                write!(f, "its keys and values have no BTF types, which maps of type {map_type} require")
            }
        }
    }
}

/// The sizes of keys or values that a map type supports, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Size {
    /// One of these sizes.
    OneOf(&'static [u32]),
    /// A size in this inclusive range.
    Within(u32, u32),
    /// A multiple of eight bytes.
    EightBytes,
}

impl Size {
    fn allows(self, size: u32) -> bool {
        match self {
            Self::OneOf(sizes) => sizes.contains(&size),
            Self::Within(least, most) => (least..=most).contains(&size),
            Self::EightBytes => size != 0 && size % 8 == 0,
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneOf(sizes) => sizes.iter().enumerate().try_for_each(|(place, size)| {
                let or = if place == 0 { "" } else { " or " };
                write!(f, "{or}{size}")
            }),
            Self::Within(least, u32::MAX) => write!(f, "at least {least}"),
            Self::Within(least, most) => write!(f, "{least} to {most}"),
            Self::EightBytes => f.write_str("a multiple of 8"),
        }
    }
}

/// The numbers of elements that a map type supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entries {
    /// At least one.
    Some,
    /// At least one; the runtime replaces 0 by the number of CPUs.
    Cpus,
    /// Zero, because the number is unlimited.
    Zero,
    /// One.
    One,
    /// A size in bytes: a power of two and a multiple of the page size. The runtime rounds it up.
    Pages,
}

impl Entries {
    fn allows(self, count: u32) -> bool {
        match self {
            Self::Some => count != 0,
            Self::Cpus => true,
            Self::Zero => count == 0,
            Self::One => count == 1,
            Self::Pages => count != 0 && count <= 1 << 31,
        }
    }
}

impl fmt::Display for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Some | Self::Cpus => "at least 1",
            Self::Zero => "0",
            Self::One => "1",
            Self::Pages => "a size in bytes that is a power of two and a multiple of the page size",
        })
    }
}

/// Returns the flags among these that Linux 5.10 does not have, with the first Linux version of each.
///
/// ```
/// use skelgen_abi::map_types::flags_since;
/// use skelgen_abi::uapi::map_flags::{NO_PREALLOC, RB_OVERWRITE};
/// assert_eq!(flags_since(NO_PREALLOC | RB_OVERWRITE).collect::<Vec<_>>(), [(RB_OVERWRITE, (6, 19))]);
/// ```
pub fn flags_since(flags: u32) -> impl Iterator<Item = (u32, (u16, u16))> {
    FLAGS.into_iter().filter(move |(flag, _)| flags & flag != 0)
}

/// The first Linux version of each flag that Linux 5.10 does not have.
const FLAGS: [(u32, (u16, u16)); 6] = [
    (flag::LINK, (6, 4)),
    (flag::VTYPE_BTF_OBJ_FD, (6, 9)),
    (flag::TOKEN_FD, (6, 9)),
    (flag::SEGV_ON_FAULT, (6, 9)),
    (flag::NO_USER_CONV, (6, 9)),
    (flag::RB_OVERWRITE, (6, 19)),
];

/// The kernel's requirements on maps of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapFacts {
    /// The map type.
    pub map_type: MapType,
    /// The supported key sizes.
    pub key: Size,
    /// The supported value sizes.
    pub value: Size,
    /// The supported numbers of elements.
    pub entries: Entries,
    /// The supported flags, in addition to those of all types.
    pub flags: u32,
    /// The required flags.
    pub required_flags: u32,
    /// Whether maps of the type support an extra setting (`map_extra`).
    pub extra: bool,
    /// Whether maps of the type accept BTF types of keys and values (`map_check_btf` of the type's operations).
    pub accepts_types: bool,
    /// Whether maps of the type require BTF types.
    pub requires_types: bool,
    /// Whether the type is a map of maps, which requires a template of the inner maps.
    pub inner: bool,
    /// Whether a map of the type can be an inner map (`map_meta_equal` of the type's operations).
    pub can_be_inner: bool,
    /// The first Linux version with the type.
    pub since: (u16, u16),
}

impl MapFacts {
    /// Returns the facts about a map type; `None` if it is not in the table.
    #[must_use]
    pub fn of(map_type: MapType) -> Option<&'static Self> {
        TYPES.iter().find(|facts| facts.map_type == map_type)
    }
}

const ACCESS: u32 = flag::RDONLY | flag::WRONLY | flag::RDONLY_PROG | flag::WRONLY_PROG;
const HASH: u32 = flag::NO_PREALLOC | flag::NUMA_NODE | flag::ZERO_SEED | ACCESS;
const SYSCALLS: u32 = flag::RDONLY | flag::WRONLY;
const ARRAY: u32 = flag::NUMA_NODE | ACCESS;

const INDEX: Size = Size::OneOf(&[4]);
const FD: Size = Size::OneOf(&[4]);
const NOTHING: Size = Size::OneOf(&[0]);
const ANY: Size = Size::Within(1, u32::MAX);

const fn row(
    map_type: MapType,
    (key, value, entries): (Size, Size, Entries),
    flags: u32,
    since: (u16, u16),
) -> MapFacts {
    MapFacts {
        map_type,
        key,
        value,
        entries,
        flags,
        required_flags: 0,
        extra: false,
        accepts_types: true,
        requires_types: false,
        inner: false,
        can_be_inner: true,
        since,
    }
}

/// Changes a row for a map type that rejects BTF types.
const fn untyped(facts: MapFacts) -> MapFacts {
    MapFacts { accepts_types: false, ..facts }
}

/// Changes a row for a map type that cannot be an inner map.
const fn outer(facts: MapFacts) -> MapFacts {
    MapFacts { can_be_inner: false, ..facts }
}

const fn maps(facts: MapFacts) -> MapFacts {
    MapFacts { inner: true, ..outer(untyped(facts)) }
}

const fn storage(map_type: MapType, since: (u16, u16)) -> MapFacts {
    let facts = row(map_type, (INDEX, ANY, Entries::Zero), flag::CLONE, since);
    MapFacts { required_flags: flag::NO_PREALLOC, requires_types: true, ..facts }
}

static TYPES: [MapFacts; 35] = {
    use Entries::{Cpus, One, Pages, Some, Zero};
    use MapType as M;
    [
        row(M::HASH, (ANY, ANY, Some), HASH, (3, 19)),
        row(M::ARRAY, (INDEX, ANY, Some), ARRAY | flag::MMAPABLE | flag::INNER_MAP, (3, 19)),
        outer(row(M::PROG_ARRAY, (INDEX, FD, Some), flag::NUMA_NODE | SYSCALLS, (4, 2))),
        untyped(row(M::PERF_EVENT_ARRAY, (INDEX, FD, Cpus), flag::NUMA_NODE | SYSCALLS | flag::PRESERVE_ELEMS, (4, 3))),
        row(M::PERCPU_HASH, (ANY, ANY, Some), HASH, (4, 6)),
        row(M::PERCPU_ARRAY, (INDEX, ANY, Some), ACCESS, (4, 6)),
        untyped(row(
            M::STACK_TRACE,
            (INDEX, Size::EightBytes, Some),
            flag::NUMA_NODE | SYSCALLS | flag::STACK_BUILD_ID,
            (4, 6),
        )),
        untyped(row(M::CGROUP_ARRAY, (INDEX, FD, Some), flag::NUMA_NODE | SYSCALLS, (4, 8))),
        row(M::LRU_HASH, (ANY, ANY, Some), flag::NO_COMMON_LRU | HASH & !flag::NO_PREALLOC, (4, 10)),
        row(M::LRU_PERCPU_HASH, (ANY, ANY, Some), flag::NO_COMMON_LRU | HASH & !flag::NO_PREALLOC, (4, 10)),
        MapFacts {
            required_flags: flag::NO_PREALLOC,
            ..row(M::LPM_TRIE, (Size::Within(5, 260), ANY, Some), flag::NUMA_NODE | ACCESS, (4, 11))
        },
        maps(row(M::ARRAY_OF_MAPS, (INDEX, FD, Some), flag::NUMA_NODE | SYSCALLS, (4, 12))),
        maps(row(M::HASH_OF_MAPS, (ANY, FD, Some), HASH, (4, 12))),
        untyped(row(M::DEVMAP, (INDEX, Size::OneOf(&[4, 8]), Some), flag::NUMA_NODE | SYSCALLS, (4, 14))),
        untyped(row(M::SOCKMAP, (INDEX, Size::OneOf(&[4, 8]), Some), flag::NUMA_NODE | SYSCALLS, (4, 14))),
        untyped(row(M::CPUMAP, (INDEX, Size::OneOf(&[4, 8]), Some), flag::NUMA_NODE, (4, 15))),
        untyped(row(M::XSKMAP, (INDEX, FD, Some), flag::NUMA_NODE | SYSCALLS, (4, 18))),
        untyped(row(
            M::SOCKHASH,
            (Size::Within(1, 512), Size::OneOf(&[4, 8]), Some),
            flag::NUMA_NODE | SYSCALLS,
            (4, 18),
        )),
        outer(row(M::CGROUP_STORAGE, (Size::OneOf(&[8, 16]), ANY, Zero), flag::NUMA_NODE | ACCESS, (4, 19))),
        row(M::REUSEPORT_SOCKARRAY, (INDEX, Size::OneOf(&[4, 8]), Some), ARRAY, (4, 19)),
        outer(row(M::PERCPU_CGROUP_STORAGE, (Size::OneOf(&[8, 16]), ANY, Zero), flag::NUMA_NODE | ACCESS, (4, 20))),
        untyped(row(M::QUEUE, (NOTHING, ANY, Some), flag::NUMA_NODE | ACCESS, (4, 20))),
        untyped(row(M::STACK, (NOTHING, ANY, Some), flag::NUMA_NODE | ACCESS, (4, 20))),
        storage(M::SK_STORAGE, (5, 2)),
        untyped(row(M::DEVMAP_HASH, (INDEX, Size::OneOf(&[4, 8]), Some), flag::NUMA_NODE | SYSCALLS, (5, 4))),
        outer(untyped(row(M::STRUCT_OPS, (INDEX, ANY, One), flag::LINK | flag::VTYPE_BTF_OBJ_FD, (5, 6)))),
        untyped(row(M::RINGBUF, (NOTHING, NOTHING, Pages), flag::NUMA_NODE | flag::RB_OVERWRITE, (5, 8))),
        storage(M::INODE_STORAGE, (5, 10)),
        storage(M::TASK_STORAGE, (5, 11)),
        MapFacts {
            extra: true,
            ..row(M::BLOOM_FILTER, (NOTHING, ANY, Some), flag::NUMA_NODE | flag::ZERO_SEED | ACCESS, (5, 16))
        },
        untyped(row(M::USER_RINGBUF, (NOTHING, NOTHING, Pages), flag::NUMA_NODE, (6, 1))),
        storage(M::CGRP_STORAGE, (6, 2)),
        MapFacts {
            extra: true,
            required_flags: flag::MMAPABLE,
            ..untyped(row(M::ARENA, (NOTHING, NOTHING, Some), flag::SEGV_ON_FAULT | flag::NO_USER_CONV, (6, 9)))
        },
        outer(row(M::INSN_ARRAY, (INDEX, Size::OneOf(&[16]), Some), 0, (6, 19))),
        MapFacts {
            extra: true,
            required_flags: flag::NO_PREALLOC,
            ..row(M::RHASH, (Size::Within(1, 65535), ANY, Some), HASH & !flag::ZERO_SEED, (7, 2))
        },
    ]
};

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn faults_of_definitions() {
        let messages = |definition: Definition| {
            definition.faults().map(|fault| format!("{}: {fault}", fault.setter())).collect::<Vec<_>>()
        };
        let good = |map_type, key, value, entries| Definition::new(map_type, key, value, entries);
        assert_eq!(messages(good(MapType::ARRAY, 4, 9, 1)), [""; 0]);
        assert_eq!(messages(good(MapType::PERF_EVENT_ARRAY, 4, 4, 0)), [""; 0]);
        assert_eq!(messages(good(MapType(999), 0, 0, 0)), [""; 0], "a type of a later kernel");
        assert_eq!(
            messages(good(MapType::ARRAY, 8, 0, 0)),
            [
                "set_key_size: its keys have 8 bytes; maps of type array require 4",
                "set_value_size: its values have 0 bytes; maps of type array require at least 1",
                "set_max_entries: its max_entries is 0; maps of type array require at least 1",
            ]
        );
        assert_eq!(
            messages(good(MapType::HASH_OF_MAPS, 8, 4, 1)),
            ["set_inner_map: it has no definition of its inner maps, which maps of type hash_of_maps require"]
        );
        assert_eq!(
            messages(Definition { inner: true, ..good(MapType::HASH, 8, 4, 1) }),
            ["set_map_type: it has inner maps, which maps of type hash do not support"]
        );
        assert_eq!(
            messages(Definition { typed: false, ..good(MapType::TASK_STORAGE, 4, 4, 5) }),
            [
                "set_max_entries: its max_entries is 5; maps of type task_storage require 0",
                "set_flags: its flags lack NO_PREALLOC, which maps of type task_storage require",
                "reuse_fd: its keys and values have no BTF types, which maps of type task_storage require",
            ]
        );
        assert_eq!(
            messages(Definition { flags: flag::NO_PREALLOC, extra: 3, ..good(MapType::LRU_HASH, 8, 4, 1) }),
            [
                "set_flags: maps of type lru_hash do not support its flags NO_PREALLOC",
                "set_extra: its map_extra is 0x3, which maps of type lru_hash do not support",
            ]
        );
        assert_eq!(
            messages(good(MapType::STACK_TRACE, 4, 12, 1)),
            ["set_value_size: its values have 12 bytes; maps of type stack_trace require a multiple of 8"]
        );
        assert_eq!(
            messages(good(MapType::SOCKMAP, 4, 16, 1)),
            ["set_value_size: its values have 16 bytes; maps of type sockmap require 4 or 8"]
        );
    }

    #[test]
    fn each_type_has_one_row() {
        for (place, facts) in TYPES.iter().enumerate() {
            assert_eq!(facts.map_type.0 as usize, place + 1, "rows are in the order of the types");
        }
    }

    #[test]
    fn inner_maps_fit_their_template() {
        let array = Definition::new(MapType::ARRAY, 4, 8, 2);
        let longer = Definition { max_entries: 3, ..array };
        assert!(array.is_compatible_with(&array) && !longer.is_compatible_with(&array));
        let any = Definition { flags: flag::INNER_MAP, ..array };
        assert!(Definition { max_entries: 3, ..any }.is_compatible_with(&any) && !longer.is_compatible_with(&any));
        let hash = Definition::new(MapType::HASH, 4, 8, 2);
        assert!(
            Definition { max_entries: 3, ..hash }.is_compatible_with(&hash)
                && !Definition { value_size: 4, ..hash }.is_compatible_with(&hash)
        );
    }
}
