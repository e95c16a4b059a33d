//! The bodies of an object's functions in a plan: for kernels with direct access to percpu data, for emulation on
//! kernels without direct access, or both.
//!
//! This module does not depend on a kernel version: if a plan has both bodies, the runtime chooses one.

use skelgen_abi::plan::PercpuForm;

use super::emulate;
use crate::error::Result;
use crate::link::{Linked, LinkedFunction, LinkedProgram};
use crate::model::{BpfObject, DataSection};

/// The functions of an object with the bodies that a plan requires, and its programs.
#[derive(Debug, Clone)]
pub struct Forms {
    /// The functions, in the order of [`Linked::functions`].
    pub functions: Vec<FunctionForms>,
    /// The programs.
    pub programs: Vec<LinkedProgram>,
}

/// A function with the bodies that a plan requires.
#[derive(Debug, Clone)]
pub struct FunctionForms {
    /// The ordinary body; if only emulation is requested, the emulated body.
    pub body: LinkedFunction,
    /// The emulated body, if the function uses percpu data and the plan has both.
    pub emulated: Option<LinkedFunction>,
}

/// Returns how an object's programs access percpu data: in the requested form, or directly if the object has no percpu
/// data to emulate.
#[must_use]
pub fn form(object: &BpfObject, requested: PercpuForm) -> PercpuForm {
    if object.maps.iter().filter_map(|map| map.section.as_ref()).any(DataSection::is_percpu) {
        requested
    } else {
        PercpuForm::Native
    }
}

/// Creates the requested bodies of an object's functions.
///
/// # Errors
/// The errors of [`emulate`].
pub fn forms(object: &BpfObject, linked: Linked, requested: PercpuForm) -> Result<Forms> {
    let emulated = match form(object, requested) {
        PercpuForm::Native => vec![None; linked.functions.len()],
        PercpuForm::Emulated | PercpuForm::Either => emulate(object, &linked)?,
    };
    let functions =
        linked.functions.into_iter().zip(emulated).map(|(function, emulated)| match (requested, emulated) {
            (PercpuForm::Emulated, Some(body)) => FunctionForms { body, emulated: None },
            (_, emulated) => FunctionForms { body: function, emulated },
        });
    Ok(Forms { functions: functions.collect(), programs: linked.programs })
}
