//! User ring buffers: records that this process submits and programs consume (Linux 6.1).
//!
//! The protocol, from kernel/bpf/ringbuf.c (Linux 6.12): the first page contains the consumer position and is
//! read-only. The second page contains the producer position. The data follow, mapped twice in a row. A record is a
//! header of 8 bytes, of which the first 4 are the record's length, followed by the record's bytes, padded to a
//! multiple of 8. Programs may consume a record as soon as the producer position is past it.
//!
//! Any process that maps the buffer can write to the producer's page, so the position in it is compared with the
//! writer's own.

use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::handle::handle;
use super::records::Record;
use super::ringbuf::is_plausible;
use super::supports::Supports;
use super::untyped::Untyped;
use crate::data::as_bytes;
use crate::data::{Plain, Shared};
use crate::error::{Errno, ErrorKind, Result, Step};
use crate::sys::elem::Readiness;
use crate::sys::mmap::{Region, page_size};
use crate::uapi::MapType;

const HEADER: usize = 8;

/// The writer of a user ring buffer.
///
/// Several threads may write through one handle. A map should have one writer: after its first write, a handle's writes
/// fail if another handle or another process has moved the producer position.
///
/// `T` is the type of the records, as for [`RingBuf`](super::RingBuf): `[u8]` if the object does not declare a type.
///
/// ```
/// use skelgen_runtime::map::UserRingBuf;
/// # type Command = u64;
///
/// fn send(commands: &UserRingBuf<Command>, command: Command) -> skelgen_runtime::Result<()> {
///     while !commands.push(&command)? {
///         commands.poll(None)?;
///     }
///     Ok(())
/// }
/// ```
pub struct UserRingBuf<T: ?Sized = [u8]> {
    handle: Untyped,
    /// Mapped on the first write.
    producer: Mutex<Option<Producer>>,
    record: PhantomData<fn(&T)>,
}

handle!([T: Record + ?Sized] UserRingBuf<T>);

/// A user ring buffer whose records are bytes.
impl UserRingBuf {
    /// Submits a value as a record. Returns `false` if there is no space for it.
    ///
    /// # Errors
    /// Those of [`Self::push`].
    pub fn push_as<T: Plain>(&self, record: &T) -> Result<bool> {
        self.push(as_bytes(record))
    }
}

impl<T: Record + ?Sized> UserRingBuf<T> {
    const SUPPORTS: Supports = Supports::new(&[MapType::USER_RINGBUF], None, None);

    fn check(handle: Untyped) -> Result<Self> {
        let handle = handle.expect(&Self::SUPPORTS)?;
        Ok(Self { handle, producer: Mutex::new(None), record: PhantomData })
    }

    /// Changes the type of the records, in this process only: to `[u8]` or to a plain type.
    ///
    /// ```
    /// use skelgen_runtime::{Result, map::UserRingBuf};
    ///
    /// fn send_text(commands: UserRingBuf<u64>) -> Result<bool> {
    ///     commands.cast::<[u8]>().push(b"text")
    /// }
    /// ```
    #[must_use]
    pub fn cast<U: Record + ?Sized>(self) -> UserRingBuf<U> {
        UserRingBuf { handle: self.handle, producer: self.producer, record: PhantomData }
    }

    /// Submits a record. Returns `false`, without an error, if there is no space for it now.
    ///
    /// # Errors
    /// If the record is longer than the buffer, the buffer cannot be mapped, its positions are not valid, or the
    /// producer position is not where this handle left it.
    pub fn push(&self, record: &T) -> Result<bool> {
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        let producer = match &mut *producer {
            Some(producer) => producer,
            slot => slot.insert(Producer::new(&self.handle)?),
        };
        producer.push(record.bytes()).map_err(|(kind, what)| self.handle.error(kind, what).during(Step::WriteMap))
    }

    /// Waits until a program has released space, for at most `timeout` if it is set. Returns `false` after the timeout
    /// or a signal.
    ///
    /// # Errors
    /// If the kernel rejects the wait.
    pub fn poll(&self, timeout: Option<Duration>) -> Result<bool> {
        self.handle.poll(Readiness::ToWrite, timeout)
    }
}

#[derive(Debug)]
struct Producer {
    /// The consumer's page.
    consumer: Shared,
    /// The producer's page, followed by the data twice.
    own: Shared,
    page: usize,
    size: usize,
    /// The position up to which records were written. Other processes can change the position in the shared page.
    position: u64,
}

impl Producer {
    fn new(handle: &Untyped) -> Result<Self> {
        let refused = |errno| handle.refused(Step::Open, "cannot be mapped into memory", errno);
        let page = page_size();
        let size = usize::try_from(handle.map().definition().max_entries).unwrap_or(0);
        let both = size.checked_mul(2).and_then(|data| data.checked_add(page)).filter(|_| size.is_power_of_two());
        let both = both.ok_or_else(|| {
            handle.invalid(format_args!("a ring buffer of {size} bytes is too large to be mapped into memory"))
        })?;
        Self::map(handle.as_fd(), page, both, size).map_err(refused)
    }

    fn map(fd: BorrowedFd<'_>, page: usize, both: usize, size: usize) -> Result<Self, Errno> {
        let consumer = Shared::new(Region::new(fd, 0, page, false)?);
        let own = Shared::new(Region::new(fd, page, both, true)?);
        let position = own.load_u64(0, Ordering::Relaxed);
        Ok(Self { consumer, own, page, size, position })
    }

    fn push(&mut self, record: &[u8]) -> Result<bool, (ErrorKind, &'static str)> {
        let too_long = (ErrorKind::InvalidInput, "the record is longer than the buffer");
        let len = u32::try_from(record.len()).map_err(|_| too_long)?;
        let step = record.len().checked_add(HEADER).and_then(|len| len.checked_next_multiple_of(8)).ok_or(too_long)?;
        // The two upper bits of a length are flags.
        if step > self.size || len >> 30 != 0 {
            return Err(too_long);
        }
        let at = self.own.load_u64(0, Ordering::Relaxed);
        let taken = self.consumer.load_u64(0, Ordering::Acquire);
        if at != self.position {
            return Err((
                ErrorKind::Malformed,
                "another writer or process has moved the producer position; create a new handle",
            ));
        }
        let implausible = (ErrorKind::Malformed, "ring buffer positions are not valid");
        if !is_plausible(taken, at, self.size) {
            return Err(implausible);
        }
        let used = usize::try_from(at.wrapping_sub(taken)).map_err(|_| implausible)?;
        if step > self.size - used {
            return Ok(false);
        }
        let mask = u64::try_from(self.size).unwrap_or(u64::MAX) - 1;
        let offset = usize::try_from(at & mask)
            .map_err(|_| (ErrorKind::Malformed, "ring buffer position does not fit in usize"))?;
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&len.to_ne_bytes());
        self.own.write(self.page + offset, &header);
        self.own.write(self.page + offset + HEADER, record);
        let step = u64::try_from(step).map_err(|_| too_long)?;
        self.position = at.wrapping_add(step);
        self.own.store_u64(0, self.position, Ordering::Release);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a producer of a buffer of one page with these producer and consumer positions.
    fn producer(at: u64, taken: u64) -> Producer {
        let page = page_size();
        let (consumer, own) = (Shared::new(Region::anonymous(page)), Shared::new(Region::anonymous(3 * page)));
        consumer.store_u64(0, taken, Ordering::Relaxed);
        own.store_u64(0, at, Ordering::Relaxed);
        Producer { consumer, own, page, size: page, position: at }
    }

    #[test]
    fn nonsense_is_an_error() {
        let size = u64::try_from(page_size()).unwrap();
        for (at, taken) in [(4, 0), (16, 12), (8, 16), (size + 8, 0), (0, 1 << 63)] {
            let mut producer = producer(at, taken);
            assert!(producer.push(b"record").is_err() && producer.push(b"").is_err(), "{at} {taken}");
            assert_eq!(producer.own.load_u64(0, Ordering::Relaxed), at, "nothing is written");
        }
        let mut around = producer(u64::MAX - 7, u64::MAX - 15);
        assert_eq!((around.push(b"record"), around.position), (Ok(true), 8));
        assert_eq!(producer(size, 0).push(b""), Ok(false), "it is full");
    }

    /// Tests the writer's own position: every process that maps the buffer can write to the producer's page.
    #[test]
    fn a_position_that_another_has_moved_is_an_error() {
        for moved in [0, 4, 8, 24, 1 << 40, u64::MAX] {
            let mut producer = producer(0, 0);
            assert_eq!(producer.push(b"12345678"), Ok(true));
            producer.own.store_u64(0, moved, Ordering::Relaxed);
            assert!(producer.push(b"12345678").is_err() && producer.push(b"12345678").is_err(), "{moved}");
            producer.own.store_u64(0, 16, Ordering::Relaxed);
            assert_eq!(producer.push(b"12345678"), Ok(true), "it is where it was");
        }
    }
}
