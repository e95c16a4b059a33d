//! Program files that are probed, from any bytes: an error or offsets, never a panic, and not without end.
//!
//! The first byte says which name is looked for. Makes no system call.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skelgen_runtime::link::fuzzing::{read_program_file, read_usdt_arguments};

/// Names that the seeds have: a function, one with versions, an indirect one, a pattern, a probe.
const NAMES: [&str; 8] =
    ["plain", "both", "both@V1", "both@@V2", "chosen", "puts", "*", "skelgen:probe"];

fuzz_target!(|bytes: &[u8]| {
    let Some((which, file)) = bytes.split_first() else { return };
    read_program_file(file, NAMES[usize::from(*which) % NAMES.len()]);
    if let Ok(text) = std::str::from_utf8(file) {
        read_usdt_arguments(text);
    }
});
