//! Variables in an arena: the section `.addr_space.1`, which is part of the one arena that the object defines.
//!
//! Compilers put variables of address space 1 (`__arena`) there. The loader chooses the section's offset in the arena.

use skelgen_abi::plan::SectionKind;
use skelgen_abi::uapi::MapType;

use super::data::{self, addresses};
use super::pass::{Notes, Pass};
use super::refused::Refused;
use super::table::{ArenaVariables, MapTable};
use super::{DataSection, MapId};
use crate::btf::Btf;
use crate::elf::ElfObject;
use crate::error::{Code, Diagnostic};

/// The section's name.
pub(crate) const SECTION: &str = ".addr_space.1";

/// Finds the variables of the section and the arena that contains them.
pub(super) fn variables(
    elf: &ElfObject<'_>,
    btf: Option<&Btf>,
    table: &MapTable,
    refused: &Refused,
) -> Pass<Option<ArenaVariables>> {
    let mut notes = Notes::default();
    let Some(section) = elf.section_named(SECTION).filter(|section| section.size > 0) else { return notes.with(None) };
    let mut arenas = (0..).zip(&table.maps).filter(|(_, map)| map.def.map_type == MapType::ARENA);
    let arena = match (arenas.next(), arenas.next()) {
        (Some((index, _)), None) => Ok(MapId(index)),
        _ => Err((
            "the object has arena variables, but does not define exactly one arena",
            "define one map of type BPF_MAP_TYPE_ARENA in SEC(\".maps\")",
        )),
    };
    let size = u32::try_from(section.size)
        .map_err(|_| ("the arena variables exceed the 4 GiB of an arena", "reduce the size of the variables"));
    let (arena, size) = match arena.and_then(|arena| Ok((arena, size?))) {
        Ok(found) => found,
        Err((message, help)) => {
            notes.refused.section(section.id);
            // Do not report a missing arena if a map definition was already refused: it may be the arena.
            if !elf.section_named(".maps").is_some_and(|maps| refused.has_any(maps.id)) {
                notes.report(Diagnostic::new(Code::BadMap, message).section(SECTION).with_help(help));
            }
            return notes.with(None);
        }
    };
    let datasec = btf.and_then(|btf| btf.datasec(SECTION).map(|id| (btf, id)));
    let zero = section.data.iter().all(|&byte| byte == 0);
    let contents = DataSection {
        kind: SectionKind::Arena,
        size,
        align: u32::try_from(section.align).unwrap_or(1).max(1),
        bytes: if zero { Vec::new() } else { section.data.to_vec() },
        variables: datasec.map(|(btf, id)| data::variables(btf, id)).unwrap_or_default(),
        addresses: addresses(section),
    };
    notes.with(Some(ArenaVariables { arena, section: section.id, contents }))
}
