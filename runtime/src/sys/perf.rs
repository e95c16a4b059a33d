//! Perf events: for attaching to tracepoints and probes, for sampling, and as buffers that programs write to.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use crate::error::Errno;

/// `struct perf_event_attr` of `linux/perf_event.h` (Linux 7.3.4, `PERF_ATTR_SIZE_VER9`). Older kernels accept the
/// longer struct if the fields that they do not have are zero.
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
    /// The fields that select the contents of records. They are not used, and zero.
    records: [u64; 7],
    config3: u64,
    config4: u64,
}

const _: () = {
    assert!(size_of::<EventAttr>() == 144);
    assert!(std::mem::offset_of!(EventAttr, config1) == 56);
    assert!(std::mem::offset_of!(EventAttr, config3) == 128);
};

const TYPE_SOFTWARE: u32 = 1;
const TYPE_TRACEPOINT: u32 = 2;
/// `PERF_FLAG_FD_CLOEXEC`.
const CLOEXEC: libc::c_ulong = 1 << 3;
/// `PERF_EVENT_IOC_ENABLE`, `PERF_EVENT_IOC_DISABLE` and `PERF_EVENT_IOC_SET_BPF` (`_IO('$', 0)`, `_IO('$', 1)`,
/// `_IOW('$', 8, __u32)`).
#[cfg(not(any(
    target_arch = "mips",
    target_arch = "mips64",
    target_arch = "powerpc",
    target_arch = "powerpc64",
    target_arch = "sparc64"
)))]
const REQUESTS: Requests = Requests { enable: 0x2400, disable: 0x2401, set_bpf: 0x4004_2408 };
#[cfg(any(
    target_arch = "mips",
    target_arch = "mips64",
    target_arch = "powerpc",
    target_arch = "powerpc64",
    target_arch = "sparc64"
))]
const REQUESTS: Requests = Requests { enable: 0x2000_2400, disable: 0x2000_2401, set_bpf: 0x8004_2408 };

struct Requests {
    enable: libc::c_ulong,
    disable: libc::c_ulong,
    set_bpf: libc::c_ulong,
}

/// Opens the event of a tracepoint by its id, for all processes on one CPU. A program that is attached to the event
/// runs on every CPU.
pub(crate) fn tracepoint(id: u64) -> Result<OwnedFd, Errno> {
    let attr = EventAttr {
        event_type: TYPE_TRACEPOINT,
        config: id,
        sample_period: 1,
        wakeup_events: 1,
        ..EventAttr::default()
    };
    open(&attr, (ANY, 0))
}

/// A kprobe or uprobe: the attributes of its PMU in sysfs, and its target.
#[derive(Debug)]
pub(crate) struct Probe<'a> {
    /// The type of the PMU.
    pub(crate) event_type: u32,
    /// The bit for a probe at the function's return, and the offset of a reference counter.
    pub(crate) config: u64,
    /// The kernel function, or the path of the file.
    pub(crate) name: &'a CStr,
    /// The offset from the beginning of the function or file, in bytes.
    pub(crate) offset: u64,
    /// The only process that triggers the probe, if set.
    pub(crate) pid: Option<i32>,
}

/// Opens the event of a probe.
pub(crate) fn probe(probe: &Probe<'_>) -> Result<OwnedFd, Errno> {
    let attr = EventAttr {
        event_type: probe.event_type,
        config: probe.config,
        config1: probe.name.as_ptr().expose_provenance() as u64,
        config2: probe.offset,
        ..EventAttr::default()
    };
    open(&attr, probe.pid.map_or((ANY, 0), |pid| (pid, ANY)))
}

/// A sampled event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampled {
    pub(crate) event_type: u32,
    /// `config`, `config1` and so on.
    pub(crate) config: [u64; 5],
    /// The access that triggers a breakpoint; 0 for other events.
    pub(crate) breakpoint: u32,
    /// Whether new threads and child processes inherit the event.
    pub(crate) is_inherited: bool,
    pub(crate) excludes_user: bool,
    pub(crate) excludes_kernel: bool,
    /// The number of events between two samples or, as a frequency, the number of samples a second.
    pub(crate) sample: u64,
    pub(crate) is_frequency: bool,
    pub(crate) pid: Option<i32>,
    pub(crate) cpu: Option<i32>,
}

/// Opens a sampled event, for all processes if `pid` is `None`.
pub(crate) fn sampled(event: &Sampled) -> Result<OwnedFd, Errno> {
    let [config, config1, config2, config3, config4] = event.config;
    let flags = [
        (event.is_frequency, FREQUENCY),
        (event.is_inherited, INHERIT),
        (event.excludes_user, EXCLUDE_USER),
        (event.excludes_kernel, EXCLUDE_KERNEL),
    ];
    let attr = EventAttr {
        event_type: event.event_type,
        config,
        // `sample_period` and `sample_freq` are one field.
        sample_period: event.sample,
        flags: flags.iter().filter(|(is_set, _)| *is_set).fold(0, |flags, (_, flag)| flags | flag),
        bp_type: event.breakpoint,
        config1,
        config2,
        config3,
        config4,
        ..EventAttr::default()
    };
    open(&attr, (event.pid.unwrap_or(ANY), event.cpu.unwrap_or(ANY)))
}

/// When waiters on the memory of an event are woken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wakeup {
    /// After this number of samples.
    Samples(u32),
    /// After this number of bytes.
    Bytes(u32),
}

/// Opens an event on one CPU that programs output to, initially disabled. Each sample contains the bytes that a program
/// has output (`PERF_COUNT_SW_BPF_OUTPUT`, `PERF_SAMPLE_RAW`).
pub(crate) fn output(cpu: i32, wakeup: Wakeup) -> Result<OwnedFd, Errno> {
    // `wakeup_events` and `wakeup_watermark` are one field; a flag selects its meaning.
    let (flags, wakeup_events) = match wakeup {
        Wakeup::Samples(count) => (DISABLED, count),
        Wakeup::Bytes(count) => (DISABLED | WATERMARK, count),
    };
    let attr = EventAttr {
        event_type: TYPE_SOFTWARE,
        config: 10,
        sample_period: 1,
        sample_type: 1 << 10,
        flags,
        wakeup_events,
        ..EventAttr::default()
    };
    open(&attr, (ANY, cpu))
}

/// All processes, or all CPUs.
const ANY: i32 = -1;

/// The flags `disabled`, `inherit`, `exclude_user`, `exclude_kernel`, `freq` and `watermark` of `struct perf_event_attr`.
const DISABLED: u64 = flag(0);
const INHERIT: u64 = flag(1);
const EXCLUDE_USER: u64 = flag(4);
const EXCLUDE_KERNEL: u64 = flag(5);
const FREQUENCY: u64 = flag(10);
const WATERMARK: u64 = flag(14);

/// Returns the mask of a bit field of `struct perf_event_attr`; big-endian architectures count bit fields from the most
/// significant bit.
const fn flag(bit: u32) -> u64 {
    if cfg!(target_endian = "little") { 1 << bit } else { 1 << (63 - bit) }
}

/// Opens an event.
fn open(attr: &EventAttr, (pid, cpu): (i32, i32)) -> Result<OwnedFd, Errno> {
    let attr = EventAttr { size: super::len32(size_of::<EventAttr>())?, ..*attr };
    // SAFETY: `attr` is a live value of the size in its field. The kernel writes through no pointer in it. For some
    // PMUs, a config field is the address of a C string (kprobes, uprobes) or of a breakpoint; the kernel validates
    // what it reads there.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attr, pid, cpu, ANY, CLOEXEC) };
    let fd = i32::try_from(fd).ok().filter(|&fd| fd >= 0).ok_or_else(Errno::last)?;
    // SAFETY: the call succeeded, so this is a new file descriptor without another owner.
    unsafe { super::own(fd) }
}

/// Attaches a program by ioctl, for kernels without perf links (before Linux 5.15). The program stays attached until
/// the event is closed.
pub(crate) fn attach(event: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: this request takes a file descriptor by value.
    let set = unsafe { libc::ioctl(event.as_raw_fd(), REQUESTS.set_bpf as _, program.as_raw_fd()) };
    if set < 0 {
        return Err(Errno::last());
    }
    enable(event)
}

/// Enables an event.
pub(crate) fn enable(event: BorrowedFd<'_>) -> Result<(), Errno> {
    switch(event, REQUESTS.enable)
}

/// Disables an event.
pub(crate) fn disable(event: BorrowedFd<'_>) -> Result<(), Errno> {
    switch(event, REQUESTS.disable)
}

fn switch(event: BorrowedFd<'_>, request: libc::c_ulong) -> Result<(), Errno> {
    // SAFETY: both requests take a number by value.
    let switched = unsafe { libc::ioctl(event.as_raw_fd(), request as _, 0) };
    if switched < 0 { Err(Errno::last()) } else { Ok(()) }
}
