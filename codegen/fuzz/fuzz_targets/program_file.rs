//! Looks up probe targets in any bytes, which must return an error or offsets, never panic, and terminate.
//!
//! The first byte selects the name to look up. Makes no system calls.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skelgen_runtime::link::fuzzing::{read_program_file, read_usdt_arguments};

/// Names in the seeds: a function, a versioned function, an indirect function, a pattern and a USDT probe.
const NAMES: [&str; 8] =
    ["plain", "both", "both@V1", "both@@V2", "chosen", "puts", "*", "skelgen:probe"];

fuzz_target!(|bytes: &[u8]| {
    let Some((which, file)) = bytes.split_first() else { return };
    read_program_file(file, NAMES[usize::from(*which) % NAMES.len()]);
    if let Ok(text) = std::str::from_utf8(file) {
        read_usdt_arguments(text);
    }
});
