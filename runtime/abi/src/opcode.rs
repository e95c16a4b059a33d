//! Opcode numbers (RFC 9669, `linux/bpf.h`, `linux/bpf_common.h`).

/// The size of an instruction slot in bytes; `ld_imm64` has two slots.
pub const INSN_SIZE: usize = 8;

/// The mask of an opcode's class.
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

/// `ld_imm64`, which has two slots.
pub const LD_IMM64: u8 = 0x18;
/// `call imm`.
pub const CALL: u8 = 0x85;
/// `exit`.
pub const EXIT: u8 = 0x95;

/// The mask of a memory access's size.
pub const SIZE_MASK: u8 = 0x18;
/// Size: four bytes.
pub const W: u8 = 0x00;
/// Size: two bytes.
pub const H: u8 = 0x08;
/// Size: one byte.
pub const B: u8 = 0x10;
/// Size: eight bytes.
pub const DW: u8 = 0x18;

/// The mask of a memory access's mode.
pub const MODE_MASK: u8 = 0xe0;
/// Mode: an immediate.
pub const IMM: u8 = 0x00;
/// Mode: packet bytes at a fixed offset.
pub const ABS: u8 = 0x20;
/// Mode: packet bytes at an offset in a register.
pub const IND: u8 = 0x40;
/// Mode: memory at a register and an offset.
pub const MEM: u8 = 0x60;
/// Mode: memory, sign-extended.
pub const MEMSX: u8 = 0x80;
/// Mode: an atomic operation, which the immediate selects.
pub const ATOMIC: u8 = 0xc0;

/// The mask of an arithmetic or jump operation.
pub const OP_MASK: u8 = 0xf0;
/// Set if the second operand is a register, clear if it is an immediate.
pub const X: u8 = 0x08;

/// Arithmetic: addition.
pub const ADD: u8 = 0x00;
/// Arithmetic: subtraction.
pub const SUB: u8 = 0x10;
/// Arithmetic: multiplication.
pub const MUL: u8 = 0x20;
/// Arithmetic: division, signed if the offset is 1.
pub const DIV: u8 = 0x30;
/// Arithmetic: or.
pub const OR: u8 = 0x40;
/// Arithmetic: and.
pub const AND: u8 = 0x50;
/// Arithmetic: shift left.
pub const LSH: u8 = 0x60;
/// Arithmetic: logical shift right.
pub const RSH: u8 = 0x70;
/// Arithmetic: negation.
pub const NEG: u8 = 0x80;
/// Arithmetic: remainder, signed if the offset is 1.
pub const MOD: u8 = 0x90;
/// Arithmetic: exclusive or.
pub const XOR: u8 = 0xa0;
/// Arithmetic: move, sign-extended from the number of bits in the offset.
pub const MOV: u8 = 0xb0;
/// Arithmetic: arithmetic shift right.
pub const ARSH: u8 = 0xc0;
/// Arithmetic: byte swap.
pub const END: u8 = 0xd0;

/// Jump: always.
pub const JA: u8 = 0x00;
/// Jump: equal.
pub const JEQ: u8 = 0x10;
/// Jump: greater.
pub const JGT: u8 = 0x20;
/// Jump: greater or equal.
pub const JGE: u8 = 0x30;
/// Jump: bits in common.
pub const JSET: u8 = 0x40;
/// Jump: not equal.
pub const JNE: u8 = 0x50;
/// Jump: greater, signed.
pub const JSGT: u8 = 0x60;
/// Jump: greater or equal, signed.
pub const JSGE: u8 = 0x70;
/// Jump: less.
pub const JLT: u8 = 0xa0;
/// Jump: less or equal.
pub const JLE: u8 = 0xb0;
/// Jump: less, signed.
pub const JSLT: u8 = 0xc0;
/// Jump: less or equal, signed.
pub const JSLE: u8 = 0xd0;
/// Jump: at the kernel's choice (`may_goto`).
pub const JCOND: u8 = 0xe0;

/// The offset of a move that converts a pointer between address spaces.
pub const ADDR_SPACE_CAST: i16 = 1;
/// Atomic operations (in the immediate): return the old value.
pub const FETCH: i32 = 0x01;
/// Atomic operations: exchange.
pub const XCHG: i32 = 0xe0 | FETCH;
/// Atomic operations: compare and exchange.
pub const CMPXCHG: i32 = 0xf0 | FETCH;
/// Atomic operations: load with acquire semantics.
pub const LOAD_ACQUIRE: i32 = 0x100;
/// Atomic operations: store with release semantics.
pub const STORE_RELEASE: i32 = 0x110;
