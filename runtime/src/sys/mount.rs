//! The file system that a path is in.

use std::ffi::CStr;
use std::mem::MaybeUninit;

use crate::error::Errno;

/// `BPF_FS_MAGIC` of linux/magic.h.
const BPFFS: u64 = 0xcafe_4a11;

/// The file system that a path is in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mount {
    /// Whether it is a bpffs.
    pub(crate) is_bpffs: bool,
    /// Whether it is mounted read-only.
    pub(crate) is_read_only: bool,
}

/// Finds the file system that a path is in; links are followed.
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
    // The type of the field depends on the architecture; its lower 32 bits are the number.
    #[allow(
        clippy::cast_sign_loss,
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "differs between architectures"
    )]
    let magic = system.f_type as u64 & 0xffff_ffff;
    Ok(Mount { is_bpffs: magic == BPFFS, is_read_only: flags.f_flag & libc::ST_RDONLY != 0 })
}
