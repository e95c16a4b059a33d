//! Numbers from bytes, in the file's byte order, never past the end.

use crate::insn::Endian;

/// A place in bytes.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    endian: Endian,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], endian: Endian) -> Self {
        Self { bytes, at: 0, endian }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let array = self.bytes.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(*array)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        let bytes = self.array()?;
        Some(match self.endian {
            Endian::Little => u16::from_le_bytes(bytes),
            Endian::Big => u16::from_be_bytes(bytes),
        })
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        let bytes = self.array()?;
        Some(match self.endian {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        })
    }

    /// Skips bytes.
    pub(super) fn skip(&mut self, bytes: usize) -> Option<()> {
        let at = self.at.checked_add(bytes).filter(|&at| at <= self.bytes.len())?;
        self.at = at;
        Some(())
    }

    /// So many values, each at least one word, so that a count larger than the rest allocates nothing.
    pub(super) fn list<T>(&mut self, count: u32, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = count as usize;
        if count > (self.bytes.len() - self.at) / 4 {
            return None;
        }
        (0..count).map(|_| read(self)).collect()
    }
}
