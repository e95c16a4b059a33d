//! Parses any bytes as BTF and .BTF.ext, which must return an error or a table and never panic.
//!
//! The first two bytes are the length of the BTF; .BTF.ext follows it.
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
