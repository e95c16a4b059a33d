//! The load of an object by one program in the kernel, instead of a request of the process for each step.

use super::row::row;
use super::{List, Span};
use crate::loader::Layout;

row! {
    /// The loader program of an object, and what the process passes to it and takes from it.
    pub struct Loader {
        /// The instructions of the loader program.
        insns: Span,
        /// The step table: the value of the program's map without the zeros at its end.
        table: Span,
        /// The size of the map's value in bytes.
        value_size: u32,
        /// The number of slots of the step table.
        slots: u32,
        /// The number of steps of the step table.
        steps: u32,
        /// For each step of the plan, its first step in the table. It ends where the next step of the plan begins.
        first: List<u32>,
        /// For each symbol of the plan, the step in the table that finds it.
        lookups: List<u32>;
        /// The size in bytes of the values that the process passes.
        host_size: u32 = 0,
        /// The values that the process passes, by ascending offset. Each is a u32.
        host: List<HostValue> = List::Borrowed(&[]),
    }
}

impl Loader {
    /// The slot of the object's BTF.
    pub const BTF_SLOT: u32 = 0;

    /// Returns the slot of the map with this index.
    #[must_use]
    pub const fn map_slot(map: u32) -> u32 {
        map.saturating_add(1)
    }

    /// Returns the slot of the program with this index in an object with this number of maps.
    #[must_use]
    pub const fn program_slot(maps: u32, program: u32) -> u32 {
        Self::map_slot(maps).saturating_add(program)
    }

    /// Returns the numbers that determine the offsets in the step table.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        Layout { slots: self.slots, steps: self.steps }
    }
}

/// A value that the process passes to the loader program, at an offset in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostValue {
    /// The offset of the value.
    pub offset: u32,
    /// The meaning of the value.
    pub setting: Setting,
}

/// A setting of a load that the process can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// u32: whether to load a program.
    Autoload {
        /// The program.
        program: u32,
    },
    /// u32: the maximum number of elements of a map.
    MaxEntries {
        /// The map.
        map: u32,
    },
    /// u32: the size of the value of an emulated percpu section, with the copies of all CPUs.
    EmulatedSize {
        /// The map.
        map: u32,
    },
    /// u32: the mask of CPU numbers for emulated percpu data.
    CpuMask,
    /// u32: whether the process passes the initial value of a section.
    Initial {
        /// The map.
        map: u32,
        /// The offset of the initial value among the values of the process. It has the size of the section.
        value: u32,
    },
}
