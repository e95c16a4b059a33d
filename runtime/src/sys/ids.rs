//! Objects of the kernel that have ids: programs, maps, links and BTF.
//!
//! Each kind has its own sequence of ids. This module does not depend on the content of the objects.

use std::os::fd::OwnedFd;

use super::attr::GetId;
use super::{bpf, bpf_fd};
use crate::error::Errno;
use crate::uapi::Command;

/// The kind of an object with an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Program,
    Map,
    /// Since Linux 5.8.
    Link,
    /// Since Linux 4.18; its ids can be listed since 5.4.
    Btf,
}

impl Kind {
    /// Returns the commands that return the next id and open an object.
    const fn commands(self) -> (Command, Command) {
        match self {
            Self::Program => (Command::PROG_GET_NEXT_ID, Command::PROG_GET_FD_BY_ID),
            Self::Map => (Command::MAP_GET_NEXT_ID, Command::MAP_GET_FD_BY_ID),
            Self::Link => (Command::LINK_GET_NEXT_ID, Command::LINK_GET_FD_BY_ID),
            Self::Btf => (Command::BTF_GET_NEXT_ID, Command::BTF_GET_FD_BY_ID),
        }
    }

    /// Returns the next id after this one, or `None` after the last. Requires `CAP_SYS_ADMIN`.
    pub(crate) fn next_id(self, id: u32) -> Result<Option<u32>, Errno> {
        let mut attr = GetId { id, ..GetId::default() };
        // SAFETY: `attr` contains no pointers.
        match unsafe { bpf(self.commands().0, &mut attr) } {
            Ok(_) => Ok(Some(attr.next_id)),
            Err(error) if error.raw() == libc::ENOENT => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the object with this id. Requires `CAP_SYS_ADMIN`.
    pub(crate) fn open(self, id: u32) -> Result<OwnedFd, Errno> {
        let mut attr = GetId { id, ..GetId::default() };
        // SAFETY: `attr` contains no pointers.
        unsafe { bpf_fd(self.commands().1, &mut attr) }
    }
}

/// The network device that a program or map is offloaded to: hardware that runs it instead of the kernel.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// for map in skelgen_runtime::system::maps() {
///     if let Some(device) = map?.offload {
///         println!("a map is on the device of interface {}", device.ifindex);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OffloadDevice {
    /// The index of the network interface.
    pub ifindex: u32,
    /// The device number of the file of the interface's network namespace (`st_dev` of `/proc/PID/ns/net`).
    pub netns_dev: u64,
    /// The inode number of that file (`st_ino`).
    pub netns_ino: u64,
}

impl OffloadDevice {
    /// Creates the device from the fields of a description; `None` if the object is not offloaded.
    pub(crate) fn of(ifindex: u32, netns_dev: u64, netns_ino: u64) -> Option<Self> {
        (ifindex != 0).then_some(Self { ifindex, netns_dev, netns_ino })
    }
}
