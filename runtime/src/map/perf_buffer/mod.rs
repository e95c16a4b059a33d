//! Perf buffers: what programs output to an array of perf events (`bpf_perf_event_output`), an event and a buffer for each CPU.
//!
//! `ring` knows the protocol of one buffer, `cpu` the event and the counts of one CPU; here is what they are together.

mod cpu;
mod ring;

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::handle::milliseconds;
use super::{Handle, PerfEventArray};
use crate::data::Plain;
use crate::data::as_bytes;
use crate::error::{Error, ErrorKind, Result, Step};
use crate::sys::cpus::online;
use crate::sys::epoll::Epoll;
use crate::uapi::elem_flags;

pub use cpu::PerfCpuBuffer;

/// The reader of what programs output to an array of perf events, on all CPUs.
///
/// Opening it opens an event for each CPU that is online, puts them into the map and maps their memory; dropping it undoes that. A CPU
/// that comes online later is not read, nor is one that was offline in between: open another one then. There should be one at a
/// time for a map, because each takes the places in the map for itself.
///
/// Records are copied out one by one and their room given back at once. Those of one CPU come in their order; between CPUs there is
/// none. Records that find no room are lost, which is counted: see [`Drained::lost`] and [`Self::lost`]. A buffer in which new
/// records overwrite old ones is not offered.
///
/// A record can be longer than what was output: the kernel fills it up so that its length and four is a multiple of eight, with bytes
/// that mean nothing. [`Self::next_as`] and [`Self::drain_as`] take the first bytes only.
///
/// Several threads may read; each record comes to one of them. For a thread that waits for one CPU alone there is
/// [`PerfBufferOptions::open_on`].
///
/// ```
/// use skelgen_runtime::map::{PerfBuffer, PerfEventArray};
///
/// fn show(events: &PerfEventArray) -> skelgen_runtime::Result<()> {
///     let buffer = PerfBuffer::open(events)?;
///     while buffer.poll(None)? {
///         let drained = buffer.drain_as::<[u64; 2]>(|cpu, [time, pid]| println!("{time}: {pid} on CPU {cpu}"))?;
///         if drained.lost != 0 {
///             eprintln!("{} records were lost", drained.lost);
///         }
///     }
///     Ok(())
/// }
/// ```
///
/// In an event loop it is its [`AsFd`], which becomes ready once for each wakeup: drain it each time, without
/// [`Self::poll`].
pub struct PerfBuffer {
    map: Arc<Handle>,
    epoll: Epoll,
    wakeup: PerfWakeup,
    /// By rising number, each in the epoll under its place here.
    cpus: Vec<PerfCpuBuffer>,
    /// Where to look first for the next record, so that no CPU keeps the others waiting.
    turn: AtomicUsize,
}

/// How a [`PerfBuffer`] is opened.
///
/// ```no_run
/// use skelgen_runtime::map::{PerfBufferOptions, PerfWakeup};
/// # fn f(events: &skelgen_runtime::map::PerfEventArray) -> skelgen_runtime::Result<()> {
/// // A megabyte for each CPU (of pages of 4 KiB), read when a quarter of it is full.
/// let options = PerfBufferOptions::new().pages(256).wakeup(PerfWakeup::Bytes(256 << 10));
/// let buffer = options.open(events)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct PerfBufferOptions {
    pages: u32,
    wakeup: PerfWakeup,
}

/// When the kernel wakes a reader that waits for a CPU's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PerfWakeup {
    /// After this many records, or when more than half of the buffer is full.
    Records(u32),
    /// After this many bytes of records with their headers, at most half of the buffer.
    Bytes(u32),
}

/// What draining a perf buffer has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "it says how many records were lost"]
pub struct Drained {
    /// How many records there were.
    pub records: usize,
    /// How many records had found no room before and between them.
    pub lost: u64,
}

impl Default for PerfBufferOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl PerfBufferOptions {
    /// Creates the options of 64 pages for each CPU, of which a reader is woken at each record.
    pub const fn new() -> Self {
        Self { pages: 64, wakeup: PerfWakeup::Records(1) }
    }

    /// Sets the size of each CPU's buffer in pages of memory, a power of two; 64 by default.
    pub const fn pages(self, pages: u32) -> Self {
        Self { pages, ..self }
    }

    /// Sets when a waiting reader is woken; by default at each record.
    pub const fn wakeup(self, wakeup: PerfWakeup) -> Self {
        Self { wakeup, ..self }
    }

    /// Opens a buffer for each CPU that is online.
    ///
    /// # Errors
    /// If the number of pages is not a power of two or nobody would ever be woken; if the map has no element for a CPU, because programs on
    /// it would output in vain; or if the kernel refuses: it takes CAP_PERFMON, and memory that may be locked.
    pub fn open(&self, events: &PerfEventArray) -> Result<PerfBuffer> {
        let cpus = online()?;
        let mut buffer = PerfBuffer::empty(events, self)?;
        for cpu in cpus.iter() {
            match buffer.add(self, cpu) {
                // It went offline meanwhile.
                Err(error)
                    if error.errno().is_some_and(|errno| errno.raw() == libc::ENODEV) && !online()?.contains(cpu) => {}
                result => result?,
            }
        }
        Ok(buffer)
    }

    /// Opens a buffer for each of these CPUs only. The output of programs on other CPUs is lost.
    ///
    /// # Errors
    /// As of [`Self::open`], and if there are none or one of them is not online.
    pub fn open_on(&self, events: &PerfEventArray, cpus: &[u32]) -> Result<PerfBuffer> {
        let mut sorted = cpus.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut buffer = PerfBuffer::empty(events, self)?;
        if sorted.is_empty() {
            return Err(buffer.map.invalid("a perf buffer for no CPU"));
        }
        sorted.into_iter().try_for_each(|cpu| buffer.add(self, cpu))?;
        Ok(buffer)
    }

    fn check(&self, map: &Handle) -> Result<()> {
        if !self.pages.is_power_of_two() {
            return Err(map.invalid(format_args!("a perf buffer of {} pages: it must be a power of two", self.pages)));
        }
        match self.wakeup {
            PerfWakeup::Records(0) | PerfWakeup::Bytes(0) => {
                Err(map.invalid("a perf buffer that wakes after nothing: the least is one record or byte"))
            }
            _ => Ok(()),
        }
    }
}

impl PerfBuffer {
    /// Opens a buffer of the [default](PerfBufferOptions::default) size for each CPU that is online.
    ///
    /// # Errors
    /// As of [`PerfBufferOptions::open`].
    pub fn open(events: &PerfEventArray) -> Result<Self> {
        PerfBufferOptions::default().open(events)
    }

    /// Copies the next record of any CPU into `record`, in place of what is there, and returns the CPU's number. None if there is no record
    /// now.
    ///
    /// # Errors
    /// If what stands in a buffer is no record, which is passed over then.
    pub fn read_into(&self, record: &mut Vec<u8>) -> Result<Option<u32>> {
        Ok(self.read(record)?.map(PerfCpuBuffer::cpu))
    }

    /// Returns the next record of any CPU and the CPU's number, if there is one now.
    ///
    /// # Errors
    /// As [`Self::read_into`].
    pub fn next(&self) -> Result<Option<(u32, Vec<u8>)>> {
        let mut record = Vec::new();
        Ok(self.read_into(&mut record)?.map(|cpu| (cpu, record)))
    }

    /// Passes all records that there are now to `each`, each after its CPU's number; returns their number, and the number of records lost
    /// before and between them. The bytes are a copy; nothing is locked meanwhile.
    ///
    /// # Errors
    /// As [`Self::read_into`].
    pub fn drain(&self, mut each: impl FnMut(u32, &[u8])) -> Result<Drained> {
        self.drain_each(|cpu, record| {
            each(cpu.cpu(), record);
            Ok(())
        })
    }

    /// Returns the next record of any CPU as a value, if there is one now: its first bytes, as many as a `T` has. The bytes after them are
    /// ignored, since the kernel fills records up.
    ///
    /// # Errors
    /// If the record, which is passed over then, is shorter than a `T`; or the same as of [`Self::read_into`].
    pub fn next_as<T: Plain>(&self) -> Result<Option<(u32, T)>> {
        let mut record = Vec::new();
        let Some(cpu) = self.read(&mut record)? else { return Ok(None) };
        Ok(Some((cpu.cpu(), cpu.value(&record)?)))
    }

    /// Passes all records that there are now to `each`, as the values that [`Self::next_as`] returns.
    ///
    /// # Errors
    /// As [`Self::next_as`], at the first such record.
    pub fn drain_as<T: Plain>(&self, mut each: impl FnMut(u32, T)) -> Result<Drained> {
        self.drain_each(|cpu, record| {
            each(cpu.cpu(), cpu.value(record)?);
            Ok(())
        })
    }

    /// Returns the number of records so far that found no room, on all CPUs; [`PerfCpuBuffer::lost`] of [`Self::cpus`] returns it for one.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.cpus.iter().fold(0, |sum, cpu| sum.saturating_add(cpu.lost()))
    }

    /// Waits until a CPU has as many records as [`PerfWakeup`] requires, at most for `timeout` if there is one. False if the time is over
    /// first, or a signal came.
    ///
    /// # Errors
    /// If the kernel refuses to wait.
    pub fn poll(&self, timeout: Option<Duration>) -> Result<bool> {
        if self.is_due() {
            // What the kernel says of these records must not be taken for a word about later ones.
            if self.wakeup != PerfWakeup::Records(1) {
                self.wait(Some(Duration::ZERO))?;
            }
            return Ok(true);
        }
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            let ended = self.wait(left)?;
            if self.is_due() {
                return Ok(true);
            }
            // It was woken for records that have been read already, or the time is longer than the kernel waits at once.
            if ended == Ended::Interrupted || ended == Ended::TimeOver && left.is_some_and(|left| left < LONGEST) {
                return Ok(false);
            }
        }
    }

    /// Returns the buffers of the single CPUs, by rising number of the CPU.
    #[must_use]
    pub fn cpus(&self) -> &[PerfCpuBuffer] {
        &self.cpus
    }

    /// Returns the buffer of this CPU; `None` if it was not online.
    #[must_use]
    pub fn cpu(&self, cpu: u32) -> Option<&PerfCpuBuffer> {
        let place = self.cpus.binary_search_by_key(&cpu, PerfCpuBuffer::cpu).ok()?;
        self.cpus.get(place)
    }

    fn empty(events: &PerfEventArray, options: &PerfBufferOptions) -> Result<Self> {
        let map = Arc::new(events.handle().try_clone()?);
        options.check(&map)?;
        let epoll = Epoll::new().map_err(|errno| map.refused(Step::Open, "making an epoll for its buffers", errno))?;
        Ok(Self { map, epoll, wakeup: options.wakeup, cpus: Vec::new(), turn: AtomicUsize::new(0) })
    }

    /// Adds a CPU whose number is above those before.
    fn add(&mut self, options: &PerfBufferOptions, cpu: u32) -> Result<()> {
        let elements = self.map.map().info().max_entries;
        if cpu >= elements {
            let error =
                self.map.error(ErrorKind::NotFound, format_args!("it has {elements} elements, so none for CPU {cpu}"));
            return Err(error.with_help(
                "`set_max_entries(0)` before the load gives it one for each possible CPU; `open_on` opens it for some CPUs",
            ));
        }
        let buffer = PerfCpuBuffer::open(&self.map, options, cpu)?;
        let place = u32::try_from(self.cpus.len()).unwrap_or(u32::MAX);
        self.epoll
            .add(buffer.event(), place)
            .map_err(|errno| self.map.refused(Step::Open, format_args!("waiting for CPU {cpu}"), errno))?;
        self.cpus.push(buffer);
        Ok(())
    }

    /// The CPU whose next record was copied.
    fn read(&self, record: &mut Vec<u8>) -> Result<Option<&PerfCpuBuffer>> {
        let count = self.cpus.len();
        let first = self.turn.load(Ordering::Relaxed);
        for (place, cpu) in self.cpus.iter().enumerate().cycle().skip(first).take(count) {
            if cpu.read_into(record)? {
                self.turn.store((place + 1) % count, Ordering::Relaxed);
                return Ok(Some(cpu));
            }
        }
        Ok(None)
    }

    fn is_due(&self) -> bool {
        self.cpus.iter().any(PerfCpuBuffer::is_due)
    }

    /// Waits for the kernel's word and passes it on to the CPUs that it is about.
    fn wait(&self, timeout: Option<Duration>) -> Result<Ended> {
        match self.epoll.wait(milliseconds(timeout)) {
            Ok(ready) if ready.is_empty() => Ok(Ended::TimeOver),
            Ok(ready) => {
                let places = ready.into_iter().filter_map(|place| usize::try_from(place).ok());
                places.filter_map(|place| self.cpus.get(place)).for_each(PerfCpuBuffer::wake);
                Ok(Ended::Woken)
            }
            Err(errno) if errno.raw() == libc::EINTR => Ok(Ended::Interrupted),
            Err(errno) => Err(self.map.refused(Step::ReadMap, "waiting", errno)),
        }
    }

    fn drain_each(&self, mut each: impl FnMut(&PerfCpuBuffer, &[u8]) -> Result<()>) -> Result<Drained> {
        let (mut record, mut drained) = (Vec::new(), Drained::default());
        for cpu in &self.cpus {
            cpu.drain_into(&mut record, &mut drained, &mut |record| each(cpu, record))?;
        }
        Ok(drained)
    }
}

/// Why a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Woken,
    TimeOver,
    Interrupted,
}

/// Less than what the kernel waits at once.
const LONGEST: Duration = Duration::from_secs(1 << 20);

/// Ready once for each wakeup of a CPU.
impl AsFd for PerfBuffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl fmt::Debug for PerfBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "perf buffers of {} CPUs for {:?}, {} lost", self.cpus.len(), self.map, self.lost())
    }
}

/// Puts an event into its CPU's place.
fn put(map: &Handle, cpu: u32, event: BorrowedFd<'_>) -> Result<()> {
    map.update(as_bytes(&cpu), as_bytes(&event.as_raw_fd()), elem_flags::ANY)
        .map_err(|error: Error| error.within(format_args!("CPU {cpu}")))
}
