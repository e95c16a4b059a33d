//! Arguments of USDT probes: parsed from notes, and encoded for programs.
//!
//! A note has `SIZE@OPERAND` for each argument, with the operand in assembler syntax; a negative size means a signed
//! number. Programs read `struct __bpf_usdt_spec` of libbpf's `usdt.bpf.h`. It has two layouts: in libbpf 1.7 and later,
//! an argument takes 24 bytes; in earlier versions, 16 bytes.

use crate::error::{Error, ErrorKind, Result, Step};

/// An argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Argument {
    location: At,
    /// The size in bytes: 1, 2, 4 or 8.
    size: u8,
    signed: bool,
}

/// The location of an argument. Registers are offsets in `struct pt_regs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// A constant.
    Constant(i64),
    /// In a register.
    Register(u16),
    /// In memory, at a register plus an offset in bytes.
    Memory(u16, i64),
    /// In memory, at a register plus an offset in bytes plus another register shifted left by some bits.
    Element(u16, i64, u16, u8),
}

/// The maximum number of arguments of a probe (`BPF_USDT_MAX_ARG_CNT`).
const MOST: usize = 12;
/// The size of an argument in bytes, in both layouts.
const OLD: usize = 16;
const NEW: usize = 24;
/// The number of bytes after the arguments: the cookie, and the number of arguments.
const REST: usize = 16;

/// Parses the arguments of a note.
pub(super) fn parse(text: &str) -> Result<Vec<Argument>> {
    let not = |argument: &str| {
        Error::unsupported(format_args!("cannot parse USDT argument `{argument}` (of `{text}`)"))
            .during(Step::Attach)
            .note("only registers, constants and memory at registers are supported, on x86-64, arm64 and s390x")
    };
    let arguments: Vec<Argument> =
        split(text).map(|argument| parse_one(argument).ok_or_else(|| not(argument))).collect::<Result<_>>()?;
    match arguments.len() {
        0..=MOST => Ok(arguments),
        more => Err(Error::of(
            ErrorKind::LimitReached,
            format_args!("the USDT probe has {more} arguments, but programs can read only {MOST}"),
        )
        .during(Step::Attach)),
    }
}

/// Splits the arguments at spaces outside of brackets.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    let parts = text.split(move |c: char| {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ' ' && depth == 0
    });
    parts.filter(|part| !part.is_empty())
}

fn parse_one(text: &str) -> Option<Argument> {
    let (size, operand) = text.split_once('@')?;
    let size: i8 = size.parse().ok()?;
    let bytes = size.unsigned_abs();
    [1, 2, 4, 8].contains(&bytes).then_some(())?;
    let location = if cfg!(target_arch = "aarch64") {
        arm64(operand)
    } else if cfg!(target_arch = "s390x") {
        s390x(operand)
    } else {
        x86_64(operand)
    };
    Some(Argument { location: location?, size: bytes, signed: size < 0 })
}

/// Parses an operand of x86-64: `$5`, `%rax`, `-8(%rbp)`, `8(%rbx,%rcx,4)`.
fn x86_64(operand: &str) -> Option<At> {
    if let Some(number) = operand.strip_prefix('$') {
        return number.parse().ok().map(At::Constant);
    }
    if let Some(register) = operand.strip_prefix('%') {
        return x86_64_register(register).map(At::Register);
    }
    let (offset, registers) = operand.strip_suffix(')')?.split_once('(')?;
    let offset = if offset.is_empty() { 0 } else { offset.parse().ok()? };
    let mut registers = registers.split(',').map(str::trim);
    let mut register = || registers.next().map(|name| x86_64_register(name.strip_prefix('%')?));
    let base = register()??;
    let Some(index) = register() else { return Some(At::Memory(base, offset)) };
    let shift = match registers.next() {
        None | Some("1") => 0,
        Some("2") => 1,
        Some("4") => 2,
        Some("8") => 3,
        Some(_) => return None,
    };
    Some(At::Element(base, offset, index?, shift))
}

/// Returns the offset of a register in `struct pt_regs` of `asm/ptrace.h`.
fn x86_64_register(name: &str) -> Option<u16> {
    // In the order of the structure, with all names of each. `orig_ax`, which is not a register, is before `rip`.
    const REGISTERS: [[&str; 4]; 20] = [
        ["r15", "r15d", "r15w", "r15b"],
        ["r14", "r14d", "r14w", "r14b"],
        ["r13", "r13d", "r13w", "r13b"],
        ["r12", "r12d", "r12w", "r12b"],
        ["rbp", "ebp", "bp", "bpl"],
        ["rbx", "ebx", "bx", "bl"],
        ["r11", "r11d", "r11w", "r11b"],
        ["r10", "r10d", "r10w", "r10b"],
        ["r9", "r9d", "r9w", "r9b"],
        ["r8", "r8d", "r8w", "r8b"],
        ["rax", "eax", "ax", "al"],
        ["rcx", "ecx", "cx", "cl"],
        ["rdx", "edx", "dx", "dl"],
        ["rsi", "esi", "si", "sil"],
        ["rdi", "edi", "di", "dil"],
        [""; 4],
        ["rip", "eip", "ip", "ip"],
        [""; 4],
        [""; 4],
        ["rsp", "esp", "sp", "spl"],
    ];
    let index = REGISTERS.iter().position(|names| !name.is_empty() && names.contains(&name))?;
    u16::try_from(index * 8).ok()
}

/// Parses an operand of arm64: `5`, `x0`, `[sp, 16]`, `[x1]`.
fn arm64(operand: &str) -> Option<At> {
    if let Some(memory) = operand.strip_prefix('[') {
        let memory = memory.strip_suffix(']')?;
        let (register, offset) = memory.split_once(',').unwrap_or((memory, "0"));
        return Some(At::Memory(arm64_register(register.trim())?, offset.trim().parse().ok()?));
    }
    operand.parse().map(At::Constant).ok().or_else(|| arm64_register(operand).map(At::Register))
}

/// Returns the offset of a register in `struct user_pt_regs` of `asm/ptrace.h`: 31 registers, then the stack pointer.
fn arm64_register(name: &str) -> Option<u16> {
    let number = match name {
        "sp" => 31,
        _ => name.strip_prefix(['x', 'w'])?.parse().ok().filter(|&number: &u16| number < 31)?,
    };
    Some(number * 8)
}

/// Parses an operand of s390x: `5`, `%r3`, `160(%r15)`.
fn s390x(operand: &str) -> Option<At> {
    if let Some((offset, register)) = operand.split_once('(') {
        return Some(At::Memory(s390x_register(register.strip_suffix(')')?.trim())?, offset.trim().parse().ok()?));
    }
    operand.parse().map(At::Constant).ok().or_else(|| s390x_register(operand).map(At::Register))
}

/// Returns the offset of a register in `user_pt_regs` of `asm/ptrace.h`: 16 registers, after `args` and the two words
/// of the PSW.
fn s390x_register(name: &str) -> Option<u16> {
    let number: u16 = name.strip_prefix("%r")?.parse().ok().filter(|&number| number < 16)?;
    Some(24 + number * 8)
}

/// Encodes `struct __bpf_usdt_spec` of this size. Returns `None` if there is no such layout, or if it cannot describe
/// an argument.
pub(super) fn encode(arguments: &[Argument], cookie: u64, size: usize) -> Option<Vec<u8>> {
    let each = size.checked_sub(REST)? / MOST;
    (size == each * MOST + REST && [OLD, NEW].contains(&each)).then_some(())?;
    let mut bytes = vec![0; size];
    for (argument, to) in arguments.iter().zip(bytes.chunks_exact_mut(each)) {
        argument.write(to)?;
    }
    let (_, rest) = bytes.split_at_mut(each * MOST);
    rest[..8].copy_from_slice(&cookie.to_ne_bytes());
    rest[8..10].copy_from_slice(&i16::try_from(arguments.len()).ok()?.to_ne_bytes());
    Some(bytes)
}

impl Argument {
    /// Writes `struct __bpf_usdt_arg_spec`. It begins with the constant or offset in 8 bytes and the kind of the location.
    /// In the newer layout, the kind, the index register and the shift are bitfields. Then follow the register, whether
    /// the argument is signed, and the number of bits by which the program shifts the value.
    fn write(self, to: &mut [u8]) -> Option<()> {
        let (kind, number, register, other) = match self.location {
            At::Constant(number) => (0, number, 0, (0, 0)),
            At::Register(register) => (1, 0, register, (0, 0)),
            At::Memory(register, offset) => (2, offset, register, (0, 0)),
            At::Element(register, offset, other, shift) => (3, offset, register, (other, shift.into())),
        };
        let is_new = to.len() == NEW;
        if other != (0, 0) && !is_new {
            return None;
        }
        let (at, other) = bits(other, is_new, cfg!(target_endian = "big"));
        to.get_mut(..8)?.copy_from_slice(&number.to_ne_bytes());
        *to.get_mut(at)? = kind;
        to.get_mut(10..12)?.copy_from_slice(&other.to_ne_bytes());
        let tail = to.get_mut(if is_new { 14 } else { 12 }..)?;
        tail.get_mut(..2)?.copy_from_slice(&register.to_ne_bytes());
        *tail.get_mut(2)? = u8::from(self.signed);
        *tail.get_mut(3)? = 64 - 8 * self.size;
        Some(())
    }
}

/// Returns the offset of `arg_type` in `struct __bpf_usdt_arg_spec`, and the 16 bits of `idx_reg_off` (12 bits) and
/// `scale_bitshift` (4 bits). In the older layout `arg_type` is an enum of 4 bytes, and the other two do not exist. In
/// the newer one it is a bitfield of 8 bits, declared first on little-endian architectures and last on big-endian ones.
/// `idx_reg_off` has the low bits on little-endian architectures and the high bits on big-endian ones.
fn bits((other, shift): (u16, u16), is_new: bool, is_big: bool) -> (usize, u16) {
    match (is_new, is_big) {
        (_, false) => (8, other | shift << 12),
        (true, true) => (12, other << 4 | shift),
        (false, true) => (11, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_of_x86_64() {
        let all = [
            ("$-5", At::Constant(-5)),
            ("%edi", At::Register(112)),
            ("%r8d", At::Register(72)),
            ("(%rsp)", At::Memory(152, 0)),
            ("-8(%rbp)", At::Memory(32, -8)),
            ("8(%rbx,%rcx,4)", At::Element(40, 8, 88, 2)),
            ("(%rbx,%rcx)", At::Element(40, 0, 88, 0)),
        ];
        for (text, location) in all {
            assert_eq!(x86_64(text), Some(location), "{text}");
        }
        for text in ["", "%", "%xmm0", "$", "8(", "(%rax", "(%rax,%rbx,3)", "8(%nobody)", "variable(%rip)", "(,%rax,8)"]
        {
            assert_eq!(x86_64(text), None, "{text}");
        }
    }

    #[test]
    fn operands_of_arm64() {
        let all = [
            ("5", At::Constant(5)),
            ("x3", At::Register(24)),
            ("w0", At::Register(0)),
            ("[sp, 60]", At::Memory(248, 60)),
            ("[x1]", At::Memory(8, 0)),
        ];
        for (text, location) in all {
            assert_eq!(arm64(text), Some(location), "{text}");
        }
        assert_eq!((arm64("x31"), arm64("[x1"), arm64("d0")), (None, None, None));
        assert_eq!(split("4@[sp, 60]  8@x0").collect::<Vec<_>>(), ["4@[sp, 60]", "8@x0"]);
    }

    /// Tests the layouts of clang for `{ u8 : 8; u16 other : 12; u16 shift : 4; enum kind : 8; }` and its reverse.
    #[test]
    fn bit_fields_of_both_orders() {
        assert_eq!(bits((0x123, 4), true, false), (8, 0x4123));
        assert_eq!(bits((0x123, 4), true, true), (12, 0x1234));
        assert_eq!((bits((0, 0), false, false), bits((0, 0), false, true)), ((8, 0), (11, 0)));
    }

    #[test]
    fn operands_of_s390x() {
        let all = [
            ("-5", At::Constant(-5)),
            ("%r0", At::Register(24)),
            ("%r15", At::Register(144)),
            ("160(%r15)", At::Memory(144, 160)),
            ("-28(%r11)", At::Memory(112, -28)),
        ];
        for (text, location) in all {
            assert_eq!(s390x(text), Some(location), "{text}");
        }
        for text in ["", "%r16", "%f0", "8(%r1", "(%r1)", "8(%r2,%r3)", "%r"] {
            assert_eq!(s390x(text), None, "{text}");
        }
    }

    #[test]
    fn layouts() {
        let big = cfg!(target_endian = "big");
        let at = |location| Argument { location, size: 4, signed: true };
        let old = encode(&[at(At::Memory(32, -8))], 7, 208).unwrap();
        assert_eq!(old[..8], (-8_i64).to_ne_bytes());
        assert_eq!(old[8..12], 2_u32.to_ne_bytes());
        assert_eq!((&old[12..14], &old[14..16]), (&32_u16.to_ne_bytes()[..], &[1, 32][..]));
        assert_eq!((&old[192..200], &old[200..202]), (&7_u64.to_ne_bytes()[..], &1_u16.to_ne_bytes()[..]));
        let new = encode(&[at(At::Element(32, 1, 88, 2))], 0, 304).unwrap();
        assert_eq!(new[..8], 1_u64.to_ne_bytes());
        assert_eq!(new[8..14], if big { [0, 0, 0x05, 0x82, 3, 0] } else { [3, 0, 88, 0x20, 0, 0] });
        assert_eq!((&new[14..16], &new[16..18]), (&32_u16.to_ne_bytes()[..], &[1, 32][..]));
        assert_eq!(encode(&[at(At::Element(32, 1, 88, 2))], 0, 208), None);
        assert_eq!(encode(&[], 0, 200), None);
    }
}
