//! Perf buffers: the reader of records that programs output to a perf event array (`bpf_perf_event_output`). Each CPU
//! has an event and a buffer.
//!
//! `ring` implements the memory protocol of one buffer, `cpu` the event and the counts of one CPU; this module combines
//! the CPUs.

mod cpu;
mod ring;

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::handle::milliseconds;
use super::{PerfEventArray, Record, Untyped};
use crate::data::{Plain, as_bytes};
use crate::error::{Error, ErrorKind, Result, Step};
use crate::sys::cpus::online;
use crate::sys::descriptor;
use crate::sys::epoll::{self, Epoll, Trigger};
use crate::uapi::elem_flags;

pub use cpu::PerfCpuBuffer;

/// The reader of a perf event array, on all CPUs.
///
/// Opening it opens an event for each online CPU, stores the events in the map and maps their memory. Dropping it
/// closes the events and unmaps their memory. A CPU that comes online later, or that goes offline and comes back, is
/// not read: open another perf buffer then. Open only one perf buffer for a map at a time: a second one replaces the
/// events of the first in the map.
///
/// Each record is copied out, and its space is released at once. Records of one CPU are returned in order; there is no
/// order between CPUs. Records that do not fit are lost and counted: see [`Drained::lost`] and [`Self::lost`]. Buffers
/// in which new records overwrite old ones are not supported.
///
/// `T` is the record type of the array: see [`PerfEventArray`]. A record can be longer than the program's output: the
/// kernel pads it so that its length plus 4 is a multiple of 8. Values are read from its first bytes. Reading a `T`
/// fails only if the record, including its padding, is shorter than `T`.
///
/// Several threads may read; each record is returned to one of them. For a thread that reads only one CPU, use
/// [`PerfBufferOptions::open_on`].
///
/// ```
/// use skelgen_runtime::map::{PerfBuffer, PerfEventArray};
/// # type Event = [u64; 2];
///
/// fn show(events: &PerfEventArray<Event>) -> skelgen_runtime::Result<()> {
///     let buffer = PerfBuffer::open(events)?;
///     while buffer.poll(None)? {
///         let drained = buffer.drain(|cpu, [time, pid]| println!("{time}: {pid} on CPU {cpu}"))?;
///         if drained.lost != 0 {
///             eprintln!("{} records were lost", drained.lost);
///         }
///     }
///     Ok(())
/// }
/// ```
///
/// To wait for several buffers, add them to a [`Poller`](super::Poller). A poller and an event loop on
/// [`AsFd`](std::os::fd::AsFd) report a perf buffer once for each wakeup: drain the buffer each time, without
/// [`Self::poll`].
///
/// ```
/// use skelgen_runtime::map::{PerfBuffer, PerfBufferOptions, PerfEventArray};
///
/// fn read(events: &PerfEventArray) -> skelgen_runtime::Result<PerfBuffer> {
///     let buffer = PerfBufferOptions::new().open_on(events, &[0])?; // of CPU 0 only
///     buffer.drain_as::<u64>(|cpu, number| println!("CPU {cpu}: {number}"))?;
///     if let Some((cpu, number)) = buffer.next_as::<u32>()? {
///         println!("CPU {cpu}: {number}");
///     }
///     let mut record = Vec::new();
///     while let Some(cpu) = buffer.read_into(&mut record)? {
///         println!("CPU {cpu}: {} bytes", record.len());
///     }
///     for one in buffer.cpus() {
///         one.drain_as::<u32>(|number| println!("{number}"))?;
///         let (_next, _read) = (one.next_as::<u32>()?, one.read_into(&mut record)?);
///     }
///     Ok(buffer)
/// }
/// ```
pub struct PerfBuffer<T: ?Sized = [u8]> {
    map: Arc<Untyped>,
    epoll: Epoll,
    wakeup: PerfWakeup,
    /// The buffers, sorted by CPU number. Events in the epoll instance are identified by the index here.
    cpus: Vec<PerfCpuBuffer<T>>,
    /// The index of the buffer to read next. Reads start at a different CPU each time, so that no CPU starves.
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
///
/// ```
/// use skelgen_runtime::map::{PerfBufferOptions, PerfWakeup};
///
/// let options = PerfBufferOptions::new().wakeup(PerfWakeup::Records(64));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PerfWakeup {
    /// After this many records, or when more than half of the buffer is full.
    Records(u32),
    /// After this many bytes of records with their headers, at most half of the buffer.
    Bytes(u32),
}

/// The result of draining a perf buffer.
///
/// ```no_run
/// # fn f(buffer: &mut skelgen_runtime::map::PerfBuffer) -> skelgen_runtime::Result<()> {
/// let drained = buffer.drain(|cpu, record| println!("CPU {cpu}: {} bytes", record.len()))?;
/// if drained.lost > 0 {
///     eprintln!("{} records were lost", drained.lost);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "it contains the number of lost records"]
pub struct Drained {
    /// The number of records.
    pub records: usize,
    /// The number of records that were lost before and between these records.
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
    /// If the number of pages is not a power of two, the wakeup is zero, the map has no element for a CPU, the process
    /// does not have `CAP_PERFMON`, or the buffers exceed the limit on locked memory.
    pub fn open<T: Record + ?Sized>(&self, events: &PerfEventArray<T>) -> Result<PerfBuffer<T>> {
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
    pub fn open_on<T: Record + ?Sized>(&self, events: &PerfEventArray<T>, cpus: &[u32]) -> Result<PerfBuffer<T>> {
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

    fn check(&self, map: &Untyped) -> Result<()> {
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

/// Methods for records that are values of type `T`.
impl<T: Plain> PerfBuffer<T> {
    /// Returns the next record of any CPU with the CPU's number, or `None` if there is no record. The value is the
    /// first bytes of the record; the kernel pads records, so bytes after the value are ignored.
    ///
    /// # Errors
    /// Those of [`Self::read_into`]. Also if the record is shorter than a `T`; it is skipped then.
    pub fn next(&self) -> Result<Option<(u32, T)>> {
        self.next_of::<T>()
    }

    /// Passes all available records to `each` with their CPU's number. Returns their number, and the number of records
    /// that were lost before and between them. No lock is taken during `each`.
    ///
    /// # Errors
    /// Those of [`Self::next`]. Stops at the first record that is too short.
    pub fn drain(&self, each: impl FnMut(u32, T)) -> Result<Drained> {
        self.drain_of::<T>(each)
    }
}

/// Methods for records of bytes.
impl PerfBuffer {
    /// Returns the next record of any CPU with the CPU's number, or `None` if there is no record.
    ///
    /// # Errors
    /// Those of [`Self::read_into`].
    pub fn next(&self) -> Result<Option<(u32, Vec<u8>)>> {
        self.next_of::<[u8]>()
    }

    /// Passes all available records to `each` with their CPU's number. Returns their number, and the number of records
    /// that were lost before and between them. The bytes are a copy, and no lock is taken during `each`.
    ///
    /// # Errors
    /// Those of [`Self::read_into`].
    pub fn drain(&self, each: impl FnMut(u32, &[u8])) -> Result<Drained> {
        self.drain_of::<[u8]>(each)
    }

    /// Returns the next record of any CPU as a value with the CPU's number, or `None` if there is no record. The value
    /// is the first bytes of the record; the kernel pads records, so bytes after the value are ignored.
    ///
    /// # Errors
    /// Those of [`Self::read_into`]. Also if the record is shorter than a `T`; it is skipped then.
    pub fn next_as<T: Plain>(&self) -> Result<Option<(u32, T)>> {
        self.next_of::<T>()
    }

    /// Passes all available records to `each`, as the values that [`Self::next_as`] returns.
    ///
    /// # Errors
    /// Those of [`Self::next_as`]. Stops at the first record that is too short.
    pub fn drain_as<T: Plain>(&self, each: impl FnMut(u32, T)) -> Result<Drained> {
        self.drain_of::<T>(each)
    }
}

impl<T: Record + ?Sized> PerfBuffer<T> {
    /// Opens a buffer of the [default](PerfBufferOptions::default) size for each online CPU.
    ///
    /// # Errors
    /// Those of [`PerfBufferOptions::open`].
    pub fn open(events: &PerfEventArray<T>) -> Result<Self> {
        PerfBufferOptions::default().open(events)
    }

    /// Replaces the content of `record` with the next record of any CPU and returns the CPU's number. Returns `None` if
    /// there is no record.
    ///
    /// # Errors
    /// Those of [`PerfCpuBuffer::read_into`].
    pub fn read_into(&self, record: &mut Vec<u8>) -> Result<Option<u32>> {
        Ok(self.read(record)?.map(PerfCpuBuffer::cpu))
    }

    /// Returns the number of records that were lost on all CPUs. For the number of one CPU, call
    /// [`PerfCpuBuffer::lost`] on an element of [`Self::cpus`].
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
            // A pending wakeup for these records must not be mistaken for a wakeup for later records.
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
            if ended == Ended::Interrupted || ended == Ended::TimeOver && left.is_some_and(|left| left < epoll::LONGEST)
            {
                return Ok(false);
            }
        }
    }

    /// Returns the buffers of the individual CPUs, sorted by CPU number.
    #[must_use]
    pub fn cpus(&self) -> &[PerfCpuBuffer<T>] {
        &self.cpus
    }

    /// Returns the buffer of this CPU, or `None` if the CPU was not online when the perf buffer was opened, or was not
    /// passed to [`PerfBufferOptions::open_on`].
    #[must_use]
    pub fn cpu(&self, cpu: u32) -> Option<&PerfCpuBuffer<T>> {
        let index = self.cpus.binary_search_by_key(&cpu, PerfCpuBuffer::cpu).ok()?;
        self.cpus.get(index)
    }

    fn empty(events: &PerfEventArray<T>, options: &PerfBufferOptions) -> Result<Self> {
        let map = Arc::new(events.as_untyped().try_clone()?);
        options.check(&map)?;
        let epoll = Epoll::new().map_err(|errno| map.refused(Step::Open, "cannot create an epoll instance", errno))?;
        Ok(Self { map, epoll, wakeup: options.wakeup, cpus: Vec::new(), turn: AtomicUsize::new(0) })
    }

    /// Adds a CPU. Its number must be above those of the CPUs that were added before.
    fn add(&mut self, options: &PerfBufferOptions, cpu: u32) -> Result<()> {
        let elements = self.map.map().definition().max_entries;
        if cpu >= elements {
            let error = self
                .map
                .error(ErrorKind::NotFound, format_args!("the map has {elements} elements, and none for CPU {cpu}"));
            return Err(error.with_help(
                "to get one element per possible CPU, call `set_max_entries(0)` before the load; to open some CPUs only, use `open_on`",
            ));
        }
        let buffer = PerfCpuBuffer::open(&self.map, options, cpu)?;
        let index = u64::try_from(self.cpus.len()).unwrap_or(u64::MAX);
        self.epoll.add(buffer.event(), index, Trigger::Edge).map_err(|errno| {
            self.map.refused(Step::Open, format_args!("cannot wait for records of CPU {cpu}"), errno)
        })?;
        self.cpus.push(buffer);
        Ok(())
    }

    /// Copies the next record and returns its CPU's buffer.
    fn read(&self, record: &mut Vec<u8>) -> Result<Option<&PerfCpuBuffer<T>>> {
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

    /// Waits for wakeups and stores them in the CPUs' buffers.
    fn wait(&self, timeout: Option<Duration>) -> Result<Ended> {
        match self.epoll.wait(milliseconds(timeout)) {
            Ok(ready) if ready.is_empty() => Ok(Ended::TimeOver),
            Ok(ready) => {
                let woken = ready.into_iter().filter_map(|index| usize::try_from(index).ok());
                woken.filter_map(|index| self.cpus.get(index)).for_each(PerfCpuBuffer::wake);
                Ok(Ended::Woken)
            }
            Err(errno) if errno.raw() == libc::EINTR => Ok(Ended::Interrupted),
            Err(errno) => Err(self.map.refused(Step::ReadMap, "cannot wait for records", errno)),
        }
    }

    pub(super) fn next_of<U: Record + ?Sized>(&self) -> Result<Option<(u32, U::Owned)>> {
        let mut record = Vec::new();
        let Some(cpu) = self.read(&mut record)? else { return Ok(None) };
        Ok(Some((cpu.cpu(), cpu.owned::<U>(record)?)))
    }

    fn drain_of<U: Record + ?Sized>(&self, mut each: impl FnMut(u32, U::Passed<'_>)) -> Result<Drained> {
        let (mut record, mut drained) = (Vec::new(), Drained::default());
        for cpu in &self.cpus {
            cpu.drain_into(&mut record, &mut drained, &mut |record| {
                each(cpu.cpu(), cpu.passed::<U>(record)?);
                Ok(())
            })?;
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

descriptor! {
    /// The file descriptor becomes ready once for each wakeup of a CPU.
    [T: ?Sized] PerfBuffer<T>: self => self.epoll
}

impl<T: Record + ?Sized> fmt::Debug for PerfBuffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "perf buffers of {} CPUs for {:?}, {} lost", self.cpus.len(), self.map, self.lost())
    }
}

/// Stores an event in its CPU's element.
fn put(map: &Untyped, cpu: u32, event: BorrowedFd<'_>) -> Result<()> {
    map.update(as_bytes(&cpu), as_bytes(&event.as_raw_fd()), elem_flags::ANY)
        .map_err(|error: Error| error.within(format_args!("CPU {cpu}")))
}
