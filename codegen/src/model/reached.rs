//! The functions that a program reaches by calls and callbacks.

use std::collections::BTreeSet;

use super::{BpfObject, FunctionId, Program, Reference};

/// Returns the functions that a program reaches, its own and its exception callback included.
pub(crate) fn reached(object: &BpfObject, program: &Program) -> BTreeSet<FunctionId> {
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
