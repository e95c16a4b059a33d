//! The state of each map and program during a load: its settings, and what the load has made of it.
//!
//! The lists of a load have one item for each map and program of the object. They are created with the settings and become part of
//! the loaded object, so a load allocates them once.

use std::any::Any;

use super::maps::Created;
use super::programs::LoadedProgram;
use super::{at, no_such};
use crate::abi::{Map, Program};
use crate::error::{Error, Result};
use crate::open::{OpenMap, OpenProgram};

/// The state of a part of the executor. Its type is hidden, because the code that drops a value counts as used.
pub(super) type State = Box<dyn Any + Send + Sync>;

/// A map of a load.
#[derive(Debug)]
pub(crate) struct MapState {
    pub(super) open: OpenMap,
    /// The map in the kernel, once it was created or reused.
    pub(super) created: Option<Created>,
    /// A struct_ops map in the kernel's layout, of a type of that part.
    pub(super) kernel_map: Option<State>,
}

impl MapState {
    /// Starts with the settings that the object defines.
    pub(crate) fn of(row: &'static Map) -> Self {
        Self { open: OpenMap::of(row), created: None, kernel_map: None }
    }

    /// Returns mutable access to the settings.
    pub(crate) fn open_mut(&mut self) -> &mut OpenMap {
        &mut self.open
    }
}

/// A program of a load.
#[derive(Debug)]
pub(crate) struct ProgramState {
    pub(super) open: OpenProgram,
    /// The program in the kernel, once it was loaded.
    pub(super) loaded: Option<LoadedProgram>,
    /// The error of a program that is left out because it cannot be loaded.
    pub(super) rejected: Option<Error>,
}

impl ProgramState {
    /// Starts with the settings that the object defines.
    pub(crate) fn of(row: &'static Program) -> Self {
        Self { open: OpenProgram::of(row), loaded: None, rejected: None }
    }

    /// Returns mutable access to the settings.
    pub(crate) fn open_mut(&mut self) -> &mut OpenProgram {
        &mut self.open
    }
}

/// Returns the settings of a map.
pub(super) fn open_map(maps: &[MapState], index: u32) -> Result<&OpenMap> {
    at(maps, index).map(|map| &map.open).ok_or_else(|| no_such("map", index))
}

/// Returns the settings of a program.
pub(super) fn open_program(programs: &[ProgramState], index: u32) -> Result<&OpenProgram> {
    at(programs, index).map(|program| &program.open).ok_or_else(|| no_such("program", index))
}

/// Returns a map in the kernel; `None` if it was not created.
pub(super) fn created(maps: &[MapState], index: u32) -> Option<&Created> {
    at(maps, index)?.created.as_ref()
}
