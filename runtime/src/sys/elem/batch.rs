//! Operations on many elements of a map at once.
//!
//! As for single elements, every slice is as long as the kernel expects for the map, the count and the flags.

use super::{EINVAL, ENOENT, Map};
use crate::error::Errno;
use crate::sys::attr::MapBatch;
use crate::sys::{address, address_mut, bpf, len32};
use crate::uapi::Command;
use std::os::fd::AsRawFd;

/// The number of copied elements, and whether more follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) count: usize,
    pub(crate) is_end: bool,
}

impl Map {
    /// Returns the length of a [`Self::lookup_batch`] cursor: arrays and tries store a key in it, hash maps the number of a bucket.
    pub(crate) fn cursor_len(&self) -> usize {
        self.key_len.max(8)
    }

    /// Copies as many elements as fit (`BPF_MAP_LOOKUP_BATCH`). Begins with the first element if `first` is set, and
    /// otherwise continues from `cursor`. `BPF_MAP_LOOKUP_AND_DELETE_BATCH` also removes the elements.
    ///
    /// Sets `cursor` to the position to continue from. `ENOSPC` means that the slices are too short for the elements
    /// that the kernel copies as a whole, such as a bucket. `EINTR`, on kernels before 7.3, means that an element was
    /// removed while it was copied, and that no elements were copied before it.
    pub(crate) fn lookup_batch(
        &self,
        command: Command,
        first: bool,
        cursor: &mut [u8],
        keys: &mut [u8],
        values: &mut [u8],
        flags: u64,
    ) -> Result<Copied, Errno> {
        let known = matches!(command, Command::MAP_LOOKUP_BATCH | Command::MAP_LOOKUP_AND_DELETE_BATCH);
        if cursor.len() != self.cursor_len() || !known {
            return Err(EINVAL);
        }
        let count = self.count(keys.len(), values.len(), flags)?;
        let cursor = address_mut(cursor);
        let mut attr = MapBatch {
            in_batch: if first { 0 } else { cursor },
            out_batch: cursor,
            keys: address_mut(keys),
            values: address_mut(values),
            ..self.batch(count, flags)
        };
        // SAFETY: there is room for `count` keys and values of the length for these flags, and for the cursor, which the kernel copies in
        // before it copies it out.
        let result = unsafe { bpf(command, &mut attr) };
        let count = usize::try_from(attr.count).map_err(|_| EINVAL)?;
        match result {
            Ok(_) => Ok(Copied { count, is_end: false }),
            Err(ENOENT) => Ok(Copied { count, is_end: true }),
            // The kernel writes the count before it copies any element, so a count above 0 is a number of copied
            // elements.
            Err(errno) if errno.raw() == libc::EINTR && count > 0 => Ok(Copied { count, is_end: false }),
            Err(errno) => Err(errno),
        }
    }

    /// Sets the values of many keys (`BPF_MAP_UPDATE_BATCH`). The error contains the number of elements that were set
    /// before it.
    pub(crate) fn update_batch(&self, keys: &[u8], values: &[u8], flags: u64) -> Result<(), (Errno, usize)> {
        let count = self.count(keys.len(), values.len(), flags).map_err(|errno| (errno, 0))?;
        let mut attr = MapBatch { keys: address(keys), values: address(values), ..self.batch(count, flags) };
        // SAFETY: there are `count` keys, and values of the length for these flags. Kernels that do not know the flags reject them before
        // they read anything.
        let result = unsafe { bpf(Command::MAP_UPDATE_BATCH, &mut attr) };
        done(result, attr.count, count)
    }

    /// Removes many keys (`BPF_MAP_DELETE_BATCH`). The error contains the number of elements that were removed before
    /// it.
    pub(crate) fn delete_batch(&self, keys: &[u8]) -> Result<(), (Errno, usize)> {
        let count = keys.len().checked_div(self.key_len).unwrap_or(0);
        let values = count.checked_mul(self.full_len).ok_or((EINVAL, 0))?;
        let count = self.count(keys.len(), values, 0).map_err(|errno| (errno, 0))?;
        let mut attr = MapBatch { keys: address(keys), ..self.batch(count, 0) };
        // SAFETY: there are `count` keys, and this command has no values.
        let result = unsafe { bpf(Command::MAP_DELETE_BATCH, &mut attr) };
        done(result, attr.count, count)
    }

    /// Returns the number of elements in keys and values of these lengths in bytes. It is an error if a length is not a
    /// whole number of elements, or the numbers differ.
    fn count(&self, keys: usize, values: usize, flags: u64) -> Result<u32, Errno> {
        if self.may_be_longer(flags) {
            // Single element operations use guarded memory instead.
            return Err(Errno::from_raw(libc::EOPNOTSUPP));
        }
        let count = keys.checked_div(self.key_len).ok_or(EINVAL)?;
        let value_len = self.len_with(flags)?;
        let whole = count.checked_mul(self.key_len) == Some(keys) && count.checked_mul(value_len) == Some(values);
        if whole { len32(count) } else { Err(EINVAL) }
    }

    fn batch(&self, count: u32, elem_flags: u64) -> MapBatch {
        MapBatch {
            in_batch: 0,
            out_batch: 0,
            keys: 0,
            values: 0,
            count,
            map_fd: self.fd.as_raw_fd(),
            elem_flags,
            flags: 0,
        }
    }
}

/// Converts the result of a batch: the kernel leaves the number of elements that it processed in `count`.
fn done(result: Result<i32, Errno>, did: u32, count: u32) -> Result<(), (Errno, usize)> {
    result.map(drop).map_err(|errno| {
        // Some errors are returned before the kernel has written the count.
        let did = if did < count { did } else { 0 };
        (errno, usize::try_from(did).unwrap_or(0))
    })
}
