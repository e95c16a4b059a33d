//! System calls, each behind a safe function with owned or borrowed Rust values.
//!
//! # Safety
//! This directory has the `unsafe` code of system calls. `bpf()` reads and writes the memory that a request points to, so only functions of
//! this directory build requests, from slices whose lengths they have checked against what the kernel will use. This module knows file
//! descriptors, bytes and map definitions, but no other parts of plans, no map handles and no skeletons.

#![allow(unsafe_code, reason = "system calls are made here; see the module's `# Safety`")]

pub(crate) mod attr;
pub(crate) mod btf;
pub(crate) mod call;
pub mod cpus;
mod descriptor;
pub(crate) mod elem;
pub(crate) mod epoll;
pub(crate) mod eventfd;
mod guard;
pub(crate) mod ids;
pub(crate) mod link;
pub(crate) mod link_info;
pub(crate) mod loader;
pub(crate) mod map;
pub(crate) mod mmap;
pub(crate) mod mount;
pub(crate) mod netlink;
pub(crate) mod perf;
pub(crate) mod perf_query;
pub(crate) mod probe;
pub(crate) mod prog;
#[cfg(feature = "tokio")]
pub(crate) mod reactor;
pub(crate) mod replay;
pub(crate) mod socket;
pub(crate) mod token;
pub(crate) mod trace;
pub(crate) mod trusted;
pub(crate) mod uname;

pub(crate) use descriptor::descriptor;

use std::ffi::CString;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::error::{Errno, Error, Subject};
use crate::uapi::Command;
pub(crate) use skelgen_abi::attr::name16;

/// Makes one bpf() system call.
///
/// `attr` is the request: the beginning of `union bpf_attr` as far as the command needs it. The kernel treats the fields beyond its end as
/// zero.
///
/// # Safety
/// Every pointer in `attr` that the command uses must be valid for the number of bytes that the command reads or writes
/// there.
pub(crate) unsafe fn bpf<A: attr::Attr>(command: Command, attr: &mut A) -> Result<i32, Errno> {
    // SAFETY: the caller's contract is the same; `attr` is a live value of this size.
    unsafe { bpf_raw(command, std::ptr::from_mut(attr).cast(), size_of::<A>()) }
}

/// Makes the call, or lets the recorder make it.
///
/// # Safety
/// The requirements of [`bpf`] apply, and `attr` must be valid for reads and writes of `size` bytes.
unsafe fn bpf_raw(command: Command, attr: *mut u8, size: usize) -> Result<i32, Errno> {
    let call = trace::RECORDER.get().map_or(call as trace::Call, |recorder| recorder.call);
    // SAFETY: the caller's contract is the same.
    unsafe { call(command, attr, size) }
}

/// Makes the call without recording it.
///
/// # Safety
/// The requirements of [`bpf_raw`] apply.
unsafe fn call(command: Command, attr: *mut u8, size: usize) -> Result<i32, Errno> {
    // SAFETY: `attr` is valid for `size` bytes, and its pointers are valid by this function's own contract.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command.0, attr, size) };
    i32::try_from(result).ok().filter(|&result| result >= 0).ok_or_else(Errno::last)
}

/// Makes one bpf() system call that returns a file descriptor.
///
/// # Safety
/// The requirements of [`bpf`] apply, and the command must be one that returns a new file descriptor.
pub(crate) unsafe fn bpf_fd<A: attr::Attr>(command: Command, attr: &mut A) -> Result<OwnedFd, Errno> {
    // SAFETY: the caller's contract is the same; `attr` is a live value of this size.
    unsafe { bpf_fd_raw(command, std::ptr::from_mut(attr).cast(), size_of::<A>()) }
}

/// Makes the call of [`bpf_fd`].
///
/// # Safety
/// The requirements of [`bpf_fd`] and [`bpf_raw`] apply.
unsafe fn bpf_fd_raw(command: Command, attr: *mut u8, size: usize) -> Result<OwnedFd, Errno> {
    // SAFETY: the caller's contract is the same.
    let fd = unsafe { bpf_raw(command, attr, size) }?;
    // SAFETY: the command succeeded, so this is a new file descriptor without another owner.
    let own = unsafe { own(fd) }?;
    if let Some(recorder) = trace::RECORDER.get().filter(|_| own.as_raw_fd() != fd) {
        (recorder.moved)(&own);
    }
    Ok(own)
}

/// Takes ownership of a file descriptor that a system call has returned. Moves the file descriptors 0 to 2 to higher
/// numbers: a process that has closed its standard streams gets these numbers, but in many fields of requests 0 means
/// that there is no file descriptor.
///
/// # Safety
/// The file descriptor has no other owner.
unsafe fn own(fd: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: promised by the caller.
    let own = unsafe { OwnedFd::from_raw_fd(fd) };
    match fd {
        // The copy has the lowest free number above 2, and the flag `FD_CLOEXEC`, as the file descriptors of bpf()
        // have.
        0..=2 => own.try_clone().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EMFILE))),
        _ => Ok(own),
    }
}

/// Makes one bpf() system call that returns a file descriptor, with a buffer for the kernel's log. It is not recorded, because it repeats a
/// request that was rejected.
///
/// # Safety
/// The requirements of [`bpf_fd`] apply, and the log of `common` must be valid for writes of its size.
unsafe fn bpf_with_log<A: attr::Attr>(
    command: Command,
    attr: &mut A,
    common: &mut attr::CommonAttr,
) -> Result<OwnedFd, Errno> {
    let (command, common) = (command.0 | attr::COMMON_ATTRS, std::ptr::from_mut(common));
    // SAFETY: both are live values of exactly these sizes, and their pointers are valid by this function's own
    // contract. Kernels that do not know the bit reject the command (`EINVAL`) before they read either value.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attr),
            size_of::<A>(),
            common,
            size_of::<attr::CommonAttr>(),
        )
    };
    let fd = i32::try_from(result).ok().filter(|&result| result >= 0).ok_or_else(Errno::last)?;
    // SAFETY: the command succeeded, so this is a new file descriptor without another owner.
    unsafe { own(fd) }
}

/// Raises this process's limit on locked memory to infinity or, without `CAP_SYS_RESOURCE`, to the hard limit. Returns
/// whether the limit was raised. Kernels before 5.11 count maps and programs against this limit.
pub(crate) fn lift_memlock() -> Result<bool, Errno> {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `now` is a live value of the right type.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut now) } != 0 {
        return Err(Errno::last());
    }
    let set = |most: libc::rlim_t| {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: `limit` is a live value of the right type.
        let result = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
        if result == 0 { Ok(now.rlim_cur != most) } else { Err(Errno::last()) }
    };
    match set(libc::RLIM_INFINITY) {
        Err(errno) if errno.raw() == libc::EPERM => set(now.rlim_max),
        result => result,
    }
}

/// Raises the limit on locked memory, unless that was attempted before. Returns whether it was raised, so that another
/// attempt of a rejected request can succeed.
pub(crate) fn lift_memlock_once(attempted: &mut bool) -> bool {
    !std::mem::replace(attempted, true) && lift_memlock().unwrap_or(false)
}

/// Returns the path of a file that describes a file descriptor, in this directory of `/proc`: `fd` or `fdinfo`.
pub(crate) fn shown(directory: &str, fd: BorrowedFd<'_>) -> String {
    // Threads can have separate file descriptor tables.
    format!("/proc/thread-self/{directory}/{}", fd.as_raw_fd())
}

/// Converts a path to a C string.
pub(crate) fn c_path(path: &Path) -> Result<CString, Error> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| {
        Error::invalid(format_args!("path {} contains a NUL byte", path.display())).about(Subject::Path(path))
    })
}

/// Returns the pointer to a slice for a request; zero for an empty slice.
fn address<T>(slice: &[T]) -> u64 {
    if slice.is_empty() { 0 } else { slice.as_ptr().expose_provenance() as u64 }
}

/// Returns the pointer to a slice that the kernel writes; zero for an empty slice.
fn address_mut<T>(slice: &mut [T]) -> u64 {
    if slice.is_empty() { 0 } else { slice.as_mut_ptr().expose_provenance() as u64 }
}

/// Converts a length for a request.
fn len32(len: usize) -> Result<u32, Errno> {
    u32::try_from(len).map_err(|_| Errno::from_raw(libc::E2BIG))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs in a child process, whose standard input it closes.
    #[test]
    #[cfg_attr(miri, ignore = "calls the kernel")]
    fn file_descriptors_of_standard_streams_are_moved() {
        // SAFETY: the child makes system calls and ends.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: nothing in the child uses its standard input.
            let low = unsafe { libc::close(0) } + unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY) };
            // SAFETY: the file descriptor is new.
            let moved = unsafe { own(low) };
            let is_moved = moved.as_ref().is_ok_and(|fd| fd.as_raw_fd() > 2);
            // SAFETY: takes numbers.
            let is_closed = unsafe { libc::fcntl(0, libc::F_GETFD) } == -1;
            // SAFETY: ends the process.
            unsafe { libc::_exit(i32::from(low != 0 || !is_moved || !is_closed)) };
        }
        let mut status = 0;
        // SAFETY: `status` is live.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!(status, 0);
    }

    /// Runs in a child process without capabilities.
    #[test]
    #[cfg_attr(miri, ignore = "calls the kernel")]
    fn without_capabilities_the_soft_limit_becomes_the_hard_one() {
        let limits = |soft, hard| libc::rlimit { rlim_cur: soft, rlim_max: hard };
        // SAFETY: the child makes system calls and ends.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let (low, mut now) = (limits(4096, 1 << 16), limits(0, 0));
            // SAFETY: `low` is a live value of the right type.
            let set = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const low) };
            // SAFETY: takes a number. The C library's function would change the user of all threads.
            unsafe { libc::syscall(libc::SYS_setuid, 65534) };
            let raised = lift_memlock().is_ok_and(|raised| raised) && lift_memlock().is_ok_and(|raised| !raised);
            // SAFETY: `now` is a live value of the right type.
            let got = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut now) };
            let holds = set == 0 && got == 0 && raised && now.rlim_cur == 1 << 16;
            // SAFETY: ends the process.
            unsafe { libc::_exit(i32::from(!holds)) };
        }
        let mut status = 0;
        // SAFETY: `status` is live.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!(status, 0);
    }
}
