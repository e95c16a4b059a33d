//! What the kernel requires of the definition of a map, by the map's type: one table for the generator and the runtime.
//!
//! The generator warns of what the user has to set before the load, the runtime explains a refusal. Nothing is rejected because of the
//! table: kernels differ, and the one that loads decides. Must not know objects or system calls, and of plans the rows of maps alone.
//!
//! To add a map type: a row in the table `TYPES`. The facts are those of the `map_alloc_check` and `map_alloc` of the type's operations, of
//! `map_create_alloc` in kernel/bpf/syscall.c and of `bpf_map_meta_alloc` in kernel/bpf/map_in_map.c (Linux 7.3).

use core::fmt;

use crate::plan::Map;
use crate::uapi::{MapType, map_flags as flag};

/// The definition of a map, as `BPF_MAP_CREATE` takes it.
///
/// Its `Display` is what messages call the shape of a map.
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
    /// Its type.
    pub map_type: MapType,
    /// Size of a key in bytes.
    pub key_size: u32,
    /// Size of a value in bytes.
    pub value_size: u32,
    /// How many elements it has at most; of ring buffers its size in bytes.
    pub max_entries: u32,
    /// Flags of `BPF_MAP_CREATE`.
    pub flags: u32,
    /// The type's own extra setting (`map_extra`).
    pub extra: u64,
    /// Whether a map is given as the template of its inner maps.
    pub inner: bool,
    /// Whether it has BTF types for keys and values.
    pub typed: bool,
}

impl Definition {
    /// Creates the definition of a map with types for its keys and values and without flags and inner maps.
    #[must_use]
    pub const fn new(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> Self {
        Self { map_type, key_size, value_size, max_entries, flags: 0, extra: 0, inner: false, typed: true }
    }

    /// Creates the definition that a row of a plan has; `inner` and `typed` are as in the fields.
    #[must_use]
    pub const fn of(row: &Map, inner: bool, typed: bool) -> Self {
        let Map { map_type, key_size, value_size, max_entries, flags, extra, .. } = *row;
        Self { map_type, key_size, value_size, max_entries, flags, extra, inner, typed }
    }

    /// Returns what is wrong with the definition on every kernel that has the map type; nothing for a type that is not in the table.
    pub fn faults(&self) -> impl Iterator<Item = Fault> + use<> {
        let of = MapFacts::of(self.map_type);
        of.map(|facts| self.check(facts)).into_iter().flatten().flatten()
    }

    fn check(&self, facts: &MapFacts) -> [Option<Fault>; 8] {
        let map_type = self.map_type;
        let lacking = facts.required_flags & !self.flags;
        // Flags that say how to read other fields go with maps of any type.
        let unknown = self.flags & !(facts.flags | facts.required_flags | flag::NUMA_NODE | flag::TOKEN_FD);
        [
            match facts.inner {
                true if !self.inner => Some(Fault::NoInner { map_type }),
                false if self.inner => Some(Fault::Inner { map_type }),
                _ => None,
            },
            (!facts.key.holds(self.key_size)).then_some(Fault::KeySize {
                map_type,
                size: self.key_size,
                required: facts.key,
            }),
            (!facts.value.holds(self.value_size)).then_some(Fault::ValueSize {
                map_type,
                size: self.value_size,
                required: facts.value,
            }),
            (!facts.entries.holds(self.max_entries)).then_some(Fault::MaxEntries {
                map_type,
                count: self.max_entries,
                required: facts.entries,
            }),
            (lacking != 0).then_some(Fault::FlagsLacking { map_type, flags: lacking }),
            (unknown != 0).then_some(Fault::FlagsUnknown { map_type, flags: unknown }),
            (self.extra != 0 && !facts.extra).then_some(Fault::Extra { map_type, extra: self.extra }),
            (facts.needs_types && !self.typed).then_some(Fault::Untyped { map_type }),
        ]
    }

    /// Returns whether a map of this definition can be put into a map of maps whose template is `template`: type, sizes and flags must
    /// be the same, and of some types the number of elements.
    #[must_use]
    pub fn fits(&self, template: &Self) -> bool {
        let fixed = matches!(self.map_type, MapType::ARRAY | MapType::PERCPU_ARRAY | MapType::XSKMAP);
        let any_len = !fixed || template.flags & flag::INNER_MAP != 0;
        let sizes = |it: &Self| (it.map_type, it.key_size, it.value_size, it.flags);
        sizes(self) == sizes(template) && (any_len || self.max_entries == template.max_entries)
    }
}

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { map_type, key_size, value_size, max_entries, flags, .. } = self;
        write!(f, "{map_type}, {key_size}-byte keys, {value_size}-byte values, {max_entries} entries, flags {flags:#x}")
    }
}

/// What is wrong with the definition of a map. Its `Display` is a clause about "it", the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A map of maps without a template of its inner maps.
    NoInner {
        /// The map's type.
        map_type: MapType,
    },
    /// A template of inner maps for a map that holds none.
    Inner {
        /// The map's type.
        map_type: MapType,
    },
    /// Keys of a size that the type does not have.
    KeySize {
        /// The map's type.
        map_type: MapType,
        /// The size in bytes.
        size: u32,
        /// What the type requires.
        required: Size,
    },
    /// Values of a size that the type does not have.
    ValueSize {
        /// The map's type.
        map_type: MapType,
        /// The size in bytes.
        size: u32,
        /// What the type requires.
        required: Size,
    },
    /// A number of elements that the type does not have.
    MaxEntries {
        /// The map's type.
        map_type: MapType,
        /// The number.
        count: u32,
        /// What the type requires.
        required: Entries,
    },
    /// Flags that the type requires are not set.
    FlagsLacking {
        /// The map's type.
        map_type: MapType,
        /// The flags.
        flags: u32,
    },
    /// Flags that the type does not have.
    FlagsUnknown {
        /// The map's type.
        map_type: MapType,
        /// The flags.
        flags: u32,
    },
    /// An extra setting (`map_extra`), which the type does not have.
    Extra {
        /// The map's type.
        map_type: MapType,
        /// The setting.
        extra: u64,
    },
    /// No BTF types of keys and values, which the type requires.
    Untyped {
        /// The map's type.
        map_type: MapType,
    },
}

impl Fault {
    /// Returns the method of an open map that mends it. Types of keys and values can only come from the source; for a map without them
    /// it is the method that hands another map over.
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

    /// Returns what the BPF source gives instead.
    #[must_use]
    pub const fn source(&self) -> &'static str {
        match self {
            Self::NoInner { .. } => "`__array(values, …)`",
            Self::Inner { .. } => "another `type`",
            Self::KeySize { .. } => "another `key` or `key_size`",
            Self::ValueSize { .. } => "another `value` or `value_size`",
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
            Self::Inner { map_type } => write!(f, "it has inner maps, which maps of type {map_type} do not hold"),
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
                write!(f, "its flags lack {flags:#x}, which maps of type {map_type} require")
            }
            Self::FlagsUnknown { map_type, flags } => {
                write!(f, "maps of type {map_type} do not have its flags {flags:#x}")
            }
            Self::Extra { map_type, extra } => {
                write!(f, "its map_extra is {extra:#x}; maps of type {map_type} have none")
            }
            Self::Untyped { map_type } => {
                write!(f, "its keys and values have no BTF types, which maps of type {map_type} require")
            }
        }
    }
}

/// Which sizes of keys or values the maps of a type have, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Size {
    /// One of these.
    OneOf(&'static [u32]),
    /// One of this range, both ends included.
    Within(u32, u32),
    /// A multiple of eight bytes.
    EightBytes,
}

impl Size {
    fn holds(self, size: u32) -> bool {
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

/// Which numbers of elements the maps of a type have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entries {
    /// Any but none.
    Some,
    /// Any but none; the runtime sets the number of CPUs for none.
    Cpus,
    /// None: it has no limit.
    Zero,
    /// One.
    One,
    /// Bytes, a power of two of whole pages; the runtime rounds up.
    Pages,
}

impl Entries {
    fn holds(self, count: u32) -> bool {
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
            Self::Pages => "its size in bytes, a power of two and a multiple of the page size",
        })
    }
}

/// What the kernel requires of the maps of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapFacts {
    /// The type.
    pub map_type: MapType,
    /// Sizes of keys.
    pub key: Size,
    /// Sizes of values.
    pub value: Size,
    /// Numbers of elements.
    pub entries: Entries,
    /// The flags that it may have, beside those of any type.
    pub flags: u32,
    /// The flags that it must have.
    pub required_flags: u32,
    /// Whether it has an extra setting.
    pub extra: bool,
    /// Whether it takes BTF types of keys and values (`map_check_btf` of its operations).
    pub takes_types: bool,
    /// Whether it requires them.
    pub needs_types: bool,
    /// Whether it holds maps, and so requires a template of these.
    pub inner: bool,
    /// Whether maps of maps can hold it (`map_meta_equal` of its operations).
    pub can_be_inner: bool,
    /// The first Linux that has such maps, major and minor number; `(0, 0)` if that is not known.
    pub since: (u16, u16),
}

impl MapFacts {
    /// Returns the facts about a type; `None` for one that is not in the table.
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
        takes_types: true,
        needs_types: false,
        inner: false,
        can_be_inner: true,
        since,
    }
}

/// The same row for a map that takes no BTF types.
const fn untyped(facts: MapFacts) -> MapFacts {
    MapFacts { takes_types: false, ..facts }
}

/// The same row for a map that no map can hold.
const fn outer(facts: MapFacts) -> MapFacts {
    MapFacts { can_be_inner: false, ..facts }
}

const fn maps(facts: MapFacts) -> MapFacts {
    MapFacts { inner: true, ..outer(untyped(facts)) }
}

const fn storage(map_type: MapType, since: (u16, u16)) -> MapFacts {
    let facts = row(map_type, (INDEX, ANY, Entries::Zero), flag::CLONE, since);
    MapFacts { required_flags: flag::NO_PREALLOC, needs_types: true, ..facts }
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
        outer(row(M::INSN_ARRAY, (INDEX, Size::OneOf(&[16]), Some), 0, (0, 0))),
        MapFacts {
            extra: true,
            required_flags: flag::NO_PREALLOC,
            ..row(M::RHASH, (Size::Within(1, 65535), ANY, Some), HASH & !flag::ZERO_SEED, (0, 0))
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
        let said = |definition: Definition| {
            definition.faults().map(|fault| format!("{}: {fault}", fault.setter())).collect::<Vec<_>>()
        };
        let good = |map_type, key, value, entries| Definition::new(map_type, key, value, entries);
        assert_eq!(said(good(MapType::ARRAY, 4, 9, 1)), [""; 0]);
        assert_eq!(said(good(MapType::PERF_EVENT_ARRAY, 4, 4, 0)), [""; 0]);
        assert_eq!(said(good(MapType(999), 0, 0, 0)), [""; 0], "a type of a later kernel");
        assert_eq!(
            said(good(MapType::ARRAY, 8, 0, 0)),
            [
                "set_key_size: its keys have 8 bytes; maps of type array require 4",
                "set_value_size: its values have 0 bytes; maps of type array require at least 1",
                "set_max_entries: its max_entries is 0; maps of type array require at least 1",
            ]
        );
        assert_eq!(
            said(good(MapType::HASH_OF_MAPS, 8, 4, 1)),
            ["set_inner_map: it has no definition of its inner maps, which maps of type hash_of_maps require"]
        );
        assert_eq!(
            said(Definition { inner: true, ..good(MapType::HASH, 8, 4, 1) }),
            ["set_map_type: it has inner maps, which maps of type hash do not hold"]
        );
        assert_eq!(
            said(Definition { typed: false, ..good(MapType::TASK_STORAGE, 4, 4, 5) }),
            [
                "set_max_entries: its max_entries is 5; maps of type task_storage require 0",
                "set_flags: its flags lack 0x1, which maps of type task_storage require",
                "reuse_fd: its keys and values have no BTF types, which maps of type task_storage require",
            ]
        );
        assert_eq!(
            said(Definition { flags: flag::NO_PREALLOC, extra: 3, ..good(MapType::LRU_HASH, 8, 4, 1) }),
            [
                "set_flags: maps of type lru_hash do not have its flags 0x1",
                "set_extra: its map_extra is 0x3; maps of type lru_hash have none",
            ]
        );
        assert_eq!(
            said(good(MapType::STACK_TRACE, 4, 12, 1)),
            ["set_value_size: its values have 12 bytes; maps of type stack_trace require a multiple of 8"]
        );
        assert_eq!(
            said(good(MapType::SOCKMAP, 4, 16, 1)),
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
        assert!(array.fits(&array) && !longer.fits(&array));
        let any = Definition { flags: flag::INNER_MAP, ..array };
        assert!(Definition { max_entries: 3, ..any }.fits(&any) && !longer.fits(&any));
        let hash = Definition::new(MapType::HASH, 4, 8, 2);
        assert!(Definition { max_entries: 3, ..hash }.fits(&hash) && !Definition { value_size: 4, ..hash }.fits(&hash));
    }
}
