//! What a fuzzer runs of the readers of program files: no byte may make them panic, hang or allocate without bound.

use super::{elf, notes, symbols, usdt_arguments};

/// Reads bytes as a program file: functions by names and by pattern, and the places of a USDT probe. Makes no system call.
pub fn read_program_file(bytes: &[u8], name: &str) {
    let _ = elf::read_bytes(bytes, |elf| {
        let _ = symbols::find_each(elf, &[name]);
        let _ = symbols::find_all(elf, &[name]);
        let (provider, probe) = name.split_once(':').unwrap_or((name, name));
        notes::places(elf, provider, probe)
    })
    .map(|places| places.iter().map(|place| read_usdt_arguments(&place.arguments)).count());
}

/// Reads the arguments of a USDT probe, and writes them as programs read them.
pub fn read_usdt_arguments(text: &str) {
    if let Ok(arguments) = usdt_arguments::parse(text) {
        for size in [208, 304] {
            let _ = usdt_arguments::encode(&arguments, 1, size);
        }
    }
}
