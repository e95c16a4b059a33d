//! The load plan: everything the kernel will be asked for, in order, as data.
//!
//! The heart of skelgen. A plan owns its tables and one blob; the same steps are printed for people ([`LoadPlan`]'s `Display`),
//! compared in tests, and written into the generated file as constants. What depends on the running kernel is a step's work at
//! load time, so nothing here asks a kernel, a clock or the environment.

mod assemble;
mod blob;
mod kconfig;
mod lower;
mod print;
mod struct_ops;

use crate::emulate::Forms;
use crate::error::Result;
use crate::insn::Endian;
use crate::model::BpfObject;
use skelgen_abi::plan::{Object, PercpuForm};

/// What to ask of the kernel, and in which order.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// The tables and the blob, as the generated file will hold them.
    pub object: Object,
    /// The byte order of its machines; the generated file asserts it.
    pub endian: Endian,
}

impl LoadPlan {
    /// Plans the load of an object whose functions are in the forms that `percpu` says.
    ///
    /// # Errors
    /// The codes of phase 05.
    pub fn new(object: &BpfObject, programs: Forms, percpu: PercpuForm) -> Result<Self> {
        let endian = object.endian;
        lower::lower(object, programs, percpu).map(|object| Self { object, endian })
    }
}
