//! The numbers of instruction codes (RFC 9669, `linux/bpf.h`, `linux/bpf_common.h`).

/// Mask of a code's class.
pub const CLASS_MASK: u8 = 0x07;
/// Class: non-standard loads.
pub const LD: u8 = 0x00;
/// Class: loads into registers.
pub const LDX: u8 = 0x01;
/// Class: stores of immediates.
pub const ST: u8 = 0x02;
/// Class: stores of registers.
pub const STX: u8 = 0x03;
/// Class: 32-bit arithmetic.
pub const ALU: u8 = 0x04;
/// Class: 64-bit jumps.
pub const JMP: u8 = 0x05;
/// Class: 32-bit jumps.
pub const JMP32: u8 = 0x06;
/// Class: 64-bit arithmetic.
pub const ALU64: u8 = 0x07;

/// `ld_imm64`, in two slots.
pub const LD_IMM64: u8 = 0x18;
/// `call imm`.
pub const CALL: u8 = 0x85;
/// `exit`.
pub const EXIT: u8 = 0x95;
