//! The interface of generated code. It can change with every version of the generator.
//!
//! `skeleton!` uses these items; a user of a skeleton never does. To give skeletons a new function, write it here or in the module that it
//! belongs to, and call it in the macro.

use std::os::fd::{BorrowedFd, OwnedFd};

use self::abi::Object;
use crate::data::{Initial, InitialBytes, Plain};
use crate::error::Result;
use crate::link::Link;
use crate::map;
use crate::open::{LoadOptions, OpenMap, OpenProgram, OpenStructOps};

pub use crate::data::{
    BitField, Fields, Layout, LayoutField, check_layout, get_bits, get_part, is_alignment, label, set_bits, set_part,
    show, size_of_plain,
};
pub use crate::execute::{Loaded, load};
pub use crate::link::{Attaching, nothing_left, pin_all};
pub use crate::sys::trusted::Trusted;
pub use skelgen_abi::plan as abi;

/// The names that generated files use without a path. They have the same meaning in every crate: in one without the standard library
/// (`no_std`), and in one without a prelude.
pub mod prelude {
    pub use std::os::fd::{AsFd, OwnedFd};
    pub use std::path::Path;
    pub use std::prelude::rust_2024::*;
}

/// A load of a skeleton in preparation: settings are added one at a time, in any order.
#[derive(Debug)]
pub struct Loading {
    object: Trusted,
    options: LoadOptions,
    maps: Vec<Option<OpenMap>>,
    programs: Vec<Option<OpenProgram>>,
}

impl Loading {
    /// Creates a load with the options only. Maps and programs without settings are loaded as the object defines them.
    #[must_use]
    pub fn new(object: Trusted, options: LoadOptions) -> Self {
        let Object { maps, programs, .. } = object.object();
        let maps = maps.iter().map(|_| None).collect();
        let programs = programs.iter().map(|_| None).collect();
        Self { object, options, maps, programs }
    }

    /// Adds the settings of the map with this index.
    pub fn map(&mut self, index: u32, map: OpenMap) {
        put(&mut self.maps, index, map);
    }

    /// Adds the settings of the program with this index.
    pub fn program(&mut self, index: u32, program: OpenProgram) {
        put(&mut self.programs, index, program);
    }

    /// Adds a struct_ops map with its value.
    pub fn struct_ops<T: Plain>(&mut self, index: u32, map: OpenStructOps<T>) {
        self.map(index, map.into_map());
    }

    /// Adds the length and the initial value of a section of global data.
    pub fn section<T: Plain>(&mut self, section: Initial<T>) {
        let (index, len) = (section.map_index(), section.len());
        self.section_bytes(index, len, section.into_bytes());
    }

    fn section_bytes(&mut self, index: u32, len: u32, value: Option<InitialBytes>) {
        self.map(index, OpenMap::section(self.object.object(), index, len, value));
    }

    /// Adds the initial value of the variables in an arena, whose map must have been added before.
    pub fn arena<T: Plain>(&mut self, variables: Initial<T>) {
        let (index, value) = (variables.map_index(), variables.into_bytes());
        if let Some(map) = slot(&mut self.maps, index) {
            *map = map.take().map(|map| map.with_initial(value));
        }
    }

    /// Loads the object.
    ///
    /// # Errors
    /// Those of [`load`].
    pub fn load(self) -> Result<Loaded> {
        let Self { object, options, maps, programs } = self;
        let Object { maps: map_rows, programs: program_rows, .. } = object.object();
        let maps = maps.into_iter().zip(&**map_rows).map(|(map, row)| map.unwrap_or_else(|| OpenMap::of(row)));
        let programs = programs.into_iter().zip(&**program_rows);
        let programs = programs.map(|(program, row)| program.unwrap_or_else(|| OpenProgram::of(row)));
        load(&object, options, maps.collect(), programs.collect())
    }
}

fn slot<T>(slots: &mut [Option<T>], index: u32) -> Option<&mut Option<T>> {
    slots.get_mut(usize::try_from(index).ok()?)
}

fn put<T>(slots: &mut [Option<T>], index: u32, value: T) {
    if let Some(slot) = slot(slots, index) {
        *slot = Some(value);
    }
}

/// Returns a duplicate of the file descriptor of the map with this name. `maps` has the index of each map, with `None` for one that was not
/// created.
///
/// # Errors
/// If it cannot be duplicated.
pub fn find_map(object: &Object, name: &str, maps: &[(u32, Option<BorrowedFd<'_>>)]) -> Result<Option<OwnedFd>> {
    let row = |index: u32| object.maps.get(usize::try_from(index).ok()?);
    let found = maps.iter().find(|(index, _)| row(*index).is_some_and(|row| row.name == name));
    map::duplicate(name, found.and_then(|(_, fd)| *fd))
}

/// Iterates over the links that are set, with the names of their fields.
pub fn links<'l, const N: usize>(
    links: [(&'static str, &'l Option<Link>); N],
) -> impl Iterator<Item = (&'static str, &'l Link)> {
    links.into_iter().filter_map(|(name, link)| Some((name, link.as_ref()?)))
}
