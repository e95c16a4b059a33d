//! The buffer of one CPU: its perf event, which is stored in the map, and the event's memory.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ring::{Ring, Taken};
use super::{Drained, PerfBufferOptions, PerfWakeup};
use crate::data::Plain;
use crate::data::{as_bytes, from_bytes};
use crate::error::{Error, ErrorKind, Result, Step};
use crate::map::Handle;
use crate::sys::mmap::page_size;
use crate::sys::perf;

/// The part of a [`PerfBuffer`](super::PerfBuffer) for one CPU. Its methods are those of a
/// [`RingBuf`](crate::map::RingBuf).
///
/// ```
/// use skelgen_runtime::map::PerfBuffer;
///
/// fn show(buffer: &PerfBuffer, cpu: u32) -> skelgen_runtime::Result<()> {
///     let Some(here) = buffer.cpu(cpu) else { return Ok(()) };
///     while let Some(record) = here.next_as::<[u64; 2]>()? {
///         println!("{record:?}");
///     }
///     println!("{} were lost", here.lost());
///     Ok(())
/// }
/// ```
pub struct PerfCpuBuffer {
    map: Arc<Handle>,
    cpu: u32,
    event: OwnedFd,
    /// The number of unread bytes that makes the buffer due without a wakeup.
    enough: u64,
    reader: Mutex<Reader>,
}

#[derive(Debug)]
struct Reader {
    ring: Ring,
    /// Whether the kernel has sent a wakeup and the records of that time are not all read.
    woken: bool,
    lost: u64,
}

impl PerfCpuBuffer {
    /// Opens the perf event of a CPU and stores it in the map.
    pub(super) fn open(map: &Arc<Handle>, options: &PerfBufferOptions, cpu: u32) -> Result<Self> {
        let refused = |what: &str, errno| map.refused(Step::Open, format_args!("cannot {what} of CPU {cpu}"), errno);
        let number = i32::try_from(cpu).map_err(|_| map.no_cpu(cpu))?;
        let size = usize::try_from(options.pages).ok().and_then(|pages| pages.checked_mul(page_size()));
        let size = size.ok_or_else(|| map.invalid("the perf buffers are larger than the address space"))?;
        let (wakeup, enough) = options.wakeup.of_size(size);
        let event = perf::output(number, wakeup).map_err(|errno| {
            let error = refused("open the perf event", errno);
            match errno.raw() {
                libc::EACCES | libc::EPERM => error.with_help("run with CAP_PERFMON, or as root"),
                libc::ENODEV => error.note("the CPU is not online"),
                _ => error,
            }
        })?;
        let ring = Ring::map(event.as_fd(), size).map_err(|errno| {
            let error = refused("map the buffer", errno);
            match errno.raw() {
                libc::EPERM => error.with_help(
                    "the buffers exceed the limit of locked memory: use fewer pages, CAP_IPC_LOCK, or a higher value in \
                     /proc/sys/kernel/perf_event_mlock_kb",
                ),
                _ => error,
            }
        })?;
        perf::enable(event.as_fd()).map_err(|errno| refused("enable the perf event", errno))?;
        super::put(map, cpu, event.as_fd())?;
        let reader = Mutex::new(Reader { ring, woken: false, lost: 0 });
        Ok(Self { map: Arc::clone(map), cpu, event, enough, reader })
    }

    /// Returns the CPU's number.
    #[must_use]
    pub fn cpu(&self) -> u32 {
        self.cpu
    }

    /// Returns the number of records that were lost because the buffer was full. The kernel reports them with the next
    /// record that fits, so the latest ones may not be counted yet.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.reader().lost
    }

    /// Replaces the content of `record` with the next record. Returns `false` if there is no record.
    ///
    /// # Errors
    /// If the next record is malformed; it is skipped then.
    pub fn read_into(&self, record: &mut Vec<u8>) -> Result<bool> {
        let end = self.reader().ring.end();
        loop {
            match self.take(record, end)? {
                Some(Taken::Sample) => return Ok(true),
                Some(Taken::Lost(_)) => {}
                None => return Ok(false),
            }
        }
    }

    /// Returns the next record, or `None` if there is no record.
    ///
    /// # Errors
    /// Those of [`Self::read_into`].
    pub fn next(&self) -> Result<Option<Vec<u8>>> {
        let mut record = Vec::new();
        Ok(self.read_into(&mut record)?.then_some(record))
    }

    /// Passes all available records to `each`. Returns their number, and the number of records that were lost before
    /// and between them. The bytes are a copy, and no lock is taken during `each`.
    ///
    /// # Errors
    /// Those of [`Self::read_into`].
    pub fn drain(&self, mut each: impl FnMut(&[u8])) -> Result<Drained> {
        let mut drained = Drained::default();
        self.drain_into(&mut Vec::new(), &mut drained, &mut |record| {
            each(record);
            Ok(())
        })?;
        Ok(drained)
    }

    /// Returns the next record as a value, or `None` if there is no record. The value is the first bytes of the record;
    /// the kernel pads records, so bytes after the value are ignored.
    ///
    /// # Errors
    /// Those of [`Self::read_into`]. Also if the record is shorter than a `T`; it is skipped then.
    pub fn next_as<T: Plain>(&self) -> Result<Option<T>> {
        self.next()?.map(|record| self.value(&record)).transpose()
    }

    /// Passes all available records to `each`, as the values that [`Self::next_as`] returns.
    ///
    /// # Errors
    /// As [`Self::next_as`], at the first record that is too short.
    pub fn drain_as<T: Plain>(&self, mut each: impl FnMut(T)) -> Result<Drained> {
        let mut drained = Drained::default();
        self.drain_into(&mut Vec::new(), &mut drained, &mut |record| {
            each(self.value(record)?);
            Ok(())
        })?;
        Ok(drained)
    }

    /// Returns the file descriptor of the event, to wait for.
    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Returns whether the buffer should be read.
    pub(super) fn is_due(&self) -> bool {
        let mut reader = self.reader();
        let unread = reader.ring.unread();
        // The records of the wakeup may have been read without waiting.
        reader.woken &= unread != 0;
        unread >= self.enough || reader.woken
    }

    /// Notes that the kernel has sent a wakeup.
    pub(super) fn wake(&self) {
        self.reader().woken = true;
    }

    /// Passes all records that are available at the beginning of the call to `each`, and adds to the counts.
    pub(super) fn drain_into(
        &self,
        record: &mut Vec<u8>,
        drained: &mut Drained,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let end = self.reader().ring.end();
        while let Some(taken) = self.take(record, end)? {
            match taken {
                Taken::Lost(count) => drained.lost = drained.lost.saturating_add(count),
                Taken::Sample => {
                    drained.records += 1;
                    each(record)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the value at the beginning of a record.
    pub(super) fn value<T: Plain>(&self, record: &[u8]) -> Result<T> {
        record.get(..size_of::<T>()).and_then(from_bytes).ok_or_else(|| {
            let (have, wanted) = (record.len(), size_of::<T>());
            self.error(ErrorKind::Mismatch, format_args!("a record has {have} bytes, but its Rust type has {wanted}"))
        })
    }

    fn take(&self, record: &mut Vec<u8>, end: u64) -> Result<Option<Taken>> {
        let mut reader = self.reader();
        let taken = reader.ring.take(record, end).map_err(|what| self.error(ErrorKind::Malformed, what))?;
        match taken {
            Some(Taken::Lost(count)) => reader.lost = reader.lost.saturating_add(count),
            Some(Taken::Sample) => {}
            None => reader.woken = false,
        }
        Ok(taken)
    }

    fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, kind: ErrorKind, what: impl fmt::Display) -> Error {
        self.map.error(kind, format_args!("CPU {}: {what}", self.cpu)).during(Step::ReadMap)
    }
}

impl PerfWakeup {
    /// Returns the wakeup for a buffer of `size` bytes, and the number of unread bytes that makes the buffer due.
    fn of_size(self, size: usize) -> (perf::Wakeup, u64) {
        // The kernel wakes only after more bytes than requested, and not for a record that is lost. The requested number must be less
        // than half of the buffer, so that there is always space for the record that exceeds it.
        let half = u32::try_from(size / 2).unwrap_or(u32::MAX);
        match self {
            Self::Records(1) => (perf::Wakeup::Samples(1), 1),
            Self::Records(count) => (perf::Wakeup::Samples(count), u64::from(half)),
            Self::Bytes(count) => {
                let count = count.min(half - 8);
                (perf::Wakeup::Bytes(count), u64::from(count))
            }
        }
    }
}

impl fmt::Debug for PerfCpuBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CPU {} of {:?}, {} lost", self.cpu, self.map, self.lost())
    }
}

impl Drop for PerfCpuBuffer {
    fn drop(&mut self) {
        // Programs stop writing before the event is closed. An error is ignored: the event is closed anyway.
        let _ = self.map.map().delete(as_bytes(&self.cpu));
        let _ = perf::disable(self.event.as_fd());
    }
}
