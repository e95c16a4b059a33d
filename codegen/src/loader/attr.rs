//! Requests as bytes: `union bpf_attr` with the fields at the offsets of [`skelgen_abi::attr`].

use skelgen_abi::attr::name16;

use crate::insn::Endian;

/// A request under construction. All fields that are not set are zero.
pub(super) struct Attr {
    bytes: Vec<u8>,
    endian: Endian,
}

impl Attr {
    /// Creates the request of this type.
    pub(super) fn new<T>(endian: Endian) -> Self {
        Self { bytes: vec![0; size_of::<T>()], endian }
    }

    /// Sets a field of 32 bits.
    pub(super) fn word(mut self, offset: usize, value: u32) -> Self {
        self.put(offset, &self.endian.to_bytes(value));
        self
    }

    /// Sets a field of 64 bits.
    pub(super) fn wide(mut self, offset: usize, value: u64) -> Self {
        let bytes = match self.endian {
            Endian::Little => value.to_le_bytes(),
            Endian::Big => value.to_be_bytes(),
        };
        self.put(offset, &bytes);
        self
    }

    /// Sets the name of a map or program.
    pub(super) fn name(mut self, offset: usize, name: &str) -> Self {
        self.put(offset, &name16(name));
        self
    }

    /// Returns the bytes of the request.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        if let Some(field) = self.bytes.get_mut(offset..offset + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    }
}
