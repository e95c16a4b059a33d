//! Warnings about program sections: names without a type, and invalid attach targets.

use std::collections::BTreeSet;

use skelgen_abi::plan::Attach;
use skelgen_abi::uapi::ProgramType;

use super::super::{BpfObject, Program, sections};

/// Returns a warning if the attach target in a program's section name is invalid.
pub(super) fn target(program: &Program) -> Option<String> {
    let Attach::Target(kind) = program.def.attach else { return None };
    let (_, text) = program.def.section.split_once('/').filter(|(_, text)| !text.is_empty())?;
    let error = kind.parse(text).err()?;
    Some(format!(
        "section {:?}: invalid attach target: {error}; the program cannot attach until you set a valid target with `set_attach_target`",
        program.def.section
    ))
}

/// Returns a warning for each section whose name does not determine a program type.
pub(super) fn untyped(object: &BpfObject) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut seen = BTreeSet::new();
    for program in object.programs.iter().filter(|program| program.def.program_type == ProgramType::UNSPEC) {
        if !seen.insert(&program.def.section) {
            continue;
        }
        let name = &object.functions[program.function.0 as usize].name;
        let hint = match sections::similar(&program.def.section) {
            Some(known) => format!("did you mean `{known}`? If not, "),
            None => String::new(),
        };
        warnings.push(format!(
            "section `{}` of program `{name}` does not determine its program type, so the program does not load; {hint}set the type \
             with `set_type` before the load",
            program.def.section
        ));
    }
    warnings
}
