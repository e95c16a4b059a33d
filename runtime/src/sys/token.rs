//! BPF tokens: rights that a bpffs delegates to a user namespace.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::attr::TokenCreate;
use super::bpf_fd;
use crate::error::Errno;
use crate::uapi::Command;

/// Creates a token with the rights that the root of a bpffs delegates (Linux 6.9).
pub(crate) fn create(bpffs: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mut attr = TokenCreate { bpffs_fd: bpffs.as_raw_fd(), ..TokenCreate::default() };
    // SAFETY: `attr` contains no pointers.
    unsafe { bpf_fd(Command::TOKEN_CREATE, &mut attr) }
}

/// Requests a token of a bpffs that does not exist. `EINVAL` means that the kernel does not know the command, and `EBADF` that it does.
pub(crate) fn create_nothing() -> Result<(), Errno> {
    let mut attr = TokenCreate { bpffs_fd: -1, ..TokenCreate::default() };
    // SAFETY: `attr` contains no pointers.
    unsafe { bpf_fd(Command::TOKEN_CREATE, &mut attr) }.map(drop)
}
