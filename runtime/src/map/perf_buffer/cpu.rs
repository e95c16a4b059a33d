//! The buffer of one CPU: a perf event, which is stored in the map, and the event's mapped memory.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ring::{Ring, Taken};
use super::{Drained, PerfBufferOptions, PerfWakeup};
use crate::data::{Plain, as_bytes};
use crate::error::{Error, ErrorKind, Result, Step};
use crate::map::records::other_size;
use crate::map::{Record, Untyped};
use crate::sys::mmap::page_size;
use crate::sys::perf;

/// The part of a [`PerfBuffer`](super::PerfBuffer) for one CPU. Its methods to read records have the same names as
/// those of a [`RingBuf`](crate::map::RingBuf).
///
/// ```
/// use skelgen_runtime::map::PerfBuffer;
/// # type Event = [u64; 2];
///
/// fn show(buffer: &PerfBuffer<Event>, cpu: u32) -> skelgen_runtime::Result<()> {
///     let Some(here) = buffer.cpu(cpu) else { return Ok(()) };
///     while let Some(record) = here.next()? {
///         println!("{record:?}");
///     }
///     println!("{} were lost", here.lost());
///     Ok(())
/// }
/// ```
pub struct PerfCpuBuffer<T: ?Sized = [u8]> {
    map: Arc<Untyped>,
    cpu: u32,
    event: OwnedFd,
    /// If at least this number of bytes is unread, `poll` reports the buffer without a wakeup.
    enough: u64,
    reader: Mutex<Reader>,
    record: PhantomData<fn(&T)>,
}

#[derive(Debug)]
struct Reader {
    ring: Ring,
    /// Whether there are unread records for which the kernel has sent a wakeup.
    woken: bool,
    lost: u64,
}

/// Methods for records that are values of type `T`.
impl<T: Plain> PerfCpuBuffer<T> {
    /// Returns the next record, or `None` if there is no record. The value is the first bytes of the record; the kernel
    /// pads records, so bytes after the value are ignored.
    ///
    /// # Errors
    /// Those of [`Self::read_into`]. Also if the record is shorter than a `T`; it is skipped then.
    pub fn next(&self) -> Result<Option<T>> {
        self.next_of::<T>()
    }

    /// Passes all available records to `each`. Returns their number, and the number of records that were lost before
    /// and between them. No lock is taken during `each`.
    ///
    /// # Errors
    /// Those of [`Self::next`]. Stops at the first record that is too short.
    pub fn drain(&self, each: impl FnMut(T)) -> Result<Drained> {
        self.drain_of::<T>(each)
    }
}

/// Methods for records of bytes.
impl PerfCpuBuffer {
    /// Returns the next record, or `None` if there is no record.
    ///
    /// # Errors
    /// Those of [`Self::read_into`].
    pub fn next(&self) -> Result<Option<Vec<u8>>> {
        self.next_of::<[u8]>()
    }

    /// Passes all available records to `each`. Returns their number, and the number of records that were lost before
    /// and between them. The bytes are a copy, and no lock is taken during `each`.
    ///
    /// # Errors
    /// Those of [`Self::read_into`].
    pub fn drain(&self, each: impl FnMut(&[u8])) -> Result<Drained> {
        self.drain_of::<[u8]>(each)
    }

    /// Returns the next record as a value, or `None` if there is no record. The value is the first bytes of the record;
    /// the kernel pads records, so bytes after the value are ignored.
    ///
    /// # Errors
    /// Those of [`Self::read_into`]. Also if the record is shorter than a `T`; it is skipped then.
    pub fn next_as<T: Plain>(&self) -> Result<Option<T>> {
        self.next_of::<T>()
    }

    /// Passes all available records to `each`, as the values that [`Self::next_as`] returns.
    ///
    /// # Errors
    /// Those of [`Self::next_as`]. Stops at the first record that is too short.
    pub fn drain_as<T: Plain>(&self, each: impl FnMut(T)) -> Result<Drained> {
        self.drain_of::<T>(each)
    }
}

impl<T: Record + ?Sized> PerfCpuBuffer<T> {
    /// Opens the perf event of a CPU and stores it in the map.
    pub(super) fn open(map: &Arc<Untyped>, options: &PerfBufferOptions, cpu: u32) -> Result<Self> {
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
                    "the buffers exceed the limit on locked memory: use fewer pages, run with CAP_IPC_LOCK, or raise \
                     /proc/sys/kernel/perf_event_mlock_kb",
                ),
                _ => error,
            }
        })?;
        perf::enable(event.as_fd()).map_err(|errno| refused("enable the perf event", errno))?;
        super::put(map, cpu, event.as_fd())?;
        let reader = Mutex::new(Reader { ring, woken: false, lost: 0 });
        Ok(Self { map: Arc::clone(map), cpu, event, enough, reader, record: PhantomData })
    }

    /// Returns the CPU's number.
    #[must_use]
    pub fn cpu(&self) -> u32 {
        self.cpu
    }

    /// Returns the number of records that were lost because the buffer was full. The kernel reports lost records before
    /// the next record that fits, so the latest lost records may not be counted yet.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.reader().lost
    }

    /// Replaces the content of `record` with the next record. Returns `false` if there is no record.
    ///
    /// # Errors
    /// If the next record is malformed, the buffer's positions are not valid, or another process has changed the
    /// buffer's `data_tail`. A malformed record is skipped if its length is valid; otherwise all unread records are
    /// skipped.
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

    fn next_of<U: Record + ?Sized>(&self) -> Result<Option<U::Owned>> {
        let mut record = Vec::new();
        if !self.read_into(&mut record)? {
            return Ok(None);
        }
        self.owned::<U>(record).map(Some)
    }

    fn drain_of<U: Record + ?Sized>(&self, mut each: impl FnMut(U::Passed<'_>)) -> Result<Drained> {
        let mut drained = Drained::default();
        self.drain_into(&mut Vec::new(), &mut drained, &mut |record| {
            each(self.passed::<U>(record)?);
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
        // The records that caused the wakeup may have been read already.
        reader.woken &= unread != 0;
        unread >= self.enough || reader.woken
    }

    /// Stores that the kernel has sent a wakeup.
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

    /// Converts the first bytes of a record to an owned value. Fails if the record is shorter than a `U`.
    pub(super) fn owned<U: Record + ?Sized>(&self, mut record: Vec<u8>) -> Result<U::Owned> {
        let len = record.len();
        record.truncate(U::SIZE.unwrap_or(len));
        U::own(record).ok_or_else(|| self.too_short::<U>(len))
    }

    /// Converts the first bytes of a record to what closures receive. Fails if the record is shorter than a `U`.
    pub(super) fn passed<'r, U: Record + ?Sized>(&self, record: &'r [u8]) -> Result<U::Passed<'r>> {
        let bytes = record.get(..U::SIZE.unwrap_or(record.len()));
        bytes.and_then(U::pass).ok_or_else(|| self.too_short::<U>(record.len()))
    }

    fn too_short<U: Record + ?Sized>(&self, len: usize) -> Error {
        self.error(ErrorKind::Mismatch, other_size::<U>(len))
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
    /// Returns the wakeup for a buffer of `size` bytes, and the number of unread bytes at which the buffer should be
    /// read.
    fn of_size(self, size: usize) -> (perf::Wakeup, u64) {
        // The kernel sends a wakeup only after more bytes than requested, and not for a record that is lost. The
        // requested number must be less than half of the buffer, so that the record that exceeds this number always
        // fits.
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

impl<T: Record + ?Sized> fmt::Debug for PerfCpuBuffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CPU {} of {:?}, {} lost", self.cpu, self.map, self.lost())
    }
}

impl<T: ?Sized> Drop for PerfCpuBuffer<T> {
    fn drop(&mut self) {
        // Programs stop writing before the event is closed. An error is ignored: the event is closed anyway.
        let _ = self.map.map().delete(as_bytes(&self.cpu));
        let _ = perf::disable(self.event.as_fd());
    }
}
