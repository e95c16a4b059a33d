//! Which forms of an object's functions a plan holds: for kernels with direct access to percpu data, for those without, or both.
//!
//! Knows no kernel: which form is loaded is decided where the generated file runs.

use skelgen_abi::plan::PercpuForm;

use super::emulate;
use crate::error::Result;
use crate::link::{Linked, LinkedFunction, LinkedProgram};
use crate::model::{BpfObject, DataSection};

/// The functions of an object in the forms that a plan holds, and its programs.
#[derive(Debug, Clone)]
pub struct Forms {
    /// The functions, in the order of [`Linked::functions`].
    pub functions: Vec<FunctionForms>,
    /// The programs.
    pub programs: Vec<LinkedProgram>,
}

/// A function in the forms that a plan holds.
#[derive(Debug, Clone)]
pub struct FunctionForms {
    /// The function; where the emulated form alone is wanted, that one.
    pub body: LinkedFunction,
    /// The emulated form, if the function uses percpu data and both forms are wanted.
    pub emulated: Option<LinkedFunction>,
}

/// The form that an object is planned in if this one is asked for: without percpu data there is nothing to emulate.
#[must_use]
pub fn form(object: &BpfObject, asked: PercpuForm) -> PercpuForm {
    if object.maps.iter().filter_map(|map| map.section.as_ref()).any(DataSection::is_percpu) {
        asked
    } else {
        PercpuForm::Native
    }
}

/// Makes the forms of an object's functions that are asked for.
///
/// # Errors
/// [`crate::error::Code::BadLink`] for each function that has no room on its stack for what emulation needs.
pub fn forms(object: &BpfObject, linked: Linked, asked: PercpuForm) -> Result<Forms> {
    let emulated = match form(object, asked) {
        PercpuForm::Native => vec![None; linked.functions.len()],
        PercpuForm::Emulated | PercpuForm::Either => emulate(object, &linked)?,
    };
    let functions = linked.functions.into_iter().zip(emulated).map(|(function, emulated)| match (asked, emulated) {
        (PercpuForm::Emulated, Some(body)) => FunctionForms { body, emulated: None },
        (_, emulated) => FunctionForms { body: function, emulated },
    });
    Ok(Forms { functions: functions.collect(), programs: linked.programs })
}
