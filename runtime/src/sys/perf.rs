//! Perf events, which tracepoints and kprobes attach through.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::error::Errno;

/// `struct perf_event_attr` of `linux/perf_event.h` as first published and with the two fields that probes use
/// (`PERF_ATTR_SIZE_VER1`, 72 bytes).
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct EventAttr {
    event_type: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
    config2: u64,
}

const _: () = {
    assert!(size_of::<EventAttr>() == 72);
    assert!(std::mem::offset_of!(EventAttr, config1) == 56);
};

const TYPE_TRACEPOINT: u32 = 2;
/// `PERF_FLAG_FD_CLOEXEC`.
const CLOEXEC: libc::c_ulong = 1 << 3;
/// `PERF_EVENT_IOC_ENABLE` and `PERF_EVENT_IOC_SET_BPF` (`_IO('$', 0)`, `_IOW('$', 8, __u32)`).
#[cfg(not(any(
    target_arch = "mips",
    target_arch = "mips64",
    target_arch = "powerpc",
    target_arch = "powerpc64",
    target_arch = "sparc64"
)))]
const REQUESTS: (libc::c_ulong, libc::c_ulong) = (0x2400, 0x4004_2408);
#[cfg(any(
    target_arch = "mips",
    target_arch = "mips64",
    target_arch = "powerpc",
    target_arch = "powerpc64",
    target_arch = "sparc64"
))]
const REQUESTS: (libc::c_ulong, libc::c_ulong) = (0x2000_2400, 0x8004_2408);

/// The event of the tracepoint of this id, of all processes on one CPU; programs see every CPU all the same.
pub(crate) fn tracepoint(id: u64) -> Result<OwnedFd, Errno> {
    open(&EventAttr {
        event_type: TYPE_TRACEPOINT,
        config: id,
        sample_period: 1,
        wakeup_events: 1,
        ..EventAttr::default()
    })
}

/// The event of a kprobe; `event_type` and `return_bit` are what sysfs says of the kprobe PMU.
pub(crate) fn kprobe(event_type: u32, return_bit: Option<u32>, function: &CStr, offset: u64) -> Result<OwnedFd, Errno> {
    open(&EventAttr {
        event_type,
        config: return_bit.and_then(|bit| 1_u64.checked_shl(bit)).unwrap_or(0),
        config1: function.as_ptr().expose_provenance() as u64,
        config2: offset,
        ..EventAttr::default()
    })
}

fn open(attr: &EventAttr) -> Result<OwnedFd, Errno> {
    let attr = EventAttr { size: super::len32(size_of::<EventAttr>())?, ..*attr };
    // SAFETY: `attr` is a live value of the size it names; its one address, if any, is that of a C string that outlives the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attr,
            -1 as libc::pid_t,
            0 as libc::c_int,
            -1 as libc::c_int,
            CLOEXEC,
        )
    };
    let fd = i32::try_from(fd).ok().filter(|&fd| fd >= 0).ok_or_else(Errno::last)?;
    // SAFETY: the call succeeded, so this is a new file descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a program by ioctl, the way before perf links (5.15); it stays until the event is closed.
pub(crate) fn attach(event: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: this request takes a file descriptor by value.
    let set = unsafe { libc::ioctl(event.as_raw_fd(), REQUESTS.1 as _, program.as_raw_fd()) };
    if set < 0 {
        return Err(Errno::last());
    }
    enable(event)
}

/// Starts an event.
pub(crate) fn enable(event: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: this request takes a number by value.
    let enabled = unsafe { libc::ioctl(event.as_raw_fd(), REQUESTS.0 as _, 0) };
    if enabled < 0 { Err(Errno::last()) } else { Ok(()) }
}
