//! Entry points for fuzzing the readers of ELF files: no input may make them panic, hang or allocate without bound.

use super::{elf, notes, symbols, usdt_arguments};

/// Reads bytes as an ELF file: functions by name and by pattern, and the attach points of a USDT probe. Makes no system
/// call.
pub fn read_program_file(bytes: &[u8], name: &str) {
    let _ = elf::read_bytes(bytes, |elf| {
        let _ = symbols::find_each(elf, &[name]);
        let _ = symbols::find_all(elf, &[name]);
        let (provider, probe) = name.split_once(':').unwrap_or((name, name));
        notes::locations(elf, provider, probe)
    })
    .map(|locations| locations.iter().map(|note| read_usdt_arguments(&note.arguments)).count());
}

/// Parses the arguments of a USDT probe and encodes them for programs.
pub fn read_usdt_arguments(text: &str) {
    if let Ok(arguments) = usdt_arguments::parse(text) {
        for size in [208, 304] {
            let _ = usdt_arguments::encode(&arguments, 1, size);
        }
    }
}
