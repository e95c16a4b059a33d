//! Writes what came out into an instruction.

use super::value::{Access, Resolution};
use crate::error::{Error, Result};
use crate::opcode::{self, INSN_SIZE};

/// The helper that an instruction calls which must not be reached: none, by the number that Linux and libbpf use for it.
pub(crate) const ABSENT_HELPER: i32 = 195_896_080;

/// Changes the instruction of this index.
pub(super) fn apply(insns: &mut [u8], index: usize, resolution: &Resolution) -> Result<()> {
    let begin = index.checked_mul(INSN_SIZE);
    let rest = begin.and_then(|begin| insns.get_mut(begin..)).filter(|rest| rest.len() >= INSN_SIZE);
    let rest = rest.ok_or_else(|| Error::malformed("the instruction is outside its program"))?;
    match rest[0] & opcode::CLASS_MASK {
        opcode::ALU | opcode::ALU64 if rest[0] & opcode::X == 0 => immediate(rest, resolution),
        opcode::LDX | opcode::ST | opcode::STX => offset(rest, resolution),
        opcode::LD => wide_immediate(rest, resolution),
        _ => Err(Error::malformed("the instruction has no number that could be changed")),
    }
}

/// An operation with a number.
fn immediate(insn: &mut [u8], resolution: &Resolution) -> Result<()> {
    let Resolution::Number { original, number, .. } = *resolution else {
        poison(insn, 1);
        return Ok(());
    };
    let found = extended(i32::from_ne_bytes(read(insn, 4)));
    expect(original, found)?;
    // Of a number of 64 bits the instruction has the lower half.
    let [a, b, c, d, ..] = number.to_le_bytes();
    insn[4..8].copy_from_slice(&i32::from_le_bytes([a, b, c, d]).to_ne_bytes());
    Ok(())
}

/// A load or store of a field.
fn offset(insn: &mut [u8], resolution: &Resolution) -> Result<()> {
    let Resolution::Number { original, number, access } = *resolution else {
        poison(insn, 1);
        return Ok(());
    };
    let found = extended(i16::from_ne_bytes(read(insn, 2)));
    expect(original, found)?;
    let number = i16::try_from(number)
        .map_err(|_| Error::mismatch(format_args!("the field is {number} bytes in, too far for one instruction")))?;
    match access {
        Access::Same => {}
        // Only wrong if it is reached, as is what does not exist.
        Access::Unfit => {
            poison(insn, 1);
            return Ok(());
        }
        Access::Resized { from, to } => {
            const SIZES: [(u64, u8); 4] = [(4, opcode::W), (2, opcode::H), (1, opcode::B), (8, opcode::DW)];
            let bits = insn[0] & opcode::SIZE_MASK;
            if !SIZES.contains(&(from, bits)) {
                return Err(Error::malformed(format_args!(
                    "the instruction does not access {from} bytes, as its field has"
                )));
            }
            let (_, bits) = SIZES.into_iter().find(|(size, _)| *size == to).ok_or_else(|| {
                Error::mismatch(format_args!("the kernel's field is {to} bytes long, which no instruction accesses"))
            })?;
            insn[0] = insn[0] & !opcode::SIZE_MASK | bits;
        }
    }
    insn[2..4].copy_from_slice(&number.to_ne_bytes());
    Ok(())
}

/// A load of a number of 64 bits, which takes two instructions.
fn wide_immediate(insns: &mut [u8], resolution: &Resolution) -> Result<()> {
    const SOURCE: u8 = if cfg!(target_endian = "little") { 0xf0 } else { 0x0f };
    let plain = insns.len() >= 2 * INSN_SIZE
        && insns[0] == opcode::LD_IMM64
        && insns[1] & SOURCE == 0
        && insns[2..4] == [0; 2]
        && insns[8..12] == [0; 4];
    if !plain {
        return Err(Error::malformed("the instruction loads no plain number"));
    }
    let Resolution::Number { original, number, .. } = *resolution else {
        poison(insns, 2);
        return Ok(());
    };
    let (low, high) = (u32::from_ne_bytes(read(insns, 4)), u32::from_ne_bytes(read(insns, 12)));
    expect(original, u64::from(high) << 32 | u64::from(low))?;
    let [a, b, c, d, high @ ..] = number.to_le_bytes();
    insns[4..8].copy_from_slice(&u32::from_le_bytes([a, b, c, d]).to_ne_bytes());
    insns[12..16].copy_from_slice(&u32::from_le_bytes(high).to_ne_bytes());
    Ok(())
}

/// Makes so many instructions into ones that the verifier refuses if they can be reached.
fn poison(insns: &mut [u8], count: usize) {
    for insn in insns.chunks_exact_mut(INSN_SIZE).take(count) {
        insn.fill(0);
        insn[0] = opcode::CALL;
        insn[4..8].copy_from_slice(&ABSENT_HELPER.to_ne_bytes());
    }
}

/// Checks that the number which is replaced is the one that the object's types say.
fn expect(original: Option<u64>, found: u64) -> Result<()> {
    match original {
        Some(original) if original != found => Err(Error::malformed(format_args!(
            "the instruction has {found} where the object's own types say {original}"
        ))),
        _ => Ok(()),
    }
}

/// A number with its sign, as 64 bits.
fn extended(number: impl Into<i64>) -> u64 {
    u64::from_ne_bytes(number.into().to_ne_bytes())
}

/// Bytes of an instruction, which is there.
fn read<const N: usize>(insns: &[u8], at: usize) -> [u8; N] {
    insns.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}
