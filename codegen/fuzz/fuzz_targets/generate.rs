//! The whole way, from any bytes: an error or a result, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = skelgen::generate(bytes, &skelgen::Options::for_file("fuzzed.bpf.o"));
});
