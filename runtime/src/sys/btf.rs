//! Loads BTF into the kernel, and reads BTF objects from it.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::attr::{BtfInfo, BtfLoad, GetId, GetInfo};
use super::{address, address_mut, bpf, bpf_fd, len32};
use crate::error::Errno;
use crate::uapi::Command;

/// `BPF_F_TOKEN_FD`, also in `btf_flags` and `open_flags`.
const TOKEN_FD: u32 = 1 << 16;

/// `SYSFS_MAGIC` of linux/magic.h.
const SYSFS: u64 = 0x6265_6572;

/// Loads BTF. If `log` is not empty, the kernel writes its log there. Returns the result of the request, and the size
/// of the whole log (`log_true_size`), which is 0 before Linux 6.4. The outer error is that of a slice that is too long
/// for a request.
pub(crate) fn load(
    btf: &[u8],
    token: Option<BorrowedFd<'_>>,
    log: &mut [u8],
) -> Result<(Result<OwnedFd, Errno>, u32), Errno> {
    let mut attr = BtfLoad { btf: address(btf), btf_size: len32(btf.len())?, ..BtfLoad::default() };
    if !log.is_empty() {
        attr.log_level = 1;
        attr.log_size = len32(log.len())?;
        attr.log_buf = address_mut(log);
    }
    if let Some(token) = token {
        attr.btf_flags = TOKEN_FD;
        attr.btf_token_fd = token.as_raw_fd();
    }
    // SAFETY: both pointers are those of slices that outlive the call, and `attr` has the lengths of the slices.
    let result = unsafe { bpf_fd(Command::BTF_LOAD, &mut attr) };
    Ok((result, attr.log_true_size))
}

/// Opens the BTF object with this id, with the rights of a token if the kernel accepts one here.
pub(crate) fn open(id: u32, token: Option<BorrowedFd<'_>>) -> Result<OwnedFd, Errno> {
    let mut attr = GetId { id, ..GetId::default() };
    if let Some(token) = token {
        attr.open_flags = TOKEN_FD;
        attr.token_fd = token.as_raw_fd();
    }
    // SAFETY: `attr` contains no pointers.
    match unsafe { bpf_fd(Command::BTF_GET_FD_BY_ID, &mut attr) } {
        // The first kernels with tokens do not accept a token in this command.
        Err(errno) if token.is_some() && errno.raw() == libc::EINVAL => open(id, None),
        result => result,
    }
}

/// Reads the bytes of a BTF object.
pub(crate) fn read(fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    let read = |bytes: &mut [u8]| {
        let mut info = BtfInfo { btf: address_mut(bytes), btf_size: len32(bytes.len())?, ..BtfInfo::default() };
        let mut attr = GetInfo {
            bpf_fd: fd.as_raw_fd(),
            info_len: len32(size_of::<BtfInfo>())?,
            info: address_mut(std::slice::from_mut(&mut info)),
        };
        // SAFETY: the kernel writes at most `info_len` bytes to `info`, for which every bit pattern is valid, and `btf_size` to `bytes`.
        unsafe { bpf(Command::OBJ_GET_INFO_BY_FD, &mut attr) }?;
        Ok(info.btf_size)
    };
    // BTF objects never change, so the second result has the length that the first reports.
    let len = read(&mut [])?;
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    read(&mut bytes)?;
    Ok(bytes)
}

/// Information that the kernel reports about a BTF object, except its bytes.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) id: u32,
    /// The size of the BTF in bytes.
    pub(crate) size: u32,
    /// The name of a BTF object of the kernel (`vmlinux` or a module's), or `None` if it is a program's.
    pub(crate) kernel_name: Option<String>,
}

/// Reads the description of a BTF object.
pub(crate) fn describe(fd: BorrowedFd<'_>) -> Result<Description, Errno> {
    // Module names are shorter than 64 bytes (MODULE_NAME_LEN).
    let mut name = [0_u8; 64];
    let mut info = BtfInfo { name: address_mut(&mut name), name_len: len32(name.len())?, ..BtfInfo::default() };
    let query = |info: &mut BtfInfo| {
        let mut attr = GetInfo {
            bpf_fd: fd.as_raw_fd(),
            info_len: len32(size_of::<BtfInfo>())?,
            info: address_mut(std::slice::from_mut(info)),
        };
        // SAFETY: the kernel writes at most `info_len` bytes to `info`, for which every bit pattern is valid, and `name_len` to the name
        // above, which outlives the call.
        unsafe { bpf(Command::OBJ_GET_INFO_BY_FD, &mut attr) }
    };
    match query(&mut info) {
        // Before Linux 5.11 BTF has no names, and the kernel's own BTF has no id.
        Err(errno) if errno.raw() == libc::E2BIG => {
            info = BtfInfo::default();
            query(&mut info)?;
        }
        result => drop(result?),
    }
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    let kernel_name = (info.kernel_btf != 0).then(|| String::from_utf8_lossy(&name[..end]).into_owned());
    Ok(Description { id: info.id, size: info.btf_size, kernel_name })
}

/// Returns the name of a kernel BTF object (`vmlinux` or a module's), or `None` if it is a program's.
pub(crate) fn kernel_name(fd: BorrowedFd<'_>) -> Result<Option<String>, Errno> {
    describe(fd).map(|found| found.kernel_name)
}

/// A file of kernel BTF that is mapped into memory instead of copied.
#[derive(Debug)]
pub(crate) struct MappedFile {
    address: *mut libc::c_void,
    len: usize,
}

// SAFETY: the memory is read-only and never changes, so any thread may read and unmap it.
unsafe impl Send for MappedFile {}
// SAFETY: as above; there are only reads.
unsafe impl Sync for MappedFile {}

impl MappedFile {
    /// Maps a file of /sys/kernel/btf into memory (Linux 6.16). Returns `None` if the kernel does not support it.
    ///
    /// Only these files may be mapped: they are the kernel's own read-only memory, which neither changes nor shrinks. Returns `None` for a
    /// file of another file system that is mounted over them.
    pub(crate) fn of_sysfs(file: &File) -> io::Result<Option<Self>> {
        let len = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        if len == 0 || !is_of_sysfs(file) {
            return Ok(None);
        }
        // SAFETY: a new mapping at an address of the kernel's choice does not touch existing memory.
        let address =
            unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0) };
        Ok((address != libc::MAP_FAILED).then_some(Self { address, len }))
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is readable, `len` bytes long and alive as long as `self`. `of_sysfs` checked that the file is in sysfs, and
        // the kernel never changes a BTF file there.
        unsafe { std::slice::from_raw_parts(self.address.cast(), self.len) }
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, of this length, and no borrow of it is left.
        unsafe { libc::munmap(self.address, self.len) };
    }
}

/// Returns whether a file is in sysfs, where no process can change it.
fn is_of_sysfs(file: &File) -> bool {
    let mut about = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: `about` has room for the one value that is written.
    let succeeded = unsafe { libc::fstatfs(file.as_raw_fd(), about.as_mut_ptr()) } == 0;
    // SAFETY: all fields are integers, which were zero before the kernel wrote others.
    let about = unsafe { about.assume_init() };
    // The type of the field depends on the architecture.
    succeeded && u64::try_from(about.f_type).is_ok_and(|magic| magic == SYSFS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_kernel_are_mapped() {
        let own = File::open("/proc/self/exe").unwrap();
        assert!(MappedFile::of_sysfs(&own).unwrap().is_none());
        if let Ok(file) = File::open("/sys/kernel/btf/vmlinux") {
            assert!(is_of_sysfs(&file));
        }
    }
}
