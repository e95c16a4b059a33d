//! Iteration over the elements of a map, with batch lookups where the kernel supports them.
//!
//! Hash maps are copied bucket by bucket, and arrays by index: for these, concurrent removals have no effect on the
//! iteration. Other maps are iterated from key to key. If the current key is removed, they continue from the last
//! visited key that is still in the map. Visited keys are stored, so that no element is returned twice, and every
//! element that stays in the map is returned. A map that is modified faster than it can be iterated is an error.

use std::collections::HashSet;

use super::Untyped;
use super::handle::unsupported;
use crate::error::{Error, ErrorKind, Result, Step};
use crate::sys::cpus::possible;
use crate::uapi::{Command, MapType, elem_flags};

/// The number of elements in the first batch.
const CHUNK: usize = 128;

/// The maximum number of bytes in a batch, unless one bucket has more.
const CHUNK_BYTES: usize = 1 << 20;

/// The maximum number of visited keys, in multiples of the map's capacity. An iteration that reaches it fails, because
/// the map is modified faster than it can be iterated.
const ROUNDS: usize = 64;

/// An iteration over all elements, as bytes.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    handle: &'a Untyped,
    values_of: Part,
    take: bool,
    mode: Mode<'a>,
    /// The current batch of keys and values: `have` elements, of which those before `at` were returned.
    keys: Vec<u8>,
    values: Vec<u8>,
    have: usize,
    at: usize,
    /// Whether elements of the batch may have been returned before. `false` if elements are removed as they are copied,
    /// and for elements from [`Keys`].
    may_repeat: bool,
    /// The keys that were returned, for batches that go from key to key.
    seen: Option<Seen>,
}

/// Which part of an element's value is requested from the kernel, and which part of the reply is returned.
#[derive(Clone, Copy, Debug)]
struct Part {
    flags: u64,
    len: usize,
    from: usize,
    to: usize,
}

#[derive(Debug)]
enum Mode<'a> {
    Batch { cursor: Vec<u8>, room: usize, first: bool },
    Single(Keys<'a>),
    End,
}

impl<'a> Scan<'a> {
    /// Iterates over all elements with their whole values.
    pub(crate) fn new(handle: &'a Untyped) -> Self {
        Self::with_flags(handle, 0)
    }

    /// Iterates over all elements and looks each up with these flags. They must not contain CPU flags.
    pub(crate) fn with_flags(handle: &'a Untyped, flags: u64) -> Self {
        let len = handle.map().full_len();
        Self::with(handle, Part { flags, len, from: 0, to: len }, false)
    }

    /// Iterates over all elements and removes each from the map as it is copied.
    pub(crate) fn taking(handle: &'a Untyped) -> Self {
        Self { take: true, ..Self::new(handle) }
    }

    /// Iterates over all elements of a percpu map with the values of one CPU. The CPU must be possible.
    pub(crate) fn on(handle: &'a Untyped, cpu: u32) -> Result<Self> {
        let (map, index) = (handle.map(), possible()?.position(cpu).ok_or_else(|| handle.no_cpu(cpu))?);
        let len = map.value_len();
        let part = if map.has_cpu_flags()? {
            Part { flags: elem_flags::CPU | u64::from(cpu) << 32, len, from: 0, to: len }
        } else {
            let from = index.saturating_mul(len.next_multiple_of(8));
            Part { flags: 0, len: map.full_len(), from, to: from.saturating_add(len) }
        };
        Ok(Self::with(handle, part, false))
    }

    fn with(handle: &'a Untyped, values_of: Part, take: bool) -> Self {
        let map = handle.map();
        let element = map.key_len().saturating_add(values_of.len).max(1);
        let room = most(handle).min(CHUNK).min(CHUNK_BYTES / element).max(1);
        let mode = Mode::Batch { cursor: vec![0; map.cursor_len()], room, first: true };
        let seen = (!is_ordered(map.map_type())).then(|| Seen::new(handle));
        Self {
            handle,
            values_of,
            take,
            mode,
            keys: Vec::new(),
            values: Vec::new(),
            have: 0,
            at: 0,
            may_repeat: false,
            seen,
        }
    }

    /// Returns the next element's key and value.
    pub(crate) fn next(&mut self) -> Option<Result<(&[u8], &[u8])>> {
        let (key_len, value_len) = (self.handle.map().key_len(), self.values_of.len);
        let at = loop {
            if self.at == self.have {
                match self.fill() {
                    Ok(true) => continue,
                    Ok(false) => return None,
                    Err(error) => return Some(Err(self.end(error))),
                }
            }
            let at = self.at;
            self.at += 1;
            let Some(seen) = self.seen.as_mut().filter(|_| self.may_repeat) else { break at };
            match seen.is_new(self.handle, &self.keys[at * key_len..(at + 1) * key_len]) {
                Ok(true) => break at,
                Ok(false) => {}
                Err(error) => return Some(Err(self.end(error))),
            }
        };
        let value = self.values.get(at * value_len..(at + 1) * value_len)?;
        let key = self.keys.get(at * key_len..(at + 1) * key_len)?;
        Some(Ok((key, value.get(self.values_of.from..self.values_of.to)?)))
    }

    /// Ends the iteration after this error.
    pub(super) fn end(&mut self, error: Error) -> Error {
        (self.have, self.at, self.mode) = (0, 0, Mode::End);
        error
    }

    /// Copies more elements, or changes to iteration from key to key. Returns `false` at the end.
    fn fill(&mut self) -> Result<bool> {
        let map = self.handle.map();
        let Part { flags, len: value_len, .. } = self.values_of;
        (self.have, self.at) = (0, 0);
        match &mut self.mode {
            Mode::End => return Ok(false),
            Mode::Batch { cursor, room, first } => {
                self.keys.resize(room.saturating_mul(map.key_len()), 0);
                self.values.resize(room.saturating_mul(value_len), 0);
                let command = if self.take { Command::MAP_LOOKUP_AND_DELETE_BATCH } else { Command::MAP_LOOKUP_BATCH };
                match map.lookup_batch(command, *first, cursor, &mut self.keys, &mut self.values, flags) {
                    Ok(copied) => {
                        *first = false;
                        self.have = copied.count.min(*room);
                        self.may_repeat = !self.take;
                        if copied.is_end {
                            self.mode = Mode::End;
                        }
                    }
                    Err(errno) if errno.raw() == libc::ENOSPC => {
                        let most = most(self.handle);
                        if *room >= most {
                            return Err(self.handle.refused(
                                Step::ReadMap,
                                "cannot look up a batch of elements",
                                errno,
                            ));
                        }
                        *room = room.saturating_mul(4).min(most);
                    }
                    // The key to continue from was removed. Iterate from key to key instead; `seen` has the keys that
                    // were returned.
                    Err(errno) if errno.raw() == libc::EINTR || (*first && unsupported(errno)) => {
                        let mut keys = Keys::new(self.handle)?;
                        if let Some(seen) = self.seen.take() {
                            keys.seen = Some(seen);
                        }
                        self.mode = Mode::Single(keys);
                    }
                    Err(errno) => {
                        return Err(self.handle.refused(Step::ReadMap, "cannot look up a batch of elements", errno));
                    }
                }
            }
            Mode::Single(keys) => {
                self.values.resize(value_len, 0);
                if !keys.next(&mut self.keys)? {
                    return Ok(false);
                }
                // An element that was removed meanwhile has no value to return.
                self.may_repeat = false;
                let found = if self.take {
                    self.handle.take_keyed(&self.keys, &mut self.values)?
                } else {
                    self.handle.lookup(&self.keys, &mut self.values, flags)?
                };
                self.have = usize::from(found);
            }
        }
        Ok(true)
    }
}

/// An iteration from key to key. The next key is requested before the current one is returned, so that the caller may
/// remove it.
#[derive(Debug)]
pub(crate) struct Keys<'a> {
    handle: &'a Untyped,
    next: Option<Vec<u8>>,
    seen: Option<Seen>,
    /// The visited keys, in the order of the map. If the current key is removed, the iteration continues from the last
    /// of these that is still in the map.
    trail: Vec<Vec<u8>>,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(handle: &'a Untyped) -> Result<Self> {
        let mut next = vec![0; handle.map().key_len()];
        let next = handle.next_key(None, &mut next)?.then_some(next);
        let seen = (!is_indexed(handle.map().map_type())).then(|| Seen::new(handle));
        Ok(Self { handle, next, seen, trail: Vec::new() })
    }

    /// Replaces the content of `key` with the next key. Returns `false` at the end.
    pub(crate) fn next(&mut self, key: &mut Vec<u8>) -> Result<bool> {
        while let Some(present) = self.next.take() {
            key.clear();
            key.extend_from_slice(&present);
            let is_new = match &mut self.seen {
                Some(seen) => seen.is_new(self.handle, key)?,
                None => true,
            };
            self.next = self.after(present)?;
            if is_new {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the key after `present`. If `present` is no longer in the map, the kernel returns the first key. Then
    /// the iteration continues from the last visited key that is still in the map, since the order of the remaining
    /// elements does not change. Each removal moves the iteration back by one key, so it always ends.
    fn after(&mut self, present: Vec<u8>) -> Result<Option<Vec<u8>>> {
        let mut next = vec![0; present.len()];
        let Some(seen) = &self.seen else {
            return Ok(self.handle.next_key(Some(&present), &mut next)?.then_some(next));
        };
        self.trail.push(present);
        while let Some(at) = self.trail.last() {
            if !self.handle.next_key(Some(at), &mut next)? {
                return Ok(None);
            }
            if !seen.keys.contains(next.as_slice()) || !self.is_first(&next)? {
                break;
            }
            self.trail.pop();
        }
        Ok(Some(next))
    }

    fn is_first(&self, key: &[u8]) -> Result<bool> {
        let mut first = vec![0; key.len()];
        Ok(self.handle.next_key(None, &mut first)? && first == key)
    }
}

/// The keys that were returned.
#[derive(Debug)]
struct Seen {
    keys: HashSet<Box<[u8]>>,
    left: usize,
}

impl Seen {
    fn new(handle: &Untyped) -> Self {
        Self { keys: HashSet::new(), left: most(handle).saturating_add(CHUNK).saturating_mul(ROUNDS) }
    }

    /// Returns whether the key is new, and stores it.
    fn is_new(&mut self, handle: &Untyped, key: &[u8]) -> Result<bool> {
        let Some(left) = self.left.checked_sub(1) else {
            return Err(handle
                .error(ErrorKind::Busy, "the map is modified faster than it can be iterated")
                .with_help("stop the processes and programs that remove elements, or look up the keys that you know"));
        };
        self.left = left;
        Ok(self.keys.insert(key.into()))
    }
}

/// Ends an iteration after its first error.
pub(super) fn until_error<T>(mut items: impl Iterator<Item = Result<T>>) -> impl Iterator<Item = Result<T>> {
    let mut failed = false;
    std::iter::from_fn(move || {
        let next = if failed { None } else { items.next() };
        failed |= matches!(next, Some(Err(_)));
        next
    })
}

/// Returns the maximum number of elements.
fn most(handle: &Untyped) -> usize {
    usize::try_from(handle.map().definition().max_entries).unwrap_or(usize::MAX)
}

/// Returns whether batch lookups of this map type visit elements in an order that insertions and removals do not
/// change.
fn is_ordered(map_type: MapType) -> bool {
    matches!(
        map_type,
        MapType::HASH
            | MapType::PERCPU_HASH
            | MapType::LRU_HASH
            | MapType::LRU_PERCPU_HASH
            | MapType::ARRAY
            | MapType::PERCPU_ARRAY
    )
}

/// Returns whether every index below the length is a key.
fn is_indexed(map_type: MapType) -> bool {
    matches!(
        map_type,
        MapType::ARRAY | MapType::PERCPU_ARRAY | MapType::ARRAY_OF_MAPS | MapType::DEVMAP | MapType::CPUMAP
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iteration_ends_after_its_first_error() {
        let results = [Ok(1), Err(Error::invalid("no")), Ok(2), Err(Error::invalid("no")), Ok(3)];
        let mut items = until_error(results.into_iter());
        assert_eq!(items.next().and_then(Result::ok), Some(1));
        assert!(items.next().is_some_and(|item| item.is_err()));
        assert!((0..3).all(|_| items.next().is_none()));
    }
}
