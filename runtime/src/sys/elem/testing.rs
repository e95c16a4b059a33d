//! Maps for tests.

use super::*;
use crate::sys::attr::MapCreate;
use crate::sys::{bpf_fd, name16};

/// Creates a map, or returns `None` if this process has no permission to create maps.
pub(crate) fn create(map_type: MapType, key: u32, value: u32, entries: u32, flags: u32) -> Option<OwnedFd> {
    create_outer(map_type, key, value, entries, flags, None)
}

/// Creates a map of maps with the template of its inner maps.
pub(crate) fn create_outer(
    map_type: MapType,
    key: u32,
    value: u32,
    entries: u32,
    flags: u32,
    inner: Option<BorrowedFd<'_>>,
) -> Option<OwnedFd> {
    let mut attr = MapCreate {
        map_type: map_type.0,
        key_size: key,
        value_size: value,
        max_entries: entries,
        map_flags: flags,
        inner_map_fd: inner.map_or(0, |inner| inner.as_raw_fd()),
        map_name: name16("test"),
        ..MapCreate::default()
    };
    // SAFETY: `attr` contains no pointers, and the command returns a new file descriptor.
    match unsafe { bpf_fd(Command::MAP_CREATE, &mut attr) } {
        Ok(fd) => Some(fd),
        Err(errno) if errno.raw() == libc::EPERM => None,
        Err(errno) => panic!("{map_type:?}: {errno}"),
    }
}
