//! Records of a ring buffer that are copied together.

/// Records that are copied together, so that locks and positions are accessed once per batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    lens: Vec<usize>,
}

impl Batch {
    /// The maximum number of records in a batch.
    pub(super) const RECORDS: usize = 128;
    const BYTES: usize = 1 << 16;

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.lens.clear();
    }

    pub(super) fn is_full(&self) -> bool {
        self.lens.len() >= Self::RECORDS || self.bytes.len() >= Self::BYTES
    }

    /// Returns the number of records.
    pub(super) fn len(&self) -> usize {
        self.lens.len()
    }

    /// Appends a record of `len` bytes and returns its buffer.
    pub(super) fn push(&mut self, len: usize) -> &mut [u8] {
        let begin = self.bytes.len();
        self.bytes.resize(begin + len, 0);
        self.lens.push(len);
        &mut self.bytes[begin..]
    }

    /// Removes the last record.
    pub(super) fn pop(&mut self) {
        if let Some(len) = self.lens.pop() {
            self.bytes.truncate(self.bytes.len() - len);
        }
    }

    /// Iterates over the records in the order in which they were added.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        self.lens.iter().map(move |&len| {
            let (record, others) = rest.split_at(len);
            rest = others;
            record
        })
    }
}
