//! Typed handles of maps.
//!
//! A handle owns a map's file descriptor and has the types of its keys and values as type parameters. When it is
//! created, the type and sizes that the kernel reports are compared with these, so that no request can read or write
//! past a value. This module does not depend on objects, plans or programs.
//!
//! All handles are `Send` and `Sync`; the kernel synchronizes concurrent requests. Errors name the map.

mod array;
mod bind;
mod create;
mod entries;
mod fds;
mod global;
mod handle;
mod hash;
mod info;
mod opened;
mod percpu;
mod perf_buffer;
mod poller;
mod queue;
mod records;
mod ringbuf;
mod scan;
mod stack_traces;
mod storage;
#[cfg(feature = "tokio")]
mod stream;
mod supports;
#[cfg(test)]
mod tests;
mod untyped;
mod user_ringbuf;

pub use array::{Array, Redirects};
pub use bind::{BindMap, FindMap, Maps, Pins, bind};
pub(crate) use bind::{duplicate, open_pinned};
pub use create::NewMap;
pub use entries::Entries;
pub use fds::{
    ArrayOfMaps, CgroupArray, FdArray, FdHash, HashOfMaps, PerfEventArray, ProgArray, ReuseportArray, SockHash,
    SockMap, XskMap, kind,
};
pub use global::{Arena, Frozen, Mapped, MappedArray, PercpuData};
pub use hash::{HashMap, LpmTrie};
pub use info::{MapInfo, MapOwner};
pub use percpu::{PerCpu, PercpuArray, PercpuHashMap};
pub use perf_buffer::{Drained, PerfBuffer, PerfBufferOptions, PerfCpuBuffer, PerfWakeup};
pub use poller::{Poller, Ready, Waker};
pub use queue::{BloomFilter, Queue, Stack};
pub use records::Record;
pub use ringbuf::{RingBuf, RingPositions};
pub use stack_traces::StackTraces;
pub use storage::Storage;
#[cfg(feature = "tokio")]
pub use stream::{RecordSource, RecordStream};
pub use untyped::Untyped;
pub use user_ringbuf::UserRingBuf;

pub(crate) use create::{Template, check_template, max_entries, not_inner, rejected, send};
pub(crate) use handle::{about, layouts};
pub(crate) use supports::{Supports, one_cpu};

use std::os::fd::OwnedFd;

use crate::abi;
use crate::data::Layout;
use crate::error::Result;
use crate::sys;
use crate::sys::elem::Definition;

/// What a handle needs to know about a map and the kernel does not report. For generated code.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info<'a> {
    /// The map's name in the source; for global data the section's name.
    pub name: &'static str,
    /// For global data, the number of bytes of the object's own variables in the value (of one CPU's value, for percpu
    /// data); the bytes after them were added by the skeleton's resize method. Otherwise the size of a value.
    pub data_size: u32,
    /// For global data, the number of bytes of the section, including the added bytes. For emulated percpu data, this
    /// is the size of one CPU's copy without the gap to the next copy.
    pub section_size: u32,
    /// The template of the inner maps, for maps of maps that this load created. For a reused map it is unknown, because
    /// the kernel does not report it.
    pub inner: Option<Template>,
    /// The value of a section that this load wrote and then froze, so that it needs no lookup. Zeros at its end may be missing.
    pub frozen: Option<&'a [u8]>,
}

/// An open map with the kernel's definition of it, for generated code.
///
/// Handles derive from the definition how many bytes the kernel reads and writes. Therefore only this crate creates
/// values of this type, each with the kernel's definition of exactly this map, and other code cannot modify them.
#[doc(hidden)]
#[derive(Debug)]
pub struct Opened(pub(crate) sys::map::Map);

impl Opened {
    /// Returns whether the map has the type and the sizes of the object's definition.
    pub(crate) fn is_as_defined(&self, map: &abi::Map) -> bool {
        let Definition { map_type, key_size, value_size, .. } = *self.0.definition();
        (map_type, key_size, value_size) == (map.map_type, map.key_size, map.value_size)
    }
}

impl From<Opened> for OwnedFd {
    fn from(map: Opened) -> Self {
        map.0.into_fd()
    }
}

/// Types of map handles, as generated code creates them from a loaded map.
#[doc(hidden)]
pub trait FromFd: Sized {
    /// Creates the handle of this map.
    ///
    /// # Errors
    /// If the map has a different type, or its keys or values have a different size than the handle's types.
    fn from_fd(map: Opened, info: &Info<'_>) -> Result<Self>;

    /// Returns the layouts of keys and values, if the handle's types are structs with a known layout or arrays of such
    /// structs.
    #[must_use]
    fn layouts() -> (Option<&'static Layout>, Option<&'static Layout>) {
        (None, None)
    }
}
