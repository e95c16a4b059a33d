//! Which forms of an object's programs a plan holds: for kernels with direct access to percpu data, for those without, or both.
//!
//! Knows no kernel: which form is loaded is decided where the generated file runs.

use skelgen_abi::plan::PercpuForm;

use super::emulate;
use crate::error::{Reporter, Result};
use crate::link::LinkedProgram;
use crate::model::{BpfObject, DataSection};

/// A program in the forms that a plan holds.
#[derive(Debug, Clone)]
pub struct Forms {
    /// The program; where the emulated form alone is wanted, that one.
    pub body: LinkedProgram,
    /// The emulated form, if the program uses percpu data and both forms are wanted.
    pub emulated: Option<LinkedProgram>,
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

/// Makes the forms of an object's programs that are asked for.
///
/// # Errors
/// [`crate::error::Code::BadLink`] for each function that has no room on its stack for what emulation needs.
pub fn forms(object: &BpfObject, programs: Vec<LinkedProgram>, asked: PercpuForm) -> Result<Vec<Forms>> {
    let mut reporter = Reporter::new();
    let mut forms = Vec::new();
    for program in programs {
        let emulated = match form(object, asked) {
            PercpuForm::Native => None,
            PercpuForm::Emulated | PercpuForm::Either => reporter.take(emulate(object, &program)).flatten(),
        };
        forms.push(match (asked, emulated) {
            (PercpuForm::Emulated, Some(body)) => Forms { body, emulated: None },
            (_, emulated) => Forms { body: program, emulated },
        });
    }
    reporter.finish(forms)
}
