//! The file system that a path or an open file is in.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::error::Errno;

/// `BPF_FS_MAGIC`, `CGROUP_SUPER_MAGIC`, `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const BPFFS: u64 = 0xcafe_4a11;
const CGROUP: u64 = 0x0027_e0eb;
const CGROUP2: u64 = 0x6367_7270;

/// The file system that a path is in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mount {
    /// Whether the file system is a bpffs.
    pub(crate) is_bpffs: bool,
    /// Whether the file system is mounted read-only.
    pub(crate) is_read_only: bool,
}

/// The kind of the file system that an open file is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Cgroups of version 1.
    Cgroup1,
    /// Cgroups of version 2.
    Cgroup2,
    /// Any other file system.
    Other,
}

/// Finds the kind of the file system that an open file is in.
pub(crate) fn kind_of(file: BorrowedFd<'_>) -> Result<Kind, Errno> {
    let mut system = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the struct is valid for writes.
    if unsafe { libc::fstatfs(file.as_raw_fd(), system.as_mut_ptr()) } != 0 {
        return Err(Errno::last());
    }
    // SAFETY: the call succeeded, and zero, which is in the bytes that it did not write, is valid for all fields.
    Ok(match magic(&unsafe { system.assume_init() }) {
        CGROUP => Kind::Cgroup1,
        CGROUP2 => Kind::Cgroup2,
        _ => Kind::Other,
    })
}

/// Finds the file system that a path is in. Follows symbolic links.
pub(crate) fn mount_of(path: &CStr) -> Result<Mount, Errno> {
    let (mut system, mut flags) = (MaybeUninit::<libc::statfs>::zeroed(), MaybeUninit::<libc::statvfs>::zeroed());
    // SAFETY: the path ends with NUL, and the struct is valid for writes.
    if unsafe { libc::statfs(path.as_ptr(), system.as_mut_ptr()) } != 0 {
        return Err(Errno::last());
    }
    // SAFETY: the path ends with NUL, and the struct is valid for writes.
    if unsafe { libc::statvfs(path.as_ptr(), flags.as_mut_ptr()) } != 0 {
        return Err(Errno::last());
    }
    // SAFETY: the call succeeded, and zero, which is in the bytes that it did not write, is valid for all fields.
    let system = unsafe { system.assume_init() };
    // SAFETY: as above.
    let flags = unsafe { flags.assume_init() };
    Ok(Mount { is_bpffs: magic(&system) == BPFFS, is_read_only: flags.f_flag & libc::ST_RDONLY != 0 })
}

/// Returns the number of a kind of file system.
fn magic(system: &libc::statfs) -> u64 {
    // The type of the field depends on the architecture; its lower 32 bits are the number.
    #[allow(
        clippy::cast_sign_loss,
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "differs between architectures"
    )]
    {
        system.f_type as u64 & 0xffff_ffff
    }
}
