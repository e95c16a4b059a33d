//! Typed handles of maps.
//!
//! A handle owns a map's file descriptor and knows the types of its keys and values. On creation it checks that the
//! kernel's map has a matching type and matching sizes. After that, no request can read or write past a value. This
//! module does not depend on objects, plans or programs.
//!
//! All handles are `Send` and `Sync`; the kernel synchronizes concurrent requests. Errors name the map.

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

/// A map's name in the source and its definition, for generated code.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its name in the source; for global data the section's name.
    pub name: &'static str,
    /// Its type.
    pub map_type: MapType,
    /// The size of a key in bytes, 0 if the map has no keys.
    pub key_size: u32,
    /// The size of a value in bytes; of percpu maps, of one CPU's value.
    pub value_size: u32,
    /// For global data, the number of bytes of the object's own variables in the value (of one CPU's value, for percpu
    /// data); the bytes after them were added by `resize`. Otherwise the size of a value.
    pub data_size: u32,
    /// The number of bytes including those added by `resize`, without the gap between CPUs' copies.
    pub section_size: u32,
    /// The maximum number of elements; of ring buffers the size in bytes.
    pub max_entries: u32,
    /// The flags of `BPF_MAP_CREATE`.
    pub flags: u32,
    /// The template of the inner maps, for maps of maps that this load created. The kernel does not report it for
    /// others.
    pub inner: Option<Definition>,
}

impl Info {
    /// Returns whether the map has the type and the sizes of the object's definition.
    pub(crate) fn is_as_defined(&self, map: &abi::Map) -> bool {
        (self.map_type, self.key_size, self.value_size) == (map.map_type, map.key_size, map.value_size)
    }
}

/// Handles that are created from a loaded map, for generated code.
#[doc(hidden)]
pub trait FromFd: Sized {
    /// Creates the handle of this map. The name in `info` is for messages; type and sizes are read from the kernel
    /// again.
    ///
    /// # Errors
    /// If the map is of another type, or its keys or values have another size than the handle's types.
    fn from_fd(fd: OwnedFd, info: &Info) -> Result<Self>;

    /// Returns the layouts of keys and values, if the handle's types are structs with a known layout or arrays of such
    /// structs.
    #[must_use]
    fn layouts() -> (Option<&'static Layout>, Option<&'static Layout>) {
        (None, None)
    }
}
