//! Instructions as text.

use super::Insn;

/// The instructions as one line each.
#[must_use]
pub fn disassemble(insns: &[Insn]) -> String {
    insns.iter().map(|insn| format!("{insn:?}\n")).collect()
}
