//! The patching of instructions with resolved numbers.

use super::value::{Access, Resolution};
use crate::error::{Error, Result};
use crate::opcode::{self, INSN_SIZE};

/// The number of a helper that does not exist. A poisoned instruction calls it, so the verifier rejects the program if it can reach the
/// instruction. Linux and libbpf use the same number.
pub(crate) const ABSENT_HELPER: i32 = 195_896_080;

/// Writes a resolution into the instruction at this index.
pub(super) fn apply(insns: &mut [u8], index: usize, resolution: &Resolution) -> Result<()> {
    let (begin, count) = (index.checked_mul(INSN_SIZE), insns.len() / INSN_SIZE);
    let rest = begin.and_then(|begin| insns.get_mut(begin..)).filter(|rest| rest.len() >= INSN_SIZE);
    let rest = rest.ok_or_else(|| Error::malformed(format_args!("the program has only {count} instructions")))?;
    match rest[0] & opcode::CLASS_MASK {
        opcode::ALU | opcode::ALU64 if rest[0] & opcode::X == 0 => immediate(rest, resolution),
        opcode::LDX | opcode::ST | opcode::STX => offset(rest, resolution),
        opcode::LD => load_immediate64(rest, resolution),
        _ => Err(Error::malformed("the instruction has no immediate and no offset to relocate")),
    }
}

/// Patches the immediate of an arithmetic instruction.
fn immediate(insn: &mut [u8], resolution: &Resolution) -> Result<()> {
    let Resolution::Number { original, number, .. } = *resolution else {
        poison(insn, 1);
        return Ok(());
    };
    let found = sign_extended(i32::from_ne_bytes(read(insn, 4)));
    check_original(original, found)?;
    // The immediate has the lower half of a 64-bit number.
    let [a, b, c, d, ..] = number.to_le_bytes();
    insn[4..8].copy_from_slice(&i32::from_le_bytes([a, b, c, d]).to_ne_bytes());
    Ok(())
}

/// Patches the offset and the size of a load or store.
fn offset(insn: &mut [u8], resolution: &Resolution) -> Result<()> {
    let Resolution::Number { original, number, access } = *resolution else {
        poison(insn, 1);
        return Ok(());
    };
    let found = sign_extended(i16::from_ne_bytes(read(insn, 2)));
    check_original(original, found)?;
    let number = i16::try_from(number).map_err(|_| {
        Error::mismatch(format_args!(
            "the field is at offset {number}, but the maximum offset of an instruction is 32767"
        ))
    })?;
    match access {
        Access::Same => {}
        // Poison the instruction, as for an absent field: the load fails only if the verifier reaches the instruction.
        Access::Incompatible => {
            poison(insn, 1);
            return Ok(());
        }
        Access::Resized { from, to } => {
            const SIZES: [(u64, u8); 4] = [(4, opcode::W), (2, opcode::H), (1, opcode::B), (8, opcode::DW)];
            let bits = insn[0] & opcode::SIZE_MASK;
            if !SIZES.contains(&(from, bits)) {
                return Err(Error::malformed(format_args!(
                    "the field has {from} bytes in the object, but the instruction accesses a different number of bytes"
                )));
            }
            let (_, bits) = SIZES.into_iter().find(|(size, _)| *size == to).ok_or_else(|| {
                Error::mismatch(format_args!(
                    "the field has {to} bytes in the kernel, but an instruction can access only 1, 2, 4 or 8"
                ))
            })?;
            insn[0] = insn[0] & !opcode::SIZE_MASK | bits;
        }
    }
    insn[2..4].copy_from_slice(&number.to_ne_bytes());
    Ok(())
}

/// Patches a 64-bit immediate load (`ld_imm64`), which has two instruction slots.
fn load_immediate64(insns: &mut [u8], resolution: &Resolution) -> Result<()> {
    const SOURCE: u8 = if cfg!(target_endian = "little") { 0xf0 } else { 0x0f };
    let plain = insns.len() >= 2 * INSN_SIZE
        && insns[0] == opcode::LD_IMM64
        && insns[1] & SOURCE == 0
        && insns[2..4] == [0; 2]
        && insns[8..12] == [0; 4];
    if !plain {
        return Err(Error::malformed("the instruction is not a plain 64-bit immediate load"));
    }
    let Resolution::Number { original, number, .. } = *resolution else {
        poison(insns, 2);
        return Ok(());
    };
    let (low, high) = (u32::from_ne_bytes(read(insns, 4)), u32::from_ne_bytes(read(insns, 12)));
    check_original(original, u64::from(high) << 32 | u64::from(low))?;
    let [a, b, c, d, high @ ..] = number.to_le_bytes();
    insns[4..8].copy_from_slice(&u32::from_le_bytes([a, b, c, d]).to_ne_bytes());
    insns[12..16].copy_from_slice(&u32::from_le_bytes(high).to_ne_bytes());
    Ok(())
}

/// Replaces `count` instructions by calls of [`ABSENT_HELPER`], which the verifier rejects if it can reach them.
fn poison(insns: &mut [u8], count: usize) {
    for insn in insns.chunks_exact_mut(INSN_SIZE).take(count) {
        insn.fill(0);
        insn[0] = opcode::CALL;
        insn[4..8].copy_from_slice(&ABSENT_HELPER.to_ne_bytes());
    }
}

/// Checks that the number in the instruction is the one that follows from the object's types.
fn check_original(original: Option<u64>, found: u64) -> Result<()> {
    match original {
        Some(original) if original != found => Err(Error::malformed(format_args!(
            "the instruction contains the value {found}, but according to the object's BTF it must be {original}"
        ))),
        _ => Ok(()),
    }
}

/// Returns the number, sign-extended to 64 bits.
fn sign_extended(number: impl Into<i64>) -> u64 {
    u64::from_ne_bytes(number.into().to_ne_bytes())
}

/// Returns bytes of an instruction; the caller has checked that they exist.
fn read<const N: usize>(insns: &[u8], at: usize) -> [u8; N] {
    insns.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}
