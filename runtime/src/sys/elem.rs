//! Element operations of maps.
//!
//! A [`Map`] is an open map together with the sizes the kernel gave for it, never the sizes somebody hoped for: what the kernel
//! reads and writes is decided by those, so every slice is checked against them before a request is made. A slice of another
//! length is answered with `EINVAL`, as the kernel would if it could know.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use super::{attr::Attr, bpf};
use crate::error::Errno;
use crate::kernel::cpus;
use crate::uapi::{Command, MapType, elem_flags};

pub(crate) const EINVAL: Errno = Errno::from_raw(libc::EINVAL);
pub(crate) const ENOENT: Errno = Errno::from_raw(libc::ENOENT);

/// The beginning of `struct bpf_map_info`, which every kernel with maps' names (4.15) has.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MapInfo {
    pub(crate) map_type: u32,
    pub(crate) id: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    pub(crate) name: [u8; 16],
    pub(crate) ifindex: u32,
    pub(crate) btf_vmlinux_value_type_id: u32,
    pub(crate) netns_dev: u64,
    pub(crate) netns_ino: u64,
    pub(crate) btf_id: u32,
    pub(crate) btf_key_type_id: u32,
    pub(crate) btf_value_type_id: u32,
    pub(crate) btf_vmlinux_id: u32,
    pub(crate) map_extra: u64,
}

const _: () = assert!(size_of::<MapInfo>() == 88);

/// `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct InfoAttr {
    fd: u32,
    info_len: u32,
    info: u64,
}

/// `BPF_OBJ_PIN`.
#[repr(C)]
struct PinAttr {
    path: u64,
    fd: u32,
    file_flags: u32,
}

/// `BPF_MAP_*_ELEM` and `BPF_MAP_GET_NEXT_KEY`.
#[repr(C)]
struct ElemAttr {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `BPF_MAP_*_BATCH`.
#[repr(C)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

const _: () = assert!(size_of::<InfoAttr>() == 16);
const _: () = assert!(size_of::<PinAttr>() == 16);
const _: () = assert!(size_of::<ElemAttr>() == 32);
const _: () = assert!(size_of::<BatchAttr>() == 56);

// SAFETY: `repr(C)`, no padding (the size is the sum of the fields' sizes), laid out as `info` of `union bpf_attr`.
unsafe impl Attr for InfoAttr {}
// SAFETY: the same, for the anonymous struct of `BPF_OBJ_*` commands.
unsafe impl Attr for PinAttr {}
// SAFETY: the same, for the anonymous struct of `BPF_MAP_*_ELEM` commands.
unsafe impl Attr for ElemAttr {}
// SAFETY: the same, for `batch`.
unsafe impl Attr for BatchAttr {}

/// An open map and what the kernel says it is.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
    info: MapInfo,
    key_len: usize,
    value_len: usize,
    full_len: usize,
}

impl Map {
    /// Takes a map's file descriptor and asks the kernel what map it is.
    ///
    /// The file descriptor of something else is not told apart here: every request about it will fail.
    pub(crate) fn new(fd: OwnedFd) -> Result<Self, Errno> {
        let mut info = MapInfo::default();
        let mut attr =
            InfoAttr { fd: number(fd.as_fd()), info_len: len32(size_of::<MapInfo>())?, info: address_mut(&mut info) };
        // SAFETY: `info` is valid for `info_len` bytes, and any bytes are a valid `MapInfo`.
        unsafe { bpf(Command::OBJ_GET_INFO_BY_FD, &mut attr) }?;
        let size = |size: u32| usize::try_from(size).map_err(|_| EINVAL);
        let key_len = size(info.key_size)?;
        let value_len = size(info.value_size)?;
        let full_len = if is_percpu(MapType(info.map_type)) {
            let cpus = cpus::count().map_err(|error| error.errno().unwrap_or(EINVAL))?;
            value_len.checked_next_multiple_of(8).and_then(|slot| slot.checked_mul(cpus)).ok_or(EINVAL)?
        } else {
            value_len
        };
        Ok(Self { fd, info, key_len, value_len, full_len })
    }

    /// What the kernel said of the map.
    pub(crate) fn info(&self) -> &MapInfo {
        &self.info
    }

    /// The map's type.
    pub(crate) fn map_type(&self) -> MapType {
        MapType(self.info.map_type)
    }

    /// Length of a key in bytes.
    pub(crate) fn key_len(&self) -> usize {
        self.key_len
    }

    /// Length of one value in bytes.
    pub(crate) fn value_len(&self) -> usize {
        self.value_len
    }

    /// Length in bytes of all that an element holds: for percpu maps the values of all possible CPUs, each rounded up to 8.
    pub(crate) fn full_len(&self) -> usize {
        self.full_len
    }

    /// Gives the file descriptor back.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Copies the value of `key` into `value` (`BPF_MAP_LOOKUP_ELEM`).
    pub(crate) fn lookup(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno> {
        self.check(key, value.len(), flags)?;
        let mut attr = self.attr(address(key), address_of_mut(value), flags);
        // SAFETY: key and value are as long as the kernel takes them to be for this map and these flags.
        unsafe { bpf(Command::MAP_LOOKUP_ELEM, &mut attr) }.map(drop)
    }

    /// Copies the value of `key` into `value` and removes the element (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`).
    pub(crate) fn lookup_and_delete(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno> {
        self.check(key, value.len(), flags)?;
        let mut attr = self.attr(address(key), address_of_mut(value), flags);
        // SAFETY: key and value are as long as the kernel takes them to be for this map and these flags.
        unsafe { bpf(Command::MAP_LOOKUP_AND_DELETE_ELEM, &mut attr) }.map(drop)
    }

    /// Sets the value of `key` (`BPF_MAP_UPDATE_ELEM`).
    pub(crate) fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.check(key, value.len(), flags)?;
        let mut attr = self.attr(address(key), address(value), flags);
        // SAFETY: key and value are as long as the kernel takes them to be for this map and these flags. Kernels before 7.0 read
        // the values of all CPUs before they refuse the CPU flags; what they read past the end of `value` goes nowhere, an
        // unreadable page is `EFAULT`, and `has_cpu_flags` is asked before anyway.
        unsafe { bpf(Command::MAP_UPDATE_ELEM, &mut attr) }.map(drop)
    }

    /// Removes an element (`BPF_MAP_DELETE_ELEM`).
    pub(crate) fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        self.check(key, self.full_len, 0)?;
        let mut attr = self.attr(address(key), 0, 0);
        // SAFETY: the key is as long as the map's keys are.
        unsafe { bpf(Command::MAP_DELETE_ELEM, &mut attr) }.map(drop)
    }

    /// Writes the key after `key`, or the first one, into `next` (`BPF_MAP_GET_NEXT_KEY`). `ENOENT` is the end.
    ///
    /// If `key` is not in the map, hash maps begin again with the first key.
    pub(crate) fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        if next.len() != self.key_len || key.is_some_and(|key| key.len() != self.key_len) {
            return Err(EINVAL);
        }
        let mut attr = self.attr(key.map_or(0, address), address_of_mut(next), 0);
        // SAFETY: both keys are as long as the map's keys are; no key is a null pointer.
        unsafe { bpf(Command::MAP_GET_NEXT_KEY, &mut attr) }.map(drop)
    }

    /// The length of a [`Self::lookup_batch`] cursor: arrays and tries keep a key there, hash maps a bucket's number.
    pub(crate) fn cursor_len(&self) -> usize {
        self.key_len.max(8)
    }

    /// Copies elements, from the beginning or from `cursor` on, as many as there is room for (`BPF_MAP_LOOKUP_BATCH`).
    ///
    /// Gives how many were copied and whether that was the end; `cursor` then holds where to go on. `ENOSPC` means that there
    /// is not even room for what the kernel copies at once.
    pub(crate) fn lookup_batch(
        &self,
        first: bool,
        cursor: &mut [u8],
        keys: &mut [u8],
        values: &mut [u8],
    ) -> Result<(usize, bool), Errno> {
        if cursor.len() != self.cursor_len() {
            return Err(EINVAL);
        }
        let count = self.count(keys.len(), values.len())?;
        let cursor = address_of_mut(cursor);
        let mut attr = BatchAttr {
            in_batch: if first { 0 } else { cursor },
            out_batch: cursor,
            keys: address_of_mut(keys),
            values: address_of_mut(values),
            ..self.batch(count)
        };
        // SAFETY: there is room for `count` keys and values, and for the cursor, which the kernel copies in before it copies
        // it out.
        let result = unsafe { bpf(Command::MAP_LOOKUP_BATCH, &mut attr) };
        let copied = usize::try_from(attr.count).map_err(|_| EINVAL)?;
        match result {
            Ok(_) => Ok((copied, false)),
            Err(ENOENT) => Ok((copied, true)),
            Err(errno) => Err(errno),
        }
    }

    /// Sets the values of many keys (`BPF_MAP_UPDATE_BATCH`). An error comes with how many were set before it.
    pub(crate) fn update_batch(&self, keys: &[u8], values: &[u8], flags: u64) -> Result<(), (Errno, usize)> {
        let count = self.count(keys.len(), values.len()).map_err(|errno| (errno, 0))?;
        let mut attr = BatchAttr {
            keys: address(keys),
            values: address(values),
            elem_flags: flags & elem_flags::LOCK,
            ..self.batch(count)
        };
        // SAFETY: there are `count` keys and values.
        let result = unsafe { bpf(Command::MAP_UPDATE_BATCH, &mut attr) };
        done(result, attr.count, count)
    }

    /// Removes many keys (`BPF_MAP_DELETE_BATCH`). An error comes with how many were removed before it.
    pub(crate) fn delete_batch(&self, keys: &[u8]) -> Result<(), (Errno, usize)> {
        let count = keys.len().checked_div(self.key_len).unwrap_or(0);
        let values = count.checked_mul(self.full_len).ok_or((EINVAL, 0))?;
        let count = self.count(keys.len(), values).map_err(|errno| (errno, 0))?;
        let mut attr = BatchAttr { keys: address(keys), ..self.batch(count) };
        // SAFETY: there are `count` keys, and this command has no values.
        let result = unsafe { bpf(Command::MAP_DELETE_BATCH, &mut attr) };
        done(result, attr.count, count)
    }

    /// Gives the map a name in a bpf file system (`BPF_OBJ_PIN`).
    pub(crate) fn pin(&self, path: &CStr) -> Result<(), Errno> {
        let mut attr = PinAttr { path: address(path.to_bytes_with_nul()), fd: number(self.fd.as_fd()), file_flags: 0 };
        // SAFETY: the path ends with a NUL.
        unsafe { bpf(Command::OBJ_PIN, &mut attr) }.map(drop)
    }

    /// Whether the running kernel knows the CPU flags of element operations (7.0 and later). Asked once, of a percpu map:
    /// a lookup with `BPF_F_CPU` is refused with `EINVAL` by older kernels before they touch anything.
    pub(crate) fn has_cpu_flags(&self) -> bool {
        static KNOWN: OnceLock<bool> = OnceLock::new();
        if let Some(&known) = KNOWN.get() {
            return known;
        }
        if !is_percpu(self.map_type()) {
            return false;
        }
        let mut value = vec![0; self.value_len];
        match self.lookup(&vec![0; self.key_len], &mut value, elem_flags::CPU) {
            Ok(()) => *KNOWN.get_or_init(|| true),
            Err(errno) if errno == ENOENT || errno.raw() == libc::ERANGE => *KNOWN.get_or_init(|| true),
            Err(EINVAL) => *KNOWN.get_or_init(|| false),
            // A map that may not be read, for example, says nothing about the kernel.
            Err(_) => false,
        }
    }

    fn check(&self, key: &[u8], value_len: usize, flags: u64) -> Result<(), Errno> {
        let one = flags & (elem_flags::CPU | elem_flags::ALL_CPUS) != 0;
        let expected = if one { self.value_len } else { self.full_len };
        if self.is_known() && key.len() == self.key_len && value_len == expected { Ok(()) } else { Err(EINVAL) }
    }

    /// Whether we know how long the kernel takes values of this type of map to be; of types to come we do not.
    fn is_known(&self) -> bool {
        self.info.map_type <= MapType::RHASH.0
    }

    fn count(&self, keys: usize, values: usize) -> Result<u32, Errno> {
        let count = keys.checked_div(self.key_len).ok_or(EINVAL)?;
        let whole = count.checked_mul(self.key_len) == Some(keys) && count.checked_mul(self.full_len) == Some(values);
        if whole && self.is_known() { len32(count) } else { Err(EINVAL) }
    }

    fn attr(&self, key: u64, value: u64, flags: u64) -> ElemAttr {
        ElemAttr { map_fd: number(self.fd.as_fd()), padding: 0, key, value, flags }
    }

    fn batch(&self, count: u32) -> BatchAttr {
        BatchAttr {
            in_batch: 0,
            out_batch: 0,
            keys: 0,
            values: 0,
            count,
            map_fd: number(self.fd.as_fd()),
            elem_flags: 0,
            flags: 0,
        }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether elements of such a map hold a value for each CPU.
pub(crate) fn is_percpu(map_type: MapType) -> bool {
    matches!(
        map_type,
        MapType::PERCPU_ARRAY | MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH | MapType::PERCPU_CGROUP_STORAGE
    )
}

/// Waits until `fd` can be read, at most `timeout` milliseconds, without end if that is negative. Says whether it can be.
pub(crate) fn poll_readable(fd: BorrowedFd<'_>, timeout: i32) -> Result<bool, Errno> {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: `entry` is one live pollfd.
    let result = unsafe { libc::poll(&raw mut entry, 1, timeout) };
    match result {
        0 => Ok(false),
        1.. => Ok(true),
        _ => Err(Errno::last()),
    }
}

/// The number of a file descriptor as requests hold it.
fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}

fn len32(len: usize) -> Result<u32, Errno> {
    u32::try_from(len).map_err(|_| EINVAL)
}

/// The address of a slice; null for an empty one, as the kernel wants it for maps without keys.
fn address(bytes: &[u8]) -> u64 {
    if bytes.is_empty() { 0 } else { bytes.as_ptr().expose_provenance() as u64 }
}

fn address_of_mut(bytes: &mut [u8]) -> u64 {
    if bytes.is_empty() { 0 } else { bytes.as_mut_ptr().expose_provenance() as u64 }
}

fn address_mut<T>(value: &mut T) -> u64 {
    std::ptr::from_mut(value).expose_provenance() as u64
}

/// The result of a batch: the kernel leaves in `count` how many it did.
fn done(result: Result<i32, Errno>, did: u32, count: u32) -> Result<(), (Errno, usize)> {
    result.map(drop).map_err(|errno| {
        // Some errors come before the kernel has written the count.
        let did = if did < count { did } else { 0 };
        (errno, usize::try_from(did).unwrap_or(0))
    })
}

#[cfg(test)]
pub(crate) mod testing {
    //! Maps for tests.

    use super::*;
    use crate::sys::bpf_fd;

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
}
