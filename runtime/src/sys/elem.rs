//! Element operations of maps.
//!
//! A [`Map`] is an open map together with the sizes that the kernel returned for it. These sizes determine how many
//! bytes the kernel reads and writes, so every slice is checked against them before a request is made. A slice of the
//! wrong length is rejected with `EINVAL`, and so are unknown flags, because they might change the lengths.

mod batch;
#[cfg(test)]
pub(crate) mod testing;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use super::attr::{MapElem, MapInfo};
use super::guard::Guarded;
use super::{address, address_mut, bpf};
use crate::error::{Errno, Error, Result};
use crate::sys::cpus;
use crate::sys::probe::{self, Probe};
use crate::uapi::{Command, MapType, elem_flags};

pub(crate) const EINVAL: Errno = Errno::from_raw(libc::EINVAL);
pub(crate) const EEXIST: Errno = Errno::from_raw(libc::EEXIST);
pub(crate) const ENOENT: Errno = Errno::from_raw(libc::ENOENT);

/// The beginning of the error for a map whose definition cannot be read.
const WHAT: &str = "cannot query the information about a map";

/// The known flags of element operations; the upper half is a CPU's number.
const KNOWN: u64 = elem_flags::NOEXIST | elem_flags::EXIST | elem_flags::LOCK | elem_flags::CPU | elem_flags::ALL_CPUS;

/// The flags of requests for one value of an element, not for those of all CPUs.
const ONE_VALUE: u64 = elem_flags::CPU | elem_flags::ALL_CPUS;

/// The attributes that a map was created with. They determine how many bytes a request reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) map_type: MapType,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    pub(crate) extra: u64,
}

impl From<&MapInfo> for Definition {
    fn from(info: &MapInfo) -> Self {
        Self {
            map_type: MapType(info.map_type),
            key_size: info.key_size,
            value_size: info.value_size,
            max_entries: info.max_entries,
            flags: info.map_flags,
            extra: info.map_extra,
        }
    }
}

/// Returns the number of CPUs for which an element of a percpu map has values.
pub(crate) type CountCpus = fn() -> Result<cpus::Count>;

/// An open map with its definition.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
    definition: Definition,
    /// The map's id, which is read when it is first needed.
    id: OnceLock<u32>,
    key_len: usize,
    value_len: usize,
    full_len: usize,
    /// Whether the kernel may have more CPUs, and a longer full-width value, than `full_len`: see [`cpus::count`].
    may_be_longer: bool,
}

impl Map {
    /// Wraps a map's file descriptor and reads the map's definition from the kernel.
    ///
    /// Other kinds of file descriptors are not detected here; every request with them fails.
    pub(crate) fn new(fd: OwnedFd) -> Result<Self> {
        Ok(Self::described(fd)?.0)
    }

    /// Wraps a map's file descriptor as [`Self::new`] does, and also returns the kernel's description of the map.
    pub(crate) fn described(fd: OwnedFd) -> Result<(Self, MapInfo)> {
        let (map, info) = super::map::Map::adopt(fd).map_err(|errno| Error::refused(WHAT, errno))?;
        let map = Self::of(map, cpus::count)?;
        Ok((Self { id: OnceLock::from(info.id), ..map }, info))
    }

    /// Wraps a map whose definition is known. The number of CPUs is used only if the map is percpu.
    pub(crate) fn of(map: super::map::Map, count: CountCpus) -> Result<Self> {
        let (fd, definition) = map.into_parts();
        let count = if is_percpu(definition.map_type) { count()? } else { cpus::Count::ONE };
        Self::sized(fd, definition, count).map_err(|errno| Error::refused(WHAT, errno))
    }

    /// Creates another handle of the same map.
    pub(crate) fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, id: self.id.clone(), ..*self })
    }

    /// Wraps a map with this definition, and computes the sizes for this number of CPUs.
    fn sized(fd: OwnedFd, definition: Definition, count: cpus::Count) -> Result<Self, Errno> {
        let key_len = usize::try_from(definition.key_size).map_err(|_| EINVAL)?;
        let value_len = usize::try_from(definition.value_size).map_err(|_| EINVAL)?;
        let full_len = full_len(definition.map_type, value_len, count.cpus).ok_or(EINVAL)?;
        let id = OnceLock::new();
        Ok(Self { fd, definition, id, key_len, value_len, full_len, may_be_longer: !count.confirmed })
    }

    /// Returns the attributes that the map was created with.
    pub(crate) fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Returns the map's id, which is read from the kernel when it is first needed. Returns 0, which is not the id of
    /// any map, if this process has no permission to read the id.
    pub(crate) fn id(&self) -> u32 {
        *self.id.get_or_init(|| super::map::info(self.as_fd()).map_or(0, |info| info.id))
    }

    /// Returns the map's type.
    pub(crate) fn map_type(&self) -> MapType {
        self.definition.map_type
    }

    /// Returns the length of a key in bytes.
    pub(crate) fn key_len(&self) -> usize {
        self.key_len
    }

    /// Returns the length of one value in bytes.
    pub(crate) fn value_len(&self) -> usize {
        self.value_len
    }

    /// Returns the length in bytes of all values of an element: for percpu maps those of all possible CPUs, each padded to a multiple of 8.
    pub(crate) fn full_len(&self) -> usize {
        self.full_len
    }

    /// Returns the file descriptor.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Copies the value of `key` to the beginning of `value` (`BPF_MAP_LOOKUP_ELEM`).
    pub(crate) fn lookup(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno> {
        let len = self.len_with(flags)?;
        self.check(key, len.min(value.len()), flags)?;
        if self.may_be_longer(flags) {
            return self.lookup_guarded(Command::MAP_LOOKUP_ELEM, key, value, flags);
        }
        let mut attr = self.attr(address(key), address_mut(value), flags);
        // SAFETY: the key is as long as the kernel's keys of this map, and the value at least as long for these flags.
        unsafe { bpf(Command::MAP_LOOKUP_ELEM, &mut attr) }.map(drop)
    }

    /// Looks up a value through guarded memory, past which the kernel cannot write.
    fn lookup_guarded(&self, command: Command, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno> {
        let mut memory = Guarded::new(self.full_len, 0)?;
        let mut attr = self.attr(address(key), address_mut(memory.bytes_mut()), flags);
        // SAFETY: the key is as long as the kernel's keys of this map. If the value is not, the kernel hits the guard after it.
        unsafe { bpf(command, &mut attr) }?;
        value[..self.full_len].copy_from_slice(memory.bytes_mut());
        Ok(())
    }

    /// Copies the value of `key` into `value` and removes the element (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`).
    pub(crate) fn lookup_and_delete(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno> {
        self.check(key, value.len(), flags)?;
        if self.may_be_longer(flags) {
            return self.lookup_guarded(Command::MAP_LOOKUP_AND_DELETE_ELEM, key, value, flags);
        }
        let mut attr = self.attr(address(key), address_mut(value), flags);
        // SAFETY: key and value are as long as the kernel expects for this map and these flags.
        unsafe { bpf(Command::MAP_LOOKUP_AND_DELETE_ELEM, &mut attr) }.map(drop)
    }

    /// Sets the value of `key` (`BPF_MAP_UPDATE_ELEM`).
    pub(crate) fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.check(key, value.len(), flags)?;
        let mut memory = None;
        let value = match self.may_be_longer(flags) {
            true => {
                let guarded = memory.insert(Guarded::new(value.len(), 0)?).bytes_mut();
                guarded.copy_from_slice(value);
                &*guarded
            }
            false => value,
        };
        let mut attr = self.attr(address(key), address(value), flags);
        // SAFETY: key and value are as long as the kernel expects for this map and these flags, or end at a guard.
        // Kernels before 7.0 read the values of all CPUs before they reject the CPU flags, so they can read past the
        // end of `value`. They discard these bytes, and return `EFAULT` for an unreadable page. Callers check
        // `has_cpu_flags` first.
        unsafe { bpf(Command::MAP_UPDATE_ELEM, &mut attr) }.map(drop)
    }

    /// Removes an element (`BPF_MAP_DELETE_ELEM`).
    pub(crate) fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        self.check(key, self.full_len, 0)?;
        let mut attr = self.attr(address(key), 0, 0);
        // SAFETY: the key is as long as the map's keys are.
        unsafe { bpf(Command::MAP_DELETE_ELEM, &mut attr) }.map(drop)
    }

    /// Writes the key after `key`, or the first one, into `next` (`BPF_MAP_GET_NEXT_KEY`). `ENOENT` means that `key` is
    /// the last one.
    ///
    /// If `key` is not in the map, hash maps begin again with the first key.
    pub(crate) fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        if next.len() != self.key_len || key.is_some_and(|key| key.len() != self.key_len) {
            return Err(EINVAL);
        }
        let mut attr = self.attr(key.map_or(0, address), address_mut(next), 0);
        // SAFETY: both keys are as long as the map's keys are; no key is a null pointer.
        unsafe { bpf(Command::MAP_GET_NEXT_KEY, &mut attr) }.map(drop)
    }

    /// Probes whether the running kernel supports the CPU flags of element operations (7.0), once, with a percpu map. Older kernels reject
    /// a lookup with `BPF_F_CPU` with `EINVAL` before they change anything.
    pub(crate) fn has_cpu_flags(&self) -> Result<bool> {
        // If this process has no permission to read the map, the result is `false`: every kernel accepts full-width
        // values.
        probe::without_rights(self.probe_cpu_flags(), false)
    }

    /// Runs the feature probe of [`Self::has_cpu_flags`] unless its result is known. Unlike that method, returns an
    /// error if this process has no permission to read the map.
    pub(crate) fn probe_cpu_flags(&self) -> Result<bool> {
        static PROBE: Probe = Probe::new("accepts CPU flags for elements of percpu maps");
        if let Some(known) = PROBE.known() {
            return Ok(known);
        }
        if !is_percpu(self.map_type()) {
            return Ok(false);
        }
        let (key, mut value) = (vec![0; self.key_len], vec![0; self.value_len]);
        PROBE.run(|| match self.lookup(&key, &mut value, elem_flags::CPU) {
            Err(errno) if errno == ENOENT || errno.raw() == libc::ERANGE => Ok(true),
            result => probe::verdict(&result, &[libc::EINVAL]),
        })
    }

    /// Returns whether a request with these flags has a full-width value that may be longer in the kernel, because the
    /// number of CPUs is not confirmed.
    fn may_be_longer(&self, flags: u64) -> bool {
        self.may_be_longer && flags & ONE_VALUE == 0
    }

    /// Returns the length of an element's value in a request with these flags.
    pub(crate) fn len_with(&self, flags: u64) -> Result<usize, Errno> {
        value_len(self.map_type(), (self.value_len, self.full_len), flags).ok_or(EINVAL)
    }

    fn check(&self, key: &[u8], value_len: usize, flags: u64) -> Result<(), Errno> {
        if key.len() == self.key_len && value_len == self.len_with(flags)? { Ok(()) } else { Err(EINVAL) }
    }

    fn attr(&self, key: u64, value: u64, flags: u64) -> MapElem {
        MapElem { map_fd: self.fd.as_raw_fd(), zero: 0, key, value, flags }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Returns the length of all values of an element: for percpu maps those of `cpus` CPUs, each padded to a multiple of 8.
pub(super) fn full_len(map_type: MapType, value_len: usize, cpus: usize) -> Option<usize> {
    match is_percpu(map_type) {
        true => value_len.checked_next_multiple_of(8)?.checked_mul(cpus),
        false => Some(value_len),
    }
}

/// Returns the length of an element's value in a request with these flags. `one` is the length of one value, `all` the
/// length of all values. Returns `None` for unknown types and flags.
pub(super) fn value_len(map_type: MapType, (one, all): (usize, usize), flags: u64) -> Option<usize> {
    let known = map_type.name().is_some() && flags & u64::from(u32::MAX) & !KNOWN == 0;
    known.then_some(if flags & ONE_VALUE != 0 { one } else { all })
}

/// Returns the number of values that the kernel copies out of a percpu map, which is its number of possible CPUs.
/// Returns `None` if there are more than `most`.
pub(crate) fn percpu_values(most: usize) -> Result<Option<usize>, Errno> {
    let map = super::map::Map::create(&super::map::Request::for_probe("cpus_probe", MapType::PERCPU_ARRAY))?;
    // New values are zero, so bytes that are still 0xff were not written by the kernel.
    let mut memory = Guarded::new(most.checked_mul(8).ok_or(EINVAL)?, 0xff)?;
    let key = [0_u8; 4];
    let mut attr = MapElem {
        map_fd: map.as_fd().as_raw_fd(),
        key: address(&key),
        value: address_mut(memory.bytes_mut()),
        ..MapElem::default()
    };
    // SAFETY: the key is as long as the map's. The kernel writes the values contiguously from the beginning of the memory, and hits the
    // guard if they do not fit.
    match unsafe { bpf(Command::MAP_LOOKUP_ELEM, &mut attr) } {
        Ok(_) => Ok(Some(memory.bytes_mut().chunks(8).take_while(|value| **value == [0; 8]).count())),
        Err(errno) if errno.raw() == libc::EFAULT => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Returns whether elements of this map type have a value for each CPU.
pub(crate) fn is_percpu(map_type: MapType) -> bool {
    matches!(
        map_type,
        MapType::PERCPU_ARRAY | MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH | MapType::PERCPU_CGROUP_STORAGE
    )
}

/// The condition to wait for on a file descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    ToRead,
    ToWrite,
}

/// Waits until `fd` is ready, at most `timeout` milliseconds, or without limit if `timeout` is negative. Returns
/// whether `fd` is ready.
pub(crate) fn poll(fd: BorrowedFd<'_>, readiness: Readiness, timeout: i32) -> Result<bool, Errno> {
    let events = match readiness {
        Readiness::ToRead => libc::POLLIN,
        Readiness::ToWrite => libc::POLLOUT,
    };
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: `entry` is one live pollfd.
    let result = unsafe { libc::poll(&raw mut entry, 1, timeout) };
    match result {
        0 => Ok(false),
        1.. => Ok(true),
        _ => Err(Errno::last()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unconfirmed_number_of_cpus_that_is_too_small_is_an_error() {
        let Some(fd) = testing::create(MapType::PERCPU_ARRAY, 4, 8, 1, 0) else { return };
        let info = super::super::map::info(fd.as_fd()).unwrap();
        if cpus::count().unwrap().cpus < 2 {
            return;
        }
        let map = Map::sized(fd, Definition::from(&info), cpus::Count { cpus: 1, confirmed: false }).unwrap();
        // The value ends where its heap block does, so a write past it would be found by AddressSanitizer or Miri.
        let mut value = vec![7; map.full_len()].into_boxed_slice();
        assert_eq!(value.len(), 8);
        let refused = Err(Errno::from_raw(libc::EFAULT));
        assert_eq!(map.lookup(&0_u32.to_ne_bytes(), &mut value, 0), refused);
        assert_eq!(*value, [7; 8], "nothing is copied");
        assert_eq!(map.update(&0_u32.to_ne_bytes(), &value, 0), refused);
        // The value of one CPU has the length in the map's description, regardless of the number of CPUs.
        if map.has_cpu_flags().unwrap() {
            map.lookup(&0_u32.to_ne_bytes(), &mut value, elem_flags::CPU).unwrap();
        }
    }
}
