//! Generates types from any BTF, which must return an error or text, never panic, and terminate.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = skelgen::types(bytes, &skelgen::Options::for_file("fuzzed.btf"));
});
