//! The loader program's instructions.
//!
//! `may_goto.s` is the program, and `bpf_loop.s` its form for older kernels; both include the other texts. `check.s` is
//! what a program that Linux 6.18 to 7.2 verify by signature has before it. The tests assemble the texts and compare
//! them with `assembled.rs`, so that the generator needs no assembler.

mod assembled;

use super::Table;
use crate::btf::{Btf, Int, Kind, Linkage, Param, Type, TypeId};
use crate::insn::{Endian, Insn};
use skelgen_abi::loader;

/// The size of a SHA-256 hash in bytes.
pub const HASH_SIZE: usize = 32;

/// Returns the instructions of the loader program for a table. Requires Linux 6.9.
///
/// The program is a sleepable SYSCALL program. Its array of file descriptors (`fd_array`) has the table's map at index
/// 0.
#[must_use]
pub fn loader_program(table: &Table) -> Vec<Insn> {
    patched(assembled::MAY_GOTO, assembled::MAY_GOTO_LIMITS, table)
}

/// A form of the loader program that needs BTF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopProgram {
    /// The instructions.
    pub insns: Vec<Insn>,
    /// The BTF of its functions.
    pub btf: Vec<u8>,
    /// For each function, the index of its first instruction and its BTF id (`struct bpf_func_info`).
    pub functions: Vec<(u32, u32)>,
}

/// Returns the form of the loader program for Linux 5.17 to 6.8, which iterates with the helper `bpf_loop`.
///
/// It has no signature, because these kernels do not verify signatures. Kernels require BTF of functions that helpers
/// call.
#[must_use]
pub fn loop_program(table: &Table, endian: Endian) -> LoopProgram {
    fn add(btf: &mut Btf, name: &str, kind: Kind) -> TypeId {
        let name = btf.add_string(name);
        btf.push(Type { name, kind })
    }
    let mut btf = Btf::new();
    let int = Int { size: 4, bits: 32, bit_offset: 0, signed: true, char: false, bool: false };
    let int = add(&mut btf, "int", Kind::Int(int));
    let pointer = add(&mut btf, "", Kind::Ptr(TypeId(0)));
    let context = Param { name: btf.add_string("context"), ty: pointer };
    let index = Param { name: btf.add_string("index"), ty: int };
    let main = add(&mut btf, "", Kind::FuncProto { returns: int, params: vec![context.clone()] });
    let body = add(&mut btf, "", Kind::FuncProto { returns: int, params: vec![index, context] });
    let mut functions = vec![(0, "load", main)];
    functions.extend(assembled::BPF_LOOP_FUNCTIONS.iter().map(|&(at, name)| (at, name, body)));
    let functions = functions.into_iter().map(|(at, name, proto)| {
        let function = add(&mut btf, name, Kind::Func { proto, linkage: Linkage::Static });
        (u32::try_from(at).unwrap_or(u32::MAX), function.0)
    });
    let functions = functions.collect();
    let insns = patched(assembled::BPF_LOOP, assembled::BPF_LOOP_LIMITS, table);
    LoopProgram { insns, btf: btf.write(endian), functions }
}

/// Returns the instructions that reject maps with contents of any other hash, to be put before the loader program.
///
/// Linux 6.18 to 7.2 do not include maps in the signature of a program. They have the hash of a frozen map after a process has
/// requested it (`BPF_OBJ_GET_INFO_BY_FD` with `hash`).
#[must_use]
pub fn map_check(hash: [u8; HASH_SIZE], endian: Endian) -> Vec<Insn> {
    let mut insns: Vec<Insn> = assembled::CHECK.to_vec();
    for (&at, eight) in assembled::CHECK_HASHES.iter().zip(hash.chunks_exact(8)) {
        // The program compares the hash in words of the machine.
        let word = endian.u64(eight.try_into().unwrap_or_default());
        let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
        insns[at].imm = i32::from_le_bytes([a, b, c, d]);
        insns[at + 1].imm = i32::from_le_bytes([e, f, g, h]);
    }
    insns
}

/// Returns the instructions with the largest allowed offset in the table.
fn patched(insns: &[Insn], limits: &[usize], table: &Table) -> Vec<Insn> {
    let limit = i32::try_from(table.value_size.saturating_sub(loader::TAIL)).unwrap_or(0);
    let mut insns = insns.to_vec();
    for &at in limits {
        insns[at].imm = limit;
    }
    insns
}

#[cfg(test)]
mod tests;
