//! The argument registers that a function reads before it writes them.
//!
//! The prologue of an emulated function must save exactly these. Saving fewer would lose arguments. Saving more would
//! read registers that the caller never set, which the verifier rejects. Types alone do not determine them, because
//! compilers drop unused arguments of static functions.

use std::collections::BTreeMap;

use super::flow::successors;
use crate::insn::Insn;
use skelgen_abi::uapi::pseudo;
use skelgen_abi::{helper, opcode};

/// A set of registers, one bit each.
type Registers = u16;

/// r1 to r5.
const ARGUMENTS: Registers = 0b11_1110;

/// The argument registers that calls read, if the instruction alone does not determine them.
pub(super) struct Calls<'a> {
    /// For calls of the object's own functions: the registers that the callee reads, by slot of the call.
    pub(super) local: &'a BTreeMap<usize, Registers>,
    /// For calls of kernel functions: the number of arguments, by slot of the call.
    pub(super) kernel: &'a BTreeMap<usize, u8>,
}

/// Returns the registers among r1 to r5 that a function reads before it writes them.
pub(super) fn arguments(insns: &[Insn], calls: &Calls<'_>) -> Registers {
    let mut live = vec![0 as Registers; insns.len() + 1];
    loop {
        let mut changed = false;
        for at in (0..insns.len()).rev() {
            let out = successors(insns, at).fold(0, |set, next| set | live[next]);
            let (reads, writes) = effect(insns, at, calls);
            let new = out & !writes | reads;
            changed |= live[at] != new;
            live[at] = new;
        }
        if !changed {
            return live[0] & ARGUMENTS;
        }
    }
}

const fn bit(register: u8) -> Registers {
    1 << (register & 0xf)
}

/// Returns the first `count` argument registers.
fn first(count: u8) -> Registers {
    ((1 << (count.min(5) + 1)) - 1) & ARGUMENTS
}

/// Returns the registers that the instruction reads and writes.
fn effect(insns: &[Insn], at: usize, calls: &Calls<'_>) -> (Registers, Registers) {
    let insn = insns[at];
    let (dst, src) = (bit(insn.dst), bit(insn.src));
    let from_register = if insn.code & 0x08 != 0 { src } else { 0 };
    match insn.code & opcode::CLASS_MASK {
        opcode::LD if insn.is_ld_imm64() => (0, dst),
        // Packet loads read r6, write r0, and clobber r1 to r5 like a call.
        opcode::LD => (bit(6) | if insn.code & 0xe0 == 0x40 { src } else { 0 }, bit(0) | ARGUMENTS),
        opcode::LDX => (src, dst),
        opcode::ST => (dst, 0),
        opcode::STX => (dst | src | atomic_reads(insn), atomic_writes(insn)),
        opcode::ALU | opcode::ALU64 => match insn.code & 0xf0 {
            0xb0 => (from_register, dst),
            // Negation and byte swaps have no second operand.
            0x80 | 0xd0 => (dst, dst),
            _ => (dst | from_register, dst),
        },
        _ => match (insn.code & 0xf0, insn.code & opcode::CLASS_MASK) {
            (0x80, _) => (called(insn, at, calls), bit(0) | ARGUMENTS),
            (0x90, _) => (bit(0), 0),
            // `goto`, `may_goto`.
            (0x00 | 0xe0, _) => (0, 0),
            _ => (dst | from_register, 0),
        },
    }
}

fn called(insn: Insn, at: usize, calls: &Calls<'_>) -> Registers {
    match insn.src {
        pseudo::CALL => calls.local.get(&at).copied().unwrap_or(0),
        pseudo::KFUNC_CALL => first(calls.kernel.get(&at).copied().unwrap_or(5)),
        _ => first(helper::arguments(insn.imm)),
    }
}

/// Returns the additional registers that an atomic operation reads: `cmpxchg` compares with r0.
fn atomic_reads(insn: Insn) -> Registers {
    if is_atomic(insn) && insn.imm == 0xf1 { bit(0) } else { 0 }
}

/// Returns the registers that an atomic operation writes: the source if it fetches, r0 for `cmpxchg`, the destination
/// of a load-acquire.
fn atomic_writes(insn: Insn) -> Registers {
    match (is_atomic(insn), insn.imm) {
        (false, _) => 0,
        (true, 0xf1) => bit(0),
        (true, 0x100) => bit(insn.dst),
        (true, imm) if imm & 1 == 1 => bit(insn.src),
        (true, _) => 0,
    }
}

fn is_atomic(insn: Insn) -> bool {
    insn.code & 0xe0 == 0xc0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(insns: &[Insn]) -> Registers {
        arguments(insns, &Calls { local: &BTreeMap::new(), kernel: &BTreeMap::new() })
    }

    const EXIT: Insn = Insn { code: opcode::EXIT, dst: 0, src: 0, off: 0, imm: 0 };

    fn mov(dst: u8, src: u8) -> Insn {
        Insn { code: 0xbf, dst, src, off: 0, imm: 0 }
    }

    #[test]
    fn a_register_that_is_written_first_is_not_an_argument() {
        assert_eq!(reads(&[mov(2, 1), mov(0, 2), EXIT]), bit(1));
    }

    #[test]
    fn helpers_read_what_they_take() {
        let lookup = Insn { code: opcode::CALL, dst: 0, src: 0, off: 0, imm: 1 };
        assert_eq!(reads(&[lookup, EXIT]), bit(1) | bit(2));
        assert_eq!(reads(&[lookup, mov(0, 3), EXIT]), bit(1) | bit(2), "r3 is gone after a call");
    }

    #[test]
    fn loops_end() {
        let back = Insn { code: 0x05, dst: 0, src: 0, off: -2, imm: 0 };
        assert_eq!(reads(&[mov(4, 5), back]), bit(5));
    }
}
