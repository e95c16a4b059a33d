//! Variables in an arena: section `.addr_space.1`, which is part of the one arena that the object defines.
//!
//! Compilers put variables of address space 1 (`__arena`) there. Where in the arena the section lies is the loader's to decide.

use std::collections::BTreeMap;

use skelgen_abi::plan::SectionKind;
use skelgen_abi::uapi::MapType;

use super::data::{addresses, variables};
use super::refused::Refused;
use super::{DataSection, Map, MapId};
use crate::btf::Btf;
use crate::elf::{ElfObject, SectionId};
use crate::error::{Code, Diagnostic, Reporter};

/// The section's name.
pub(crate) const SECTION: &str = ".addr_space.1";

/// Gives the section to the object's arena.
pub(super) fn collect(
    elf: &ElfObject<'_>,
    btf: Option<&Btf>,
    maps: &mut [Map],
    by_section: &mut BTreeMap<SectionId, MapId>,
    refused: &mut Refused,
    reporter: &mut Reporter,
) {
    let Some(section) = elf.section_named(SECTION).filter(|section| section.size > 0) else { return };
    let maps_refused = elf.section_named(".maps").is_some_and(|maps| refused.has_any(maps.id));
    let mut report = |message: &str, note: &str| {
        refused.section(section.id);
        // A map that was refused may be the arena.
        if maps_refused {
            return;
        }
        reporter.report(Diagnostic::new(Code::BadMap, message).section(SECTION).note(note.to_owned()));
    };
    let mut arenas = maps.iter_mut().enumerate().filter(|(_, map)| map.def.map_type == MapType::ARENA);
    let (Some((index, map)), None) = (arenas.next(), arenas.next()) else {
        let message = "the object has variables in an arena, but not one arena that they could be in";
        return report(message, "define one map of type BPF_MAP_TYPE_ARENA in SEC(\".maps\")");
    };
    let Ok(size) = u32::try_from(section.size) else {
        return report("the variables are larger than any arena", "an arena has 4 GiB at the most");
    };
    let datasec = btf.and_then(|btf| btf.datasec(SECTION).map(|id| (btf, id)));
    let zero = section.data.iter().all(|&byte| byte == 0);
    map.def.value_size = size;
    map.section = Some(DataSection {
        kind: SectionKind::Arena,
        size,
        align: u32::try_from(section.align).unwrap_or(1).max(1),
        bytes: if zero { Vec::new() } else { section.data.to_vec() },
        variables: datasec.map(|(btf, id)| variables(btf, id)).unwrap_or_default(),
        addresses: addresses(section),
    });
    by_section.insert(section.id, MapId(u32::try_from(index).unwrap_or(u32::MAX)));
}
