//! Ring buffers: records that programs submit and this process reads in order.
//!
//! `consumer` implements the protocol, `batch` stores records that are copied together; this module has the typed
//! handle.

mod batch;
mod consumer;

use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) use self::consumer::is_plausible;

use self::batch::Batch;
use self::consumer::Consumer;
use super::handle::handle;
use super::records::{Record, other_size};
use super::supports::Supports;
use super::untyped::Untyped;
use crate::data::Plain;
use crate::error::{Error, ErrorKind, Result, Step};
use crate::sys::elem::Readiness;
use crate::uapi::MapType;

/// The reader of a ring buffer. Each record is copied out, and its space is released at once.
///
/// Several threads may read from one handle; each record is returned to one of them. A map should have one reader:
/// after its first read, a handle's reads fail if another handle or another process has moved the consumer position. A
/// new handle starts at the current position.
///
/// `T` is the record type. The skeleton's handle has the type that the object declares, or that the build sets with
/// `Builder::record("events", "event")`:
///
/// ```text
/// struct {
///     __uint(type, BPF_MAP_TYPE_RINGBUF);
///     __uint(max_entries, 1 << 20);
///     __type(value, struct event);
/// } events SEC(".maps");
/// ```
///
/// ```
/// use skelgen_runtime::map::RingBuf;
/// # type Event = [u64; 2];
///
/// fn show(events: &RingBuf<Event>) -> skelgen_runtime::Result<()> {
///     while events.poll(None)? {
///         events.drain(|[time, pid]| println!("{time}: {pid}"))?;
///     }
///     Ok(())
/// }
/// ```
///
/// Otherwise records are bytes (`RingBuf` is `RingBuf<[u8]>`). If a buffer has several kinds of records, read their
/// bytes with a [`Decoder`](crate::Decoder). [`Self::cast`] changes the type. `<RingBuf>::try_from` creates a handle
/// whose records are bytes from an `OwnedFd`.
///
/// To wait for several buffers, add them to a [`Poller`](super::Poller).
///
/// # Buffers that overwrite
/// In a buffer with the flag [`RB_OVERWRITE`](crate::uapi::MapFlags::RB_OVERWRITE) (Linux 6.19), new records overwrite
/// the oldest ones, so that the buffer always has the newest records, like a flight recorder. A read continues at the
/// oldest record that is not overwritten, and [`Self::lost_bytes`] counts the bytes that were overwritten before. A
/// record that is overwritten while it is copied is not returned.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::map::{NewMap, RingBuf};
/// use skelgen_runtime::uapi::MapFlags;
///
/// let history = RingBuf::<[u64; 2]>::create(NewMap::new("history", 1 << 16).flags(MapFlags::RB_OVERWRITE))?;
/// # Ok(())
/// # }
/// ```
///
/// ```
/// use skelgen_runtime::map::{RingBuf, UserRingBuf};
///
/// fn copy(from: &RingBuf, to: &UserRingBuf) -> skelgen_runtime::Result<()> {
///     if let Some(number) = from.next_as::<u32>()? {
///         to.push_as(&number)?;
///     }
///     from.drain_as::<u32>(|number| println!("{number}"))?;
///     let mut record = Vec::new();
///     while from.read_into(&mut record)? {
///         println!("{} bytes", record.len());
///     }
///     Ok(())
/// }
/// ```
pub struct RingBuf<T: ?Sized = [u8]> {
    handle: Untyped,
    /// Mapped on the first read.
    consumer: Mutex<Option<Consumer>>,
    record: PhantomData<fn(&T)>,
}

/// The positions of a ring buffer: numbers of bytes since the buffer was created. They wrap around the end of their
/// type.
///
/// ```no_run
/// # fn f(events: &skelgen_runtime::map::RingBuf) -> skelgen_runtime::Result<()> {
/// let positions = events.positions()?;
/// println!("{} bytes are unread", positions.producer.wrapping_sub(positions.consumer));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingPositions {
    /// The position up to which records were read. In a buffer that overwrites, records after this position may already
    /// be overwritten.
    pub consumer: u64,
    /// The position up to which programs have reserved records, including records that are not committed yet.
    pub producer: u64,
}

handle!([T: Record + ?Sized] RingBuf<T>);

/// A ring buffer whose records are values. A record of a different size is an error: to read records that are longer,
/// such as those with a tail of variable length, [`cast`](Self::cast) to `[u8]`.
impl<T: Plain> RingBuf<T> {
    /// Returns the next record, or `None` if there is no record.
    ///
    /// # Errors
    /// Those of [`Self::read_into`]. Also if the record has a different size than `T`; it is skipped then.
    pub fn next(&self) -> Result<Option<T>> {
        self.next_of::<T>()
    }

    /// Passes all available records to `each` and returns their number. No lock is taken during `each`. Records are
    /// copied in batches, so if `each` panics, the rest of its batch may be lost.
    ///
    /// # Errors
    /// Those of [`Self::next`]. Stops at the first record of a different size.
    pub fn drain(&self, each: impl FnMut(T)) -> Result<usize> {
        self.drain_of::<T>(each)
    }
}

/// A ring buffer whose records are bytes.
impl RingBuf {
    /// Returns the next record, or `None` if there is no record.
    ///
    /// # Errors
    /// Those of [`Self::read_into`].
    pub fn next(&self) -> Result<Option<Vec<u8>>> {
        self.next_of::<[u8]>()
    }

    /// Passes all available records to `each` and returns their number. The bytes are a copy, and no lock is taken
    /// during `each`. Records are copied in batches, so if `each` panics, the rest of its batch may be lost.
    ///
    /// # Errors
    /// Those of [`Self::read_into`].
    pub fn drain(&self, each: impl FnMut(&[u8])) -> Result<usize> {
        self.drain_of::<[u8]>(each)
    }

    /// Returns the next record as a value, or `None` if there is no record.
    ///
    /// # Errors
    /// Those of [`Self::read_into`]. Also if the record has a different size than `T`; it is skipped then.
    pub fn next_as<T: Plain>(&self) -> Result<Option<T>> {
        self.next_of::<T>()
    }

    /// Passes all available records to `each` as values and returns their number. If `each` panics, records may be
    /// lost, as in [`Self::drain`].
    ///
    /// # Errors
    /// Those of [`Self::next_as`]. Stops at the first record of a different size.
    pub fn drain_as<T: Plain>(&self, each: impl FnMut(T)) -> Result<usize> {
        self.drain_of::<T>(each)
    }
}

impl<T: Record + ?Sized> RingBuf<T> {
    const SUPPORTS: Supports = Supports::new(&[MapType::RINGBUF], None, None);

    fn check(handle: Untyped) -> Result<Self> {
        let handle = handle.expect(&Self::SUPPORTS)?;
        Ok(Self { handle, consumer: Mutex::new(None), record: PhantomData })
    }

    /// Changes the type of the records, in this process only: to `[u8]` or to a plain type.
    ///
    /// ```
    /// use skelgen_runtime::{Decoder, Result, map::RingBuf};
    ///
    /// /// Shows records that begin with a number and vary in length.
    /// fn show(names: RingBuf<u32>) -> Result<()> {
    ///     names.cast::<[u8]>().drain(|record| {
    ///         let mut record = Decoder::new(record);
    ///         println!("{:?} {:?}", record.read::<u32>(), record.rest());
    ///     })?;
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn cast<U: Record + ?Sized>(self) -> RingBuf<U> {
        RingBuf { handle: self.handle, consumer: self.consumer, record: PhantomData }
    }

    /// Replaces the content of `record` with the next record. Returns `false` if there is no record.
    ///
    /// # Errors
    /// If the buffer cannot be mapped, its positions are not valid, the consumer position is not where this handle left
    /// it, or the length of a record is not valid.
    pub fn read_into(&self, record: &mut Vec<u8>) -> Result<bool> {
        self.with(|consumer| consumer.read(record))
    }

    /// Returns the number of bytes between the consumer position and the producer position. They include the 8-byte header and the padding
    /// of each record, and records that were discarded or are not committed yet. This also works if another process reads the buffer. The
    /// first call maps the buffer.
    ///
    /// ```no_run
    /// # fn f(events: &skelgen_runtime::map::RingBuf) -> skelgen_runtime::Result<()> {
    /// let used = events.available()? * 100 / u64::from(events.max_entries());
    /// println!("{used}% of the buffer is used");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the buffer cannot be mapped, or its positions are not valid.
    pub fn available(&self) -> Result<u64> {
        self.with(|consumer| consumer.available())
    }

    /// Returns the consumer position and the producer position. Another process may be the reader. The first call maps
    /// the buffer.
    ///
    /// ```no_run
    /// # fn f(events: &skelgen_runtime::map::RingBuf) -> skelgen_runtime::Result<()> {
    /// let before = events.positions()?.producer;
    /// std::thread::sleep(std::time::Duration::from_secs(1));
    /// println!("{} bytes per second", events.positions()?.producer.wrapping_sub(before));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the buffer cannot be mapped.
    pub fn positions(&self) -> Result<RingPositions> {
        self.with(|consumer| {
            let (consumer, producer) = consumer.positions();
            Ok(RingPositions { consumer, producer })
        })
    }

    /// Returns the number of bytes that were overwritten before this handle read them, of a buffer that
    /// [overwrites](crate::uapi::MapFlags::RB_OVERWRITE); 0 for others. Only reads update the number: call this after a
    /// read.
    ///
    /// The kernel does not count records. Each has a header of 8 bytes, and is padded to a multiple of 8 bytes; records
    /// that were discarded count as well.
    ///
    /// ```no_run
    /// # fn f(events: &skelgen_runtime::map::RingBuf<[u64; 2]>) -> skelgen_runtime::Result<()> {
    /// events.drain(|event| println!("{event:?}"))?;
    /// println!("{} events were lost", events.lost_bytes() / (8 + 16));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn lost_bytes(&self) -> u64 {
        self.consumer.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, Consumer::lost)
    }

    /// Waits until there is a record, for at most `timeout` if it is set. Returns `false` after the timeout or a
    /// signal.
    ///
    /// # Errors
    /// If the kernel rejects the wait.
    pub fn poll(&self, timeout: Option<Duration>) -> Result<bool> {
        self.handle.poll(Readiness::ToRead, timeout)
    }

    pub(super) fn next_of<U: Record + ?Sized>(&self) -> Result<Option<U::Owned>> {
        let mut record = Vec::new();
        if !self.read_into(&mut record)? {
            return Ok(None);
        }
        let len = record.len();
        U::own(record).map(Some).ok_or_else(|| self.other_size::<U>(len))
    }

    fn drain_of<U: Record + ?Sized>(&self, mut each: impl FnMut(U::Passed<'_>)) -> Result<usize> {
        let (mut batch, mut count) = (Batch::default(), 0);
        while self.fill(&mut batch, U::SIZE)? {
            for record in batch.iter() {
                each(U::pass(record).ok_or_else(|| self.other_size::<U>(record.len()))?);
                count += 1;
            }
        }
        Ok(count)
    }

    fn other_size<U: Record + ?Sized>(&self, len: usize) -> Error {
        self.handle.error(ErrorKind::Mismatch, other_size::<U>(len)).during(Step::ReadMap)
    }

    /// Replaces the content of `batch` with the next records. Returns `false` if there are none. If `len` is set, a
    /// record of a different length becomes a batch of its own.
    fn fill(&self, batch: &mut Batch, len: Option<usize>) -> Result<bool> {
        self.with(|consumer| consumer.fill(batch, len))
    }

    /// Maps the buffer, unless it is mapped, and calls `work` with its reader.
    fn with<R>(&self, work: impl FnOnce(&mut Consumer) -> Result<R, &'static str>) -> Result<R> {
        let mut consumer = self.consumer.lock().unwrap_or_else(PoisonError::into_inner);
        work(self.consumer(&mut consumer)?)
            .map_err(|what| self.handle.error(ErrorKind::Malformed, what).during(Step::ReadMap))
    }

    fn consumer<'a>(&self, slot: &'a mut MutexGuard<'_, Option<Consumer>>) -> Result<&'a mut Consumer> {
        if slot.is_none() {
            **slot = Some(Consumer::new(&self.handle)?);
        }
        slot.as_mut().ok_or_else(|| self.handle.invalid("the ring buffer is not mapped"))
    }
}
