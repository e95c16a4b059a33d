//! Warnings about the license: programs that the kernel accepts only under the GPL.

use skelgen_abi::helper;
use skelgen_abi::uapi::ProgramType;

use super::super::reached::reached;
use super::super::{BpfObject, Program, Reference};

/// Returns a warning about the first program that the kernel rejects because of the object's license.
pub(super) fn license(object: &BpfObject) -> Option<String> {
    if helper::is_gpl(&object.license) {
        return None;
    }
    let (program, needs) = object.programs.iter().find_map(|program| Some((program, needs_gpl(object, program)?)))?;
    let has = match &object.license[..] {
        "" => "the object has no license".to_owned(),
        other => format!("the license {other:?} is not GPL-compatible"),
    };
    let name = &object.functions[program.function.0 as usize].name;
    Some(format!(
        "{has}, and program `{name}` {needs}, so the kernel rejects the program; if the program is licensed under the \
         GPL, add `char LICENSE[] SEC(\"license\") = \"GPL\";` (or \"Dual MIT/GPL\", \"Dual BSD/GPL\")"
    ))
}

/// Returns why a program requires a GPL-compatible license, if it does.
fn needs_gpl(object: &BpfObject, program: &Program) -> Option<String> {
    if matches!(program.def.program_type, ProgramType::LSM | ProgramType::STRUCT_OPS) {
        return Some(format!("is of type {}, which requires a GPL-compatible license", program.def.program_type));
    }
    reached(object, program).into_iter().find_map(|id| {
        let code = &object.functions[id.0 as usize].code;
        let helper =
            code.insns.iter().filter(|insn| insn.is_helper_call()).find_map(|insn| {
                helper::gpl_only(insn.imm, program.def.program_type, program.def.expected_attach_type)
            });
        let kernel = code.refs.iter().find_map(|reference| match reference.to {
            Reference::ExternCall(id) => object.externs.get(id.0 as usize),
            _ => None,
        });
        match (helper, kernel) {
            (Some(helper), _) => Some(format!("calls helper `{helper}`, which requires a GPL-compatible license")),
            (None, Some(function)) => {
                Some(format!("calls kernel function `{}`, which requires a GPL-compatible license", function.name))
            }
            (None, None) => None,
        }
    })
}
