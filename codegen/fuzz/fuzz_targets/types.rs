//! Types of any BTF: an error or a text, never a panic, and not without end.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = skelgen::types(bytes, &skelgen::Options::for_file("fuzzed.btf"));
});
