//! Generates a skeleton from any bytes, which must return an error or a skeleton and never panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = skelgen::generate(bytes, &skelgen::Options::for_file("fuzzed.bpf.o"));
});
