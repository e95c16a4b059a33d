//! Maps for tests. Knows nothing of plans, which create the maps of skeletons.

use super::*;

#[repr(C)]
#[derive(Default)]
struct CreateAttr {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    inner: u32,
    numa: u32,
    name: [u8; 16],
    ifindex: u32,
}

// SAFETY: `repr(C)`, no padding, the beginning of `BPF_MAP_CREATE`'s struct.
unsafe impl Attr for CreateAttr {}

/// A new map, or `None` where this process may not create maps.
pub(crate) fn create(map_type: MapType, key: u32, value: u32, entries: u32, flags: u32) -> Option<OwnedFd> {
    create_outer(map_type, key, value, entries, flags, None)
}

/// The same, with the template of its inner maps.
pub(crate) fn create_outer(
    map_type: MapType,
    key: u32,
    value: u32,
    entries: u32,
    flags: u32,
    inner: Option<BorrowedFd<'_>>,
) -> Option<OwnedFd> {
    let mut name = [0; 16];
    name[..4].copy_from_slice(b"test");
    let mut attr = CreateAttr {
        map_type: map_type.0,
        key_size: key,
        value_size: value,
        max_entries: entries,
        flags,
        inner: inner.map_or(0, number),
        name,
        ..CreateAttr::default()
    };
    // SAFETY: the request holds no addresses, and the command gives a new file descriptor.
    match unsafe { bpf_fd(Command::MAP_CREATE, &mut attr) } {
        Ok(fd) => Some(fd),
        Err(errno) if errno.raw() == libc::EPERM => None,
        Err(errno) => panic!("{map_type:?}: {errno}"),
    }
}
