//! The loader program's instructions.
//!
//! `loader.s` is the program, and `check.s` what a program that Linux 6.18 to 7.2 verify by signature has before it. The
//! tests assemble both and compare them with `assembled.rs`, so that the generator needs no assembler.

mod assembled;

use super::Table;
use crate::insn::{Endian, Insn};
use skelgen_abi::loader;

/// The size of a SHA-256 hash in bytes.
pub const HASH_SIZE: usize = 32;

/// Returns the instructions of the loader program for a table.
///
/// The program is a sleepable SYSCALL program. Its array of file descriptors (`fd_array`) has the table's map at index
/// 0.
#[must_use]
pub fn loader_program(table: &Table) -> Vec<Insn> {
    let limit = i32::try_from(table.value_size.saturating_sub(loader::TAIL)).unwrap_or(0);
    let mut insns: Vec<Insn> = assembled::LOADER.to_vec();
    for &at in assembled::LIMITS {
        insns[at].imm = limit;
    }
    insns
}

/// Returns the instructions that reject maps with contents of any other hash, to be put before the loader program.
///
/// Linux 6.18 to 7.2 do not include maps in the signature of a program. They have the hash of a frozen map after a process has
/// requested it (`BPF_OBJ_GET_INFO_BY_FD` with `hash`).
#[must_use]
pub fn map_check(hash: [u8; HASH_SIZE], endian: Endian) -> Vec<Insn> {
    let mut insns: Vec<Insn> = assembled::CHECK.to_vec();
    for (&at, eight) in assembled::HASHES.iter().zip(hash.chunks_exact(8)) {
        // The program compares the hash in words of the machine.
        let word = endian.u64(eight.try_into().unwrap_or_default());
        let halves = [word & 0xffff_ffff, word >> 32].map(|half| half as u32);
        insns[at].imm = i32::from_ne_bytes(halves[0].to_ne_bytes());
        insns[at + 1].imm = i32::from_ne_bytes(halves[1].to_ne_bytes());
    }
    insns
}

#[cfg(test)]
mod tests;
