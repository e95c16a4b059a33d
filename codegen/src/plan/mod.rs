//! The load plan: the requests that a load makes to the kernel, in order, as data.
//!
//! A plan owns its tables and one blob. Its steps are printed as text ([`LoadPlan`]'s `Display`) and as JSON, compared in tests,
//! and written into the generated file as constants. Values that depend on the running kernel are determined when the
//! steps are executed, so this module does not use a kernel, a clock or the environment.

mod assemble;
mod blob;
mod json;
mod kconfig;
mod listing;
mod lower;
mod print;
mod struct_ops;

pub(crate) use self::assemble::{Assembled, entries, is_emulated};
use crate::emulate::Forms;
use crate::error::Result;
use crate::insn::Endian;
use crate::model::BpfObject;
use skelgen_abi::plan::{Object, PercpuForm};

/// The requests to the kernel and their order.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// The tables and the blob, as the generated file contains them.
    pub object: Object,
    /// The byte order of target systems, which the generated file asserts.
    pub endian: Endian,
}

impl LoadPlan {
    /// Plans the load of an object. `percpu` states how its programs access percpu data; `programs` has the function
    /// bodies for it.
    ///
    /// # Errors
    /// `TooLarge` if the plan exceeds a limit of its format; `BadMap` if an element of a program array is not a
    /// program.
    pub fn new(object: &BpfObject, programs: Forms, percpu: PercpuForm) -> Result<Self> {
        let endian = object.endian;
        lower::lower(object, programs, percpu).map(|object| Self { object, endian })
    }

    /// Returns the name of the map with this index in the source.
    fn map_name(&self, index: u32) -> &str {
        self.object.maps.get(index as usize).map_or("?", |map| &*map.name)
    }

    /// Returns the name of the program with this index.
    fn program_name(&self, index: u32) -> &str {
        self.object.programs.get(index as usize).map_or("?", |program| &*program.name)
    }
}
