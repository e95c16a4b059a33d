//! Estimates of the memory that maps occupy in the kernel.

use serde::Serialize;
use skelgen_abi::plan::Map;
use skelgen_abi::uapi::{MapType, map_flags};

/// The size of `struct htab_elem`, which LRU hash maps use too, without key and value, in Linux 7.3.
const ELEMENT: u64 = 48;
/// The size of `struct bucket`.
const BUCKET: u64 = 16;
/// The size of the pages of a ring buffer for its positions and its header.
const RING_PAGES: u64 = 3 * 4096;

/// The memory of a map in bytes: an estimate for a 64-bit kernel with pages of 4096 bytes, without the map's own structure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The number of bytes that the kernel allocates when it creates the map.
    pub bytes: u64,
    /// The number of bytes that it allocates for each possible CPU.
    pub per_cpu: u64,
    /// The number of bytes that the map allocates for each element that is added later.
    pub per_element: u64,
}

/// Returns the memory of a map; `None` if the map's type is unknown or its definition does not determine the memory.
pub(super) fn memory(map: &Map) -> Option<Memory> {
    let entries = u64::from(map.max_entries);
    let (key, value) = (round(map.key_size), round(map.value_size));
    let preallocated = map.flags & map_flags::NO_PREALLOC == 0;
    let buckets = entries.checked_next_power_of_two()?.saturating_mul(BUCKET);
    let fixed = |bytes: u64| Memory { bytes, ..Memory::default() };
    // Sizes of a definition are at most 4 GiB each, but their products can exceed 64 bits.
    let each = |bytes: u64| entries.saturating_mul(bytes);
    Some(match map.map_type {
        MapType::ARRAY if map.flags & map_flags::MMAPABLE != 0 => fixed(each(value).checked_next_multiple_of(4096)?),
        MapType::ARRAY => fixed(each(value)),
        MapType::PERCPU_ARRAY => Memory { bytes: each(8), per_cpu: each(value), per_element: 0 },
        MapType::HASH | MapType::LRU_HASH if preallocated => fixed(buckets.saturating_add(each(ELEMENT + key + value))),
        MapType::HASH => Memory { bytes: buckets, per_cpu: 0, per_element: ELEMENT + key + value },
        MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH if preallocated => {
            Memory { bytes: buckets.saturating_add(each(ELEMENT + key + 8)), per_cpu: each(value), per_element: 0 }
        }
        MapType::RINGBUF | MapType::USER_RINGBUF => fixed(RING_PAGES + entries.max(4096).checked_next_power_of_two()?),
        MapType::QUEUE | MapType::STACK => fixed(each(u64::from(map.value_size)).saturating_add(map.value_size.into())),
        MapType::PROG_ARRAY
        | MapType::PERF_EVENT_ARRAY
        | MapType::CGROUP_ARRAY
        | MapType::ARRAY_OF_MAPS
        | MapType::DEVMAP
        | MapType::CPUMAP
        | MapType::XSKMAP
        | MapType::SOCKMAP => fixed(each(8)),
        MapType::LPM_TRIE => Memory { per_element: 40 + round(map.key_size.saturating_sub(4)) + value, ..fixed(0) },
        MapType::SK_STORAGE | MapType::TASK_STORAGE | MapType::INODE_STORAGE | MapType::CGRP_STORAGE => {
            Memory { per_element: 64 + value, ..fixed(0) }
        }
        _ => return None,
    })
}

/// Returns the size of a key or value in kernel memory: rounded up to eight bytes.
fn round(bytes: u32) -> u64 {
    u64::from(bytes).next_multiple_of(8)
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [(self.bytes, ""), (self.per_cpu, " per CPU"), (self.per_element, " per element")];
        let parts: Vec<_> = parts.iter().filter(|(bytes, _)| *bytes > 0).collect();
        let texts: Vec<_> = parts.iter().map(|(bytes, what)| format!("{}{what}", size(*bytes))).collect();
        f.write_str(if texts.is_empty() { "0 B" } else { "" })?;
        f.write_str(&texts.join(" + "))
    }
}

/// Returns a number of bytes with a unit, rounded up.
fn size(bytes: u64) -> String {
    match bytes {
        0..4096 => format!("{bytes} B"),
        4096..4_194_304 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{} MiB", bytes.div_ceil(1 << 20)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_from_definitions() {
        let text = |map_type, key_size, value_size, max_entries, flags| {
            let map = Map { key_size, value_size, max_entries, flags, ..Map::new("", map_type) };
            memory(&map).map_or_else(|| "?".to_owned(), |memory| memory.to_string())
        };
        assert_eq!(text(MapType::ARRAY, 4, 12, 10, 0), "160 B");
        assert_eq!(text(MapType::ARRAY, 4, 12, 10, map_flags::MMAPABLE), "4 KiB");
        assert_eq!(text(MapType::PERCPU_ARRAY, 4, 4, 2, 0), "16 B + 16 B per CPU");
        assert_eq!(text(MapType::HASH, 4, 8, 1000, 0), "79 KiB");
        assert_eq!(text(MapType::HASH, 4, 8, 1000, map_flags::NO_PREALLOC), "16 KiB + 64 B per element");
        assert_eq!(text(MapType::RINGBUF, 0, 0, 8 << 20, 0), "9 MiB");
        assert_eq!(text(MapType::TASK_STORAGE, 4, 8, 0, 1), "72 B per element");
        assert_eq!(text(MapType(999), 4, 8, 0, 0), "?");
        assert_eq!(text(MapType::HASH, u32::MAX, u32::MAX, u32::MAX, 0), "17592186044416 MiB", "more than 64 bits");
    }
}
