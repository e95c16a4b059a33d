//! The table of an object's maps: which there are, in which order, and what in the file leads to them.
//!
//! Passes find definitions, each with where it is; the table gives them their ids, in the order of the passes. What is in the maps at
//! first is found by passes that know the ids, and added by [`MapTable::with`].

use std::collections::BTreeMap;
use std::ops::Range;

use skelgen_abi::plan::SectionKind;

use super::{DataSection, FunctionId, Map, MapId};
use crate::elf::SectionId;

/// A map and where the file has it.
pub(super) struct Defined {
    pub(super) map: Map,
    pub(super) place: Place,
}

/// Where a map is in the file.
pub(super) enum Place {
    /// It is the section: references are to bytes of its value.
    Section(SectionId),
    /// Its definition begins at this byte of the section: references are to the map.
    Definition {
        section: SectionId,
        offset: u64,
        /// The bytes with pointers to what is in it at first.
        values: Option<Range<u64>>,
    },
    /// It has none: variables are found by their names.
    Names,
}

/// The maps of an object by their ids, and what leads to them.
pub(super) struct MapTable {
    pub(super) maps: Vec<Map>,
    sections: BTreeMap<SectionId, MapId>,
    definitions: BTreeMap<(SectionId, u64), MapId>,
    values: Vec<(MapId, SectionId, Range<u64>)>,
}

/// An element that a map has at first.
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
    /// Gives each map the next id.
    pub(super) fn new(defined: impl IntoIterator<Item = Defined>) -> Self {
        let (sections, definitions) = (BTreeMap::new(), BTreeMap::new());
        let mut table = Self { maps: Vec::new(), sections, definitions, values: Vec::new() };
        for Defined { map, place } in defined {
            let id = MapId(u32::try_from(table.maps.len()).unwrap_or(u32::MAX));
            table.maps.push(map);
            match place {
                Place::Section(section) => {
                    table.sections.insert(section, id);
                }
                Place::Definition { section, offset, values } => {
                    table.definitions.insert((section, offset), id);
                    table.values.extend(values.map(|values| (id, section, values)));
                }
                Place::Names => {}
            }
        }
        table
    }

    /// Adds what the maps have at first, and the maps that nothing refers to.
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

    /// The map that is defined at this byte of the section.
    pub(super) fn defined_at(&self, section: SectionId, offset: Option<u64>) -> Option<MapId> {
        self.definitions.get(&(section, offset?)).copied()
    }

    /// The map whose value the section is, and its size in bytes.
    pub(super) fn of_section(&self, section: SectionId) -> Option<(MapId, u32)> {
        let id = *self.sections.get(&section)?;
        Some((id, self.maps.get(id.0 as usize)?.def.value_size))
    }

    /// Where the variable of the kernel's configuration of this name is.
    pub(super) fn config(&self, name: &str) -> Option<(MapId, u32)> {
        (0..).zip(&self.maps).find_map(|(id, map)| {
            let section = map.section.as_ref().filter(|section| section.kind == SectionKind::Kconfig)?;
            let variable = section.variables.iter().find(|variable| variable.name == name)?;
            Some((MapId(id), variable.offset))
        })
    }

    /// The bytes of sections with pointers to what maps have at first.
    pub(super) fn values(&self) -> &[(MapId, SectionId, Range<u64>)] {
        &self.values
    }
}
