//! The values that a program's registers and stack slots can have, as far as the verifier knows them before it runs.
//!
//! Only numbers decide branches here. Arithmetic with any other operand has an unknown result, which is correct because
//! then both sides of a branch count as reached.

use std::cmp::Ordering;

use skelgen_abi::opcode;

use crate::insn::Insn;
use crate::model::MapId;

/// What is known about a register or stack slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing.
    Unknown,
    /// A fact about the kernel that is not given, or a number that depends on one.
    Kernel,
    /// The kernel's version, as the macro `KERNEL_VERSION` encodes it. Its last number is unknown.
    Version(u32),
    /// A number.
    Number(u64),
    /// An address that is not null.
    Address,
    /// An address in a section of global data, with the offset if it is known.
    Data(MapId, Option<u32>),
    /// An address in the function's own stack frame, with the offset if it is known.
    Stack(Option<i32>),
}

impl Value {
    /// Returns what is known if the value is one of two.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            // A write to an address that may be in the stack must not be missed.
            (Self::Stack(_), _) | (_, Self::Stack(_)) => Self::Stack(None),
            (Self::Kernel, _) | (_, Self::Kernel) => Self::Kernel,
            (Self::Data(one, _), Self::Data(other, _)) if one == other => Self::Data(one, None),
            _ => Self::Unknown,
        }
    }

    /// Returns the lower 32 bits, extended with zeros.
    pub(super) fn low(self) -> Self {
        match self {
            Self::Number(number) => Self::Number(number & u64::from(u32::MAX)),
            Self::Kernel | Self::Version(_) => self,
            _ => Self::Unknown,
        }
    }

    /// Returns the result of an arithmetic instruction other than a move, on two operands.
    pub(super) fn computed(self, insn: Insn, operand: Self) -> Self {
        let operation = insn.code & opcode::OP_MASK;
        let is_wide = insn.code & opcode::CLASS_MASK == opcode::ALU64;
        match (self, operand) {
            (Self::Number(one), Self::Number(other)) if insn.off == 0 => {
                let result = if is_wide {
                    wide(operation, one, other)
                } else {
                    // The lower halves are the operands of 32-bit instructions.
                    narrow(operation, one as u32, other as u32).map(u64::from)
                };
                result.map_or(Self::Unknown, Self::Number)
            }
            (Self::Stack(at), by) | (by, Self::Stack(at)) => Self::Stack(match (at, by, operation) {
                (Some(at), Self::Number(by), opcode::ADD) => {
                    i32::try_from(signed(by)).ok().and_then(|by| at.checked_add(by))
                }
                (Some(at), Self::Number(by), opcode::SUB) => {
                    i32::try_from(signed(by)).ok().and_then(|by| at.checked_sub(by))
                }
                _ => None,
            }),
            (Self::Data(map, at), by) | (by, Self::Data(map, at)) if matches!(operation, opcode::ADD | opcode::SUB) => {
                let by = match by {
                    Self::Number(by) => Some(signed(by)),
                    _ => None,
                };
                let at = at.zip(by).and_then(|(at, by)| match operation {
                    opcode::ADD => i64::from(at).checked_add(by),
                    _ => i64::from(at).checked_sub(by),
                });
                Self::Data(map, at.and_then(|at| u32::try_from(at).ok()))
            }
            (Self::Kernel | Self::Version(_), _) | (_, Self::Kernel | Self::Version(_)) => Self::Kernel,
            _ => Self::Unknown,
        }
    }

    /// Returns whether a conditional jump on two operands jumps.
    pub(super) fn jumps(self, insn: Insn, operand: Self) -> Jumps {
        let is_wide = insn.code & opcode::CLASS_MASK == opcode::JMP;
        let operation = insn.code & opcode::OP_MASK;
        let decided = match (self, operand) {
            (Self::Number(one), Self::Number(other)) if is_wide => {
                compare(operation, one & other != 0, one.cmp(&other), signed(one).cmp(&signed(other)))
            }
            (Self::Number(one), Self::Number(other)) => {
                // The lower halves are the operands of 32-bit instructions.
                let (one, other) = (one as u32, other as u32);
                compare(operation, one & other != 0, one.cmp(&other), signed_low(one).cmp(&signed_low(other)))
            }
            (Self::Address | Self::Data(..), Self::Number(0)) if is_wide => match operation {
                opcode::JEQ => Some(false),
                opcode::JNE => Some(true),
                _ => None,
            },
            (Self::Version(version), Self::Number(number)) => {
                // A version has 256 patch numbers; the jump is decided if it is the same for the first and the last.
                let at = |version: u32| Self::Number(version.into()).jumps(insn, Self::Number(number));
                return if at(version) == at(version | 0xff) { at(version) } else { Jumps::PerKernel };
            }
            (Self::Kernel | Self::Version(_), _) | (_, Self::Kernel | Self::Version(_)) => return Jumps::PerKernel,
            _ => None,
        };
        match decided {
            Some(true) => Jumps::Always,
            Some(false) => Jumps::Never,
            None => Jumps::Perhaps,
        }
    }
}

/// Whether a conditional jump jumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Jumps {
    Always,
    Never,
    /// The verifier follows both ways.
    Perhaps,
    /// It depends on a fact about the kernel that is not given.
    PerKernel,
}

fn signed(number: u64) -> i64 {
    i64::from_ne_bytes(number.to_ne_bytes())
}

fn signed_low(number: u32) -> i32 {
    i32::from_ne_bytes(number.to_ne_bytes())
}

fn wide(operation: u8, one: u64, other: u64) -> Option<u64> {
    // Shifts by the width or more are undefined.
    let shift = u32::try_from(other).ok().filter(|&shift| shift < 64);
    Some(match operation {
        opcode::ADD => one.wrapping_add(other),
        opcode::SUB => one.wrapping_sub(other),
        opcode::MUL => one.wrapping_mul(other),
        opcode::OR => one | other,
        opcode::AND => one & other,
        opcode::XOR => one ^ other,
        opcode::LSH => one << shift?,
        opcode::RSH => one >> shift?,
        opcode::ARSH => u64::from_ne_bytes((signed(one) >> shift?).to_ne_bytes()),
        _ => return None,
    })
}

fn narrow(operation: u8, one: u32, other: u32) -> Option<u32> {
    let shift = Some(other).filter(|&shift| shift < 32);
    Some(match operation {
        opcode::ADD => one.wrapping_add(other),
        opcode::SUB => one.wrapping_sub(other),
        opcode::MUL => one.wrapping_mul(other),
        opcode::OR => one | other,
        opcode::AND => one & other,
        opcode::XOR => one ^ other,
        opcode::LSH => one << shift?,
        opcode::RSH => one >> shift?,
        opcode::ARSH => u32::from_ne_bytes((signed_low(one) >> shift?).to_ne_bytes()),
        _ => return None,
    })
}

fn compare(operation: u8, common: bool, unsigned: Ordering, signed: Ordering) -> Option<bool> {
    Some(match operation {
        opcode::JEQ => unsigned.is_eq(),
        opcode::JNE => unsigned.is_ne(),
        opcode::JGT => unsigned.is_gt(),
        opcode::JGE => unsigned.is_ge(),
        opcode::JLT => unsigned.is_lt(),
        opcode::JLE => unsigned.is_le(),
        opcode::JSGT => signed.is_gt(),
        opcode::JSGE => signed.is_ge(),
        opcode::JSLT => signed.is_lt(),
        opcode::JSLE => signed.is_le(),
        opcode::JSET => common,
        _ => return None,
    })
}
