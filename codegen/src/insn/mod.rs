//! BPF instructions: their fields, their encoding, and the meaning of their opcodes.
//!
//! One [`Insn`] is one eight-byte slot. The 64-bit immediate load `ld_imm64` has two slots, as in the kernel. An
//! [`InsnIndex`] is therefore the index that the kernel, `.BTF.ext` and the verifier log use. This module does not know
//! ELF, maps or programs.

mod disasm;

pub use disasm::{disassemble, disassemble_one};
use skelgen_abi::opcode;

pub use skelgen_abi::opcode::INSN_SIZE;

/// The index of a slot in a function, section or program, depending on the use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct InsnIndex(pub usize);

impl std::fmt::Display for InsnIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One slot of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Insn {
    /// The opcode, see [`opcode`].
    pub code: u8,
    /// The destination register, 0 to 15.
    pub dst: u8,
    /// The source register, or a pseudo register ([`skelgen_abi::uapi::pseudo`]), 0 to 15.
    pub src: u8,
    /// The offset: of a memory access in bytes, of a jump in slots.
    pub off: i16,
    /// The immediate.
    pub imm: i32,
}

/// The byte order of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endian {
    /// Least significant byte first (`bpfel`).
    Little,
    /// Most significant byte first (`bpfeb`).
    Big,
}

impl Endian {
    /// Reads a 32-bit integer in this byte order.
    #[must_use]
    pub const fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    /// Returns the bytes of a 32-bit integer in this byte order.
    #[must_use]
    pub const fn to_bytes(self, number: u32) -> [u8; 4] {
        match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        }
    }

    /// Reads a 64-bit integer in this byte order.
    #[must_use]
    pub const fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
}

impl Insn {
    /// Decodes a slot.
    #[must_use]
    pub fn decode(bytes: [u8; INSN_SIZE], endian: Endian) -> Self {
        let [code, registers, o0, o1, i0, i1, i2, i3] = bytes;
        let (low, high) = (registers & 0xf, registers >> 4);
        match endian {
            Endian::Little => Self {
                code,
                dst: low,
                src: high,
                off: i16::from_le_bytes([o0, o1]),
                imm: i32::from_le_bytes([i0, i1, i2, i3]),
            },
            Endian::Big => Self {
                code,
                dst: high,
                src: low,
                off: i16::from_be_bytes([o0, o1]),
                imm: i32::from_be_bytes([i0, i1, i2, i3]),
            },
        }
    }

    /// Encodes a slot.
    #[must_use]
    pub fn encode(self, endian: Endian) -> [u8; INSN_SIZE] {
        let (registers, [o0, o1], [i0, i1, i2, i3]) = match endian {
            Endian::Little => (self.dst & 0xf | self.src << 4, self.off.to_le_bytes(), self.imm.to_le_bytes()),
            Endian::Big => (self.dst << 4 | self.src & 0xf, self.off.to_be_bytes(), self.imm.to_be_bytes()),
        };
        [self.code, registers, o0, o1, i0, i1, i2, i3]
    }

    /// Returns whether this is the first slot of an `ld_imm64`, whose second slot is the next one.
    #[must_use]
    pub const fn is_ld_imm64(self) -> bool {
        self.code == opcode::LD_IMM64
    }

    /// Returns whether this calls a function of the same object.
    #[must_use]
    pub const fn is_local_call(self) -> bool {
        self.code == opcode::CALL && self.src == skelgen_abi::uapi::pseudo::CALL
    }

    /// Returns whether this calls a kernel helper by number.
    #[must_use]
    pub const fn is_helper_call(self) -> bool {
        self.code == opcode::CALL && self.src == 0
    }
}

/// Instructions and their unresolved references.
///
/// `R` is the type of references, which differs between phases. For example, if `R` cannot refer to a map, the code has
/// no references to maps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code<R> {
    /// The slots.
    pub insns: Vec<Insn>,
    /// The references, by ascending instruction; at most one for each instruction.
    pub refs: Vec<Ref<R>>,
}

/// A reference of one instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ref<R> {
    /// The instruction; for an `ld_imm64`, its first slot.
    pub at: InsnIndex,
    /// The target of the reference.
    pub to: R,
}

impl<R: Copy> Code<R> {
    /// Returns the target of the reference of the instruction with this index, if it has one.
    #[must_use]
    pub fn reference(&self, at: usize) -> Option<R> {
        let found = self.refs.binary_search_by_key(&at, |reference| reference.at.0).ok()?;
        Some(self.refs[found].to)
    }
}

impl<R> Default for Code<R> {
    fn default() -> Self {
        Self { insns: Vec::new(), refs: Vec::new() }
    }
}
