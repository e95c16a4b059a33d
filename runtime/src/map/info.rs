//! Information that the kernel reports about a map.

use std::os::fd::{AsFd as _, BorrowedFd};

use super::Untyped;
use crate::error::{Errno, Result, Step};
use crate::sys::{self, ids::OffloadDevice};
use crate::uapi::{MapFlags, MapType, ProgramType};

/// A map as the kernel reports it, returned by [`Untyped::info`] and [`system::maps`](crate::system::maps).
///
/// A field is `None` if the map does not have it, or the kernel is older than the Linux version that the field names.
/// Fields without a version are reported by every supported kernel. The last three come from `/proc/self/fdinfo`, and
/// are `None` also if no procfs is mounted at `/proc`.
///
/// ```no_run
/// # fn f(map: &skelgen_runtime::map::Untyped) -> skelgen_runtime::Result<()> {
/// let info = map.info()?;
/// println!("{} {}: {} elements, {:?} bytes", info.map_type, info.name, info.max_entries, info.memory);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapInfo {
    /// The map's id, which no other map has. The kernel can reuse the id after the map is removed.
    pub id: u32,
    /// The map's type.
    pub map_type: MapType,
    /// The map's name, of which the kernel stores at most 15 bytes. Empty if the map has no name.
    pub name: String,
    /// The size of a key in bytes.
    pub key_size: u32,
    /// The size of a value in bytes; for percpu maps, the size of one CPU's value.
    pub value_size: u32,
    /// The maximum number of elements; for ring buffers, the size in bytes.
    pub max_entries: u32,
    /// The flags that the map was created with.
    pub flags: MapFlags,
    /// The number `map_extra`, whose meaning depends on the type (Linux 5.16); 0 if none was set.
    pub extra: u64,
    /// The id of the BTF with the types of the map's keys and values.
    pub btf_id: Option<u32>,
    /// The id of the type of the map's keys in that BTF.
    pub btf_key_type_id: Option<u32>,
    /// The id of the type of the map's values in that BTF.
    pub btf_value_type_id: Option<u32>,
    /// The id of the BTF object of the kernel or module that defines the struct of a struct_ops map (Linux 6.9).
    pub kernel_btf_id: Option<u32>,
    /// The id of the type of the value of a struct_ops map in the BTF of the kernel or module.
    pub kernel_value_type_id: Option<u32>,
    /// The network device that the map is offloaded to.
    pub offload: Option<OffloadDevice>,
    /// Whether the map is frozen: see [`Untyped::freeze`] (Linux 5.2).
    pub frozen: Option<bool>,
    /// The memory that the map uses, in bytes. The kernel measures it since Linux 6.4; from 5.11 to 6.3 it is an
    /// estimate from the sizes of the map.
    pub memory: Option<u64>,
    /// The properties of the first program that used the map, which all other programs that use it must share. Only for
    /// program arrays and maps that contain programs.
    pub owner: Option<MapOwner>,
}

/// The properties that the programs of a map share: see [`MapInfo::owner`].
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// for map in skelgen_runtime::system::maps() {
///     let map = map?;
///     if let Some(owner) = map.owner {
///         println!("{}: for programs of type {}", map.name, owner.program_type);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapOwner {
    /// The type of the programs.
    pub program_type: ProgramType,
    /// Whether the programs are compiled to machine code.
    pub jited: bool,
}

impl MapInfo {
    /// Reads the description of a map.
    pub(crate) fn of(map: BorrowedFd<'_>) -> Result<Self, Errno> {
        let found = sys::map::info(map)?;
        let path = sys::shown("fdinfo", map);
        let fields = Fields(std::fs::read_to_string(path).unwrap_or_default());
        let unless_zero = |number: u32| (number != 0).then_some(number);
        Ok(Self {
            id: found.id,
            map_type: MapType(found.map_type),
            name: found.name(),
            key_size: found.key_size,
            value_size: found.value_size,
            max_entries: found.max_entries,
            flags: MapFlags::from_bits(found.map_flags),
            extra: found.map_extra,
            btf_id: unless_zero(found.btf_id),
            btf_key_type_id: unless_zero(found.btf_key_type_id),
            btf_value_type_id: unless_zero(found.btf_value_type_id),
            kernel_btf_id: unless_zero(found.btf_vmlinux_id),
            kernel_value_type_id: unless_zero(found.btf_vmlinux_value_type_id),
            offload: OffloadDevice::of(found.ifindex, found.netns_dev, found.netns_ino),
            frozen: fields.number("frozen").map(|frozen| frozen != 0),
            memory: fields.number("memlock"),
            owner: fields.owner(),
        })
    }
}

impl Untyped {
    /// Returns the information that the kernel reports about the map.
    ///
    /// ```no_run
    /// use skelgen_runtime::map::Untyped;
    /// let info = Untyped::open_pinned("/sys/fs/bpf/flows")?.info()?;
    /// println!("map {} uses {} KiB", info.id, info.memory.unwrap_or(0) / 1024);
    /// # Ok::<(), skelgen_runtime::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the kernel rejects the query: the network device of an offloaded map no longer exists (`ENODEV`).
    pub fn info(&self) -> Result<MapInfo> {
        MapInfo::of(self.as_fd())
            .map_err(|errno| self.refused(Step::ReadInfo, "cannot read the map's description", errno))
    }
}

/// The text of a file of `/proc/PID/fdinfo`: a line `NAME:<tab>VALUE` for each field (`bpf_map_show_fdinfo` in
/// kernel/bpf/syscall.c).
struct Fields(String);

impl Fields {
    fn number(&self, name: &str) -> Option<u64> {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok();
        self.0.lines().find_map(value)
    }

    fn owner(&self) -> Option<MapOwner> {
        let program_type = ProgramType(u32::try_from(self.number("owner_prog_type")?).ok()?);
        Some(MapOwner { program_type, jited: self.number("owner_jited").is_some_and(|jited| jited != 0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_names() {
        let fields = Fields("pos:\t0\nmap_flags:\t0x40\nmemlock:\t4096\nmap_id:\t7\nfrozen:\t1\n".to_owned());
        assert_eq!(["frozen", "memlock", "map_id"].map(|name| fields.number(name)), [Some(1), Some(4096), Some(7)]);
        assert_eq!(["lock", "mem", "map_flags", "none"].map(|name| fields.number(name)), [None; 4]);
        assert_eq!(fields.owner(), None);
        let fields = Fields("owner_prog_type:\t6\nowner_jited:\t1\n".to_owned());
        assert_eq!(fields.owner(), Some(MapOwner { program_type: ProgramType::XDP, jited: true }));
    }
}
