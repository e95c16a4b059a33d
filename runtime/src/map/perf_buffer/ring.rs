//! The memory of one perf event: records that the kernel writes and this process reads.
//!
//! The protocol, from linux/perf_event.h and kernel/events/ring_buffer.c: the first page contains the kernel's position
//! (`data_head`) and the reader's (`data_tail`). The other pages contain the data; their number is a power of two. A
//! record is a header of 8 bytes (type, flags, and the length including the header), followed by the record's bytes.
//! Lengths are multiples of 8, so a header is never split, but the bytes after it may wrap around to the beginning of
//! the data.
//!
//! The kernel overwrites a record only after the reader's position has passed it, and counts the records that do not
//! fit. Even so, no reference to the data is created: all bytes are copied out. Every process that maps the memory can
//! write both positions, so the reader keeps its own position and reports an error if the shared one differs. This
//! module does not depend on maps and CPUs.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;

use crate::data::Shared;
use crate::error::Errno;
use crate::sys::mmap::{Region, page_size};

/// `data_head` and `data_tail` of `struct perf_event_mmap_page`: the kernel's position and the reader's.
const HEAD: usize = 1024;
const TAIL: usize = 1032;
const HEADER: usize = 8;
/// `PERF_RECORD_LOST`: the header is followed by the event's id and the number of lost records.
const LOST: u32 = 2;
/// `PERF_RECORD_SAMPLE`: the header is followed by the length of the program's output and the output.
const SAMPLE: u32 = 9;

/// A record that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// The output of a program.
    Sample,
    /// The number of records that were lost before this position.
    Lost(u64),
}

#[derive(Debug)]
pub(super) struct Ring {
    memory: Shared,
    /// The offset of the data.
    data: usize,
    /// The size of the data in bytes, a power of two.
    size: usize,
    /// The position up to which records were read. Other processes can change the position in the shared page.
    position: u64,
}

impl Ring {
    /// Maps the memory of an event that is not mapped yet, with `size` bytes of data. `size` must be a power of two and
    /// at least a page.
    pub(super) fn map(event: BorrowedFd<'_>, size: usize) -> Result<Self, Errno> {
        let page = page_size();
        let len = size.checked_add(page).filter(|_| size >= page && size.is_power_of_two());
        let len = len.ok_or(Errno::from_raw(libc::EINVAL))?;
        Ok(Self::of(Region::new(event, 0, len, true)?, page, size))
    }

    fn of(region: Region, data: usize, size: usize) -> Self {
        let memory = Shared::new(region);
        let position = memory.load_u64(TAIL, Ordering::Relaxed);
        Self { memory, data, size, position }
    }

    /// Returns the position up to which there are records.
    pub(super) fn end(&self) -> u64 {
        self.memory.load_u64(HEAD, Ordering::Acquire)
    }

    /// Returns the number of unread bytes. If the positions are not valid, returns a number larger than the buffer: the
    /// buffer is then read, which reports the error.
    pub(super) fn unread(&self) -> u64 {
        self.check().unwrap_or(u64::MAX)
    }

    /// Returns the number of unread bytes if the positions are valid.
    fn check(&self) -> Result<u64, &'static str> {
        if self.memory.load_u64(TAIL, Ordering::Relaxed) != self.position {
            return Err("another process has changed the buffer's `data_tail`");
        }
        let unread = self.end().checked_sub(self.position);
        unread
            .filter(|&unread| usize::try_from(unread).is_ok_and(|unread| unread <= self.size))
            .ok_or("perf buffer positions are not valid")
    }

    /// Reads the next record that begins before `end`, an earlier result of [`Self::end`]. Replaces the content of
    /// `record` with a sample. A malformed record is skipped and reported; if its length is not valid, everything up to
    /// `end` is skipped.
    pub(super) fn take(&mut self, record: &mut Vec<u8>, end: u64) -> Result<Option<Taken>, &'static str> {
        loop {
            if let Err(what) = self.check() {
                self.pass(self.end());
                return Err(what);
            }
            let at = self.position;
            // The position is beyond `end` if another thread has read more records meanwhile.
            if at >= end {
                return Ok(None);
            }
            let unread = usize::try_from(end - at).unwrap_or(usize::MAX);
            let (kind, len) = match self.header(at, unread) {
                Ok(header) => header,
                Err(what) => {
                    self.pass(end);
                    return Err(what);
                }
            };
            let taken = match kind {
                SAMPLE => self.sample(at, len, record).map(|()| Some(Taken::Sample)),
                LOST if len < HEADER + 16 => Err("a `PERF_RECORD_LOST` record is too short for its count"),
                LOST => Ok(Some(Taken::Lost(u64::from_ne_bytes(self.copy(at, HEADER + 8))))),
                _ => Ok(None),
            };
            self.pass(at + u64::try_from(len).unwrap_or(0));
            if taken != Ok(None) {
                return taken;
            }
        }
    }

    /// Returns the type and the length of the record at this position. `unread` is the number of unread bytes, which
    /// begin at the position.
    fn header(&self, at: u64, unread: usize) -> Result<(u32, usize), &'static str> {
        if unread > self.size {
            return Err("perf buffer positions are not valid");
        }
        if at % 8 != 0 || unread < HEADER {
            return Err("the perf buffer position is not the beginning of a record");
        }
        let [a, b, c, d, _, _, e, f] = self.copy::<HEADER>(at, 0);
        let (kind, len) = (u32::from_ne_bytes([a, b, c, d]), usize::from(u16::from_ne_bytes([e, f])));
        if len < HEADER || len % 8 != 0 || len > unread {
            return Err("the length of a record is not valid");
        }
        Ok((kind, len))
    }

    fn sample(&self, at: u64, len: usize, record: &mut Vec<u8>) -> Result<(), &'static str> {
        let begin = HEADER + 4;
        let room = len.checked_sub(begin).ok_or("a `PERF_RECORD_SAMPLE` record is too short for its length")?;
        let raw = usize::try_from(u32::from_ne_bytes(self.copy(at, HEADER))).unwrap_or(usize::MAX);
        if raw > room {
            return Err("the length in a `PERF_RECORD_SAMPLE` record exceeds the record");
        }
        record.resize(raw, 0);
        self.read(at, begin, record);
        Ok(())
    }

    /// Releases the space before this position to the kernel.
    fn pass(&mut self, position: u64) {
        self.position = position;
        self.memory.store_u64(TAIL, position, Ordering::Release);
    }

    fn copy<const N: usize>(&self, at: u64, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        self.read(at, offset, &mut bytes);
        bytes
    }

    /// Copies the bytes that begin `offset` bytes after a position, and wraps around the end of the data. `into` must
    /// not be longer than the data.
    fn read(&self, at: u64, offset: usize, into: &mut [u8]) {
        let mask = self.size - 1;
        // Only the lower bits of a position are an offset.
        let start = usize::try_from(at & u64::try_from(mask).unwrap_or(u64::MAX)).unwrap_or(0);
        let start = (start + offset) & mask;
        let (before, after) = into.split_at_mut(into.len().min(self.size - start));
        self.memory.read(self.data + start, before);
        self.memory.read(self.data, after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a ring of one page in which the kernel has written `data` at this position.
    fn ring(from: u64, data: &[u8]) -> Ring {
        let page = page_size();
        let mut ring = Ring::of(Region::anonymous(2 * page), page, page);
        ring.pass(from);
        let begin = usize::try_from(from).unwrap() % page;
        let (before, after) = data.split_at(data.len().min(page - begin));
        ring.memory.write(page + begin, before);
        ring.memory.write(page, after);
        ring.memory.store_u64(HEAD, from + u64::try_from(data.len()).unwrap(), Ordering::Relaxed);
        ring
    }

    fn record(kind: u32, len: usize, body: &[u8]) -> Vec<u8> {
        let mut bytes = [kind.to_ne_bytes(), [0; 4]].concat();
        bytes[6..].copy_from_slice(&u16::try_from(len).unwrap().to_ne_bytes());
        bytes.extend(body);
        bytes.resize(bytes.len().max(len), 0xee);
        bytes
    }

    /// Creates a sample as the kernel does: the stated length includes the padding.
    fn sample(bytes: &[u8]) -> Vec<u8> {
        let len = (12 + bytes.len()).next_multiple_of(8);
        record(SAMPLE, len, &[&u32::try_from(len - 12).unwrap().to_ne_bytes(), bytes].concat())
    }

    fn lost(count: u64) -> Vec<u8> {
        record(LOST, 24, &[7u64.to_ne_bytes(), count.to_ne_bytes()].concat())
    }

    fn all(ring: &mut Ring) -> Vec<Result<(Taken, Vec<u8>), &'static str>> {
        let (mut bytes, mut all, end) = (Vec::new(), Vec::new(), ring.end());
        loop {
            match ring.take(&mut bytes, end) {
                Ok(None) => return all,
                Ok(Some(Taken::Sample)) => all.push(Ok((Taken::Sample, bytes.clone()))),
                Ok(Some(lost)) => all.push(Ok((lost, Vec::new()))),
                Err(what) => all.push(Err(what)),
            }
            assert!(all.len() <= page_size() / HEADER, "it does not end");
        }
    }

    #[test]
    fn records_in_order_around_the_end() {
        let other = record(3, 16, &[1; 8]);
        let data = [sample(b"four"), lost(5), other, sample(b"more than eight")].concat();
        // Each offset of the data is at the end of the memory once.
        for before in (0..=data.len()).step_by(8) {
            let start = u64::try_from(7 * page_size() - before).unwrap();
            let mut ring = ring(start, &data);
            assert_eq!(ring.unread(), u64::try_from(data.len()).unwrap());
            let all = all(&mut ring);
            let padded = [&b"more than eight"[..], &[0xee; 5]].concat();
            let expected = [(Taken::Sample, b"four".to_vec()), (Taken::Lost(5), Vec::new()), (Taken::Sample, padded)];
            assert_eq!(all, expected.map(Ok), "{before} bytes before the end");
            assert_eq!((ring.unread(), ring.position), (0, start + u64::try_from(data.len()).unwrap()));
        }
    }

    #[test]
    fn only_up_to_where_it_was_asked() {
        let mut ring = ring(0, &[sample(b"one!"), sample(b"two!")].concat());
        let mut bytes = Vec::new();
        assert_eq!(ring.take(&mut bytes, 16), Ok(Some(Taken::Sample)));
        assert_eq!((ring.take(&mut bytes, 16), ring.take(&mut bytes, 8)), (Ok(None), Ok(None)));
        assert_eq!((ring.take(&mut bytes, 32), &bytes[..]), (Ok(Some(Taken::Sample)), &b"two!"[..]));
    }

    /// Tests a record that is as long as all data.
    #[test]
    fn as_long_as_it_is() {
        let bytes = vec![3; page_size() - 12];
        let mut ring = ring(u64::try_from(page_size() / 2).unwrap(), &sample(&bytes));
        assert_eq!(all(&mut ring), [Ok((Taken::Sample, bytes))]);
    }

    #[test]
    fn nonsense_is_an_error_and_passed_over() {
        let cannot_be = "the length of a record is not valid";
        let good = sample(b"good");
        for (bad, what) in [
            (record(SAMPLE, 0, &[]), cannot_be),
            (record(3, 4, &[]), cannot_be),
            (record(SAMPLE, 20, &[0; 12]), cannot_be),
            (record(SAMPLE, 4000, &[])[..16].to_vec(), cannot_be),
        ] {
            let mut ring = ring(0, &[bad, good.clone()].concat());
            assert_eq!(all(&mut ring), [Err(what)]);
            assert_eq!(ring.unread(), 0);
        }
        // The length is valid, so the next record is read.
        for (bad, what) in [
            (record(SAMPLE, 8, &[]), "a `PERF_RECORD_SAMPLE` record is too short for its length"),
            (record(SAMPLE, 16, &5u32.to_ne_bytes()), "the length in a `PERF_RECORD_SAMPLE` record exceeds the record"),
            (
                record(SAMPLE, 16, &u32::MAX.to_ne_bytes()),
                "the length in a `PERF_RECORD_SAMPLE` record exceeds the record",
            ),
            (record(LOST, 16, &[0; 8]), "a `PERF_RECORD_LOST` record is too short for its count"),
        ] {
            let mut ring = ring(0, &[bad, good.clone()].concat());
            assert_eq!(all(&mut ring), [Err(what), Ok((Taken::Sample, b"good".to_vec()))]);
        }
        let mut odd = ring(4, &good);
        assert_eq!(all(&mut odd), [Err("the perf buffer position is not the beginning of a record")]);
        let mut cut = ring(0, &good[..4]);
        assert_eq!(all(&mut cut), [Err("the perf buffer position is not the beginning of a record")]);
        let mut far = ring(0, &good);
        far.memory.store_u64(HEAD, u64::MAX, Ordering::Relaxed);
        assert_eq!(all(&mut far), [Err("perf buffer positions are not valid")]);
        let mut back = ring(64, &good);
        back.memory.store_u64(HEAD, 8, Ordering::Relaxed);
        assert_eq!(back.unread(), u64::MAX, "it is due");
        assert_eq!(all(&mut back), [Err("perf buffer positions are not valid")]);
        assert_eq!((back.unread(), all(&mut back)), (0, Vec::new()), "what comes next can be read");
    }

    /// Tests the reader's own position: every process that maps the memory can write to it.
    #[test]
    fn a_tail_that_another_has_moved_is_an_error() {
        for moved in [4, 8, 16, 32, 40, 1 << 40, u64::MAX] {
            let mut ring = ring(0, &[sample(b"one!"), sample(b"two!")].concat());
            ring.memory.store_u64(TAIL, moved, Ordering::Relaxed);
            assert_eq!(ring.unread(), u64::MAX, "it is due");
            assert_eq!(all(&mut ring), [Err("another process has changed the buffer's `data_tail`")], "{moved}");
            assert_eq!((ring.unread(), ring.position, all(&mut ring)), (0, 32, Vec::new()));
        }
    }

    /// Tests that reading ends for any bytes in the memory. Many lengths are valid, so that it continues for a while.
    #[test]
    fn any_bytes() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut found = 0;
        let words = page_size() / 8;
        for round in 0..if cfg!(miri) { 2 } else { 200 } {
            let mut data: Vec<u8> = (0..words).flat_map(|_| random().to_ne_bytes()).collect();
            for word in data.chunks_exact_mut(8).filter(|word| word[0] < 0xe0) {
                let (kind, len) = ([SAMPLE, LOST, 3][usize::from(word[5]) % 3], u16::from(word[4]) % 10 * 8);
                word[..4].copy_from_slice(&kind.to_ne_bytes());
                word[6..].copy_from_slice(&len.to_ne_bytes());
            }
            let from = random() % 100_000;
            let mut ring = ring(if round % 2 == 0 { from / 8 * 8 } else { from }, &data);
            found += all(&mut ring).iter().filter(|taken| taken.is_ok()).count();
            assert_eq!(ring.unread(), 0);
        }
        assert!(found > 0 || cfg!(miri), "two rounds may find nothing");
    }
}
