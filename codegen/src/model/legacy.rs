//! Legacy map definitions: symbols in section `maps`, each a sequence of numbers. aya-ebpf's `#[map]` writes them.
//!
//! The numbers are type, key size, value size, max entries and flags. In the form of iproute2 and aya, an unused id and
//! the pinning follow. Any further bytes have an unknown meaning and must be zero.

use skelgen_abi::uapi::MapType;

use super::Map;
use super::pass::{Notes, Pass};
use super::table::{self, Defined};
use crate::elf::{ElfObject, Section, SymbolKind, SymbolSection};
use crate::error::{Code, Diagnostic};

/// The section's name, to which a slash and a map's name can be appended.
const SECTION: &str = "maps";

/// The size of a number, in bytes.
const NUMBER: usize = 4;

/// Finds the maps with legacy definitions.
pub(super) fn maps(elf: &ElfObject<'_>) -> Pass<Vec<Defined>> {
    let mut notes = Notes::default();
    let mut maps = Vec::new();
    let named = |name: &str| name.strip_prefix(SECTION).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    for section in elf.sections.iter().filter(|section| section.size > 0 && named(section.name)) {
        let mut symbols: Vec<_> = elf
            .symbols
            .iter()
            .filter(|symbol| symbol.section == SymbolSection::Section(section.id) && symbol.kind != SymbolKind::Section)
            .collect();
        symbols.sort_by_key(|symbol| symbol.value);
        for (index, symbol) in symbols.iter().enumerate() {
            let end = symbols.get(index + 1).map_or(section.size, |next| next.value);
            let size = if symbol.size == 0 { end.saturating_sub(symbol.value) } else { symbol.size };
            match definition(elf, section, symbol.name, symbol.value, size) {
                Ok(map) => {
                    let location =
                        table::Location::Definition { section: section.id, offset: symbol.value, values: None };
                    maps.push(Defined { map, location });
                }
                Err(diagnostic) => {
                    notes.refused.part(section.id, symbol.value, size);
                    notes.report(diagnostic.section(section.name).offset(symbol.value));
                }
            }
        }
        if symbols.is_empty() {
            let message = "the section has no symbols, which give maps their names";
            notes.report(Diagnostic::new(Code::BadMap, message).section(section.name));
            notes.refused.section(section.id);
        }
    }
    notes.with(maps)
}

fn definition(elf: &ElfObject<'_>, section: &Section<'_>, name: &str, from: u64, size: u64) -> Result<Map, Diagnostic> {
    let bad = |message: String| Diagnostic::new(Code::BadMap, format!("map `{name}`: {message}"));
    let range = usize::try_from(from).ok().zip(usize::try_from(size).ok());
    let bytes = range.and_then(|(from, size)| section.data.get(from..)?.get(..size));
    let bytes = bytes.ok_or_else(|| bad("its definition is outside the section".into()))?;
    let numbers: Vec<u32> = bytes
        .chunks_exact(NUMBER)
        .map(|number| elf.endian.u32(number.first_chunk().copied().unwrap_or_default()))
        .collect();
    let [map_type, key_size, value_size, max_entries, flags, rest @ ..] = &numbers[..] else {
        return Err(bad(format!(
            "its definition of {size} bytes does not contain type, key size, value size, max entries and flags"
        )));
    };
    if *map_type == MapType::UNSPEC.0 {
        // A BTF-defined map in this section is all zero, because its members are null pointers.
        return Err(
            bad("its type is zero".into()).with_help("put a definition with __uint and __type into SEC(\".maps\")")
        );
    }
    // Only iproute2 uses the id.
    let pin_by_name = match rest {
        [] | [_] | [_, 0, ..] => false,
        [_, 1, ..] => true,
        [_, other, ..] => return Err(bad(format!("its pinning is {other}, which is not supported"))),
    };
    if rest.iter().skip(2).any(|&number| number != 0) {
        let message = "it has attributes other than type, sizes, max entries, flags, id and pinning";
        return Err(bad(message.into()).with_help("define it in SEC(\".maps\") with __uint and __type"));
    }
    let mut map = Map::new(name, MapType(*map_type));
    (map.def.key_size, map.def.value_size) = (*key_size, *value_size);
    (map.def.max_entries, map.def.flags) = (*max_entries, *flags);
    map.def.pin_by_name = pin_by_name;
    Ok(map)
}
