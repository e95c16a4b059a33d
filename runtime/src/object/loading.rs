//! The settings of a load, collected from the fields of a skeleton. Only generated code uses this module.

use crate::abi::Object as Rows;
use crate::data::{Initial, Plain};
use crate::error::Result;
use crate::execute::parts::Parts;
use crate::execute::{self, Executor, Loaded, MapState, ProgramState, at_mut};
use crate::open::{LoadOptions, OpenMap, OpenProgram, OpenStructOps};
use crate::sys::trusted::Trusted;

/// A load of a skeleton in preparation: settings are added one at a time, in any order.
#[derive(Debug)]
pub struct Loading {
    object: Trusted,
    parts: Parts,
    options: LoadOptions,
    maps: Vec<MapState>,
    programs: Vec<ProgramState>,
}

impl Loading {
    /// Creates a load of an object with every part of the executor. Maps and programs without settings are loaded as the object defines them.
    #[must_use]
    pub fn new(object: Trusted, options: LoadOptions) -> Self {
        Self::with(object, Parts::ALL, options)
    }

    /// Creates the load of an object that needs these parts of the executor.
    #[must_use]
    pub fn with(object: Trusted, parts: Parts, options: LoadOptions) -> Self {
        let Rows { maps, programs, .. } = object.object();
        let maps = maps.iter().map(MapState::of).collect();
        let programs = programs.iter().map(ProgramState::of).collect();
        Self { object, parts, options, maps, programs }
    }

    /// Sets the settings of the map with this index.
    pub fn map(&mut self, index: u32, map: OpenMap) {
        if let Some(state) = at_mut(&mut self.maps, index) {
            *state.open_mut() = map;
        }
    }

    /// Sets the settings of the program with this index.
    pub fn program(&mut self, index: u32, program: OpenProgram) {
        if let Some(state) = at_mut(&mut self.programs, index) {
            *state.open_mut() = program;
        }
    }

    /// Adds a struct_ops map with its value.
    pub fn struct_ops<T: Plain>(&mut self, index: u32, map: OpenStructOps<T>) {
        self.map(index, map.into_map());
    }

    /// Adds the settings of a section's map and the initial value of its variables.
    pub fn section<T: Plain>(&mut self, index: u32, map: OpenMap, variables: Initial<T>) {
        self.map(index, map);
        self.variables(index, variables);
    }

    /// Adds the initial value of the variables in a map whose settings were added before.
    pub fn variables<T: Plain>(&mut self, index: u32, variables: Initial<T>) {
        if let Some(state) = at_mut(&mut self.maps, index) {
            state.open_mut().set_initial(variables.into_bytes());
        }
    }

    /// Executes the steps of the load up to the first one that loads a program.
    ///
    /// # Errors
    /// If a setting is not valid, or the kernel rejects a request or lacks a symbol that the object requires. On error, nothing stays
    /// loaded.
    pub(super) fn prepare(self) -> Result<Executor> {
        let Self { object, parts, options, maps, programs } = self;
        execute::prepare(&object, parts, options, maps, programs)
    }

    /// Loads the object.
    ///
    /// # Errors
    /// If a setting is not valid, or the kernel rejects a request or lacks a symbol that the object requires. On error, nothing stays
    /// loaded.
    pub fn load(self) -> Result<Loaded> {
        self.prepare()?.complete()
    }
}
