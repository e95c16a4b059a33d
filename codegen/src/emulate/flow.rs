//! The control flow between the instructions of one function.

use crate::insn::Insn;
use skelgen_abi::opcode;

/// Returns the slots that can be executed after slot `at`, at most two. Slots outside the function are left out; the
/// verifier rejects such jumps.
pub(super) fn successors(insns: &[Insn], at: usize) -> impl Iterator<Item = usize> + use<> {
    let insn = insns[at];
    let width = if insn.is_ld_imm64() { 2 } else { 1 };
    let next = at + width;
    let (falls, jumps) = match jump(insn) {
        Jump::None => (true, None),
        Jump::Always(distance) => (false, Some(distance)),
        Jump::Perhaps(distance) => (true, Some(distance)),
        Jump::Leaves => (false, None),
    };
    let target = jumps.and_then(|distance| (at + 1).checked_add_signed(distance));
    let len = insns.len();
    falls.then_some(next).into_iter().chain(target).filter(move |&slot| slot < len)
}

/// The effect of an instruction on control flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Jump {
    None,
    Always(isize),
    Perhaps(isize),
    Leaves,
}

/// Returns where an instruction jumps, in slots relative to the next one.
pub(super) fn jump(insn: Insn) -> Jump {
    let class = insn.code & opcode::CLASS_MASK;
    if class != opcode::JMP && class != opcode::JMP32 {
        return Jump::None;
    }
    match (insn.code & 0xf0, class) {
        // `goto` has its distance in the offset, `gotol` (JMP32) in the immediate.
        (0x00, opcode::JMP) => Jump::Always(isize::from(insn.off)),
        (0x00, _) => Jump::Always(isize::try_from(insn.imm).unwrap_or(0)),
        (0x80, _) => Jump::None,
        (0x90, _) => Jump::Leaves,
        _ => Jump::Perhaps(isize::from(insn.off)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insn(code: u8, off: i16, imm: i32) -> Insn {
        Insn { code, dst: 1, src: 0, off, imm }
    }

    #[test]
    fn branches_and_ends() {
        let insns = [
            insn(0x15, 1, 0),
            insn(0x05, -2, 0),
            insn(0x06, 0, 1),
            insn(opcode::EXIT, 0, 0),
            insn(opcode::LD_IMM64, 0, 0),
        ];
        let after = |at| successors(&insns, at).collect::<Vec<_>>();
        assert_eq!(after(0), [1, 2]);
        assert_eq!(after(1), [0]);
        assert_eq!(after(2), [4]);
        assert!(after(3).is_empty());
        assert!(after(4).is_empty(), "the second slot of an `ld_imm64` outside the function is left out");
    }
}
