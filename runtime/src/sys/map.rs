//! Creates, adopts, fills and freezes maps, for the executor.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::attr::{CommonAttr, GetInfo, MapCreate, MapElem, MapInfo};
use super::elem::{Definition, is_percpu};
use super::{address, bpf, bpf_fd, bpf_with_log, len32, name16};
use crate::abi;
use crate::error::Errno;
use crate::uapi::{Command, MapType, elem_flags, map_flags};

/// The definition of a map to create.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// The map's name in the kernel, type, sizes and flags. The BTF ids of the key and value types are used if `btf` is
    /// set.
    pub(crate) map: abi::Map,
    pub(crate) inner: Option<BorrowedFd<'a>>,
    /// The BTF with the types of keys and values.
    pub(crate) btf: Option<BorrowedFd<'a>>,
    /// The id of the value's type in the kernel's BTF, and the BTF of the module if a module defines the type.
    pub(crate) kernel_value: Option<(u32, Option<BorrowedFd<'a>>)>,
    pub(crate) token: Option<BorrowedFd<'a>>,
    /// The index of the network device to offload the map to, or 0.
    pub(crate) ifindex: u32,
    /// The hash of the only program that can use the map.
    pub(crate) exclusive: Option<&'a [u8; 32]>,
}

impl Request<'_> {
    /// Returns the definition of a map for a feature probe: one element, with a key of four bytes and a value of eight, on each CPU if it
    /// is percpu.
    pub(crate) const fn for_probe(name: &'static str, map_type: MapType) -> Self {
        let map = abi::Map::new(name, map_type).key_size(4).value_size(8).max_entries(1);
        Self { map, inner: None, btf: None, kernel_value: None, token: None, ifindex: 0, exclusive: None }
    }
}

/// An open map with the kernel's sizes of keys and values, which are the numbers of bytes that an update reads.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
    definition: Definition,
}

impl Map {
    /// Creates a map.
    pub(crate) fn create(request: &Request<'_>) -> Result<Self, Errno> {
        let mut attr = Self::attr(request);
        // SAFETY: the only pointer in `attr` is that of the hash, which has the length in `attr` and outlives the call.
        let fd = unsafe { bpf_fd(Command::MAP_CREATE, &mut attr) }?;
        // The kernel created the map with exactly these sizes, so there is no need to read them back.
        let abi::Map { map_type, key_size, value_size, max_entries, flags, extra, .. } = request.map;
        let definition = Definition { map_type, key_size, value_size, max_entries, flags, extra };
        Ok(Self { fd, definition })
    }

    /// Repeats a request that the kernel rejected with `refused`, to get the kernel's reason. Returns `None` if the
    /// kernel reports no reasons (before Linux 7.2, and for most faults of a definition), or if the result differs now.
    pub(crate) fn reason(request: &Request<'_>, refused: Errno) -> Option<String> {
        let mut attr = Self::attr(request);
        let mut log = vec![0_u8; 4096];
        let mut common = CommonAttr {
            log_buf: super::address_mut(&mut log),
            log_size: len32(log.len()).ok()?,
            log_level: 1,
            ..CommonAttr::default()
        };
        // SAFETY: as above, and the log has the length in `common`; both outlive the call.
        match unsafe { bpf_with_log(Command::MAP_CREATE, &mut attr, &mut common) } {
            Err(errno) if errno == refused => {}
            // If the map was created now, it is closed again.
            _ => return None,
        }
        let text = log.split(|&byte| byte == 0).next().unwrap_or_default();
        let text = String::from_utf8_lossy(text).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    fn attr(request: &Request<'_>) -> MapCreate {
        let map = &request.map;
        let mut attr = MapCreate {
            map_type: map.map_type.0,
            key_size: map.key_size,
            value_size: map.value_size,
            max_entries: map.max_entries,
            map_flags: map.flags,
            numa_node: map.numa_node,
            map_extra: map.extra,
            map_name: name16(&map.kernel_name),
            map_ifindex: request.ifindex,
            ..MapCreate::default()
        };
        if let Some(inner) = request.inner {
            attr.inner_map_fd = inner.as_raw_fd();
        }
        if let Some(fd) = request.btf {
            attr.btf_fd = fd.as_raw_fd();
            attr.btf_key_type_id = map.btf_key_type_id;
            attr.btf_value_type_id = map.btf_value_type_id;
        }
        if let Some((id, module)) = request.kernel_value {
            attr.btf_vmlinux_value_type_id = id;
            if let Some(module) = module {
                attr.value_type_btf_obj_fd = module.as_raw_fd();
                attr.map_flags |= map_flags::VTYPE_BTF_OBJ_FD;
            }
        }
        if let Some(hash) = request.exclusive {
            attr.excl_prog_hash = address(hash);
            attr.excl_prog_hash_size = 32;
        }
        if let Some(token) = request.token {
            attr.map_token_fd = token.as_raw_fd();
            attr.map_flags |= map_flags::TOKEN_FD;
        }
        attr
    }

    /// Wraps an open map, and reads its description from the kernel.
    pub(crate) fn adopt(fd: OwnedFd) -> Result<(Self, MapInfo), Errno> {
        let info = info(fd.as_fd())?;
        let map = Self { fd, definition: Definition::from(&info) };
        Ok((map, info))
    }

    /// Sets the flags that the map was created with, without those that the kernel adds for some types.
    pub(crate) fn with_flags(mut self, flags: u32) -> Self {
        self.definition.flags = flags;
        self
    }

    /// Sets one element.
    ///
    /// Returns `EINVAL` if key or value do not have the length that the kernel would read. For percpu maps, `flags` must have a flag that
    /// selects CPUs.
    pub(crate) fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        const EINVAL: Errno = Errno::from_raw(libc::EINVAL);
        let percpu = is_percpu(self.definition.map_type);
        let one = flags & (elem_flags::CPU | elem_flags::ALL_CPUS) != 0;
        if len32(key.len())? != self.definition.key_size
            || len32(value.len())? != self.definition.value_size
            || percpu != one
        {
            return Err(EINVAL);
        }
        let mut attr = MapElem {
            map_fd: self.fd.as_raw_fd(),
            key: address(key),
            value: address(value),
            flags,
            ..MapElem::default()
        };
        // SAFETY: key and value have the lengths of the kernel's map, which is what it reads. The exception is a kernel
        // that does not support the CPU flags of percpu maps: it also reads bytes past the end of the value, or returns
        // `EFAULT` if they are not readable. It discards these bytes when it rejects the flags, and never writes to
        // them.
        unsafe { bpf(Command::MAP_UPDATE_ELEM, &mut attr) }.map(drop)
    }

    /// Sets one element of a percpu map for all possible CPUs. Each value is padded to a multiple of eight bytes, ordered by CPU.
    ///
    /// Returns `EINVAL` if the map is not percpu, the key or the values do not have the length that the kernel would
    /// read, the number of CPUs is not confirmed, or `flags` is not `ANY`, `NOEXIST` or `EXIST`.
    pub(crate) fn update_each(&self, key: &[u8], values: &[u8], flags: u64) -> Result<(), Errno> {
        const EINVAL: Errno = Errno::from_raw(libc::EINVAL);
        let count = crate::sys::cpus::count().map_err(|error| error.errno().unwrap_or(EINVAL))?;
        let one = usize::try_from(self.definition.value_size).map_err(|_| EINVAL)?.next_multiple_of(8);
        let fits = len32(key.len())? == self.definition.key_size && one.checked_mul(count.cpus) == Some(values.len());
        if !is_percpu(self.definition.map_type) || !fits || !count.confirmed || flags > elem_flags::EXIST {
            return Err(EINVAL);
        }
        let mut attr = MapElem {
            map_fd: self.fd.as_raw_fd(),
            key: address(key),
            value: address(values),
            flags,
            ..MapElem::default()
        };
        // SAFETY: the key is as long as the map's keys, and without a CPU flag the kernel reads exactly this number of values.
        unsafe { bpf(Command::MAP_UPDATE_ELEM, &mut attr) }.map(drop)
    }

    /// Freezes the map.
    pub(crate) fn freeze(&self) -> Result<(), Errno> {
        freeze(self.as_fd())
    }

    /// Returns the file descriptor.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Returns the definition that the kernel has of the map.
    pub(crate) fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Returns the file descriptor, and the definition that the kernel has of the map.
    pub(crate) fn into_parts(self) -> (OwnedFd, Definition) {
        (self.fd, self.definition)
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Freezes a map: system calls can no longer write to it.
pub(crate) fn freeze(map: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = MapElem { map_fd: map.as_raw_fd(), ..MapElem::default() };
    // SAFETY: `attr` contains no pointers.
    unsafe { bpf(Command::MAP_FREEZE, &mut attr) }.map(drop)
}

/// Removes the element with key 0 of a map with four-byte keys, which unregisters a struct_ops map.
pub(crate) fn remove_first(map: BorrowedFd<'_>) -> Result<(), Errno> {
    let key = [0_u8; 4];
    let mut attr = MapElem { map_fd: map.as_raw_fd(), key: address(&key), ..MapElem::default() };
    // SAFETY: the callers' map is a struct_ops map, whose keys have four bytes.
    unsafe { bpf(Command::MAP_DELETE_ELEM, &mut attr) }.map(drop)
}

/// Reads the description of a map. Returns `EINVAL` for a file descriptor that is not a BPF object. For programs and
/// links, the result has no meaning, but the kernel rejects every map request on these.
pub(crate) fn info(fd: BorrowedFd<'_>) -> Result<MapInfo, Errno> {
    let mut info = MapInfo::default();
    let mut attr = GetInfo {
        bpf_fd: fd.as_raw_fd(),
        info_len: len32(size_of::<MapInfo>())?,
        info: super::address_mut(std::slice::from_mut(&mut info)),
    };
    // SAFETY: the kernel writes at most `info_len` bytes, the size of `info`, for which every bit pattern is valid.
    unsafe { bpf(Command::OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(info)
}
