//! About the license: programs that the kernel accepts under the GPL alone.

use std::collections::BTreeSet;

use skelgen_abi::helper;
use skelgen_abi::uapi::ProgramType;

use super::super::{BpfObject, FunctionId, Program, Reference};

/// About the license, if it keeps a program from loading.
pub(super) fn license(object: &BpfObject) -> Option<String> {
    if helper::is_gpl(&object.license) {
        return None;
    }
    let (program, needs) = object.programs.iter().find_map(|program| Some((program, needs_gpl(object, program)?)))?;
    let has = match &object.license[..] {
        "" => "the object has no license".to_owned(),
        other => format!("the license {other:?} is not compatible to the GPL"),
    };
    let name = &object.functions[program.function.0 as usize].name;
    Some(format!(
        "{has}, and program `{name}` {needs}, so the kernel refuses it: if it is so licensed, say `char LICENSE[] SEC(\"license\") = \
         \"GPL\";` or \"Dual MIT/GPL\", \"Dual BSD/GPL\""
    ))
}

/// What about a program the kernel takes under the GPL alone.
fn needs_gpl(object: &BpfObject, program: &Program) -> Option<String> {
    if matches!(program.def.program_type, ProgramType::LSM | ProgramType::STRUCT_OPS) {
        return Some(format!("is of type {}, which is for programs under the GPL", program.def.program_type));
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
            (Some(helper), _) => Some(format!("calls the helper `{helper}`, which is for programs under the GPL")),
            (None, Some(function)) => {
                Some(format!("calls the kernel function `{}`, as only programs under the GPL may", function.name))
            }
            (None, None) => None,
        }
    })
}

/// The functions of a program.
fn reached(object: &BpfObject, program: &Program) -> BTreeSet<FunctionId> {
    let mut reached: BTreeSet<FunctionId> = [Some(program.function), program.exception].into_iter().flatten().collect();
    let mut left: Vec<_> = reached.iter().copied().collect();
    while let Some(id) = left.pop() {
        for reference in &object.functions[id.0 as usize].code.refs {
            if let Reference::Call(callee) | Reference::FunctionAddress(callee) = reference.to {
                if reached.insert(callee) {
                    left.push(callee);
                }
            }
        }
    }
    reached
}
