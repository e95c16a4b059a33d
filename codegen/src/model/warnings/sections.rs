//! About sections of programs: names that say no type, and attach targets that cannot be parsed.

use std::collections::BTreeSet;

use skelgen_abi::plan::Attach;
use skelgen_abi::uapi::ProgramType;

use super::super::{BpfObject, Program, sections};

/// About a program whose section names an attach target that cannot be parsed.
pub(super) fn target(program: &Program) -> Option<String> {
    let Attach::Target(way) = program.def.attach else { return None };
    let (_, text) = program.def.section.split_once('/').filter(|(_, text)| !text.is_empty())?;
    let error = way.parse(text).err()?;
    Some(format!(
        "section {:?}: its attach target is not valid: {error}; until `set_attach_target` names one, its program does not attach by \
         itself",
        program.def.section
    ))
}

/// About each section whose name does not say the type of its programs.
pub(super) fn untyped(object: &BpfObject) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut seen = BTreeSet::new();
    for program in object.programs.iter().filter(|program| program.def.program_type == ProgramType::UNSPEC) {
        if !seen.insert(&program.def.section) {
            continue;
        }
        let name = &object.functions[program.function.0 as usize].name;
        let hint = match sections::like(&program.def.section) {
            Some(known) => format!("did you mean `{known}`? Otherwise "),
            None => String::new(),
        };
        warnings.push(format!(
            "section `{}` of program `{name}` does not say which type of program it has, so it does not load as it is: {hint}give the type \
             with `set_type` before the load",
            program.def.section
        ));
    }
    warnings
}
