//! Maps as the executor needs them: created or taken over, filled, frozen.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::attr::{CommonAttr, GetInfo, MapCreate, MapElem, MapInfo};
use super::{address, bpf, bpf_fd, bpf_with_log, len32, name16};
use crate::abi;
use crate::error::Errno;
use crate::uapi::{Command, MapType, elem_flags, map_flags};

/// What a new map shall be.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// Its name in the kernel, type, sizes and flags; the ids of its types count if there is `btf`.
    pub(crate) map: abi::Map,
    pub(crate) inner: Option<BorrowedFd<'a>>,
    /// BTF with the types of key and value.
    pub(crate) btf: Option<BorrowedFd<'a>>,
    /// The kernel's own type of the value, and the BTF of its module if it is a module's.
    pub(crate) kernel_value: Option<(u32, Option<BorrowedFd<'a>>)>,
    pub(crate) token: Option<BorrowedFd<'a>>,
}

impl Request<'_> {
    /// A map for a trial: one element, whose key has four bytes and whose value, on each CPU if it is percpu, has eight.
    pub(crate) const fn for_probe(name: &'static str, map_type: MapType) -> Self {
        let map = abi::Map::new(name, map_type).key_size(4).value_size(8).max_entries(1);
        Self { map, inner: None, btf: None, kernel_value: None, token: None }
    }
}

/// An open map with the sizes that the kernel has for it, which decide what an update reads.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
    map_type: MapType,
    key_size: u32,
    value_size: u32,
}

impl Map {
    /// Creates a map.
    pub(crate) fn create(request: &Request<'_>) -> Result<Self, Errno> {
        let mut attr = Self::attr(request);
        // SAFETY: the request holds no address.
        let fd = unsafe { bpf_fd(Command::MAP_CREATE, &mut attr) }?;
        // The kernel has created the map with exactly these sizes or refused, so there is no need to ask it.
        let abi::Map { map_type, key_size, value_size, .. } = request.map;
        Ok(Self { fd, map_type, key_size, value_size })
    }

    /// Repeats a request that the kernel refused with `refused`, to get its reason. `None` where the kernel gives no reasons (before
    /// Linux 7.2, and for most faults of a definition), and where the answer is another one now.
    pub(crate) fn reason(request: &Request<'_>, refused: Errno) -> Option<String> {
        let mut attr = Self::attr(request);
        let mut log = vec![0_u8; 4096];
        let mut common = CommonAttr {
            log_buf: super::address_mut(&mut log),
            log_size: len32(log.len()).ok()?,
            log_level: 1,
            ..CommonAttr::default()
        };
        // SAFETY: the request holds no address, and the log is as long as `common` says and outlives the call.
        match unsafe { bpf_with_log(Command::MAP_CREATE, &mut attr, &mut common) } {
            Err(errno) if errno == refused => {}
            // A map that could be created now is closed again.
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
        if let Some(token) = request.token {
            attr.map_token_fd = token.as_raw_fd();
            attr.map_flags |= map_flags::TOKEN_FD;
        }
        attr
    }

    /// Takes over an open map, after asking the kernel what it is.
    pub(crate) fn adopt(fd: OwnedFd) -> Result<(Self, MapInfo), Errno> {
        let info = info(fd.as_fd())?;
        let map = Self { fd, map_type: MapType(info.map_type), key_size: info.key_size, value_size: info.value_size };
        Ok((map, info))
    }

    /// Sets one element.
    ///
    /// `EINVAL` if key or value are not as long as the kernel would read: percpu maps take one value only with a flag that says
    /// for which CPUs, and no value of another kind here.
    pub(crate) fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        const EINVAL: Errno = Errno::from_raw(libc::EINVAL);
        let percpu = matches!(
            self.map_type,
            MapType::PERCPU_ARRAY | MapType::PERCPU_HASH | MapType::LRU_PERCPU_HASH | MapType::PERCPU_CGROUP_STORAGE
        );
        let one = flags & (elem_flags::CPU | elem_flags::ALL_CPUS) != 0;
        if len32(key.len())? != self.key_size || len32(value.len())? != self.value_size || percpu != one {
            return Err(EINVAL);
        }
        let mut attr = MapElem {
            map_fd: self.fd.as_raw_fd(),
            key: address(key),
            value: address(value),
            flags,
            ..MapElem::default()
        };
        // SAFETY: key and value are as long as the kernel's map says, which is what it reads. The one exception is a kernel that
        // does not know the flags of percpu maps: it copies further bytes from behind the value, or finds none (`EFAULT`), and
        // forgets them as it refuses the flags. It never writes to any of them.
        unsafe { bpf(Command::MAP_UPDATE_ELEM, &mut attr) }.map(drop)
    }

    /// Sets one element of a percpu map for all possible CPUs, each value rounded up to eight bytes, in the order of the CPUs.
    ///
    /// `EINVAL` if it is no percpu map, or key or values are not as long as the kernel would read.
    pub(crate) fn update_each(&self, key: &[u8], values: &[u8], flags: u64) -> Result<(), Errno> {
        const EINVAL: Errno = Errno::from_raw(libc::EINVAL);
        let count = crate::sys::cpus::count().map_err(|error| error.errno().unwrap_or(EINVAL))?;
        let one = usize::try_from(self.value_size).map_err(|_| EINVAL)?.next_multiple_of(8);
        let fits = len32(key.len())? == self.key_size && one.checked_mul(count.cpus) == Some(values.len());
        if !super::elem::is_percpu(self.map_type) || !fits || !count.confirmed || flags > elem_flags::EXIST {
            return Err(EINVAL);
        }
        let mut attr = MapElem {
            map_fd: self.fd.as_raw_fd(),
            key: address(key),
            value: address(values),
            flags,
            ..MapElem::default()
        };
        // SAFETY: the key is as long as the map's keys are, and without a CPU flag the kernel reads just so many values.
        unsafe { bpf(Command::MAP_UPDATE_ELEM, &mut attr) }.map(drop)
    }

    /// Makes the map unwritable for system calls.
    pub(crate) fn freeze(&self) -> Result<(), Errno> {
        let mut attr = MapElem { map_fd: self.fd.as_raw_fd(), ..MapElem::default() };
        // SAFETY: the request holds no address.
        unsafe { bpf(Command::MAP_FREEZE, &mut attr) }.map(drop)
    }

    /// The map's file descriptor alone.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Removes the element of key 0 of a map whose keys are four bytes: a table of functions is unregistered by it.
pub(crate) fn remove_first(map: BorrowedFd<'_>) -> Result<(), Errno> {
    let key = [0_u8; 4];
    let mut attr = MapElem { map_fd: map.as_raw_fd(), key: address(&key), ..MapElem::default() };
    // SAFETY: the callers' map is one of `struct_ops`, whose keys the kernel requires to be as long as this one.
    unsafe { bpf(Command::MAP_DELETE_ELEM, &mut attr) }.map(drop)
}

/// Asks the kernel what a map is. `EINVAL` for what has nothing to do with BPF; of programs and links the numbers mean other things,
/// and every request that takes a map refuses them.
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
