//! Attaching programs to perf events.

use std::os::fd::{AsFd, OwnedFd};

use super::{HardwareCounter, Link, SoftwareCounter, pmu};
use crate::error::{Error, ErrorKind, LinuxVersion, Result, Step};
use crate::kernel::causes;
use crate::program::Program;
use crate::sys::perf as sys;

/// A perf event to open: what it counts, how often the program runs, and where.
///
/// ```no_run
/// use skelgen_runtime::link::{PerfEvent, Sample, SoftwareCounter};
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// // A profiler: 99 times a second on each CPU, for all processes.
/// let profile = PerfEvent::software(SoftwareCounter::CPU_CLOCK).sample(Sample::Frequency(99));
/// let links = program.attach_perf_on_each_cpu(profile)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct PerfEvent {
    event_type: u32,
    config: u64,
    sample: Sample,
    pid: Option<u32>,
    cpu: Option<u32>,
}

/// The rate at which a program runs for a perf event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sample {
    /// Each time the event has been counted this many times.
    Period(u64),
    /// About this many times a second.
    Frequency(u64),
}

impl PerfEvent {
    /// Creates an event from its type (`PERF_TYPE_*` of `linux/perf_event.h`, or the number of an event source in
    /// sysfs) and the `config` of that type. By default it is for all processes on CPU 0, and the program runs a
    /// thousand times a second.
    pub const fn new(event_type: u32, config: u64) -> Self {
        Self { event_type, config, sample: Sample::Frequency(1000), pid: None, cpu: Some(0) }
    }

    /// Creates an event of a software counter (`PERF_TYPE_SOFTWARE`), with the defaults of [`new`](Self::new).
    pub const fn software(counter: SoftwareCounter) -> Self {
        Self::new(1, counter.0)
    }

    /// Creates an event of a hardware counter (`PERF_TYPE_HARDWARE`), with the defaults of [`new`](Self::new).
    pub const fn hardware(counter: HardwareCounter) -> Self {
        Self::new(0, counter.0)
    }

    /// Sets how often the program runs; a thousand times a second by default.
    pub const fn sample(self, sample: Sample) -> Self {
        Self { sample, ..self }
    }

    /// Limits the event to the process with this id; `None`, the default, is all processes of the CPU.
    pub fn pid(self, pid: impl Into<Option<u32>>) -> Self {
        Self { pid: pid.into(), ..self }
    }

    /// Limits the event to this CPU, by default CPU 0; `None` is every CPU, which requires a process.
    pub fn cpu(self, cpu: impl Into<Option<u32>>) -> Self {
        Self { cpu: cpu.into(), ..self }
    }

    /// Opens the event.
    ///
    /// # Errors
    /// If the kernel rejects it: neither a process nor a CPU is set, or the system does not have the event.
    pub fn open(&self) -> Result<OwnedFd> {
        let (is_frequency, sample) = match self.sample {
            Sample::Period(events) => (false, events),
            Sample::Frequency(times) => (true, times),
        };
        let number = |number: u32| {
            i32::try_from(number).map_err(|_| {
                Error::invalid("cannot open a perf event: the process or CPU is out of range").during(Step::Attach)
            })
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
            let error = Error::refused(
                format_args!("cannot open a perf event of type {event_type} and config {config}"),
                errno,
            )
            .during(Step::Attach);
            match errno.raw() {
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

impl Program {
    /// Opens a perf event and attaches to it.
    ///
    /// # Errors
    /// If the program was not loaded, the kernel does not have the event, or rejects the program.
    pub fn attach_perf(&self, event: PerfEvent) -> Result<Link> {
        let program = self.fd()?;
        let opened = event.open().map_err(|error| self.attaching(error))?;
        pmu::attach(program, opened, 0)
            .map(|fd| Link::new(fd, self.name()))
            .map_err(|errno| self.refused("a perf event", errno))
    }

    /// Opens a perf event and attaches to it on each online CPU, instead of the CPU of `event`.
    ///
    /// # Errors
    /// As [`attach_perf`](Self::attach_perf); the program is attached to no event then.
    pub fn attach_perf_on_each_cpu(&self, event: PerfEvent) -> Result<Vec<Link>> {
        let mut links = Vec::new();
        for cpu in crate::sys::cpus::possible()?.iter() {
            match self.attach_perf(event.cpu(cpu)) {
                Ok(link) => links.push(link),
                // The CPU is offline.
                Err(error) if cpu != 0 && error.errno().is_some_and(|errno| errno.raw() == libc::ENODEV) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(links)
    }

    /// Attaches to an open perf event. The program reads the cookie with `bpf_get_attach_cookie` (Linux 5.15); 0 means
    /// no cookie, as in the kernel. Kernels before 5.15 keep the program attached until the last file descriptor of the
    /// event is closed.
    ///
    /// # Errors
    /// If the program was not loaded or the kernel rejects it.
    pub fn attach_perf_event(&self, event: impl AsFd, cookie: u64) -> Result<Link> {
        let program = self.fd()?;
        let own = event.as_fd().try_clone_to_owned();
        let own = own.map_err(|error| self.not_attached("a perf event", &error))?;
        pmu::attach(program, own, cookie).map(|fd| Link::new(fd, self.name())).map_err(|errno| {
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
