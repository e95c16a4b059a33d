//! The stack use of a function.

use super::flow::successors;
use crate::insn::Insn;
use skelgen_abi::opcode;

/// The size of a function's stack in bytes (`MAX_BPF_STACK`).
pub(super) const STACK_SIZE: i32 = 512;

/// The known value of a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Value {
    /// The register has not been written.
    Unset,
    /// A pointer at this offset from the frame pointer, in bytes (negative).
    Frame(i32),
    /// Any other value.
    Other,
}

impl Value {
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unset, value) | (value, Self::Unset) => value,
            (a, b) if a == b => a,
            _ => Self::Other,
        }
    }
}

/// Returns the stack size that a function uses, in bytes.
///
/// Every address in the stack derives from r10 by adding constants, so the lowest sum, together with the accesses relative to it,
/// determines the size. An address with a variable offset is not tracked: such an offset is added to the address of the first byte
/// of a stack object, which is already counted.
pub(super) fn depth(insns: &[Insn]) -> i32 {
    let mut states = vec![[Value::Unset; 16]; insns.len()];
    let mut lowest = 0;
    let mut work = vec![0];
    if let Some(first) = states.first_mut() {
        *first = [Value::Other; 16];
        first[10] = Value::Frame(0);
    }
    while let Some(at) = work.pop() {
        let Some(&state) = states.get(at) else { continue };
        let (out, reached) = step(insns[at], state);
        lowest = lowest.min(reached);
        for next in successors(insns, at) {
            let old = states[next];
            let mut joined = old;
            for (slot, value) in joined.iter_mut().zip(out) {
                *slot = slot.join(value);
            }
            if joined != old {
                states[next] = joined;
                work.push(next);
            }
        }
    }
    -lowest
}

/// Returns the registers after an instruction, and the lowest stack offset that it accesses or points to.
fn step(insn: Insn, mut state: [Value; 16]) -> ([Value; 16], i32) {
    let (dst, src) = (usize::from(insn.dst & 0xf), usize::from(insn.src & 0xf));
    let through = |value: Value| match value {
        Value::Frame(at) => at.saturating_add(i32::from(insn.off)).max(-STACK_SIZE * 2),
        Value::Unset | Value::Other => 0,
    };
    let mut reached = 0;
    match insn.code & opcode::CLASS_MASK {
        opcode::LDX => {
            reached = through(state[src]);
            state[dst] = Value::Other;
        }
        opcode::ST | opcode::STX => reached = through(state[dst]),
        opcode::LD => state[dst] = Value::Other,
        opcode::ALU64 => {
            state[dst] = match (insn.code, state[dst]) {
                (0xbf, _) if insn.off == 0 => state[src],
                (0x07, Value::Frame(at)) => Value::Frame(at.saturating_add(insn.imm).max(-STACK_SIZE * 2)),
                (0x17, Value::Frame(at)) => Value::Frame(at.saturating_sub(insn.imm).max(-STACK_SIZE * 2)),
                _ => Value::Other,
            };
            if let Value::Frame(at) = state[dst] {
                reached = at;
            }
        }
        opcode::ALU => state[dst] = Value::Other,
        _ => {
            if insn.code == opcode::CALL {
                state[..=5].fill(Value::Other);
            }
        }
    }
    (state, reached.min(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXIT: Insn = Insn { code: opcode::EXIT, dst: 0, src: 0, off: 0, imm: 0 };

    fn add(dst: u8, imm: i32) -> Insn {
        Insn { code: 0x07, dst, src: 0, off: 0, imm }
    }

    #[test]
    fn direct_and_pointed_to() {
        let store = Insn { code: 0x7b, dst: 10, src: 1, off: -24, imm: 0 };
        assert_eq!(depth(&[store, EXIT]), 24);
        let copy = Insn { code: 0xbf, dst: 2, src: 10, off: 0, imm: 0 };
        assert_eq!(depth(&[copy, add(2, -40), EXIT]), 40);
        assert_eq!(depth(&[copy, add(1, -40), EXIT]), 0);
        let below = Insn { code: 0x7b, dst: 2, src: 1, off: -8, imm: 0 };
        assert_eq!(depth(&[copy, add(2, -40), below, EXIT]), 48);
    }

    #[test]
    fn a_loop_that_decrements_a_pointer_ends() {
        let copy = Insn { code: 0xbf, dst: 2, src: 10, off: 0, imm: 0 };
        let back = Insn { code: 0x05, dst: 0, src: 0, off: -2, imm: 0 };
        assert!(depth(&[copy, add(2, -8), back]) >= 8);
    }
}
