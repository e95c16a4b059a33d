//! Typed handles of maps.

use std::os::fd::OwnedFd;

use crate::error::Result;
use crate::uapi::MapType;

/// What a map is: its name in the source, and what it was created with.
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
    /// How many elements it holds at the most; of ring buffers its size in bytes.
    pub max_entries: u32,
    /// Flags of `BPF_MAP_CREATE`.
    pub flags: u32,
}

/// Handles that are made from a loaded map.
pub trait FromFd: Sized {
    /// The handle of this map. Of `info`, the name is for messages; sizes and type are asked of the kernel again.
    ///
    /// # Errors
    /// If the map is of another type, or its keys or values have another size than the handle's types.
    fn from_fd(fd: OwnedFd, info: &Info) -> Result<Self>;
}
