//! The functions and instructions that a program reaches.

use std::collections::{BTreeMap, BTreeSet};

use super::{BpfObject, FunctionId, Program, Reference};

/// Returns the functions that a program reaches by calls and callbacks, its own and its exception callback included.
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

/// The functions that a program reaches, each with those of its instructions that are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reached(BTreeMap<FunctionId, Instructions>);

/// The reached instructions of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Instructions {
    /// Every instruction.
    All,
    /// The instructions whose index is set.
    Some(Vec<bool>),
}

impl Reached {
    /// Returns the functions that a program reaches by calls and callbacks, with all of their instructions.
    pub(crate) fn by_calls(object: &BpfObject, program: &Program) -> Self {
        Self(reached(object, program).into_iter().map(|id| (id, Instructions::All)).collect())
    }

    /// Adds an instruction of a function with `len` instructions.
    pub(crate) fn insert(&mut self, function: FunctionId, len: usize, index: usize) {
        let instructions = self.0.entry(function).or_insert_with(|| Instructions::Some(vec![false; len]));
        if let Instructions::Some(set) = instructions {
            set.get_mut(index).into_iter().for_each(|reached| *reached = true);
        }
    }

    /// Returns whether the instruction with this index in a function is reached.
    pub(crate) fn contains(&self, function: FunctionId, index: usize) -> bool {
        match self.0.get(&function) {
            Some(Instructions::All) => true,
            Some(Instructions::Some(set)) => set.get(index).copied().unwrap_or(false),
            None => false,
        }
    }
}
