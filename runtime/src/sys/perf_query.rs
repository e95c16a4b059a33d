//! Queries which program is attached to a perf event of a process (`BPF_TASK_FD_QUERY`).

use super::attr::TaskFdQuery;
use super::{address_mut, bpf, len32};
use crate::error::Errno;
use crate::uapi::Command;

/// The kernel's answer.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) program_id: u32,
    /// One of `enum bpf_task_fd_type`.
    pub(crate) kind: u32,
    /// The name of a tracepoint or function, or the path of a file, without its NUL; empty if there is none.
    pub(crate) name: Vec<u8>,
    pub(crate) offset: u64,
    pub(crate) address: u64,
}

/// Queries the program that is attached to the perf event of a process's file descriptor.
pub(crate) fn query(pid: u32, fd: u32) -> Result<Found, Errno> {
    // Longer than any path.
    let mut name = vec![0; 4096];
    let mut attr =
        TaskFdQuery { pid, fd, buf_len: len32(name.len())?, buf: address_mut(&mut name), ..TaskFdQuery::default() };
    // SAFETY: the kernel writes at most `buf_len` bytes to the buffer, which outlives the call.
    unsafe { bpf(Command::TASK_FD_QUERY, &mut attr) }?;
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    name.truncate(end);
    Ok(Found {
        program_id: attr.prog_id,
        kind: attr.fd_type,
        name,
        offset: attr.probe_offset,
        address: attr.probe_addr,
    })
}
