//! Typed handles of maps.
//!
//! A handle owns a map's file descriptor and knows the types of its keys and values. It checks once, when it is made, that the
//! kernel's map is of its kind and that sizes agree; after that no request can read or write past a value. Knows nothing of
//! objects, plans or programs.
//!
//! All handles are `Send` and `Sync`; the kernel orders what threads do at once. Operations name the map when they fail.

mod array;
mod bind;
mod bytes;
mod fds;
mod global;
mod handle;
mod hash;
mod percpu;
mod perf_buffer;
mod queue;
mod ringbuf;
mod scan;
mod storage;
#[cfg(test)]
mod tests;
mod user_ringbuf;

pub use array::{Array, Redirects};
pub(crate) use bind::duplicate;
pub use bind::{BindMap, FindMap, Maps, Pins, bind};
pub use bytes::Untyped;
pub use fds::{
    ArrayOfMaps, CgroupArray, FdArray, FdHash, HashOfMaps, PerfEventArray, ProgArray, ReuseportArray, SockHash,
    SockMap, XskMap, kind,
};
pub use global::{Arena, Frozen, Mapped, MappedArray, PercpuData};
pub use hash::{Entries, HashMap, LpmTrie};
pub use percpu::{PerCpu, PercpuArray, PercpuHashMap};
pub use perf_buffer::{Drained, PerfBuffer, PerfBufferOptions, PerfCpuBuffer, PerfWakeup};
pub use queue::{BloomFilter, Queue, Stack};
pub use ringbuf::RingBuf;
pub use storage::Storage;
pub use user_ringbuf::UserRingBuf;

pub(crate) use fds::{definition_of, not_inner};
pub(crate) use handle::{Handle, about, layouts, other_than_map};

use std::os::fd::OwnedFd;

use crate::abi;
use crate::data::Layout;
use crate::error::Result;
use crate::uapi::MapType;
use skelgen_abi::map_types::Definition;

/// What a map is: its name in the source, and what it was created with; for generated code.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its name in the source; for global data the section's name.
    pub name: &'static str,
    /// Its type.
    pub map_type: MapType,
    /// Size of a key in bytes, 0 if it has none.
    pub key_size: u32,
    /// Size of a value in bytes; of percpu maps that of one CPU's.
    pub value_size: u32,
    /// For global data: how many of the value's bytes (of one CPU's, for percpu data) the object's own variables take; the rest is
    /// what the section was made longer by. Else the size of a value.
    pub data_size: u32,
    /// The same with what the section was made longer by, without the space between CPUs' copies.
    pub section_size: u32,
    /// How many elements it holds at the most; of ring buffers its size in bytes.
    pub max_entries: u32,
    /// Flags of `BPF_MAP_CREATE`.
    pub flags: u32,
    /// Of maps of maps that this load has created: the template of their inner maps. The kernel does not tell it of others.
    pub inner: Option<Definition>,
}

impl Info {
    /// Whether the map has the type and the sizes that the object says.
    pub(crate) fn is_as_defined(&self, map: &abi::Map) -> bool {
        (self.map_type, self.key_size, self.value_size) == (map.map_type, map.key_size, map.value_size)
    }
}

/// Handles that are made from a loaded map; for generated code.
#[doc(hidden)]
pub trait FromFd: Sized {
    /// The handle of this map. Of `info`, the name is for messages; sizes and type are asked of the kernel again.
    ///
    /// # Errors
    /// If the map is of another type, or its keys or values have another size than the handle's types.
    fn from_fd(fd: OwnedFd, info: &Info) -> Result<Self>;

    /// How keys and values are laid out, where the handle's types are structs that say so, or arrays of such structs.
    #[must_use]
    fn layouts() -> (Option<&'static Layout>, Option<&'static Layout>) {
        (None, None)
    }
}
