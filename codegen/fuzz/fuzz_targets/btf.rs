//! BTF and .BTF.ext from any bytes: an error or a table, never a panic.
//!
//! The first two bytes say where the BTF ends and the rest, .BTF.ext, begins.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skelgen::unstable::btf::{Btf, ext::BtfExt};
use skelgen::unstable::insn::Endian;

fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return };
    let (types, records) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
    for endian in [Endian::Little, Endian::Big] {
        if let Ok(btf) = Btf::parse(types, endian) {
            let _ = BtfExt::parse(records, endian, &btf);
        }
    }
});
