//! Probes for map types and their flags: creates the smallest map that the table of map types allows, and closes it.

use std::os::fd::{AsFd as _, OwnedFd};

use super::ask;
use crate::abi;
use crate::btf::{format, kind};
use crate::error::{Errno, Error, Result};
use crate::sys::map::{Map, Request};
use crate::uapi::{MapFlags, MapType};
use skelgen_abi::map_types::{Entries, MapFacts, Size};

/// `ENOTSUPP`, which is internal to the kernel.
const ENOTSUPP: i32 = 524;

/// The error numbers of kernels without a map type, flag or field. `EOPNOTSUPP` is the error for types that the JIT of
/// this architecture does not support.
const NO: [i32; 3] = [libc::EINVAL, libc::E2BIG, libc::EOPNOTSUPP];

/// Returns whether the running kernel can create maps of this type.
///
/// [`MapFacts::since`](skelgen_abi::map_types::MapFacts) is the first Linux version with each type. The configuration of the kernel can
/// leave types out, for example XSKMAP (CONFIG_XDP_SOCKETS). Each call creates a map and closes it.
///
/// # Examples
/// ```no_run
/// use skelgen_runtime::kernel;
/// use skelgen_runtime::uapi::MapType;
///
/// # fn f(open: &mut impl skelgen_runtime::OpenObject) -> skelgen_runtime::Result<()> {
/// // Linux 5.8 has ring buffers.
/// let with_ring_buffer = kernel::has_map_type(MapType::RINGBUF)?;
/// if let Some(map) = open.map_mut("events_ringbuf") {
///     map.set_autocreate(with_ring_buffer);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the probe fails: the process has no permission to create maps of the type, or lacks memory or file descriptors.
/// Also for a type that this version of the crate does not support.
pub fn has_map_type(map_type: MapType) -> Result<bool> {
    let facts = facts(map_type)?;
    ask(format_args!("has maps of type {map_type}"), || Example::create(facts)?.answer(0))
}

/// Returns whether the running kernel accepts these flags, all together, for maps of this type.
///
/// The answer is also `false` if the kernel lacks the map type, and for flags that belong to other types. Flags that a map type requires
/// (`NO_PREALLOC` of local storage) are added. Each call creates one or two maps and closes them.
///
/// # Examples
/// ```no_run
/// use skelgen_runtime::kernel;
/// use skelgen_runtime::uapi::{MapFlags, MapType};
///
/// # fn f() -> skelgen_runtime::Result<()> {
/// // Linux 5.5.
/// assert!(kernel::has_map_flags(MapType::ARRAY, MapFlags::MMAPABLE)?);
/// // Linux 6.19.
/// println!("{}", kernel::has_map_flags(MapType::RINGBUF, MapFlags::RB_OVERWRITE)?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`has_map_type`]. Also if `flags` contains [`MapFlags::TOKEN_FD`] or [`MapFlags::VTYPE_BTF_OBJ_FD`], which
/// require file descriptors.
pub fn has_map_flags(map_type: MapType, flags: MapFlags) -> Result<bool> {
    let facts = facts(map_type)?;
    if flags.bits() & (MapFlags::TOKEN_FD | MapFlags::VTYPE_BTF_OBJ_FD).bits() != 0 {
        return Err(Error::invalid(format_args!("{flags:?} cannot be probed: it requires a file descriptor"))
            .with_help("`kernel::has_feature(Feature::Tokens)` probes for BPF tokens"));
    }
    ask(format_args!("accepts {flags:?} for maps of type {map_type}"), || Example::create(facts)?.answer(flags.bits()))
}

fn facts(map_type: MapType) -> Result<&'static MapFacts> {
    MapFacts::of(map_type).ok_or_else(|| {
        Error::invalid(format_args!("maps of type {map_type} are not known to this version of skelgen"))
            .with_help("to check whether the kernel supports the type, create a map of it with `map::NewMap`")
    })
}

/// Returns whether the kernel creates this map.
pub(super) fn creates(map: abi::Map) -> Result<bool, Errno> {
    super::probe::verdict(&Map::create(&Request { map, ..Request::for_probe("", MapType::UNSPEC) }), &NO)
}

/// The smallest map of a type, with the inner map and the BTF that its creation needs.
struct Example {
    map: abi::Map,
    inner: Option<Map>,
    btf: Option<OwnedFd>,
}

impl Example {
    fn create(facts: &MapFacts) -> Result<Self, Errno> {
        // In `MapFacts`, the first value size and the last key size are the ones that the oldest kernels with the type
        // accept.
        let key = match facts.key {
            Size::OneOf(sizes) => sizes.last().copied().unwrap_or(4),
            size => within(size, 4),
        };
        let value = match facts.value {
            Size::OneOf(sizes) => sizes.first().copied().unwrap_or(4),
            size => within(size, 4),
        };
        let entries = match facts.entries {
            Entries::Zero => 0,
            Entries::Pages => u32::try_from(crate::sys::mmap::page_size()).unwrap_or(4096),
            _ => 1,
        };
        let map = abi::Map::new("", facts.map_type).key_size(key).value_size(value).max_entries(entries);
        let inner = match facts.inner {
            true => Some(Map::create(&Request::for_probe("", MapType::ARRAY))?),
            false => None,
        };
        let btf = match facts.requires_types {
            true => Some(crate::sys::btf::load(&int(), None, &mut [])?.0?),
            false => None,
        };
        Ok(Self { map: map.flags(facts.required_flags), inner, btf })
    }

    /// Returns whether the kernel creates the map with additional flags. `false` means that it does not support the
    /// type or the flags.
    fn answer(self, flags: u32) -> Result<bool, Errno> {
        let is_struct_ops = self.map.map_type == MapType::STRUCT_OPS;
        let mut map = self.map;
        map.flags |= flags;
        let id = u32::from(self.btf.is_some());
        (map.btf_key_type_id, map.btf_value_type_id) = (id, id);
        let request = Request {
            map,
            inner: self.inner.as_ref().map(|inner| inner.as_fd()),
            btf: self.btf.as_ref().map(|btf| btf.as_fd()),
            // The first type of a kernel is never the value of a struct_ops map.
            kernel_value: is_struct_ops.then_some((1, None)),
            ..Request::for_probe("", MapType::UNSPEC)
        };
        match Map::create(&request) {
            Err(errno) if is_struct_ops && errno.raw() == ENOTSUPP => Ok(true),
            result => super::probe::verdict(&result, &NO),
        }
    }
}

fn within(size: Size, wanted: u32) -> u32 {
    match size {
        Size::Within(least, most) => wanted.clamp(least, most),
        _ => 8,
    }
}

/// Returns BTF with one type, a signed integer of four bytes.
pub(super) fn int() -> Vec<u8> {
    let words = [1, kind::INT << 24, 4, 1 << 24 | 32];
    let types: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
    format::written(&types, b"\0int\0").unwrap_or_default()
}
