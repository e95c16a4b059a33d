//! The system calls, each behind a safe function that takes and gives owned or borrowed Rust values.
//!
//! # Safety
//! This folder is where the runtime's `unsafe` lives. `bpf()` reads and writes the memory that a request points to, so a request
//! is only built by the functions of this folder, from slices whose lengths they have checked against what the kernel will use.
//! Nothing outside builds one. Knows file descriptors and bytes; no plan, map handle or skeleton.
#![allow(unsafe_code, reason = "system calls are made here; see the module's `# Safety`")]

pub(crate) mod attr;
pub(crate) mod elem;
pub(crate) mod mmap;

use std::os::fd::{FromRawFd, OwnedFd};

use crate::error::Errno;
use crate::uapi::Command;

/// Makes one bpf() system call.
///
/// `attr` is the request: the beginning of `union bpf_attr` as far as the command needs it. What the kernel does not know is
/// zero to it, and what it knows beyond the end it takes for zero.
///
/// # Safety
/// Every address in `attr` that the command reads or writes must be valid for as many bytes as the command will use.
pub(crate) unsafe fn bpf<A: attr::Attr>(command: Command, attr: &mut A) -> Result<i32, Errno> {
    // SAFETY: `attr` is a live value of exactly this size, and its addresses are valid by this function's own contract.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command.0, std::ptr::from_mut(attr), size_of::<A>()) };
    i32::try_from(result).ok().filter(|&result| result >= 0).ok_or_else(Errno::last)
}

/// Makes one bpf() system call that gives a file descriptor.
///
/// # Safety
/// As for [`bpf`], and the command must be one that gives a new file descriptor.
#[allow(dead_code, reason = "for the executor of plans")]
pub(crate) unsafe fn bpf_fd<A: attr::Attr>(command: Command, attr: &mut A) -> Result<OwnedFd, Errno> {
    // SAFETY: the caller's contract is the same.
    let fd = unsafe { bpf(command, attr) }?;
    // SAFETY: the command succeeded, so this is a new file descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
