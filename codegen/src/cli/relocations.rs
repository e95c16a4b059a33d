//! Checks the CO-RE relocations of an object against the types in a file, by the runtime's relocation.

use std::path::Path;

use skelgen_runtime::generated::unresolved_relocations;

use crate::btf::ext::CoreRelo;
use crate::check::{Finding, Severity, severity};
use crate::error::{Code, Error, Result};
use crate::model::BpfObject;
use crate::model::needs::{Needer, NeederKind};
use crate::model::reached::reached;
use skelgen_abi::relocation::RelocationKind;

/// Returns the CO-RE relocations of an object's programs that fail with these types.
///
/// # Errors
/// [`Code::Io`] if the types cannot be read.
pub(super) fn check(object: &BpfObject, kernel: &Path) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let Some(btf) = &object.btf else { return Ok(found) };
    let of_program = |program| -> Vec<&CoreRelo> {
        let functions = reached(object, program).into_iter();
        functions.flat_map(|id| &object.functions[id.0 as usize].info.relos).collect()
    };
    let programs: Vec<_> = object.programs.iter().map(|program| (program, of_program(program))).collect();
    // Relocate the records of all programs at once, because each call reads the kernel's types.
    let records = programs.iter().flat_map(|(_, relocations)| relocations);
    let records: Vec<u8> = records.flat_map(|relocation| relocation.record()).collect();
    let unresolved = unresolved_relocations(&btf.write(object.endian), kernel, &records)
        .map_err(|error| Error::new(Code::Io, format!("cannot relocate to {}: {error}", kernel.display())))?;
    let mut unresolved = unresolved.into_iter().peekable();
    let mut begin = 0;
    for (program, relocations) in programs {
        let subject =
            Needer { kind: NeederKind::Program, name: object.functions[program.function.0 as usize].name.clone() };
        let range = begin..begin + relocations.len();
        begin = range.end;
        // A program that tests whether a field or type exists may not run the code that requires it.
        let requests =
            |relocation: &CoreRelo| RelocationKind::of(relocation.kind).is_some_and(RelocationKind::may_be_absent);
        let is_guarded = relocations.iter().any(|relocation| requests(relocation));
        let mut texts: Vec<String> = Vec::new();
        while let Some(index) = unresolved.next_if(|index| range.contains(index)) {
            let relocation = relocations[index - range.start];
            let what = btf.relocation(relocation);
            let why = format!(
                "needs the {what}: the kernel's types do not have it, or its value does not fit in the instruction"
            );
            if !texts.contains(&why) {
                let severity = if is_guarded { Severity::Perhaps } else { severity(object, &subject) };
                texts.push(why.clone());
                found.push(Finding { subject: subject.clone(), why, severity });
            }
        }
    }
    Ok(found)
}
