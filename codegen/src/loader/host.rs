//! The values that the process passes to a load: settings that can change before the load.
//!
//! They lie in memory of the process: a u32 for each of [`Host::values`], then initial values of sections. The first step
//! of the table copies the numbers to the data of the table, where the other steps read them. Initial values are copied
//! when they are needed.

use skelgen_abi::plan::{HostValue, Map, Object, PercpuForm, SectionKind, Setting};

use super::table::{Place, TableBuilder, TableError};

/// The size of a number.
const NUMBER: u32 = 4;

/// The values of a load, and their copy in the table.
pub(super) struct Host {
    /// The values by ascending offset.
    pub(super) values: Vec<HostValue>,
    /// The number of bytes of all values.
    pub(super) size: u32,
    /// The number of bytes of the numbers.
    numbers: u32,
    /// The copy of the numbers in the table; `None` if there are no values.
    copy: Option<Place>,
}

impl Host {
    /// Lays the values of an object out, and reserves a copy of the numbers.
    pub(super) fn new(object: &Object, table: &mut TableBuilder) -> Result<Self, TableError> {
        let constants: Vec<u32> = indexes(&object.maps, is_constant).collect();
        let entries: Vec<u32> = indexes(&object.maps, has_entries).collect();
        let sections: Vec<u32> = match object.percpu {
            PercpuForm::Native => Vec::new(),
            PercpuForm::Emulated | PercpuForm::Either => indexes(&object.maps, Map::is_percpu_section).collect(),
        };
        let mask = usize::from(object.percpu != PercpuForm::Native);
        let numbers = constants.len() + entries.len() + object.programs.len() + sections.len() + mask;
        let numbers = u32::try_from(numbers).unwrap_or(u32::MAX).saturating_mul(NUMBER);
        let mut size = numbers;
        let initial = constants.into_iter().map(|map| {
            let value = size.next_multiple_of(8);
            size = value.saturating_add(object.maps[map as usize].value_size);
            Setting::Initial { map, value }
        });
        let initial: Vec<_> = initial.collect();
        let entries = entries.into_iter().map(|map| Setting::MaxEntries { map });
        let autoload = indexes(&object.programs, |_| true).map(|program| Setting::Autoload { program });
        let sections = sections.into_iter().map(|map| Setting::EmulatedSize { map });
        let mask = std::iter::once(Setting::CpuMask).take(mask);
        let settings = initial.into_iter().chain(entries).chain(autoload).chain(sections).chain(mask);
        let values = (0..).map(|index: u32| index.saturating_mul(NUMBER)).zip(settings);
        let values: Vec<_> = values.map(|(offset, setting)| HostValue { offset, setting }).collect();
        let copy = if values.is_empty() { None } else { Some(table.reserve(numbers as usize)?) };
        Ok(Self { values, size, numbers, copy })
    }

    /// Adds the step that copies the numbers.
    pub(super) fn copy(&self, table: &mut TableBuilder) -> Result<(), TableError> {
        self.copy.map_or(Ok(()), |copy| table.copy_from_host(copy, self.numbers as usize, 0).map(drop))
    }

    /// Returns the place in the table of whether the process passes the initial value of a map, and the offset of the
    /// value in the values of the process; `None` if the process cannot pass it.
    pub(super) fn initial(&self, of: u32) -> Option<(Place, u32)> {
        self.values.iter().find_map(|value| match value.setting {
            Setting::Initial { map, value: at } if map == of => Some((self.copy?.plus(value.offset), at)),
            _ => None,
        })
    }

    /// Returns the place of a value in the table; `None` if the process does not pass this value.
    pub(super) fn place(&self, setting: Setting) -> Option<Place> {
        let value = self.values.iter().find(|value| value.setting == setting)?;
        Some(self.copy?.plus(value.offset))
    }
}

/// Returns whether the initial value of a map is final once it is frozen, so that the process must pass a changed value
/// to the load. The process writes other sections itself, after the load.
fn is_constant(map: &Map) -> bool {
    map.section.is_some_and(|section| section.kind == SectionKind::Rodata) && map.value_size > 0
}

/// Returns whether the number of elements of a map can change before the load.
fn has_entries(map: &Map) -> bool {
    map.section.is_none() && !map.template && map.jump_table.is_none()
}

fn indexes<T>(items: &[T], is: impl Fn(&T) -> bool) -> impl Iterator<Item = u32> {
    (0..).zip(items).filter(move |(_, item)| is(item)).map(|(index, _)| index)
}
