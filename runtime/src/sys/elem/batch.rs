//! Operations on many elements of a map at once.
//!
//! As with single elements, every slice is as long as the kernel takes it to be for the map, the count and the flags.

use super::{EINVAL, ENOENT, Map};
use crate::error::Errno;
use crate::sys::attr::MapBatch;
use crate::sys::{address, address_mut, bpf, len32};
use crate::uapi::Command;
use std::os::fd::AsRawFd;

/// How many elements were copied, and what comes after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) count: usize,
    pub(crate) is_end: bool,
}

impl Map {
    /// The length of a [`Self::lookup_batch`] cursor: arrays and tries keep a key there, hash maps a bucket's number.
    pub(crate) fn cursor_len(&self) -> usize {
        self.key_len.max(8)
    }

    /// Copies elements, from the beginning or from `cursor` on, as many as there is room for (`BPF_MAP_LOOKUP_BATCH`), or takes
    /// them out (`BPF_MAP_LOOKUP_AND_DELETE_BATCH`).
    ///
    /// After it `cursor` holds where to go on. `ENOSPC` means that there is not even room for what the kernel copies at once;
    /// `EINTR`, on kernels before 7.3, that an element went away as it was about to be copied and that none were copied before it.
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
        // SAFETY: there is room for `count` keys and values of the length that the flags mean, and for the cursor, which the
        // kernel copies in before it copies it out.
        let result = unsafe { bpf(command, &mut attr) };
        let count = usize::try_from(attr.count).map_err(|_| EINVAL)?;
        match result {
            Ok(_) => Ok(Copied { count, is_end: false }),
            Err(ENOENT) => Ok(Copied { count, is_end: true }),
            // The kernel wrote a count before it looked at any element, so this is one of elements.
            Err(errno) if errno.raw() == libc::EINTR && count > 0 => Ok(Copied { count, is_end: false }),
            Err(errno) => Err(errno),
        }
    }

    /// Sets the values of many keys (`BPF_MAP_UPDATE_BATCH`). An error comes with how many were set before it.
    pub(crate) fn update_batch(&self, keys: &[u8], values: &[u8], flags: u64) -> Result<(), (Errno, usize)> {
        let count = self.count(keys.len(), values.len(), flags).map_err(|errno| (errno, 0))?;
        let mut attr = MapBatch { keys: address(keys), values: address(values), ..self.batch(count, flags) };
        // SAFETY: there are `count` keys, and values of the length that the flags mean. Kernels that do not know the flags refuse
        // them before they read anything.
        let result = unsafe { bpf(Command::MAP_UPDATE_BATCH, &mut attr) };
        done(result, attr.count, count)
    }

    /// Removes many keys (`BPF_MAP_DELETE_BATCH`). An error comes with how many were removed before it.
    pub(crate) fn delete_batch(&self, keys: &[u8]) -> Result<(), (Errno, usize)> {
        let count = keys.len().checked_div(self.key_len).unwrap_or(0);
        let values = count.checked_mul(self.full_len).ok_or((EINVAL, 0))?;
        let count = self.count(keys.len(), values, 0).map_err(|errno| (errno, 0))?;
        let mut attr = MapBatch { keys: address(keys), ..self.batch(count, 0) };
        // SAFETY: there are `count` keys, and this command has no values.
        let result = unsafe { bpf(Command::MAP_DELETE_BATCH, &mut attr) };
        done(result, attr.count, count)
    }

    /// How many elements keys and values of these lengths are, if they are as many and whole.
    fn count(&self, keys: usize, values: usize, flags: u64) -> Result<u32, Errno> {
        if self.may_be_longer(flags) {
            // One by one they end at a guard.
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

/// The result of a batch: the kernel leaves in `count` how many it did.
fn done(result: Result<i32, Errno>, did: u32, count: u32) -> Result<(), (Errno, usize)> {
    result.map(drop).map_err(|errno| {
        // Some errors come before the kernel has written the count.
        let did = if did < count { did } else { 0 };
        (errno, usize::try_from(did).unwrap_or(0))
    })
}
