//! The protocol of ring buffers, from Documentation/bpf/ringbuf.rst and kernel/bpf/ringbuf.c.
//!
//! The first page contains the consumer position and is writable. The second page contains the producer position. The
//! data follow, mapped twice in a row so that no record is split. A record is a header of 8 bytes (the record's length,
//! a busy bit until the record is committed, and a discard bit), followed by the record's bytes, padded to a multiple
//! of 8.
//!
//! The consumer's page is shared with every process that maps the buffer, so the position in it is not trusted. The
//! reader keeps its own position and reports an error if the two differ. A wrong position could not be detected
//! otherwise, because it may point into a record.
//!
//! A buffer that overwrites (`BPF_F_RB_OVERWRITE`, Linux 6.19) has a third position in the producer's page: that of its
//! oldest record (`overwrite_pos`). Before the kernel writes a record, it moves `overwrite_pos` past the records that
//! it overwrites. `overwrite_pos` never moves past a record that is not committed. A reader starts at the oldest
//! record. After it has copied a record, it reads `overwrite_pos` again: if the position has moved past the beginning
//! of the record, the copy may mix bytes of several records and is dropped. The kernel has no barrier between moving
//! `overwrite_pos` and writing the new record, so on processors that reorder stores the new record may be visible
//! first.
//!
//! This module does not depend on the types of records and on how a reader waits.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{Ordering, fence};

use super::batch::Batch;
use crate::data::Shared;
use crate::error::{Errno, Error, Result, Step};
use crate::map::Untyped;
use crate::sys::mmap::{Region, page_size};
use crate::uapi::MapFlags;

const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;
const HEADER: usize = 8;

/// `overwrite_pos`, from the beginning of the producer's page: after `producer_pos` and `pending_pos`, each an
/// `unsigned long` of a 64-bit kernel.
const OLDEST: usize = 16;
/// The maximum number of attempts to read a consistent pair of positions while the buffer is overwritten.
const ATTEMPTS: u32 = 1000;

#[derive(Debug)]
pub(super) struct Consumer {
    /// The consumer's page.
    own: Shared,
    /// The producer's page, followed by the data twice.
    data: Shared,
    page: usize,
    size: usize,
    /// Whether new records overwrite old ones.
    overwrites: bool,
    /// The position up to which records were read. Other processes can change the position in the shared page.
    position: u64,
    /// The number of bytes that were overwritten before they were read.
    lost: u64,
}

impl Consumer {
    pub(super) fn new(handle: &Untyped) -> Result<Self> {
        let refused = |errno| handle.refused(Step::Open, "cannot be mapped into memory", errno);
        let page = page_size();
        let size = usize::try_from(handle.map().definition().max_entries).unwrap_or(0);
        let both = size.checked_mul(2).and_then(|data| data.checked_add(page)).filter(|_| size.is_power_of_two());
        let both = both.ok_or_else(|| -> Error {
            handle.invalid(format_args!("a ring buffer of {size} bytes is too large to be mapped into memory"))
        })?;
        let overwrites = handle.flags().contains(MapFlags::RB_OVERWRITE);
        Self::map(handle.as_fd(), page, both, size, overwrites).map_err(refused)
    }

    fn map(fd: BorrowedFd<'_>, page: usize, both: usize, size: usize, overwrites: bool) -> Result<Self, Errno> {
        let own = Shared::new(Region::new(fd, 0, page, true)?);
        let data = Shared::new(Region::new(fd, page, both, false)?);
        let position = own.load_u64(0, Ordering::Relaxed);
        Ok(Self { own, data, page, size, overwrites, position, lost: 0 })
    }

    /// Copies the next committed record and skips discarded ones.
    pub(super) fn read(&mut self, record: &mut Vec<u8>) -> Result<bool, &'static str> {
        loop {
            let (begin, end) = self.begin()?;
            let mut at = begin;
            let next = self.next(&mut at, end);
            if let Ok(Some((offset, len))) = next {
                record.resize(len, 0);
                self.data.read(offset, record);
            }
            if self.is_overwritten(begin) {
                continue;
            }
            self.pass(at);
            if next?.is_some() {
                return Ok(true);
            }
            if self.is_at_end() {
                return Ok(false);
            }
        }
    }

    /// Replaces the content of `batch` with the next records. Returns `false` if there are none. If `wanted` is set, a
    /// record whose length is not `wanted` becomes a batch of its own.
    pub(super) fn fill(&mut self, batch: &mut Batch, wanted: Option<usize>) -> Result<bool, &'static str> {
        loop {
            batch.clear();
            self.fill_once(batch, wanted)?;
            if batch.len() != 0 {
                return Ok(true);
            }
            if self.is_at_end() {
                return Ok(false);
            }
        }
    }

    fn fill_once(&mut self, batch: &mut Batch, wanted: Option<usize>) -> Result<(), &'static str> {
        let (mut at, end) = self.begin()?;
        let mut passed = at;
        while !batch.is_full() {
            let next = self.next(&mut at, end);
            let other = matches!(next, Ok(Some((_, len))) if wanted.is_some_and(|wanted| wanted != len));
            // Return the records before a malformed one, or one of a different length, first.
            let is_last = batch.len() != 0 && (other || next.is_err());
            if let (Ok(Some((offset, len))), false) = (next, is_last) {
                self.data.read(offset, batch.push(len));
            }
            if self.is_overwritten(passed) {
                if matches!(next, Ok(Some(_))) && !is_last {
                    batch.pop();
                }
                break;
            }
            if is_last {
                break;
            }
            passed = at;
            match next {
                Ok(Some(_)) if !other => {}
                Ok(_) => break,
                Err(what) => {
                    self.pass(passed);
                    return Err(what);
                }
            }
        }
        self.pass(passed);
        Ok(())
    }

    /// Returns the consumer position in the shared page, which other readers may have moved, and the producer position.
    pub(super) fn positions(&self) -> (u64, u64) {
        (self.own.load_u64(0, Ordering::Relaxed), self.data.load_u64(0, Ordering::Acquire))
    }

    /// Returns the number of bytes from the consumer position in the shared page, which other readers may have moved,
    /// to the producer position.
    pub(super) fn available(&self) -> Result<u64, &'static str> {
        let (at, end) = self.span(self.own.load_u64(0, Ordering::Relaxed))?;
        Ok(end.wrapping_sub(at))
    }

    /// Returns the number of bytes that were overwritten before they were read.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns whether the kernel will send a wakeup for the record at the reader's position.
    ///
    /// The kernel sends a wakeup if the consumer position equals the record's position at commit. A record committed
    /// between the last check and [`Self::pass`] gets no wakeup. The fence orders the store of the consumer position
    /// before this check, as the kernel's `xchg` (in `bpf_ringbuf_commit`) orders the commit before the kernel's check:
    /// at least one side sees the store of the other.
    fn is_at_end(&self) -> bool {
        fence(Ordering::SeqCst);
        let Ok((at, end)) = self.unread() else { return false };
        let mut next = at;
        at == self.position && self.next(&mut next, end) == Ok(None) && next == at && !self.is_overwritten(at)
    }

    /// Returns the position of the next record and the producer position. Counts the bytes that were overwritten.
    fn begin(&mut self) -> Result<(u64, u64), &'static str> {
        let (at, end) = self.unread()?;
        if at != self.position {
            self.lost = self.lost.saturating_add(at.wrapping_sub(self.position));
            self.pass(at);
        }
        Ok((at, end))
    }

    /// Returns the position of the next record, or of the oldest one if that was overwritten, and the producer position.
    fn unread(&self) -> Result<(u64, u64), &'static str> {
        if self.own.load_u64(0, Ordering::Relaxed) != self.position {
            return Err("another reader or process has moved the consumer position");
        }
        self.span(self.position)
    }

    /// Returns the position of the first record at or after `position` that is not overwritten, and the producer
    /// position.
    fn span(&self, position: u64) -> Result<(u64, u64), &'static str> {
        for _ in 0..ATTEMPTS {
            // The acquire load makes the position of the oldest record, which is read later, at least as new as the
            // producer position.
            let end = self.data.load_u64(0, Ordering::Acquire);
            let at = self.oldest().filter(|&oldest| is_after(oldest, position)).unwrap_or(position);
            if is_plausible(at, end, self.size) {
                return Ok((at, end));
            }
            if !self.overwrites {
                break;
            }
        }
        Err("ring buffer positions are not valid")
    }

    /// Returns whether the record at this position was overwritten, perhaps while it was copied.
    fn is_overwritten(&self, at: u64) -> bool {
        // Orders the reads of the copy before the read of the oldest position.
        fence(Ordering::Acquire);
        self.oldest().is_some_and(|oldest| is_after(oldest, at))
    }

    /// Returns the position of the oldest record of a buffer that overwrites.
    fn oldest(&self) -> Option<u64> {
        self.overwrites.then(|| self.data.load_u64(OLDEST, Ordering::Relaxed))
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

/// Returns whether a position is after another one. Positions may wrap around the end of their type.
fn is_after(position: u64, other: u64) -> bool {
    position != other && position.wrapping_sub(other) < 1 << 63
}

/// Returns whether producer and consumer positions are possible for a ring buffer of `size` bytes: the producer is
/// ahead by at most `size`, and both are multiples of 8.
pub(in crate::map) fn is_plausible(consumer: u64, producer: u64, size: usize) -> bool {
    let size = u64::try_from(size).unwrap_or(u64::MAX);
    consumer % 8 == 0 && producer % 8 == 0 && producer.wrapping_sub(consumer) <= size
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    /// Creates a consumer of a file in the layout of a ring buffer of one page, with these positions and data.
    fn consumer(at: u64, end: u64, data: &[(usize, &[u8])]) -> Consumer {
        let page = page_size();
        Consumer::map(file(at, end, data).as_fd(), page, 3 * page, page, false).unwrap()
    }

    fn file(at: u64, end: u64, data: &[(usize, &[u8])]) -> std::fs::File {
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
        file
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
        // A record of a different length is alone, and a malformed one comes last.
        assert_eq!(next(Some(2)), (Ok(true), "ab cd".to_owned(), 32));
        assert_eq!(next(Some(2)), (Ok(true), "other".to_owned(), 48));
        assert_eq!(next(Some(2)), (Ok(true), "ef".to_owned(), 80));
        assert!(next(Some(2)).0.is_err());
        consumer.pass(0);
        assert_eq!(consumer.fill(&mut batch, None), Ok(true));
        assert!(batch.iter().map(<[u8]>::len).eq([2, 2, 5, 2]));
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
            lens.push(batch.len());
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
            assert_eq!((consumer.fill(&mut batch, None), batch.len()), (Ok(true), 3), "it is where it was");
        }
    }
    #[test]
    fn positions_and_what_is_available() {
        let mut consumer = consumer(64, 96, &[(64, &header(8)), (80, &header(8 | BUSY))]);
        assert_eq!((consumer.positions(), consumer.available()), ((64, 96), Ok(32)));
        assert_eq!(consumer.read(&mut Vec::new()), Ok(true));
        assert_eq!((consumer.positions(), consumer.available(), consumer.lost()), ((80, 96), Ok(16), 0));
        // These methods use the shared position, which another reader may have moved.
        consumer.own.store_u64(0, 96, Ordering::Relaxed);
        assert_eq!((consumer.positions(), consumer.available()), ((96, 96), Ok(0)));
        consumer.own.store_u64(0, 4, Ordering::Relaxed);
        assert_eq!((consumer.positions(), consumer.available().is_err()), ((4, 96), true));
    }
    fn overwriting(at: u64, oldest: u64, end: u64, data: &[(usize, &[u8])]) -> Consumer {
        let (file, page) = (file(at, end, data), page_size());
        file.write_at(&oldest.to_ne_bytes(), u64::try_from(page + OLDEST).unwrap()).unwrap();
        Consumer::map(file.as_fd(), page, 3 * page, page, true).unwrap()
    }

    #[test]
    fn reading_continues_at_the_oldest_record() {
        let size = u64::try_from(page_size()).unwrap();
        let eight = header(8);
        let data = [(0, &eight[..]), (16, &header(8 | DISCARD)), (32, &eight), (48, &header(8 | BUSY))];
        let mut consumer = overwriting(8, size, size + 64, &data);
        assert_eq!((consumer.available(), consumer.lost()), (Ok(64), 0));
        let mut record = Vec::new();
        assert_eq!((consumer.read(&mut record), consumer.read(&mut record)), (Ok(true), Ok(true)));
        assert_eq!(consumer.read(&mut record), Ok(false));
        assert_eq!((consumer.lost(), consumer.position), (size - 8, size + 48));
        let mut consumer = overwriting(size, 0, size + 64, &data);
        assert_eq!(consumer.read(&mut record), Ok(true), "the oldest record was read already");
        assert_eq!((consumer.lost(), consumer.position), (0, size + 16));
        // Positions may wrap around the end of their type.
        let mut batch = Batch::default();
        let mut consumer = overwriting(u64::MAX - 15, 16, 64, &data);
        assert_eq!((consumer.fill(&mut batch, None), batch.len(), consumer.lost()), (Ok(true), 1, 32));
        for (oldest, end) in [(8 * size, size), (0, size + 8), (4, 64)] {
            let mut consumer = overwriting(0, oldest, end, &data);
            assert!(consumer.read(&mut record).is_err() && consumer.available().is_err(), "{oldest} {end}");
        }
    }

    /// Tests a reader concurrently with a thread that writes records as the kernel does.
    #[test]
    fn a_record_that_is_overwritten_while_it_is_copied_is_dropped() {
        const COUNT: u64 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
        let page = page_size();
        let file = file(0, 0, &[]);
        let mut consumer = Consumer::map(file.as_fd(), page, 3 * page, page, true).unwrap();
        let kernel = Shared::new(Region::new(file.as_fd(), page, 3 * page, true).unwrap());
        let size = u64::try_from(page).unwrap();
        let (mut numbers, mut record, mut batch) = (Vec::new(), Vec::new(), Batch::default());
        let mut keep = |bytes: &[u8]| {
            let parts: Vec<u64> =
                bytes.chunks_exact(8).map(|part| u64::from_ne_bytes(part.try_into().unwrap())).collect();
            assert!(parts.len() == 3 && parts.iter().all(|part| *part == parts[0]), "{parts:?}");
            numbers.push(parts[0]);
        };
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let (mut oldest, mut end) = (0, 0);
                for number in 0..COUNT {
                    while end + 32 - oldest >= size {
                        oldest += 32;
                    }
                    kernel.store_u64(OLDEST, oldest, Ordering::Release);
                    fence(Ordering::SeqCst);
                    let offset = page + usize::try_from(end % size).unwrap();
                    let copies = [offset, offset + page];
                    let write = |at: usize, bytes: &[u8]| copies.iter().for_each(|copy| kernel.write(copy + at, bytes));
                    write(0, &header(24 | BUSY));
                    end += 32;
                    kernel.store_u64(0, end, Ordering::Release);
                    (1..4).for_each(|part| write(part * 8, &number.to_ne_bytes()));
                    fence(Ordering::SeqCst);
                    write(0, &header(24));
                }
            });
            let mut is_last = false;
            while !is_last {
                is_last = writer.is_finished();
                if consumer.read(&mut record).unwrap() {
                    keep(&record);
                }
                while consumer.fill(&mut batch, Some(24)).unwrap() {
                    batch.iter().for_each(&mut keep);
                }
            }
            writer.join().unwrap();
        });
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]) && numbers.last() == Some(&(COUNT - 1)));
        assert_eq!(u64::try_from(numbers.len()).unwrap() + consumer.lost() / 32, COUNT);
    }
}
