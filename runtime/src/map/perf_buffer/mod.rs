//! Perf buffers: what programs output to a perf event array (`bpf_perf_event_output`), with an event and a buffer for
//! each CPU.
//!
//! `ring` implements the protocol of one buffer, `cpu` the event and the counts of one CPU; this module combines them.

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

/// The reader of a perf event array, on all CPUs.
///
/// Opening it opens an event for each online CPU, stores the events in the map and maps their memory. Dropping it
/// reverts that. A CPU that comes online later, or that goes offline and comes back, is not read: open another perf
/// buffer then. A map should have one perf buffer at a time, because each replaces the events in the map.
///
/// Each record is copied out, and its space is released at once. Records of one CPU are returned in order; there is no
/// order between CPUs. Records that do not fit are lost and counted: see [`Drained::lost`] and [`Self::lost`]. Buffers
/// in which new records overwrite old ones are not supported.
///
/// A record can be longer than the program's output: the kernel pads it so that its length plus 4 is a multiple of 8.
/// [`Self::next_as`] and [`Self::drain_as`] use only the first bytes.
///
/// Several threads may read; each record is returned to one of them. For a thread that reads only one CPU, use
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
/// In an event loop use its [`AsFd`], which becomes ready once for each wakeup. Drain the buffer each time, without
/// [`Self::poll`].
pub struct PerfBuffer {
    map: Arc<Handle>,
    epoll: Epoll,
    wakeup: PerfWakeup,
    /// The buffers, sorted by CPU number. The data of each in the epoll instance is its index here.
    cpus: Vec<PerfCpuBuffer>,
    /// The index of the buffer to read next, so that no CPU starves the others.
    turn: AtomicUsize,
}

/// Options for opening a [`PerfBuffer`].
///
/// ```no_run
/// use skelgen_runtime::map::{PerfBufferOptions, PerfWakeup};
/// # fn f(events: &skelgen_runtime::map::PerfEventArray) -> skelgen_runtime::Result<()> {
/// // A megabyte for each CPU (with pages of 4 KiB), read when a quarter of it is full.
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

/// The condition on which the kernel wakes a reader that waits for a CPU's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PerfWakeup {
    /// After this many records, or when more than half of the buffer is full.
    Records(u32),
    /// After this many bytes of records with their headers, at most half of the buffer.
    Bytes(u32),
}

/// The result of draining a perf buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "it contains the number of lost records"]
pub struct Drained {
    /// The number of records.
    pub records: usize,
    /// The number of records that were lost before and between them.
    pub lost: u64,
}

impl Default for PerfBufferOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl PerfBufferOptions {
    /// Creates options with 64 pages for each CPU, and a wakeup for each record.
    pub const fn new() -> Self {
        Self { pages: 64, wakeup: PerfWakeup::Records(1) }
    }

    /// Sets the size of each CPU's buffer in pages of memory, a power of two; 64 by default.
    pub const fn pages(self, pages: u32) -> Self {
        Self { pages, ..self }
    }

    /// Sets when a waiting reader is woken; by default for each record.
    pub const fn wakeup(self, wakeup: PerfWakeup) -> Self {
        Self { wakeup, ..self }
    }

    /// Opens a buffer for each online CPU.
    ///
    /// # Errors
    /// If the number of pages is not a power of two, the wakeup is zero, the map has no element for a CPU, or the
    /// kernel rejects the request: it requires CAP_PERFMON, and locked memory.
    pub fn open(&self, events: &PerfEventArray) -> Result<PerfBuffer> {
        let cpus = online()?;
        let mut buffer = PerfBuffer::empty(events, self)?;
        for cpu in cpus.iter() {
            match buffer.add(self, cpu) {
                // The CPU went offline meanwhile.
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
    /// Those of [`Self::open`]. Also if `cpus` is empty or a CPU is not online.
    pub fn open_on(&self, events: &PerfEventArray, cpus: &[u32]) -> Result<PerfBuffer> {
        let mut sorted = cpus.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut buffer = PerfBuffer::empty(events, self)?;
        if sorted.is_empty() {
            return Err(buffer.map.invalid("cannot open a perf buffer for an empty list of CPUs"));
        }
        sorted.into_iter().try_for_each(|cpu| buffer.add(self, cpu))?;
        Ok(buffer)
    }

    fn check(&self, map: &Handle) -> Result<()> {
        if !self.pages.is_power_of_two() {
            return Err(
                map.invalid(format_args!("cannot open perf buffers of {} pages: not a power of two", self.pages))
            );
        }
        match self.wakeup {
            PerfWakeup::Records(0) | PerfWakeup::Bytes(0) => {
                Err(map.invalid("cannot open a perf buffer with a wakeup of 0: the minimum is one record or byte"))
            }
            _ => Ok(()),
        }
    }
}

impl PerfBuffer {
    /// Opens a buffer of the [default](PerfBufferOptions::default) size for each online CPU.
    ///
    /// # Errors
    /// Those of [`PerfBufferOptions::open`].
    pub fn open(events: &PerfEventArray) -> Result<Self> {
        PerfBufferOptions::default().open(events)
    }

    /// Replaces the content of `record` with the next record of any CPU and returns the CPU's number. Returns `None` if
    /// there is no record.
    ///
    /// # Errors
    /// If the next record is malformed; it is skipped then.
    pub fn read_into(&self, record: &mut Vec<u8>) -> Result<Option<u32>> {
        Ok(self.read(record)?.map(PerfCpuBuffer::cpu))
    }

    /// Returns the next record of any CPU with the CPU's number, or `None` if there is no record.
    ///
    /// # Errors
    /// Those of [`Self::read_into`].
    pub fn next(&self) -> Result<Option<(u32, Vec<u8>)>> {
        let mut record = Vec::new();
        Ok(self.read_into(&mut record)?.map(|cpu| (cpu, record)))
    }

    /// Passes all available records to `each` with their CPU's number. Returns their number, and the number of records
    /// that were lost before and between them. The bytes are a copy, and no lock is taken during `each`.
    ///
    /// # Errors
    /// Those of [`Self::read_into`].
    pub fn drain(&self, mut each: impl FnMut(u32, &[u8])) -> Result<Drained> {
        self.drain_each(|cpu, record| {
            each(cpu.cpu(), record);
            Ok(())
        })
    }

    /// Returns the next record of any CPU as a value with the CPU's number, or `None` if there is no record. The value
    /// is the first bytes of the record; the kernel pads records, so bytes after the value are ignored.
    ///
    /// # Errors
    /// Those of [`Self::read_into`]. Also if the record is shorter than a `T`; it is skipped then.
    pub fn next_as<T: Plain>(&self) -> Result<Option<(u32, T)>> {
        let mut record = Vec::new();
        let Some(cpu) = self.read(&mut record)? else { return Ok(None) };
        Ok(Some((cpu.cpu(), cpu.value(&record)?)))
    }

    /// Passes all available records to `each`, as the values that [`Self::next_as`] returns.
    ///
    /// # Errors
    /// As [`Self::next_as`], at the first record that is too short.
    pub fn drain_as<T: Plain>(&self, mut each: impl FnMut(u32, T)) -> Result<Drained> {
        self.drain_each(|cpu, record| {
            each(cpu.cpu(), cpu.value(record)?);
            Ok(())
        })
    }

    /// Returns the number of records that were lost on all CPUs; [`PerfCpuBuffer::lost`] of [`Self::cpus`] returns it
    /// for one CPU.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.cpus.iter().fold(0, |sum, cpu| sum.saturating_add(cpu.lost()))
    }

    /// Waits until a CPU has as many records as [`PerfWakeup`] requires, for at most `timeout` if it is set. Returns
    /// `false` after the timeout or a signal.
    ///
    /// # Errors
    /// If the kernel rejects the wait.
    pub fn poll(&self, timeout: Option<Duration>) -> Result<bool> {
        if self.is_due() {
            // A pending wakeup for these records must not be mistaken for one for later records.
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
            // The wakeup was for records that have been read already, or the timeout exceeds the longest wait of the
            // kernel.
            if ended == Ended::Interrupted || ended == Ended::TimeOver && left.is_some_and(|left| left < LONGEST) {
                return Ok(false);
            }
        }
    }

    /// Returns the buffers of the single CPUs, sorted by CPU number.
    #[must_use]
    pub fn cpus(&self) -> &[PerfCpuBuffer] {
        &self.cpus
    }

    /// Returns the buffer of this CPU, or `None` if the CPU was not online.
    #[must_use]
    pub fn cpu(&self, cpu: u32) -> Option<&PerfCpuBuffer> {
        let index = self.cpus.binary_search_by_key(&cpu, PerfCpuBuffer::cpu).ok()?;
        self.cpus.get(index)
    }

    fn empty(events: &PerfEventArray, options: &PerfBufferOptions) -> Result<Self> {
        let map = Arc::new(events.handle().try_clone()?);
        options.check(&map)?;
        let epoll = Epoll::new().map_err(|errno| map.refused(Step::Open, "cannot create an epoll instance", errno))?;
        Ok(Self { map, epoll, wakeup: options.wakeup, cpus: Vec::new(), turn: AtomicUsize::new(0) })
    }

    /// Adds a CPU whose number is above those of the others.
    fn add(&mut self, options: &PerfBufferOptions, cpu: u32) -> Result<()> {
        let elements = self.map.map().info().max_entries;
        if cpu >= elements {
            let error =
                self.map.error(ErrorKind::NotFound, format_args!("it has {elements} elements, and none for CPU {cpu}"));
            return Err(error.with_help(
                "call `set_max_entries(0)` before the load for an element for each possible CPU, or `open_on` for some CPUs",
            ));
        }
        let buffer = PerfCpuBuffer::open(&self.map, options, cpu)?;
        let index = u32::try_from(self.cpus.len()).unwrap_or(u32::MAX);
        self.epoll
            .add(buffer.event(), index)
            .map_err(|errno| self.map.refused(Step::Open, format_args!("cannot wait for CPU {cpu}"), errno))?;
        self.cpus.push(buffer);
        Ok(())
    }

    /// Copies the next record and returns its CPU's buffer.
    fn read(&self, record: &mut Vec<u8>) -> Result<Option<&PerfCpuBuffer>> {
        let count = self.cpus.len();
        let first = self.turn.load(Ordering::Relaxed);
        for (index, cpu) in self.cpus.iter().enumerate().cycle().skip(first).take(count) {
            if cpu.read_into(record)? {
                self.turn.store((index + 1) % count, Ordering::Relaxed);
                return Ok(Some(cpu));
            }
        }
        Ok(None)
    }

    fn is_due(&self) -> bool {
        self.cpus.iter().any(PerfCpuBuffer::is_due)
    }

    /// Waits for wakeups and passes them on to the CPUs' buffers.
    fn wait(&self, timeout: Option<Duration>) -> Result<Ended> {
        match self.epoll.wait(milliseconds(timeout)) {
            Ok(ready) if ready.is_empty() => Ok(Ended::TimeOver),
            Ok(ready) => {
                let woken = ready.into_iter().filter_map(|index| usize::try_from(index).ok());
                woken.filter_map(|index| self.cpus.get(index)).for_each(PerfCpuBuffer::wake);
                Ok(Ended::Woken)
            }
            Err(errno) if errno.raw() == libc::EINTR => Ok(Ended::Interrupted),
            Err(errno) => Err(self.map.refused(Step::ReadMap, "cannot wait", errno)),
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

/// The reason why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Woken,
    TimeOver,
    Interrupted,
}

/// A timeout that is shorter than the longest wait of the kernel.
const LONGEST: Duration = Duration::from_secs(1 << 20);

/// The file descriptor becomes ready once for each wakeup of a CPU.
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

/// Stores an event in its CPU's element.
fn put(map: &Handle, cpu: u32, event: BorrowedFd<'_>) -> Result<()> {
    map.update(as_bytes(&cpu), as_bytes(&event.as_raw_fd()), elem_flags::ANY)
        .map_err(|error: Error| error.within(format_args!("CPU {cpu}")))
}
