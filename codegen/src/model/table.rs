//! The table of an object's maps: their order, and their locations in the file, from which references are resolved.
//!
//! Passes find definitions with their locations. The table assigns ids in the order of the passes. Passes that need the
//! ids find the initial elements, and [`MapTable::with`] adds these.

use std::collections::BTreeMap;
use std::ops::Range;

use skelgen_abi::plan::SectionKind;

use super::{DataSection, FunctionId, Map, MapId};
use crate::elf::SectionId;

/// A map and its location in the file.
pub(super) struct Defined {
    pub(super) map: Map,
    pub(super) location: Location,
}

/// The location of a map in the file.
pub(super) enum Location {
    /// The map's value is the section. References are to bytes of the value.
    Section(SectionId),
    /// The map's definition begins at this offset of the section. References are to the map.
    Definition {
        section: SectionId,
        offset: u64,
        /// The byte range of the pointers to initial elements.
        values: Option<Range<u64>>,
    },
    /// The map has no location in the file; its variables are found by name.
    Names,
}

/// The maps of an object by id, and their locations.
pub(super) struct MapTable {
    pub(super) maps: Vec<Map>,
    sections: BTreeMap<SectionId, MapId>,
    definitions: BTreeMap<(SectionId, u64), MapId>,
    values: Vec<(MapId, SectionId, Range<u64>)>,
}

/// An initial element of a map.
pub(super) enum Element {
    Map(MapId),
    Function(FunctionId),
}

/// The variables in an arena.
pub(super) struct ArenaVariables {
    pub(super) arena: MapId,
    pub(super) section: SectionId,
    pub(super) contents: DataSection,
}

impl MapTable {
    /// Assigns ids to the maps in order.
    pub(super) fn new(defined: impl IntoIterator<Item = Defined>) -> Self {
        let (sections, definitions) = (BTreeMap::new(), BTreeMap::new());
        let mut table = Self { maps: Vec::new(), sections, definitions, values: Vec::new() };
        for Defined { map, location } in defined {
            let id = MapId(u32::try_from(table.maps.len()).unwrap_or(u32::MAX));
            table.maps.push(map);
            match location {
                Location::Section(section) => {
                    table.sections.insert(section, id);
                }
                Location::Definition { section, offset, values } => {
                    table.definitions.insert((section, offset), id);
                    table.values.extend(values.map(|values| (id, section, values)));
                }
                Location::Names => {}
            }
        }
        table
    }

    /// Adds the initial elements of maps, the variables of the arena, and maps to which no instruction refers.
    pub(super) fn with(
        mut self,
        elements: Vec<(MapId, u32, Element)>,
        variables: Option<ArenaVariables>,
        unreferenced: Vec<Map>,
    ) -> Self {
        for (id, key, element) in elements {
            let Some(map) = self.maps.get_mut(id.0 as usize) else { continue };
            match element {
                Element::Map(inner) => map.inner_maps.push((key, inner)),
                Element::Function(function) => map.inner_programs.push((key, function)),
            }
        }
        if let Some(ArenaVariables { arena, section, contents }) = variables {
            if let Some(map) = self.maps.get_mut(arena.0 as usize) {
                map.def.value_size = contents.size;
                map.section = Some(contents);
            }
            self.sections.insert(section, arena);
        }
        self.maps.extend(unreferenced);
        self
    }

    /// Returns the map that is defined at this offset of the section.
    pub(super) fn defined_at(&self, section: SectionId, offset: Option<u64>) -> Option<MapId> {
        self.definitions.get(&(section, offset?)).copied()
    }

    /// Returns the map that contains the section's variables, and the section's size in bytes.
    pub(super) fn of_section(&self, section: SectionId) -> Option<(MapId, u32)> {
        let id = *self.sections.get(&section)?;
        Some((id, self.maps.get(id.0 as usize)?.def.value_size))
    }

    /// Returns the map and offset of the kernel configuration variable of this name.
    pub(super) fn config(&self, name: &str) -> Option<(MapId, u32)> {
        (0..).zip(&self.maps).find_map(|(id, map)| {
            let section = map.section.as_ref().filter(|section| section.kind == SectionKind::Kconfig)?;
            let variable = section.variables.iter().find(|variable| variable.name == name)?;
            Some((MapId(id), variable.offset))
        })
    }

    /// Returns the byte ranges of pointers to initial elements.
    pub(super) fn values(&self) -> &[(MapId, SectionId, Range<u64>)] {
        &self.values
    }
}
