//! Programs that run when a perf event overflows.

use std::os::fd::{BorrowedFd, OwnedFd};

use super::{HardwareCounter, Link, SoftwareCounter, pmu};
use crate::error::{Error, Result};
use crate::program::Program;
use crate::sys::perf as sys;

/// A perf event to open: what is counted, how often a program sees it, and where.
///
/// ```no_run
/// use skelgen_runtime::link::{PerfEvent, Sample, SoftwareCounter};
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// // A profiler: 99 times a second on each CPU, whatever runs there.
/// let profile = PerfEvent { sample: Sample::Frequency(99), ..PerfEvent::software(SoftwareCounter::CPU_CLOCK) };
/// let links = program.attach_perf_on_each_cpu(&profile)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerfEvent {
    /// The type, `PERF_TYPE_*` of `linux/perf_event.h` or the number of a source of events in sysfs.
    pub event_type: u32,
    /// Which event of that type.
    pub config: u64,
    /// How often the program runs.
    pub sample: Sample,
    /// In which process only, by its id; `None` for all, and then a CPU must be given.
    pub pid: Option<u32>,
    /// On which CPU only; `None` for all, and then a process must be given.
    pub cpu: Option<u32>,
}

/// How often a program sees an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// Each time it has happened so often.
    Period(u64),
    /// About so often a second.
    Frequency(u64),
}

impl PerfEvent {
    /// See [`SoftwareCounter::CPU_CLOCK`].
    pub const CPU_CLOCK: SoftwareCounter = SoftwareCounter::CPU_CLOCK;
    /// See [`SoftwareCounter::TASK_CLOCK`].
    pub const TASK_CLOCK: SoftwareCounter = SoftwareCounter::TASK_CLOCK;
    /// See [`SoftwareCounter::PAGE_FAULTS`].
    pub const PAGE_FAULTS: SoftwareCounter = SoftwareCounter::PAGE_FAULTS;
    /// See [`SoftwareCounter::CONTEXT_SWITCHES`].
    pub const CONTEXT_SWITCHES: SoftwareCounter = SoftwareCounter::CONTEXT_SWITCHES;
    /// See [`SoftwareCounter::CPU_MIGRATIONS`].
    pub const CPU_MIGRATIONS: SoftwareCounter = SoftwareCounter::CPU_MIGRATIONS;

    /// See [`HardwareCounter::CPU_CYCLES`].
    pub const CPU_CYCLES: HardwareCounter = HardwareCounter::CPU_CYCLES;
    /// See [`HardwareCounter::INSTRUCTIONS`].
    pub const INSTRUCTIONS: HardwareCounter = HardwareCounter::INSTRUCTIONS;
    /// See [`HardwareCounter::CACHE_REFERENCES`].
    pub const CACHE_REFERENCES: HardwareCounter = HardwareCounter::CACHE_REFERENCES;
    /// See [`HardwareCounter::CACHE_MISSES`].
    pub const CACHE_MISSES: HardwareCounter = HardwareCounter::CACHE_MISSES;

    /// Returns an event of a counter of the kernel, of all processes on CPU 0, a thousand times a second.
    #[must_use]
    pub const fn software(counter: SoftwareCounter) -> Self {
        Self { event_type: 1, config: counter.0, sample: Sample::Frequency(1000), pid: None, cpu: Some(0) }
    }

    /// Returns an event of a counter of the CPU, of all processes on CPU 0, a thousand times a second.
    #[must_use]
    pub const fn hardware(counter: HardwareCounter) -> Self {
        Self { event_type: 0, config: counter.0, sample: Sample::Frequency(1000), pid: None, cpu: Some(0) }
    }

    /// Opens it.
    ///
    /// # Errors
    /// If the kernel refuses, as it does if neither a process nor a CPU is given or the machine has no such event.
    pub fn open(&self) -> Result<OwnedFd> {
        let (is_frequency, sample) = match self.sample {
            Sample::Period(events) => (false, events),
            Sample::Frequency(times) => (true, times),
        };
        let number = |number: u32| {
            i32::try_from(number).map_err(|_| Error::invalid("opening a perf event: a process or CPU that cannot be"))
        };
        let event = sys::Sampled {
            event_type: self.event_type,
            config: self.config,
            sample,
            is_frequency,
            pid: self.pid.map(number).transpose()?,
            cpu: self.cpu.map(number).transpose()?,
        };
        sys::sampled(&event).map_err(|errno| {
            let Self { event_type, config, .. } = self;
            let error =
                Error::refused(format_args!("opening a perf event of type {event_type} and config {config}"), errno);
            match errno.raw() {
                libc::EINVAL if self.pid.is_none() && self.cpu.is_none() => error.note("it needs a process or a CPU"),
                libc::EINVAL => {
                    error.note("the frequency may be above what /proc/sys/kernel/perf_event_max_sample_rate allows")
                }
                libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV => error
                    .note("the machine has no such event: in virtual machines there often are none of the hardware"),
                _ => pmu::refused_event(error, errno),
            }
        })
    }
}

impl Program {
    /// Opens a perf event and attaches to it.
    ///
    /// # Errors
    /// If it was not loaded, or the kernel has no such event or refuses.
    pub fn attach_perf(&self, event: &PerfEvent) -> Result<Link> {
        let program = self.fd()?;
        let opened = event.open().map_err(|error| error.within(format_args!("attaching program `{}`", self.name())))?;
        pmu::attach(program, opened, 0)
            .map(|fd| Link::new(fd, self.name()))
            .map_err(|errno| self.refused("a perf event", errno))
    }

    /// The same on each CPU that is on, instead of the one that the event names.
    ///
    /// # Errors
    /// As for [`attach_perf`](Self::attach_perf); it is attached to none then.
    pub fn attach_perf_on_each_cpu(&self, event: &PerfEvent) -> Result<Vec<Link>> {
        let mut links = Vec::new();
        for cpu in crate::sys::cpus::possible()?.iter() {
            match self.attach_perf(&PerfEvent { cpu: Some(cpu), ..*event }) {
                Ok(link) => links.push(link),
                // A CPU that is off.
                Err(error) if cpu != 0 && error.errno().is_some_and(|errno| errno.raw() == libc::ENODEV) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(links)
    }

    /// Attaches to a perf event that is open already. The cookie is what the program gets from `bpf_get_attach_cookie`, which it can
    /// since Linux 5.15; kernels before keep the program attached until the last file descriptor of the event is closed.
    ///
    /// # Errors
    /// If it was not loaded or the kernel refuses.
    pub fn attach_perf_event(&self, event: BorrowedFd<'_>, cookie: u64) -> Result<Link> {
        let program = self.fd()?;
        let own = event.try_clone_to_owned();
        let own = own.map_err(|error| Error::io(format_args!("attaching program `{}`", self.name()), &error))?;
        pmu::attach(program, own, cookie).map(|fd| Link::new(fd, self.name())).map_err(|errno| {
            let error = self.refused("a perf event", errno);
            match errno.raw() {
                libc::EEXIST => error.note("the event has another program"),
                _ if cookie != 0 => error.note("cookies of perf events need Linux 5.15"),
                _ => error,
            }
        })
    }
}
