//! Goes over the elements of a map, many a system call where the kernel can, and fills and empties maps in the same way.
//!
//! The kernel's batches walk a hash map bucket by bucket, so that removing elements meanwhile disturbs nothing. The fallback goes
//! from key to key and asks for the next key before the present one is given out; if others remove that one too, the kernel
//! begins again at the front, so that elements can come twice. Either way there is an end: after as many elements as the map
//! can hold.

use super::Handle;
use crate::error::{Errno, Result};
use crate::sys::elem::ENOENT;

/// How many elements are asked for at once at first.
const CHUNK: usize = 128;

/// The most bytes that are asked for at once, unless one bucket has more.
const CHUNK_BYTES: usize = 1 << 20;

/// The errors of kernels and map types without batches: EINVAL, EOPNOTSUPP, and the kernel's own ENOTSUPP.
pub(crate) fn unsupported(errno: Errno) -> bool {
    matches!(errno.raw(), libc::EINVAL | libc::EOPNOTSUPP | 524)
}

/// A walk over all elements, as bytes.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    handle: &'a Handle,
    mode: Mode,
    keys: Vec<u8>,
    values: Vec<u8>,
    have: usize,
    at: usize,
    left: usize,
}

#[derive(Debug)]
enum Mode {
    Batch { cursor: Vec<u8>, room: usize, first: bool },
    Single { next: Vec<u8>, more: bool },
    End,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(handle: &'a Handle) -> Self {
        let map = handle.map();
        let left = usize::try_from(map.info().max_entries).unwrap_or(usize::MAX);
        let element = map.key_len().saturating_add(map.full_len()).max(1);
        let room = left.min(CHUNK).min(CHUNK_BYTES / element).max(1);
        let mode = Mode::Batch { cursor: vec![0; map.cursor_len()], room, first: true };
        Self { handle, mode, keys: Vec::new(), values: Vec::new(), have: 0, at: 0, left }
    }

    /// The next element's key and value.
    pub(crate) fn next(&mut self) -> Option<Result<(&[u8], &[u8])>> {
        while self.at == self.have {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.mode = Mode::End;
                    return Some(Err(error));
                }
            }
        }
        let (key_len, value_len) = (self.handle.map().key_len(), self.handle.map().full_len());
        let at = self.at;
        self.at += 1;
        let key = self.keys.get(at * key_len..(at + 1) * key_len)?;
        let value = self.values.get(at * value_len..(at + 1) * value_len)?;
        Some(Ok((key, value)))
    }

    /// Gets more elements; false at the end.
    fn fill(&mut self) -> Result<bool> {
        let map = self.handle.map();
        (self.have, self.at) = (0, 0);
        if self.left == 0 {
            self.mode = Mode::End;
        }
        match &mut self.mode {
            Mode::End => return Ok(false),
            Mode::Batch { cursor, room, first } => {
                self.keys.resize(room.saturating_mul(map.key_len()), 0);
                self.values.resize(room.saturating_mul(map.full_len()), 0);
                match map.lookup_batch(*first, cursor, &mut self.keys, &mut self.values) {
                    Ok((count, end)) => {
                        *first = false;
                        self.have = count.min(self.left).min(*room);
                        self.left -= self.have;
                        if end {
                            self.mode = Mode::End;
                        }
                    }
                    Err(errno) if errno.raw() == libc::ENOSPC => {
                        let most = usize::try_from(map.info().max_entries).unwrap_or(usize::MAX);
                        if *room >= most {
                            return Err(self.handle.refused("looking up many elements", errno));
                        }
                        *room = room.saturating_mul(4).min(most);
                    }
                    Err(errno) if *first && unsupported(errno) => {
                        let mut next = vec![0; map.key_len()];
                        let more = self.handle.next_key(None, &mut next)?;
                        self.keys.resize(map.key_len(), 0);
                        self.values.resize(map.full_len(), 0);
                        self.mode = Mode::Single { next, more };
                    }
                    Err(errno) => return Err(self.handle.refused("looking up many elements", errno)),
                }
            }
            Mode::Single { more: false, .. } => return Ok(false),
            Mode::Single { next, more } => {
                self.keys.truncate(map.key_len());
                self.values.truncate(map.full_len());
                self.keys.copy_from_slice(next);
                *more = self.handle.next_key(Some(&self.keys), next)?;
                self.left -= 1;
                // It may be gone by now, which is no error: there is just no element to give out.
                if self.handle.lookup(&self.keys, &mut self.values, 0)? {
                    self.have = 1;
                }
            }
        }
        Ok(true)
    }
}

impl Handle {
    /// Sets many elements, with as few system calls as the kernel allows.
    pub(crate) fn update_many(&self, keys: &[u8], values: &[u8]) -> Result<()> {
        if keys.is_empty() || values.is_empty() {
            return Ok(());
        }
        match self.map().update_batch(keys, values, 0) {
            Ok(()) => Ok(()),
            Err((errno, 0)) if unsupported(errno) => keys
                .chunks_exact(self.map().key_len().max(1))
                .zip(values.chunks_exact(self.map().full_len().max(1)))
                .try_for_each(|(key, value)| self.update(key, value, 0)),
            Err((errno, done)) => Err(self.refused(format_args!("setting many elements, after {done}"), errno)),
        }
    }

    /// Removes many elements and says how many of them there were.
    pub(crate) fn delete_many(&self, keys: &[u8]) -> Result<usize> {
        let key_len = self.map().key_len();
        let mut rest = keys;
        let mut removed = 0;
        while !rest.is_empty() {
            match self.map().delete_batch(rest) {
                Ok(()) => return Ok(removed + rest.len().checked_div(key_len).unwrap_or(0)),
                // The batch stops at a key that is not there; the rest is still to do.
                Err((ENOENT, done)) => {
                    removed += done;
                    rest = rest.get((done + 1).saturating_mul(key_len)..).unwrap_or_default();
                }
                Err((errno, 0)) if unsupported(errno) => {
                    for key in rest.chunks_exact(key_len.max(1)) {
                        removed += usize::from(self.delete(key)?);
                    }
                    return Ok(removed);
                }
                Err((errno, done)) => {
                    return Err(self.refused(format_args!("removing many elements, after {}", removed + done), errno));
                }
            }
        }
        Ok(removed)
    }
}
