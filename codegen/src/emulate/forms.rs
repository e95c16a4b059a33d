//! The forms of an object's functions in a plan: for kernels with direct access to percpu data, for those without, or
//! both.
//!
//! This module does not depend on a kernel version: the generated file chooses the form at run time.

use skelgen_abi::plan::PercpuForm;

use super::emulate;
use crate::error::Result;
use crate::link::{Linked, LinkedFunction, LinkedProgram};
use crate::model::{BpfObject, DataSection};

/// The functions of an object in the forms of a plan, and its programs.
#[derive(Debug, Clone)]
pub struct Forms {
    /// The functions, in the order of [`Linked::functions`].
    pub functions: Vec<FunctionForms>,
    /// The programs.
    pub programs: Vec<LinkedProgram>,
}

/// A function in the forms of a plan.
#[derive(Debug, Clone)]
pub struct FunctionForms {
    /// The function; the emulated form, if only that is requested.
    pub body: LinkedFunction,
    /// The emulated form, if the function uses percpu data and both forms are requested.
    pub emulated: Option<LinkedFunction>,
}

/// Returns the form to plan an object in, for a requested form. An object without percpu data needs no emulation.
#[must_use]
pub fn form(object: &BpfObject, requested: PercpuForm) -> PercpuForm {
    if object.maps.iter().filter_map(|map| map.section.as_ref()).any(DataSection::is_percpu) {
        requested
    } else {
        PercpuForm::Native
    }
}

/// Creates the requested forms of an object's functions.
///
/// # Errors
/// [`crate::error::Code::BadLink`] for each function without enough free stack for emulation.
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
