//! Records under tokio: a stream over a ring buffer or a perf buffer.
//!
//! A [`RecordStream`] waits in tokio's reactor and reads with the buffer's own reader, one record at a time. This
//! module does not depend on how records are stored. To stream over another kind of buffer, implement [`RecordSource`]
//! for it.

use std::fmt;
use std::future::poll_fn;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::io::unix::AsyncFd;

use super::{PerfBuffer, Record, RingBuf};
use crate::error::{Error, Result, Step};
use crate::sys::reactor;

/// An endless stream of the records of a [`RingBuf`] or a [`PerfBuffer`], for programs that use tokio. Requires the
/// feature `tokio`.
///
/// ```
/// use skelgen_runtime::map::{RecordStream, RingBuf};
/// # type Event = [u64; 2];
///
/// async fn show(events: &RingBuf<Event>) -> skelgen_runtime::Result<()> {
///     let mut events = RecordStream::new(events)?;
///     loop {
///         let [time, pid] = events.next().await?;
///         println!("{time}: {pid}");
///     }
/// }
/// ```
///
/// It is also a [`Stream`] of results, which never ends, for the combinators of crates such as `futures-util` and `tokio-stream`.
///
/// # Backpressure
/// A record stays in the buffer until the stream is polled, and then its space is released at once. A task that reads
/// too slowly does not slow BPF programs down. If a ring buffer is full, their reservations fail; if a perf buffer is
/// full, it counts lost records ([`PerfBuffer::lost`]). Choose a buffer that is large enough for the longest pause of
/// the task.
///
/// # Wakeups
/// The stream relies on the wakeups that the kernel sends: for a ring buffer, those of records without
/// `BPF_RB_NO_WAKEUP`; for a perf buffer, those of [`PerfWakeup`](super::PerfWakeup). Do not also call
/// `PerfBuffer::poll`, which consumes these wakeups. The stream takes part in tokio's cooperative scheduling: a buffer
/// that is never empty does not starve other tasks.
///
/// ```
/// use skelgen_runtime::map::{RecordStream, RingBuf};
///
/// /// Returns the buffer, to read it without tokio.
/// fn stop(stream: RecordStream<RingBuf>) -> RingBuf {
///     stream.into_inner()
/// }
/// ```
pub struct RecordStream<S> {
    source: S,
    /// A duplicate of the source's file descriptor.
    ready: AsyncFd<OwnedFd>,
    /// Whether there may be records that are older than the stream, for which no wakeup will come.
    has_older: bool,
    /// The number of older records that were read.
    older: u32,
}

/// The number of records older than the stream after which the task yields. For later records, tokio's cooperative
/// scheduling makes the task yield.
const OLDER_AT_ONCE: u32 = 128;

impl<S: RecordSource> RecordStream<S> {
    /// Creates a stream of a buffer's unread and future records. `source` is the buffer, a reference to it, or an
    /// [`Arc`] of it.
    ///
    /// # Errors
    /// If the process has too many open files, or tokio cannot wait for the buffer.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime, or if its I/O driver is not enabled.
    #[track_caller]
    pub fn new(source: S) -> Result<Self> {
        let refused = |what, error| Error::io(what, &error).during(Step::Open);
        let fd = source.as_fd().try_clone_to_owned();
        let fd = fd.map_err(|error| refused("cannot duplicate the file descriptor of a buffer for tokio", error))?;
        let ready = reactor::readable(fd).map_err(|error| refused("cannot wait for a buffer with tokio", error))?;
        Ok(Self { source, ready, has_older: true, older: 0 })
    }

    /// Waits for the next record and returns it, with its CPU's number if it is from a perf buffer.
    ///
    /// # Errors
    /// Those of the buffer's own `next`. A record of a different size, or a malformed record of a perf buffer, is
    /// skipped, and the stream continues after it. If the positions or a record of a ring buffer are not valid, or its
    /// consumer position is not where the stream left it, each call returns this error.
    ///
    /// # Cancel safety
    /// The method is cancel safe: a record is either returned or remains in the buffer.
    ///
    /// ```
    /// use skelgen_runtime::map::{PerfBuffer, RecordStream};
    ///
    /// /// Shows the records of a perf buffer until `done` completes.
    /// async fn show(buffer: PerfBuffer, mut done: tokio::sync::oneshot::Receiver<()>) -> skelgen_runtime::Result<()> {
    ///     let mut records = RecordStream::new(buffer)?;
    ///     loop {
    ///         tokio::select! {
    ///             record = records.next() => {
    ///                 let (cpu, bytes) = record?;
    ///                 println!("{} bytes on CPU {cpu}", bytes.len());
    ///             }
    ///             _ = &mut done => break,
    ///         }
    ///     }
    ///     println!("{} were lost", records.get_ref().lost());
    ///     Ok(())
    /// }
    /// ```
    pub async fn next(&mut self) -> Result<S::Item> {
        poll_fn(|cx| self.poll_record(cx)).await
    }

    /// Returns the buffer. The stream does not return records that the caller reads from it.
    pub fn get_ref(&self) -> &S {
        &self.source
    }

    /// Returns the buffer and ends the stream. Records that were not read are in the buffer.
    pub fn into_inner(self) -> S {
        self.source
    }

    fn poll_record(&mut self, cx: &mut Context<'_>) -> Poll<Result<S::Item>> {
        if self.has_older {
            self.older = self.older.wrapping_add(1);
            if self.older % OLDER_AT_ONCE == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.source.take_record().transpose() {
                Some(record) => return Poll::Ready(record),
                None => self.has_older = false,
            }
        }
        loop {
            let guard = ready!(self.ready.poll_read_ready(cx));
            let mut guard = guard
                .map_err(|error| Error::io("cannot wait for a buffer with tokio", &error).during(Step::ReadMap))?;
            // Read the buffer only after its readiness was requested, so that a wakeup between the two is not lost.
            match self.source.take_record().transpose() {
                Some(record) => return Poll::Ready(record),
                None => guard.clear_ready(),
            }
        }
    }
}

impl<S: RecordSource + Unpin> Stream for RecordStream<S> {
    type Item = Result<S::Item>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_record(cx).map(Some)
    }
}

impl<S: fmt::Debug> fmt::Debug for RecordStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream of {:?}", self.source)
    }
}

/// A buffer that a [`RecordStream`] can read: a [`RingBuf`], a [`PerfBuffer`], a reference to one, or an [`Arc`] of one.
///
/// ```
/// use skelgen_runtime::map::{RecordSource, RecordStream};
///
/// async fn first<S: RecordSource>(mut stream: RecordStream<S>) -> skelgen_runtime::Result<S::Item> {
///     stream.next().await
/// }
/// ```
pub trait RecordSource: AsFd + sealed::Sealed {
    /// A record: a value or a `Vec<u8>`. For a perf buffer, a pair of the CPU's number and the record.
    type Item;

    /// Returns the next record, if there is one.
    #[doc(hidden)]
    fn take_record(&self) -> Result<Option<Self::Item>>;
}

mod sealed {
    #[doc(hidden)]
    pub trait Sealed {}
}

impl<T: Record + ?Sized> sealed::Sealed for RingBuf<T> {}
impl<T: Record + ?Sized> sealed::Sealed for PerfBuffer<T> {}
impl<S: RecordSource> sealed::Sealed for &S {}
impl<S: RecordSource> sealed::Sealed for Arc<S> {}

impl<T: Record + ?Sized> RecordSource for RingBuf<T> {
    type Item = T::Owned;

    fn take_record(&self) -> Result<Option<Self::Item>> {
        self.next_of::<T>()
    }
}

impl<T: Record + ?Sized> RecordSource for PerfBuffer<T> {
    type Item = (u32, T::Owned);

    fn take_record(&self) -> Result<Option<Self::Item>> {
        self.next_of::<T>()
    }
}

impl<S: RecordSource> RecordSource for &S {
    type Item = S::Item;

    fn take_record(&self) -> Result<Option<Self::Item>> {
        S::take_record(self)
    }
}

impl<S: RecordSource> RecordSource for Arc<S> {
    type Item = S::Item;

    fn take_record(&self) -> Result<Option<Self::Item>> {
        S::take_record(self)
    }
}
