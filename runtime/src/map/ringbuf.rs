//! Ring buffers: records that programs submit and this process reads in order.
//!
//! The protocol, from Documentation/bpf/ringbuf.rst and kernel/bpf/ringbuf.c: the first page contains the consumer
//! position and may be written. The second page contains the producer position. Then the data follow, mapped twice in a
//! row so that no record is split. A record is a header of 8 bytes (its length, a busy bit until it is committed, and a
//! discard bit), then its bytes, rounded up to 8.
//!
//! The consumer's page is shared with every process that maps the buffer, so the position in it is not trusted. The
//! reader keeps its own position and reports an error if the two differ. A wrong position cannot be detected in another
//! way: it may point into a record.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::handle::{Handle, handle};
use crate::data::from_bytes;
use crate::data::{Plain, Shared};
use crate::error::{Errno, Error, ErrorKind, Result, Step};
use crate::sys::elem::Readiness;
use crate::sys::mmap::{Region, page_size};
use crate::uapi::MapType;

const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;
const HEADER: usize = 8;

/// The reader of a ring buffer. Each record is copied out, and its space is released at once.
///
/// Several threads may read from one handle; each record is returned to one of them. A map has one reader: once a
/// handle has read, its later reads fail if another handle or another process has moved the consumer position. A handle
/// that is created after that starts at the current position.
///
/// ```
/// use skelgen_runtime::map::RingBuf;
///
/// fn show(events: &RingBuf) -> skelgen_runtime::Result<()> {
///     while events.poll(None)? {
///         events.drain_as::<[u64; 2]>(|[time, pid]| println!("{time}: {pid}"))?;
///     }
///     Ok(())
/// }
/// ```
pub struct RingBuf {
    handle: Handle,
    /// Mapped on the first read.
    consumer: Mutex<Option<Consumer>>,
}

handle!([] RingBuf);

impl RingBuf {
    fn check(handle: Handle) -> Result<Self> {
        Ok(Self { handle: handle.expect(&[MapType::RINGBUF], None, None)?, consumer: Mutex::new(None) })
    }

    /// Replaces the content of `record` with the next record. Returns `false` if there is no record.
    ///
    /// # Errors
    /// If the buffer cannot be mapped, its positions are not valid, the consumer position is not where this handle left
    /// it, or a record does not fit in the buffer.
    pub fn read_into(&self, record: &mut Vec<u8>) -> Result<bool> {
        let mut consumer = self.consumer.lock().unwrap_or_else(PoisonError::into_inner);
        self.consumer(&mut consumer)?
            .read(record)
            .map_err(|what| self.handle.error(ErrorKind::Malformed, what).during(Step::ReadMap))
    }

    /// Returns the next record, or `None` if there is no record.
    ///
    /// # Errors
    /// Those of [`Self::read_into`].
    pub fn next(&self) -> Result<Option<Vec<u8>>> {
        let mut record = Vec::new();
        Ok(self.read_into(&mut record)?.then_some(record))
    }

    /// Passes all available records to `each` and returns their number. The bytes are a copy, and no lock is taken
    /// during `each`. Records are copied in batches, so if `each` panics, the rest of its batch may be lost.
    ///
    /// # Errors
    /// Those of [`Self::read_into`].
    pub fn drain(&self, mut each: impl FnMut(&[u8])) -> Result<usize> {
        let (mut batch, mut count) = (Batch::default(), 0);
        while self.fill(&mut batch, None)? {
            batch.iter().for_each(&mut each);
            count += batch.lens.len();
        }
        Ok(count)
    }

    /// Returns the next record as a value, or `None` if there is no record.
    ///
    /// # Errors
    /// Those of [`Self::read_into`]. Also if the record has another size than `T`; it is skipped then.
    pub fn next_as<T: Plain>(&self) -> Result<Option<T>> {
        self.next()?.map(|record| self.value(&record)).transpose()
    }

    /// Passes all available records to `each` as values and returns their number. If `each` panics, records may be
    /// lost, as in [`Self::drain`].
    ///
    /// # Errors
    /// As [`Self::next_as`], at the first record of another size.
    pub fn drain_as<T: Plain>(&self, mut each: impl FnMut(T)) -> Result<usize> {
        let (mut batch, mut count) = (Batch::default(), 0);
        while self.fill(&mut batch, Some(size_of::<T>()))? {
            for record in batch.iter() {
                each(self.value(record)?);
                count += 1;
            }
        }
        Ok(count)
    }

    fn value<T: Plain>(&self, record: &[u8]) -> Result<T> {
        from_bytes(record).ok_or_else(|| {
            let (have, wanted) = (record.len(), size_of::<T>());
            self.handle
                .error(ErrorKind::Mismatch, format_args!("a record has {have} bytes, but its Rust type has {wanted}"))
        })
    }

    /// Waits until there is a record, for at most `timeout` if it is set. Returns `false` after the timeout or a
    /// signal.
    ///
    /// # Errors
    /// If the kernel rejects the wait.
    pub fn poll(&self, timeout: Option<Duration>) -> Result<bool> {
        self.handle.poll(Readiness::ToRead, timeout)
    }

    /// Replaces the content of `batch` with the next records. Returns `false` if there are none. A record whose length
    /// is not `len`, if that is set, becomes a batch of its own.
    fn fill(&self, batch: &mut Batch, len: Option<usize>) -> Result<bool> {
        let mut consumer = self.consumer.lock().unwrap_or_else(PoisonError::into_inner);
        self.consumer(&mut consumer)?
            .fill(batch, len)
            .map_err(|what| self.handle.error(ErrorKind::Malformed, what).during(Step::ReadMap))
    }

    fn consumer<'a>(&self, slot: &'a mut MutexGuard<'_, Option<Consumer>>) -> Result<&'a mut Consumer> {
        if slot.is_none() {
            **slot = Some(Consumer::new(&self.handle)?);
        }
        slot.as_mut().ok_or_else(|| self.handle.invalid("the ring buffer is not mapped"))
    }
}

#[derive(Debug)]
struct Consumer {
    /// The consumer's page.
    own: Shared,
    /// The producer's page, followed by the data twice.
    data: Shared,
    page: usize,
    size: usize,
    /// The position up to which records were read. The position in the shared page may be changed by others.
    position: u64,
}

impl Consumer {
    fn new(handle: &Handle) -> Result<Self> {
        let refused = |errno| handle.refused(Step::Open, "cannot map it into memory", errno);
        let page = page_size();
        let size = usize::try_from(handle.map().info().max_entries).unwrap_or(0);
        let both = size.checked_mul(2).and_then(|data| data.checked_add(page)).filter(|_| size.is_power_of_two());
        let both = both
            .ok_or_else(|| -> Error { handle.invalid(format_args!("{size} bytes are too large for a ring buffer")) })?;
        Self::map(handle.as_fd(), page, both, size).map_err(refused)
    }

    fn map(fd: BorrowedFd<'_>, page: usize, both: usize, size: usize) -> Result<Self, Errno> {
        let own = Shared::new(Region::new(fd, 0, page, true)?);
        let data = Shared::new(Region::new(fd, page, both, false)?);
        let position = own.load_u64(0, Ordering::Relaxed);
        Ok(Self { own, data, page, size, position })
    }

    /// Copies the next committed record and skips discarded ones.
    fn read(&mut self, record: &mut Vec<u8>) -> Result<bool, &'static str> {
        let (mut at, end) = self.unread()?;
        let next = self.next(&mut at, end).inspect(|next| {
            if let Some((offset, len)) = *next {
                record.resize(len, 0);
                self.data.read(offset, record);
            }
        });
        self.pass(at);
        Ok(next?.is_some())
    }

    fn fill(&mut self, batch: &mut Batch, wanted: Option<usize>) -> Result<bool, &'static str> {
        batch.clear();
        let (mut at, end) = self.unread()?;
        let mut passed = at;
        while !batch.is_full() {
            let next = match self.next(&mut at, end) {
                // Records before a malformed one are not lost.
                Err(_) if !batch.lens.is_empty() => break,
                other => other,
            };
            let Ok(Some((offset, len))) = next else {
                self.pass(at);
                return next.map(|_| !batch.lens.is_empty());
            };
            let other = wanted.is_some_and(|wanted| wanted != len);
            if other && !batch.lens.is_empty() {
                break;
            }
            self.data.read(offset, batch.push(len));
            passed = at;
            if other {
                break;
            }
        }
        self.pass(passed);
        Ok(true)
    }

    /// Returns the consumer position of this reader and the producer position.
    fn unread(&self) -> Result<(u64, u64), &'static str> {
        let (at, end) = (self.own.load_u64(0, Ordering::Relaxed), self.data.load_u64(0, Ordering::Acquire));
        if at != self.position {
            return Err("another reader or process has moved its consumer position");
        }
        if !is_plausible(at, end, self.size) {
            return Err("its positions are not valid for a ring buffer");
        }
        Ok((at, end))
    }

    /// Releases the space before this position.
    fn pass(&mut self, at: u64) {
        self.position = at;
        self.own.store_u64(0, at, Ordering::Release);
    }

    /// Returns offset and length of the next committed record. Advances `at` past it and past discarded ones before it.
    fn next(&self, at: &mut u64, end: u64) -> Result<Option<(usize, usize)>, &'static str> {
        let mask = u64::try_from(self.size).unwrap_or(u64::MAX) - 1;
        while *at != end {
            let offset = usize::try_from(*at & mask).map_err(|_| "ring buffer position does not fit in usize")?;
            let header = self.data.load_u32(self.page + offset, Ordering::Acquire);
            if header & BUSY != 0 {
                return Ok(None);
            }
            let len = usize::try_from(header & !(BUSY | DISCARD)).unwrap_or(usize::MAX);
            if len > self.size - HEADER {
                return Err("a record is longer than the buffer");
            }
            let step = u64::try_from((len + HEADER).next_multiple_of(8)).unwrap_or(u64::MAX);
            if step > end.wrapping_sub(*at) {
                return Err("a record extends beyond the producer position");
            }
            *at = at.wrapping_add(step);
            if header & DISCARD == 0 {
                return Ok(Some((self.page + offset + HEADER, len)));
            }
        }
        Ok(None)
    }
}

/// Returns whether producer and consumer positions are possible for a ring buffer of `size` bytes: the producer is
/// ahead by at most `size`, and both are multiples of 8.
pub(super) fn is_plausible(consumer: u64, producer: u64, size: usize) -> bool {
    let size = u64::try_from(size).unwrap_or(u64::MAX);
    consumer % 8 == 0 && producer % 8 == 0 && producer.wrapping_sub(consumer) <= size
}

/// Records that are copied together, so that locks and positions are accessed once per batch.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    lens: Vec<usize>,
}

impl Batch {
    /// The number of records that end a batch.
    const RECORDS: usize = 128;
    const BYTES: usize = 1 << 16;

    fn clear(&mut self) {
        self.bytes.clear();
        self.lens.clear();
    }

    fn is_full(&self) -> bool {
        self.lens.len() >= Self::RECORDS || self.bytes.len() >= Self::BYTES
    }

    /// Appends a record of `len` bytes and returns its buffer.
    fn push(&mut self, len: usize) -> &mut [u8] {
        let begin = self.bytes.len();
        self.bytes.resize(begin + len, 0);
        self.lens.push(len);
        &mut self.bytes[begin..]
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        self.lens.iter().map(move |&len| {
            let (record, others) = rest.split_at(len);
            rest = others;
            record
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    /// Creates a consumer of a file in the layout of a ring buffer of one page, with these positions and data.
    fn consumer(at: u64, end: u64, data: &[(usize, &[u8])]) -> Consumer {
        let page = page_size();
        let wide = |offset: usize| u64::try_from(offset).unwrap();
        let path = std::env::temp_dir().join(format!("ringbuf-{}-{at}-{end}", std::process::id()));
        let file = std::fs::File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.set_len(wide(4 * page)).unwrap();
        file.write_at(&at.to_ne_bytes(), 0).unwrap();
        file.write_at(&end.to_ne_bytes(), wide(page)).unwrap();
        for (offset, bytes) in data {
            for copy in [2, 3] {
                // Bytes past the end of one copy are at its beginning.
                for (index, byte) in bytes.iter().enumerate() {
                    file.write_at(&[*byte], wide(copy * page + (offset + index) % page)).unwrap();
                }
            }
        }
        Consumer::map(file.as_fd(), page, 3 * page, page).unwrap()
    }

    fn header(len: u32) -> [u8; 8] {
        let [a, b, c, d] = len.to_ne_bytes();
        [a, b, c, d, 0, 0, 0, 0]
    }

    #[test]
    fn records_in_order() {
        let last = page_size() - 8;
        let start = u64::try_from(last).unwrap();
        let mut consumer = consumer(
            start,
            start + 16 + 16 + 16 + 16,
            &[
                (last, &header(3)),
                (0, b"abc"),
                (8, &header(8 | DISCARD)),
                (24, &header(8)),
                (32, b"12345678"),
                (40, &header(8 | BUSY)),
            ],
        );
        let mut record = Vec::new();
        // The first record wraps around the end, the second was discarded, the last is not committed yet.
        assert_eq!((consumer.read(&mut record), &record[..]), (Ok(true), &b"abc"[..]));
        assert_eq!((consumer.read(&mut record), &record[..]), (Ok(true), &b"12345678"[..]));
        assert_eq!(consumer.read(&mut record), Ok(false));
        assert_eq!(consumer.own.load_u64(0, Ordering::Relaxed), start + 48);
    }

    #[test]
    fn batches_lose_nothing() {
        let two = header(2);
        let data = [(0, &two[..]), (8, b"ab"), (16, &two), (24, b"cd"), (32, &header(5)), (40, b"other")];
        let more = [(48, &header(1 | DISCARD)[..]), (64, &two), (72, b"ef"), (80, &header(1 << 29)), (88, b"")];
        let mut consumer = consumer(0, 96, &[&data[..], &more].concat());
        let mut batch = Batch::default();
        let mut next = |wanted| {
            let filled = consumer.fill(&mut batch, wanted);
            let records = batch.iter().map(|record| String::from_utf8_lossy(record).into_owned()).collect::<Vec<_>>();
            (filled, records.join(" "), consumer.own.load_u64(0, Ordering::Relaxed))
        };
        // A record of another length is alone, and a malformed one comes last.
        assert_eq!(next(Some(2)), (Ok(true), "ab cd".to_owned(), 32));
        assert_eq!(next(Some(2)), (Ok(true), "other".to_owned(), 48));
        assert_eq!(next(Some(2)), (Ok(true), "ef".to_owned(), 80));
        assert!(next(Some(2)).0.is_err());
        consumer.pass(0);
        assert_eq!(consumer.fill(&mut batch, None), Ok(true));
        assert_eq!(batch.lens, [2, 2, 5, 2]);
    }

    #[test]
    fn batches_end() {
        let records = Batch::RECORDS + 1;
        let headers: Vec<(usize, Vec<u8>)> = (0..records).map(|index| (index * 8, header(0).to_vec())).collect();
        let data: Vec<(usize, &[u8])> = headers.iter().map(|(at, header)| (*at, &header[..])).collect();
        let mut consumer = consumer(0, u64::try_from(records * 8).unwrap(), &data);
        let mut batch = Batch::default();
        let mut lens = Vec::new();
        while consumer.fill(&mut batch, Some(0)).unwrap() {
            lens.push(batch.lens.len());
        }
        assert_eq!((lens, batch.iter().count()), (vec![Batch::RECORDS, 1], 0));
    }

    #[test]
    fn nonsense_is_an_error() {
        let mut record = Vec::new();
        assert!(consumer(0, 16, &[(0, &header(1 << 20))]).read(&mut record).is_err());
        assert!(consumer(0, 16, &[(0, &header(9))]).read(&mut record).is_err(), "longer than what was produced");
        let size = u64::try_from(page_size()).unwrap();
        for (at, end) in [(4, 16), (0, 12), (24, 16), (0, size + 8), (u64::MAX - 7, 16 + size), (1 << 63, 16)] {
            let mut consumer = consumer(at, end, &[(0, &header(8))]);
            for _ in 0..2 {
                let error = consumer.read(&mut record).expect_err("the positions are not valid");
                assert!(error.contains("positions are not valid"), "{at} {end}: {error}");
                assert!(consumer.fill(&mut Batch::default(), None).is_err());
            }
        }
        // Positions may wrap around the end of their type.
        assert_eq!(consumer(u64::MAX - 7, 8, &[(page_size() - 8, &header(8))]).read(&mut record), Ok(true));
    }

    /// Tests the reader's own position: every process that maps the buffer can write to the consumer's page.
    #[test]
    fn a_position_that_another_has_moved_is_an_error() {
        let eight = header(8);
        let data = [(0, &eight[..]), (16, &eight), (32, &eight), (48, &eight)];
        for moved in [0, 4, 8, 24, 32, 64, 72, 1 << 40, u64::MAX] {
            let mut consumer = consumer(0, 64, &data);
            let mut record = Vec::new();
            assert_eq!(consumer.read(&mut record), Ok(true));
            consumer.own.store_u64(0, moved, Ordering::Relaxed);
            let mut batch = Batch::default();
            for _ in 0..2 {
                assert!(consumer.read(&mut record).is_err() && consumer.fill(&mut batch, None).is_err(), "{moved}");
            }
            consumer.own.store_u64(0, 16, Ordering::Relaxed);
            assert_eq!((consumer.fill(&mut batch, None), batch.lens.len()), (Ok(true), 3), "it is where it was");
        }
    }
}
