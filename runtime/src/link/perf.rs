//! Attaching programs to perf events.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::attach::no_process;
use super::event_source::{self, SourceEvent};
use super::{BreakpointAccess, Cache, CacheAccess, CacheResult, HardwareCounter, Link, SoftwareCounter, pmu};
use crate::error::{Error, ErrorKind, LinuxVersion, Result, Step};
use crate::kernel::causes;
use crate::program::Program;
use crate::sys::{cpus, perf as sys};

/// A perf event to open: its counter, how often the program runs, and for which process and CPU.
///
/// ```no_run
/// use skelgen_runtime::link::{PerfEvent, Sample, SoftwareCounter};
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// // A profiler: 99 times a second on each CPU, for all processes.
/// let profile = PerfEvent::software(SoftwareCounter::CpuClock).sample(Sample::Frequency(99));
/// let link = program.attach_perf_on_each_cpu(profile)?;
/// # Ok(())
/// # }
/// ```
///
/// ```
/// use skelgen_runtime::link::PerfEvent;
///
/// // A raw event of the CPU, counted in kernel mode for this process, also for threads that it creates later.
/// let event = PerfEvent::raw(0x01b7).pid(std::process::id()).inherit(true).exclude_user(true).exclude_kernel(false);
/// assert_ne!(event, PerfEvent::raw(0x01b8));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct PerfEvent {
    event_type: u32,
    /// `config`, `config1` and so on.
    config: [u64; 5],
    breakpoint: Option<BreakpointAccess>,
    sample: Sample,
    pid: Option<u32>,
    cpu: Option<u32>,
    is_inherited: bool,
    excludes_user: bool,
    excludes_kernel: bool,
}

/// The rate at which a program runs for a perf event.
///
/// ```
/// use skelgen_runtime::link::{HardwareCounter, PerfEvent, Sample};
///
/// let profile = PerfEvent::hardware(HardwareCounter::CpuCycles).sample(Sample::Frequency(99));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sample {
    /// Each time the event has been counted this many times.
    Period(u64),
    /// About this many times a second.
    Frequency(u64),
}

/// Types of events (`PERF_TYPE_*`).
const HARDWARE: u32 = 0;
const SOFTWARE: u32 = 1;
const CACHE: u32 = 3;
const RAW: u32 = 4;
const BREAKPOINT: u32 = 5;

impl PerfEvent {
    /// Creates an event from its type (`PERF_TYPE_*` of `linux/perf_event.h`, or the number of an event source in
    /// sysfs) and the `config` of that type. By default it is for all processes on CPU 0, and the program runs a
    /// thousand times a second.
    pub const fn new(event_type: u32, config: u64) -> Self {
        Self {
            event_type,
            config: [config, 0, 0, 0, 0],
            breakpoint: None,
            sample: Sample::Frequency(1000),
            pid: None,
            cpu: Some(0),
            is_inherited: false,
            excludes_user: false,
            excludes_kernel: false,
        }
    }

    /// Creates an event of a software counter (`PERF_TYPE_SOFTWARE`), with the defaults of [`new`](Self::new).
    pub const fn software(counter: SoftwareCounter) -> Self {
        Self::new(SOFTWARE, counter as u64)
    }

    /// Creates an event of a hardware counter (`PERF_TYPE_HARDWARE`), with the defaults of [`new`](Self::new).
    pub const fn hardware(counter: HardwareCounter) -> Self {
        Self::new(HARDWARE, counter as u64)
    }

    /// Creates an event of a cache of the CPU (`PERF_TYPE_HW_CACHE`), with the defaults of [`new`](Self::new). Few CPUs
    /// have all combinations.
    ///
    /// ```
    /// use skelgen_runtime::link::{Cache, CacheAccess, CacheResult, PerfEvent};
    /// let misses = PerfEvent::cache(Cache::DataTlb, CacheAccess::Write, CacheResult::Miss);
    /// assert_eq!(misses, PerfEvent::new(3, 0x1_01_03));
    /// ```
    pub const fn cache(cache: Cache, access: CacheAccess, result: CacheResult) -> Self {
        Self::new(CACHE, cache as u64 | (access as u64) << 8 | (result as u64) << 16)
    }

    /// Creates an event of the CPU by the number in its manual (`PERF_TYPE_RAW`), with the defaults of
    /// [`new`](Self::new).
    pub const fn raw(config: u64) -> Self {
        Self::new(RAW, config)
    }

    /// Creates an event of an event source (PMU) of `/sys/bus/event_source/devices`: of the CPU, or of another device.
    ///
    /// `event` is a name in `events/` of the source, or terms in `format/` with values, separated by commas, or both, as
    /// between the slashes of `perf stat -e cpu/event=0xc0,umask=1/`. Values are decimal or hexadecimal; a term without a
    /// value is 1. The terms `config` to `config4` set whole words (`config3` since Linux 6.3).
    ///
    /// The defaults are those of [`new`](Self::new), except the CPU: it is the first one in `cpumask` or `cpus` of the
    /// source, if the source has one of these files.
    ///
    /// ```no_run
    /// use skelgen_runtime::link::{PerfEvent, Sample};
    /// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// let retired = PerfEvent::source("cpu", "event=0xc0,umask=0x01")?.sample(Sample::Period(1_000_000));
    /// let link = program.attach_perf_on_each_cpu(retired)?;
    /// let loads = PerfEvent::source("cpu", "mem-loads,ldlat=30")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If there is no such source, event or term, or a value has more bits than the term. The error lists the valid
    /// ones.
    #[doc(alias = "pmu")]
    pub fn source(source: &str, event: &str) -> Result<Self> {
        let SourceEvent { event_type, config, cpu } = event_source::find(source, event)?;
        let event = Self { config, ..Self::new(event_type, 0) };
        Ok(Self { cpu: cpu.or(event.cpu), ..event })
    }

    /// Creates an event of accesses to `len` bytes (1, 2, 4 or 8) at an address of the process that is set with
    /// [`pid`](Self::pid), or of the kernel (`PERF_TYPE_BREAKPOINT`). The program runs for every access. The CPU limits
    /// the number of breakpoints, often to four. For executions, `len` must be the size of `unsigned long`, and the
    /// program runs before the instruction.
    ///
    /// ```no_run
    /// use skelgen_runtime::link::{BreakpointAccess, PerfEvent};
    /// # fn f(program: &skelgen_runtime::Program, counter: &u64) -> skelgen_runtime::Result<()> {
    /// let address = std::ptr::from_ref(counter).addr() as u64;
    /// let writes = PerfEvent::breakpoint(address, 8, BreakpointAccess::Write).pid(std::process::id()).cpu(None);
    /// let link = program.attach_perf(writes)?;
    /// # Ok(())
    /// # }
    /// ```
    pub const fn breakpoint(address: u64, len: u64, access: BreakpointAccess) -> Self {
        let event = Self::new(BREAKPOINT, 0);
        Self { config: [0, address, len, 0, 0], breakpoint: Some(access), sample: Sample::Period(1), ..event }
    }

    /// Sets how often the program runs; a thousand times a second by default.
    pub const fn sample(self, sample: Sample) -> Self {
        Self { sample, ..self }
    }

    /// Limits the event to the thread with this id; `None`, the default, is all threads of the CPU. The id of a process
    /// selects its first thread; for threads that are created later, see [`inherit`](Self::inherit).
    pub fn pid(self, pid: impl Into<Option<u32>>) -> Self {
        Self { pid: pid.into(), ..self }
    }

    /// Limits the event to this CPU, by default CPU 0; `None` is every CPU, which requires a process.
    pub fn cpu(self, cpu: impl Into<Option<u32>>) -> Self {
        Self { cpu: cpu.into(), ..self }
    }

    /// Sets whether the event also counts threads and processes that the thread creates later; `false` by default. It
    /// has no effect on events that are not limited to a thread.
    pub const fn inherit(self, inherit: bool) -> Self {
        Self { is_inherited: inherit, ..self }
    }

    /// Excludes user mode from the count; `false` by default.
    pub const fn exclude_user(self, exclude: bool) -> Self {
        Self { excludes_user: exclude, ..self }
    }

    /// Excludes kernel mode from the count; `false` by default.
    pub const fn exclude_kernel(self, exclude: bool) -> Self {
        Self { excludes_kernel: exclude, ..self }
    }

    /// Opens the event.
    ///
    /// # Errors
    /// If the thread id is 0, or the kernel rejects the event: neither a process nor a CPU is set, or the system does
    /// not have the event.
    pub fn open(&self) -> Result<OwnedFd> {
        let (is_frequency, sample) = match self.sample {
            Sample::Period(events) => (false, events),
            Sample::Frequency(times) => (true, times),
        };
        let doing = "cannot open a perf event";
        if self.pid == Some(0) {
            return Err(no_process().within(doing).during(Step::Attach));
        }
        let number = |number: u32| {
            i32::try_from(number).map_err(|_| {
                Error::invalid(format_args!("{doing}: the process id or the CPU number exceeds `i32::MAX`"))
                    .during(Step::Attach)
            })
        };
        let event = sys::Sampled {
            event_type: self.event_type,
            config: self.config,
            breakpoint: self.breakpoint.map_or(0, |access| access as u32),
            is_inherited: self.is_inherited,
            excludes_user: self.excludes_user,
            excludes_kernel: self.excludes_kernel,
            sample,
            is_frequency,
            pid: self.pid.map(number).transpose()?,
            cpu: self.cpu.map(number).transpose()?,
        };
        sys::sampled(&event).map_err(|errno| {
            let Self { event_type, config: [config, config1, config2, config3, config4], .. } = self;
            let mut what = format!("type {event_type} and config {config:#x}");
            for (name, word) in [("config1", config1), ("config2", config2), ("config3", config3), ("config4", config4)] {
                if *word != 0 {
                    what.push_str(&format!(", {name} {word:#x}"));
                }
            }
            let error = Error::refused(format_args!("cannot open a perf event of {what}"), errno).during(Step::Attach);
            match errno.raw() {
                libc::EINVAL | libc::ENOSPC | libc::EBUSY if self.breakpoint.is_some() => error.with_help(
                    "the address must be a multiple of the length, and lie in the kernel or in the process set with `PerfEvent::pid`; the CPU limits the number of breakpoints and the kinds of access",
                ),
                libc::E2BIG => {
                    causes::since(error, LinuxVersion::new(6, 3), "`config3` of perf events needs Linux 6.3, `config4` a newer one")
                }
                libc::EINVAL if self.pid.is_none() && self.cpu.is_none() => {
                    error.with_kind(ErrorKind::InvalidInput).with_help("set a process or a CPU")
                }
                libc::EINVAL => error
                    .with_help("the frequency may exceed /proc/sys/kernel/perf_event_max_sample_rate: set a lower one"),
                libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV => {
                    error.note("the system does not have this event; VMs often have no hardware events")
                }
                _ => pmu::refused_event(error, errno),
            }
        })
    }
}

/// A perf event that is already open.
///
/// ```no_run
/// use skelgen_runtime::link::{OpenEvent, PerfEvent, SoftwareCounter};
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let event = PerfEvent::software(SoftwareCounter::CpuClock).open()?;
/// let link = program.attach_perf_event(OpenEvent::new(&event).cookie(7))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct OpenEvent<'a> {
    event: BorrowedFd<'a>,
    cookie: u64,
}

impl<'a> OpenEvent<'a> {
    /// Creates the target from the file descriptor of the event.
    pub fn new(event: &'a impl AsFd) -> Self {
        Self { event: event.as_fd(), cookie: 0 }
    }

    /// Sets the cookie: the number that the program reads with `bpf_get_attach_cookie` (Linux 5.15). The default, 0,
    /// means no cookie and is accepted by all kernels.
    pub const fn cookie(self, cookie: u64) -> Self {
        Self { cookie, ..self }
    }
}

impl Program {
    /// Opens a perf event and attaches to it.
    ///
    /// # Errors
    /// If the program was not loaded, the kernel does not have the event, or rejects the program.
    pub fn attach_perf(&self, event: PerfEvent) -> Result<Link> {
        let program = self.fd()?;
        let opened = event.open().map_err(|error| self.attaching(error))?;
        pmu::attach((program, self.name()), opened, 0).map_err(|errno| self.refused("a perf event", errno))
    }

    /// Opens a perf event and attaches to it on each online CPU, instead of the CPU of `event`. If the event source has a
    /// list of CPUs in sysfs (`cpus` or `cpumask`), only the listed CPUs are used. One link represents all events: it
    /// cannot be pinned and has no [`info`](Link::info).
    ///
    /// # Errors
    /// Those of [`attach_perf`](Self::attach_perf), or if no CPU has the event. On error, the program is not attached to
    /// any event.
    pub fn attach_perf_on_each_cpu(&self, event: PerfEvent) -> Result<Link> {
        let mut attached: Option<Link> = None;
        let mut offline = None;
        let within = |error: Error| self.attaching(error);
        let (possible, of_source) =
            (cpus::possible().map_err(within)?, event_source::cpus(event.event_type).map_err(within)?);
        for cpu in possible.iter().filter(|&cpu| of_source.as_ref().is_none_or(|cpus| cpus.contains(cpu))) {
            match (self.attach_perf(event.cpu(cpu)), &mut attached) {
                (Ok(link), Some(attached)) => attached.add(link),
                (Ok(link), None) => attached = Some(link),
                // The CPU is offline.
                (Err(error), _) if error.errno().is_some_and(|errno| errno.raw() == libc::ENODEV) => {
                    offline.get_or_insert(error);
                }
                (Err(error), _) => return Err(error),
            }
        }
        match (attached, offline) {
            (Some(link), _) => Ok(link),
            (None, Some(error)) => Err(error),
            (None, None) => Err(within(Error::not_found("no CPU has the event"))),
        }
    }

    /// Attaches to an open perf event. Kernels before 5.15 keep the program attached until the last file descriptor of the
    /// event is closed.
    ///
    /// # Errors
    /// If the program was not loaded, the event already has a program, or the kernel rejects the program.
    pub fn attach_perf_event(&self, event: OpenEvent<'_>) -> Result<Link> {
        let OpenEvent { event, cookie } = event;
        let program = self.fd()?;
        let own = event.try_clone_to_owned();
        let own = own.map_err(|error| self.not_attached("a perf event", &error))?;
        pmu::attach((program, self.name()), own, cookie).map_err(|errno| {
            let error = self.refused("a perf event", errno);
            match errno.raw() {
                libc::EEXIST => error.note("the event already has another program"),
                _ if cookie != 0 => {
                    causes::since(error, LinuxVersion::new(5, 15), "cookies of perf events need Linux 5.15")
                }
                _ => error,
            }
        })
    }
}
