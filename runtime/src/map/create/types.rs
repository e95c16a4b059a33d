//! BTF for maps whose type requires it and whose definition has none: the key is an `int`, the value an array of bytes.
//!
//! The kernel requires such types of local storage (`bpf_local_storage_map_check_btf` in
//! kernel/bpf/bpf_local_storage.c): the key is a signed integer of 32 bits, and the value has the map's value size.
//! This module encodes bytes; it sends no requests.

use crate::btf::format::written;
use crate::btf::kind;

/// The ids of the types in [`of_bytes`].
pub(super) const KEY: u32 = 1;
pub(super) const VALUE: u32 = 4;

/// Returns BTF with a key of type `int` and a value of type `unsigned char[value_size]`.
pub(super) fn of_bytes(value_size: u32) -> Vec<u8> {
    const STRINGS: &[u8] = b"\0int\0unsigned char\0unsigned int\0";
    const SIGNED: u32 = 1 << 24;
    let types = [
        [1, kind::INT << 24, 4, SIGNED | 32].as_slice(),
        &[5, kind::INT << 24, 1, 8],
        // The type of an array's indices.
        &[19, kind::INT << 24, 4, 32],
        &[0, kind::ARRAY << 24, 0, 2, 3, value_size],
    ];
    let types: Vec<u8> = types.concat().iter().flat_map(|word| word.to_ne_bytes()).collect();
    written(&types, STRINGS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::Types;

    #[test]
    fn types_have_the_sizes_of_the_map() {
        let types = Types::of_program(of_bytes(12)).unwrap();
        assert_eq!((types.kind(KEY), types.size(KEY), types.name(KEY)), (kind::INT, Some(4), "int"));
        assert_eq!((types.kind(VALUE), types.size(VALUE)), (kind::ARRAY, Some(12)));
    }
}
