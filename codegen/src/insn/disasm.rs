//! Disassembly in the C-like notation of the kernel verifier's log.

use std::fmt::Write as _;

use skelgen_abi::uapi::pseudo;
use skelgen_abi::{helper, opcode};

use super::{Endian, Insn};

/// Disassembles instructions, one per line, each with the index of its first slot.
///
/// ```
/// # use skelgen::unstable::insn::{Insn, disassemble};
/// let load = Insn { code: 0x79, dst: 1, src: 10, off: -8, imm: 0 };
/// let exit = Insn { code: 0x95, ..Insn::default() };
/// assert_eq!(disassemble(&[load, exit]), "   0: r1 = *(u64 *)(r10 -8)\n   1: exit\n");
/// ```
#[must_use]
pub fn disassemble(insns: &[Insn]) -> String {
    let mut out = String::new();
    let mut rest = insns.iter().copied().enumerate();
    while let Some((index, insn)) = rest.next() {
        let second = insns.get(index + 1).copied();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{index:4}: {}", disassemble_one(insn, second));
        if insn.is_ld_imm64() && second.is_some_and(is_second_slot) {
            rest.next();
        }
    }
    out
}

/// Disassembles one instruction. `next` is the following slot, which is part of an `ld_imm64`. Invalid instructions are
/// shown as bytes in little-endian order.
#[must_use]
pub fn disassemble_one(insn: Insn, next: Option<Insn>) -> String {
    let text = match insn.code & opcode::CLASS_MASK {
        opcode::LD => load_special(insn, next),
        opcode::LDX => load(insn),
        opcode::ST => store_immediate(insn),
        opcode::STX => store(insn),
        opcode::ALU | opcode::ALU64 => arithmetic(insn),
        _ => jump(insn),
    };
    text.unwrap_or_else(|| {
        let bytes: Vec<String> = insn.encode(Endian::Little).iter().map(|byte| format!("{byte:02x}")).collect();
        format!(".bytes {}", bytes.join(" "))
    })
}

/// Returns whether this can be the second slot of an `ld_imm64`, in which only the immediate is used.
fn is_second_slot(insn: Insn) -> bool {
    insn == Insn { imm: insn.imm, ..Insn::default() }
}

fn load_special(insn: Insn, next: Option<Insn>) -> Option<String> {
    let Insn { code, dst, src, imm, .. } = insn;
    if insn.is_ld_imm64() {
        let high = next.filter(|next| is_second_slot(*next))?.imm;
        return Some(match src {
            0 => {
                let value = u64::from(bits(high)) << 32 | u64::from(bits(imm));
                format!("r{dst} = {value:#x} ll")
            }
            pseudo::MAP_FD => format!("r{dst} = map_fd[{imm}] ll"),
            pseudo::MAP_VALUE => format!("r{dst} = map_fd[{imm}] value +{} ll", bits(high)),
            pseudo::BTF_ID => format!("r{dst} = btf_id[{imm}] of fd[{high}] ll"),
            pseudo::FUNC => format!("r{dst} = code pc{imm:+} ll"),
            pseudo::MAP_IDX => format!("r{dst} = map_idx[{imm}] ll"),
            pseudo::MAP_IDX_VALUE => format!("r{dst} = map_idx[{imm}] value +{} ll", bits(high)),
            _ => return None,
        });
    }
    let size = size(code);
    match code & opcode::MODE_MASK {
        opcode::ABS if size != "u64" => Some(format!("r0 = *({size} *)skb[{imm}]")),
        opcode::IND if size != "u64" => Some(format!("r0 = *({size} *)skb[r{src} {imm:+}]")),
        _ => None,
    }
}

fn load(insn: Insn) -> Option<String> {
    let Insn { code, dst, src, off, .. } = insn;
    let size = match (code & opcode::MODE_MASK, code & opcode::SIZE_MASK) {
        (opcode::MEM, _) => size(code),
        (opcode::MEMSX, opcode::W) => "s32",
        (opcode::MEMSX, opcode::H) => "s16",
        (opcode::MEMSX, opcode::B) => "s8",
        _ => return None,
    };
    Some(format!("r{dst} = *({size} *)(r{src} {off:+})"))
}

fn store_immediate(insn: Insn) -> Option<String> {
    let Insn { code, dst, off, imm, .. } = insn;
    let memory = code & opcode::MODE_MASK == opcode::MEM;
    memory.then(|| format!("*({} *)(r{dst} {off:+}) = {imm}", size(code)))
}

fn store(insn: Insn) -> Option<String> {
    let Insn { code, dst, src, off, imm } = insn;
    let size = size(code);
    let memory = format!("({size} *)(r{dst} {off:+})");
    match code & opcode::MODE_MASK {
        opcode::MEM => return Some(format!("*{memory} = r{src}")),
        opcode::ATOMIC => {}
        _ => return None,
    }
    // Load-acquire and store-release exist in all sizes, the other operations only in 32 and 64 bits.
    match imm {
        opcode::LOAD_ACQUIRE => return Some(format!("r{dst} = load_acquire(({size} *)(r{src} {off:+}))")),
        opcode::STORE_RELEASE => return Some(format!("store_release({memory}, r{src})")),
        _ => {}
    }
    let wide = match code & opcode::SIZE_MASK {
        opcode::DW => "64",
        opcode::W => "",
        _ => return None,
    };
    match imm {
        opcode::XCHG => return Some(format!("r{src} = atomic{wide}_xchg({memory}, r{src})")),
        opcode::CMPXCHG => return Some(format!("r0 = atomic{wide}_cmpxchg({memory}, r0, r{src})")),
        _ => {}
    }
    let (name, sign) = match u8::try_from(imm & !opcode::FETCH).ok()? {
        opcode::ADD => ("add", "+="),
        opcode::OR => ("or", "|="),
        opcode::AND => ("and", "&="),
        opcode::XOR => ("xor", "^="),
        _ => return None,
    };
    Some(if imm & opcode::FETCH == 0 {
        format!("lock *{memory} {sign} r{src}")
    } else {
        format!("r{src} = atomic{wide}_fetch_{name}({memory}, r{src})")
    })
}

fn arithmetic(insn: Insn) -> Option<String> {
    let Insn { code, dst, src, off, imm } = insn;
    let long = code & opcode::CLASS_MASK == opcode::ALU64;
    let by_register = code & opcode::X != 0;
    let letter = if long { 'r' } else { 'w' };
    let operand = if by_register { format!("{letter}{src}") } else { imm.to_string() };
    let sign = match (code & opcode::OP_MASK, off) {
        (opcode::END, 0) if matches!(imm, 16 | 32 | 64) => {
            let swap = match (long, by_register) {
                (true, false) => "bswap",
                (false, false) => "le",
                (false, true) => "be",
                (true, true) => return None,
            };
            return Some(format!("r{dst} = {swap}{imm} r{dst}"));
        }
        (opcode::NEG, 0) if !by_register => return Some(format!("{letter}{dst} = -{letter}{dst}")),
        (opcode::MOV, opcode::ADDR_SPACE_CAST) if long && by_register => {
            let (to, from) = (bits(imm) >> 16, bits(imm) & 0xffff);
            return Some(format!("r{dst} = addr_space_cast(r{src}, {to}, {from})"));
        }
        (opcode::MOV, 8 | 16) if by_register => return Some(format!("{letter}{dst} = (s{off}){operand}")),
        (opcode::MOV, 32) if by_register && long => return Some(format!("{letter}{dst} = (s{off}){operand}")),
        (opcode::DIV, 1) => "s/=",
        (opcode::MOD, 1) => "s%=",
        _ if off != 0 => return None,
        (opcode::ADD, _) => "+=",
        (opcode::SUB, _) => "-=",
        (opcode::MUL, _) => "*=",
        (opcode::DIV, _) => "/=",
        (opcode::OR, _) => "|=",
        (opcode::AND, _) => "&=",
        (opcode::LSH, _) => "<<=",
        (opcode::RSH, _) => ">>=",
        (opcode::MOD, _) => "%=",
        (opcode::XOR, _) => "^=",
        (opcode::MOV, _) => "=",
        (opcode::ARSH, _) => "s>>=",
        _ => return None,
    };
    Some(format!("{letter}{dst} {sign} {operand}"))
}

fn jump(insn: Insn) -> Option<String> {
    let Insn { code, dst, src, off, imm } = insn;
    let long = code & opcode::CLASS_MASK == opcode::JMP;
    let by_register = code & opcode::X != 0;
    match (code & opcode::OP_MASK, long, by_register) {
        _ if code == opcode::EXIT => return Some("exit".to_owned()),
        _ if code == opcode::CALL => {
            return match src {
                0 => Some(helper::name(imm).map_or_else(|| format!("call {imm}"), |name| format!("call {name}"))),
                pseudo::CALL => Some(format!("call pc{imm:+}")),
                pseudo::KFUNC_CALL if off == 0 => Some(format!("call kfunc[{imm}]")),
                pseudo::KFUNC_CALL => Some(format!("call kfunc[{imm}] of fd_array[{off}]")),
                _ => None,
            };
        }
        (opcode::JA, true, false) => return Some(format!("goto {off:+}")),
        (opcode::JA, true, true) => return Some(format!("gotox r{dst}")),
        (opcode::JA, false, false) => return Some(format!("gotol {imm:+}")),
        (opcode::JCOND, true, false) if src == 0 => return Some(format!("may_goto {off:+}")),
        _ => {}
    }
    let sign = match code & opcode::OP_MASK {
        opcode::JEQ => "==",
        opcode::JGT => ">",
        opcode::JGE => ">=",
        opcode::JSET => "&",
        opcode::JNE => "!=",
        opcode::JSGT => "s>",
        opcode::JSGE => "s>=",
        opcode::JLT => "<",
        opcode::JLE => "<=",
        opcode::JSLT => "s<",
        opcode::JSLE => "s<=",
        _ => return None,
    };
    let letter = if long { 'r' } else { 'w' };
    let operand = if by_register { format!("{letter}{src}") } else { imm.to_string() };
    Some(format!("if {letter}{dst} {sign} {operand} goto {off:+}"))
}

/// Returns an immediate as an unsigned number.
fn bits(imm: i32) -> u32 {
    u32::from_le_bytes(imm.to_le_bytes())
}

/// Returns the unsigned type of a memory access.
fn size(code: u8) -> &'static str {
    match code & opcode::SIZE_MASK {
        opcode::W => "u32",
        opcode::H => "u16",
        opcode::B => "u8",
        _ => "u64",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(code: u8, off: i16, imm: i32) -> String {
        let second = Insn { imm: 2, ..Insn::default() };
        disassemble_one(Insn { code, dst: 1, src: 2, off, imm }, Some(second))
    }

    #[test]
    fn memory() {
        assert_eq!(text(0x61, 4, 0), "r1 = *(u32 *)(r2 +4)");
        assert_eq!(text(0x99, 0, 0), ".bytes 99 21 00 00 00 00 00 00");
        assert_eq!(text(0x91, -1, 0), "r1 = *(s8 *)(r2 -1)");
        assert_eq!(text(0x6a, 2, -5), "*(u16 *)(r1 +2) = -5");
        assert_eq!(text(0x7b, -8, 0), "*(u64 *)(r1 -8) = r2");
        assert_eq!(text(0x30, 0, 12), "r0 = *(u8 *)skb[12]");
        assert_eq!(text(0x48, 0, 12), "r0 = *(u16 *)skb[r2 +12]");
    }

    #[test]
    fn atomics() {
        assert_eq!(text(0xdb, 8, 0), "lock *(u64 *)(r1 +8) += r2");
        assert_eq!(text(0xc3, 8, 0x51), "r2 = atomic_fetch_and((u32 *)(r1 +8), r2)");
        assert_eq!(text(0xdb, 8, 0xe1), "r2 = atomic64_xchg((u64 *)(r1 +8), r2)");
        assert_eq!(text(0xdb, 8, 0xf1), "r0 = atomic64_cmpxchg((u64 *)(r1 +8), r0, r2)");
        assert_eq!(text(0xd3, 8, 0x100), "r1 = load_acquire((u8 *)(r2 +8))");
        assert_eq!(text(0xcb, 8, 0x110), "store_release((u16 *)(r1 +8), r2)");
        assert_eq!(text(0xd3, 0, 0), ".bytes d3 21 00 00 00 00 00 00");
    }

    #[test]
    fn arithmetic_operations() {
        assert_eq!(text(0x07, 0, -1), "r1 += -1");
        assert_eq!(text(0x0c, 0, 0), "w1 += w2");
        assert_eq!(text(0x3f, 1, 0), "r1 s/= r2");
        assert_eq!(text(0x94, 1, 3), "w1 s%= 3");
        assert_eq!(text(0x87, 0, 0), "r1 = -r1");
        assert_eq!(text(0xbf, 32, 0), "r1 = (s32)r2");
        assert_eq!(text(0xbc, 8, 0), "w1 = (s8)w2");
        assert_eq!(text(0xbc, 32, 0), ".bytes bc 21 20 00 00 00 00 00");
        assert_eq!(text(0xbf, 1, 0x1_0000), "r1 = addr_space_cast(r2, 1, 0)");
        assert_eq!(text(0xd7, 0, 64), "r1 = bswap64 r1");
        assert_eq!(text(0xdc, 0, 16), "r1 = be16 r1");
        assert_eq!(text(0xc7, 0, 3), "r1 s>>= 3");
    }

    #[test]
    fn jumps() {
        assert_eq!(text(0x65, 3, 5), "if r1 s> 5 goto +3");
        assert_eq!(text(0x5e, -3, 0), "if w1 != w2 goto -3");
        assert_eq!(text(0x05, 3, 0), "goto +3");
        assert_eq!(text(0x06, 0, -70_000), "gotol -70000");
        assert_eq!(text(0x0d, 0, 0), "gotox r1");
        let may = Insn { code: 0xe5, off: 2, ..Insn::default() };
        assert_eq!(disassemble_one(may, None), "may_goto +2");
        assert_eq!(text(0x85, 0, 7), "call kfunc[7]");
        let call = |src, imm| disassemble_one(Insn { code: 0x85, src, imm, ..Insn::default() }, None);
        assert_eq!((call(0, 14), call(1, 5)), ("call bpf_get_current_pid_tgid".to_owned(), "call pc+5".to_owned()));
    }

    #[test]
    fn ld_imm64_is_one_line() {
        let load = Insn { code: 0x18, dst: 1, imm: 1, ..Insn::default() };
        let second = Insn { imm: 2, ..Insn::default() };
        let exit = Insn { code: 0x95, ..Insn::default() };
        assert_eq!(disassemble(&[load, second, exit]), "   0: r1 = 0x200000001 ll\n   2: exit\n");
        assert_eq!(disassemble(&[load, exit]), "   0: .bytes 18 01 00 00 01 00 00 00\n   1: exit\n");
        assert_eq!(disassemble_one(Insn { src: 6, ..load }, Some(second)), "r1 = map_idx[1] value +2 ll");
        assert_eq!(disassemble_one(load, None), ".bytes 18 01 00 00 01 00 00 00");
    }

    #[test]
    fn any_code_is_text() {
        for code in 0..=u8::MAX {
            for imm in [0, 1, 64, -1, i32::MIN, i32::MAX, 0x110] {
                for off in [0, 1, -1, 32, i16::MIN] {
                    assert!(!text(code, off, imm).is_empty());
                }
            }
        }
    }
}
