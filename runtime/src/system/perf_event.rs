//! The program that is attached to a perf event of a process.

use std::os::fd::RawFd;

use crate::error::{Errno, Error, Result, Step, Subject};
use crate::sys::perf_query as sys;

/// The program that is attached to a perf event, returned by [`perf_event`].
///
/// ```no_run
/// # fn f(pid: u32, fd: std::os::fd::RawFd) -> skelgen_runtime::Result<()> {
/// let info = skelgen_runtime::system::perf_event(pid, fd)?;
/// println!("program {} is attached to {:?}", info.program_id, info.target);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PerfEventInfo {
    /// The id of the program: see [`Program::from_id`](crate::Program::from_id).
    pub program_id: u32,
    /// The event.
    pub target: PerfEventTarget,
}

/// What the program of a [`PerfEventInfo`] is attached to.
///
/// ```no_run
/// # fn f(pid: u32, fd: std::os::fd::RawFd) -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::system::{self, PerfEventTarget};
///
/// if let PerfEventTarget::Tracepoint { name, .. } = system::perf_event(pid, fd)?.target {
///     println!("tracepoint {name}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names of the fields describe them")]
pub enum PerfEventTarget {
    /// A raw tracepoint; its file descriptor is a link, not a perf event.
    #[non_exhaustive]
    RawTracepoint { name: String },
    /// A tracepoint, or the entry or exit of a system call.
    #[non_exhaustive]
    Tracepoint { name: String },
    /// A kernel function, with the offset of the probe in bytes. The function is `None` if the probe was created by its
    /// address. The address is `None` if the kernel does not report it: older kernels report only one of the two, and
    /// `/proc/sys/kernel/kptr_restrict` can hide addresses.
    #[non_exhaustive]
    Kprobe { function: Option<String>, offset: u64, address: Option<u64>, at_return: bool },
    /// An offset in a file, in bytes.
    #[non_exhaustive]
    Uprobe { path: String, offset: u64, at_return: bool },
    /// An event of a kind that this version of the crate does not support.
    Unknown,
}

/// Returns the program that is attached to a perf event of a process, and the target of the event (`BPF_TASK_FD_QUERY`,
/// Linux 4.18).
///
/// `pid` is the id of a process or thread in this process's PID namespace, `fd` the number of one of its file
/// descriptors: those in `/proc/PID/fd` that are `anon_inode:[perf_event]`. Before Linux 5.15, perf events have no
/// links, so only this query reports the target of a program. Newer kernels report the target also for links
/// ([`Link::info`](crate::Link::info)), but not for programs that were attached without one (`PERF_EVENT_IOC_SET_BPF`).
///
/// ```no_run
/// use skelgen_runtime::system;
/// use std::os::fd::RawFd;
///
/// /// Prints the probes of a process that were attached without links.
/// fn probes(pid: u32) -> Result<(), Box<dyn std::error::Error>> {
///     for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
///         let entry = entry?;
///         if std::fs::read_link(entry.path())?.to_str() == Some("anon_inode:[perf_event]") {
///             let fd: RawFd = entry.file_name().to_string_lossy().parse()?;
///             println!("{:?}", system::perf_event(pid, fd)?);
///         }
///     }
///     Ok(())
/// }
/// ```
///
/// # Errors
/// If the process does not have `CAP_SYS_ADMIN`, there is no process or thread `pid` or no program is attached (both
/// `ENOENT`), `fd` is not open in it (`EBADF`), or the kernel does not describe its kind: other file descriptors,
/// links, and events with a program of type `perf_event` (kind [`Unsupported`](crate::ErrorKind::Unsupported)).
pub fn perf_event(pid: u32, fd: RawFd) -> Result<PerfEventInfo> {
    let what = || format!("cannot query file descriptor {fd} of process {pid}");
    let Ok(number) = u32::try_from(fd) else {
        return Err(Error::invalid(what()).during(Step::ReadInfo).about(Subject::Process(pid)));
    };
    let found = sys::query(pid, number).map_err(|errno| explained(Error::refused(what(), errno), errno, pid))?;
    let sys::Found { program_id, kind, name, offset, address } = found;
    let name = String::from_utf8_lossy(&name).into_owned();
    // `enum bpf_task_fd_type` of linux/bpf.h.
    let target = match kind {
        0 => PerfEventTarget::RawTracepoint { name },
        1 => PerfEventTarget::Tracepoint { name },
        2 | 3 => PerfEventTarget::Kprobe {
            function: (!name.is_empty()).then_some(name),
            offset,
            address: (address != 0).then_some(address),
            at_return: kind == 3,
        },
        4 | 5 => PerfEventTarget::Uprobe { path: name, offset, at_return: kind == 5 },
        _ => PerfEventTarget::Unknown,
    };
    Ok(PerfEventInfo { program_id, target })
}

/// Adds the meaning of the error number for this query as a note.
fn explained(error: Error, errno: Errno, pid: u32) -> Error {
    /// `ENOTSUPP`, an error number internal to the kernel, which this query returns for other file descriptors.
    const ENOTSUPP: i32 = 524;
    let error = error.during(Step::ReadInfo).about(Subject::Process(pid));
    match errno.raw() {
        libc::EPERM => error.with_help("run with CAP_SYS_ADMIN, or as root"),
        libc::ENOENT => error.note("there is no such process, or no program is attached to the perf event"),
        libc::EBADF => error.note("the process has no such file descriptor"),
        ENOTSUPP => error.note("the file descriptor is neither a perf event nor a raw tracepoint"),
        libc::EOPNOTSUPP => error.note("the kernel describes probes and tracepoints, but no other perf events"),
        _ => error,
    }
}
