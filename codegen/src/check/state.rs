//! What is known before an instruction: the values of registers and of the stack, and the effect of instructions on them.

use std::collections::BTreeMap;

use skelgen_abi::opcode;

use super::value::Value;
use crate::insn::Insn;

/// What is known before an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) registers: [Value; 16],
    /// The values in the function's stack frame, by offset and size. All others are unknown.
    stack: BTreeMap<(i32, usize), Value>,
}

const FRAME: usize = 10;

impl State {
    /// The state at the beginning of a function with these arguments.
    pub(super) fn entry(arguments: [Value; 5]) -> Self {
        let mut registers = [Value::Unknown; 16];
        registers[1..6].copy_from_slice(&arguments);
        registers[FRAME] = Value::Stack(Some(0));
        Self { registers, stack: BTreeMap::new() }
    }

    /// Merges the state of another path. Returns whether less is known now.
    pub(super) fn merge(&mut self, other: &Self) -> bool {
        let before = self.clone();
        for (own, other) in self.registers.iter_mut().zip(&other.registers) {
            *own = own.or(*other);
        }
        self.stack.retain(|slot, value| {
            let Some(other) = other.stack.get(slot) else { return false };
            *value = value.or(*other);
            true
        });
        *self != before
    }

    pub(super) fn load(&self, at: i32, len: usize) -> Value {
        // A slot that is not known may have a pointer to the stack.
        self.stack.get(&(at, len)).copied().unwrap_or(Value::Stack(None))
    }

    fn store(&mut self, at: Option<i32>, len: usize, value: Value) {
        let Some(at) = at else { return self.stack.clear() };
        let end = |at: i32, len: usize| i64::from(at) + i64::try_from(len).unwrap_or(8);
        self.stack.retain(|&(other, size), _| end(other, size) <= i64::from(at) || end(at, len) <= i64::from(other));
        self.stack.insert((at, len), value);
    }

    /// Applies a call: its arguments are overwritten, and it may write to the stack if it has a pointer to it.
    pub(super) fn call(&mut self, result: Value) {
        if self.registers[1..6].iter().any(|value| matches!(value, Value::Stack(_))) {
            self.stack.clear();
        }
        self.registers[1..6].fill(Value::Unknown);
        self.registers[0] = result;
    }
}

pub(super) fn store(state: &mut State, insn: Insn, value: Value) {
    if let Value::Stack(at) = state.registers[usize::from(insn.dst)] {
        state.store(at.map(|at| at.saturating_add(insn.off.into())), size(insn), value);
    }
}

/// Returns the result of an arithmetic instruction, whose immediate may be relocated.
pub(super) fn arithmetic(insn: Insn, state: &State, relocated: Option<Value>) -> Value {
    let is_wide = insn.code & opcode::CLASS_MASK == opcode::ALU64;
    let operand = relocated.unwrap_or_else(|| operand(insn, state));
    let result = match insn.code & opcode::OP_MASK {
        opcode::MOV if insn.off == 0 => operand,
        opcode::MOV | opcode::NEG | opcode::END => match state.registers[usize::from(insn.dst)] {
            Value::Kernel => Value::Kernel,
            _ => Value::Unknown,
        },
        _ => state.registers[usize::from(insn.dst)].computed(insn, operand),
    };
    if is_wide { result } else { result.low() }
}

/// Returns the second operand of an arithmetic instruction or conditional jump.
pub(super) fn operand(insn: Insn, state: &State) -> Value {
    match insn.code & opcode::X {
        0 => Value::Number(extended(insn.imm)),
        _ => state.registers[usize::from(insn.src)],
    }
}

/// Returns the number of bytes that a load or store accesses.
pub(super) fn size(insn: Insn) -> usize {
    match insn.code & opcode::SIZE_MASK {
        opcode::B => 1,
        opcode::H => 2,
        opcode::W => 4,
        _ => 8,
    }
}

/// Returns an immediate, sign-extended to 64 bits.
pub(super) fn extended(imm: i32) -> u64 {
    u64::from_ne_bytes(i64::from(imm).to_ne_bytes())
}

pub(super) fn unsigned(imm: i32) -> u32 {
    u32::from_ne_bytes(imm.to_ne_bytes())
}
