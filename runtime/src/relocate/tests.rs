//! Relocations against handmade types: every relocation kind, and every error.

mod odd;
mod types;

use super::Relocator;
use super::patch::ABSENT_HELPER;
use crate::btf::kind;
use crate::btf::testing::Btf;
use crate::error::{ErrorKind, Result, Step, golden};

// Relocation kinds (`enum bpf_core_relo_kind`).
const OFFSET: u32 = 0;
const SIZE: u32 = 1;
const EXISTS: u32 = 2;
const SIGNED: u32 = 3;
const LEFT_SHIFT: u32 = 4;
const RIGHT_SHIFT: u32 = 5;
const LOCAL_ID: u32 = 6;
const TARGET_ID: u32 = 7;
const TYPE_EXISTS: u32 = 8;
const TYPE_SIZE: u32 = 9;
const ENUMERATOR_EXISTS: u32 = 10;
const ENUMERATOR_VALUE: u32 = 11;
const TYPE_MATCHES: u32 = 12;

type Insn = [u8; 8];

/// The register byte of an instruction.
const fn registers(dst: u8, src: u8) -> u8 {
    if cfg!(target_endian = "little") { dst | src << 4 } else { dst << 4 | src }
}

/// An instruction whose destination register is r1.
fn of_r1(code: u8, number: i32) -> Insn {
    let [a, b, c, d] = number.to_ne_bytes();
    [code, registers(1, 0), 0, 0, a, b, c, d]
}

/// `r1 = number`.
fn mov(number: i32) -> Insn {
    of_r1(0xb7, number)
}

/// `r1 = number ll`, a 64-bit immediate load.
fn ld_imm64(low: i32, high: i32) -> [Insn; 2] {
    let [a, b, c, d] = high.to_ne_bytes();
    [of_r1(0x18, low), [0, 0, 0, 0, a, b, c, d]]
}

/// `r1 = *(r2 + offset)` with these size bits.
fn ldx(size: u8, offset: i16) -> Insn {
    let [a, b] = offset.to_ne_bytes();
    [0x61 & !0x18 | size, registers(1, 2), a, b, 0, 0, 0, 0]
}

const BYTE: u8 = 0x10;
const HALF: u8 = 0x08;
const WORD: u8 = 0x00;
const DOUBLE: u8 = 0x18;

fn absent() -> Insn {
    let [a, b, c, d] = ABSENT_HELPER.to_ne_bytes();
    [0x85, 0, 0, 0, a, b, c, d]
}

/// One record for the first instruction.
fn record(ty: u32, access: u32, relocation: u32) -> Vec<u8> {
    [0, ty, access, relocation].iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Relocates instructions by one record for this type of the object and this access string.
fn relocated(
    mut local: Btf,
    kernel: &Btf,
    (ty, path, relocation): (u32, &str, u32),
    insns: &[Insn],
) -> Result<Vec<Insn>> {
    let access = local.string(path);
    let records = record(ty, access, relocation);
    let mut relocator = Relocator::new(local.types(), &kernel.shared(), false, &[&records]);
    let mut bytes = insns.as_flattened().to_vec();
    relocator.relocate(&mut bytes, &records)?;
    Ok(bytes.chunks_exact(8).map(|insn| insn.try_into().unwrap()).collect())
}

/// The relocated number of an instruction whose original number is `original`; `None` if the instruction is poisoned.
fn number(local: Btf, kernel: &Btf, about: (u32, &str, u32), original: i32) -> Option<i32> {
    let insns = relocated(local, kernel, about, &[mov(original)]).unwrap();
    (insns[0] != absent()).then(|| i32::from_ne_bytes(insns[0][4..].try_into().unwrap()))
}

/// `struct s { int a; struct { int pad; int b; }; u8 c[4]; void *p; }` of the object.
fn local() -> (Btf, u32) {
    let mut btf = Btf::new();
    let int = btf.int("int", 4, true);
    let byte = btf.int("unsigned char", 1, false);
    let bytes = btf.array(byte, int, 4);
    let pointer = btf.pointer(0);
    let inner = btf.structure("", 8, &[("pad", int, 0), ("b", int, 32)]);
    let s = btf.structure("s___mine", 24, &[("a", int, 0), ("", inner, 32), ("c", bytes, 96), ("p", pointer, 128)]);
    (btf, s)
}

/// The kernel's `struct s`: members in a different order, `b` inside a union, behind modifiers and other types.
fn kernel() -> (Btf, u32) {
    let mut btf = Btf::new();
    let long = btf.int("long", 8, true);
    let short = btf.int("unsigned short", 2, false);
    let constant = btf.add("", kind::CONST, false, 0, long, &[]);
    let shorts = btf.array(short, long, 8);
    let pointer = btf.pointer(long);
    let inner = btf.structure("", 8, &[("b", constant, 0)]);
    let either = btf.union("", 8, &[("other", long), ("", inner)]);
    btf.structure("unrelated", 8, &[("a", long, 0)]);
    let s = btf.structure("s", 64, &[("p", pointer, 64), ("", either, 128), ("c", shorts, 192), ("a", long, 320)]);
    (btf, s)
}

#[test]
fn fields() {
    let about = |path, relocation, original| {
        let (local, s) = local();
        number(local, &kernel().0, (s, path, relocation), original)
    };
    assert_eq!(about("0:0", OFFSET, 0), Some(40));
    assert_eq!(about("0:1:1", OFFSET, 8), Some(16), "through anonymous structs");
    assert_eq!(about("0:1:0", EXISTS, 1), Some(0));
    assert_eq!(about("0:1:0", OFFSET, 4), None);
    assert_eq!(about("0:0", SIZE, 4), Some(8));
    assert_eq!(about("0:2", SIZE, 4), Some(16));
    assert_eq!(about("0:2:3", OFFSET, 15), Some(30), "an element");
    assert_eq!(about("0:2:3", SIZE, 1), Some(2));
    assert_eq!(about("0:0", EXISTS, 1), Some(1));
    assert_eq!(about("0:0", SIGNED, 1), Some(1));
    assert_eq!(about("0:3", SIGNED, 0), Some(0));
    assert_eq!(about("0:0", RIGHT_SHIFT, 32), Some(0));
    assert_eq!(about("2:0", OFFSET, 48), Some(168), "in the third element of an array");
}

#[test]
fn fields_of_other_kinds_are_incompatible() {
    let (local, s) = local();
    let mut kernel = Btf::new();
    let int = kernel.int("int", 4, true);
    kernel.structure("s", 8, &[("p", int, 0), ("a", int, 32)]);
    assert_eq!(number(local, &kernel, (s, "0:3", EXISTS), 1), Some(0));
    // A struct of a different name and a union of the same name are not candidates.
    let (local, s) = self::local();
    let mut kernel = Btf::new();
    let int = kernel.int("int", 4, true);
    kernel.structure("t", 4, &[("a", int, 0)]);
    kernel.union("s", 4, &[("a", int)]);
    assert_eq!(number(local, &kernel, (s, "0:0", EXISTS), 1), Some(0));
}

#[test]
fn arrays_have_ends() {
    let of = |kernel_len, last| {
        let mut local = Btf::new();
        let int = local.int("int", 4, true);
        let array = local.array(int, int, 5);
        let s = local.structure("s", 20, &[("a", array, 0)]);
        let mut kernel = Btf::new();
        let int = kernel.int("int", 4, true);
        let array = kernel.array(int, int, kernel_len);
        if last {
            kernel.structure("s", 32, &[("x", int, 0), ("a", array, 32)]);
        } else {
            kernel.structure("s", 32, &[("a", array, 32), ("x", int, 0)]);
        }
        number(local, &kernel, (s, "0:0:4", OFFSET), 16)
    };
    assert_eq!(of(5, false), Some(20));
    assert_eq!(of(4, false), None, "it is too short");
    assert_eq!(of(0, true), Some(20), "it is flexible");
    assert_eq!(of(0, false), None, "it is empty");
}

#[test]
fn flexible_arrays_of_the_object() {
    let mut local = Btf::new();
    let int = local.int("int", 4, true);
    let array = local.array(int, int, 0);
    let s = local.structure("s", 4, &[("x", int, 0), ("a", array, 32)]);
    let mut kernel = Btf::new();
    let int = kernel.int("int", 4, true);
    let array = kernel.array(int, int, 9);
    kernel.structure("s", 64, &[("a", array, 64), ("x", int, 0)]);
    assert_eq!(number(local, &kernel, (s, "0:1:7", OFFSET), 32), Some(36));
}

#[test]
fn bitfields() {
    let about = |relocation| {
        let mut local = Btf::new();
        let word = local.int("unsigned int", 4, false);
        let s = local.bitfields("s", 4, &[("f", word, 3, 5)]);
        let mut kernel = Btf::new();
        let signed = kernel.int("int", 4, true);
        // Bits 60 to 69 cross a boundary of eight bytes.
        kernel.bitfields("s", 16, &[("f", signed, 60, 10)]);
        // Where the compiler chooses the number, any original number is accepted.
        let original = match relocation {
            SIGNED => 0,
            RIGHT_SHIFT => 59,
            _ => 12345,
        };
        relocated(local, &kernel, (s, "0:0", relocation), &[mov(original)])
            .map(|insns| i32::from_ne_bytes(insns[0][4..].try_into().unwrap()))
    };
    golden::check("CO-RE: bitfield across a boundary of eight bytes", ErrorKind::Mismatch, &about(OFFSET).unwrap_err());

    let about = |relocation| {
        let mut local = Btf::new();
        let word = local.int("unsigned int", 4, false);
        let s = local.structure("s", 4, &[("f", word, 0)]);
        let mut kernel = Btf::new();
        let signed = kernel.int("int", 4, true);
        // Bits 28 to 37 cross a boundary of four bytes, so eight are read.
        kernel.bitfields("s", 16, &[("f", signed, 28, 10)]);
        let original = if relocation == SIZE {
            4
        } else if relocation == RIGHT_SHIFT || relocation == LEFT_SHIFT {
            32
        } else {
            0
        };
        number(local, &kernel, (s, "0:0", relocation), original).unwrap()
    };
    assert_eq!((about(OFFSET), about(SIZE), about(SIGNED), about(RIGHT_SHIFT)), (0, 8, 1, 54));
    assert_eq!(about(LEFT_SHIFT), if cfg!(target_endian = "little") { 64 - 38 } else { 28 });
}

#[test]
fn loads_and_stores_change_their_size() {
    // Size and signedness of the integer, in the object and in the kernel.
    let load = |(local_size, local_signed), (kernel_size, kernel_signed), insn| {
        let mut local = Btf::new();
        let int = local.int("int", local_size, local_signed);
        let s = local.structure("s", 16, &[("x", int, 0)]);
        let mut kernel = Btf::new();
        let int = kernel.int("int", kernel_size, kernel_signed);
        kernel.structure("s", 16, &[("x", int, 64)]);
        relocated(local, &kernel, (s, "0:0", OFFSET), &[insn]).map(|insns| insns[0])
    };
    assert_eq!(load((8, false), (4, false), ldx(DOUBLE, 0)).unwrap(), ldx(WORD, 8));
    assert_eq!(load((4, false), (1, false), ldx(WORD, 0)).unwrap(), ldx(BYTE, 8));
    assert_eq!(load((2, false), (8, false), ldx(HALF, 0)).unwrap(), ldx(DOUBLE, 8));
    assert_eq!(load((4, true), (4, true), ldx(WORD, 0)).unwrap(), ldx(WORD, 8));
    assert_eq!(load((4, true), (8, true), ldx(WORD, 0)).unwrap(), absent(), "its sign would be lost");
    assert_eq!(load((4, true), (8, true), mov(0)).unwrap(), mov(8), "an offset alone has no size");
    let error = load((8, false), (4, false), ldx(WORD, 0)).unwrap_err();
    golden::check("CO-RE: access of a different size than its field", ErrorKind::Malformed, &error);
    let error = load((8, false), (3, false), ldx(DOUBLE, 0)).unwrap_err();
    golden::check("CO-RE: kernel field of three bytes", ErrorKind::Mismatch, &error);
    // Stores of registers and of immediates; the immediate stays.
    let store = [0x7b, registers(2, 1), 0, 0, 0, 0, 0, 0];
    assert_eq!(load((8, false), (8, false), store).unwrap()[2..4], 8_i16.to_ne_bytes());
    assert_eq!(load((4, false), (4, false), of_r1(0x62, 0x0909_0909)).unwrap()[4..], [9; 4]);
}

#[test]
fn fields_too_far_for_one_instruction() {
    let mut local = Btf::new();
    let int = local.int("int", 4, true);
    let s = local.structure("s", 4, &[("x", int, 0)]);
    let mut kernel = Btf::new();
    let int = kernel.int("int", 4, true);
    kernel.structure("s", 100_000, &[("x", int, 40_000 * 8)]);
    let error = relocated(local, &kernel, (s, "0:0", OFFSET), &[ldx(WORD, 0)]).unwrap_err();
    assert_eq!(error.step(), Step::Relocate);
    golden::check("CO-RE: field too far for one instruction", ErrorKind::Mismatch, &error);
}

#[test]
fn malformed_instructions() {
    let (local, s) = local();
    let error = relocated(local, &kernel().0, (s, "0:0", SIZE), &[mov(5)]).unwrap_err();
    golden::check("CO-RE: instruction with a different number than the object's types", ErrorKind::Malformed, &error);
    let (local, s) = self::local();
    // An addition of a register.
    let error =
        relocated(local, &kernel().0, (s, "0:0", SIZE), &[[0x0f, registers(1, 2), 0, 0, 0, 0, 0, 0]]).unwrap_err();
    golden::check("CO-RE: instruction without a number", ErrorKind::Malformed, &error);
    let (local, s) = self::local();
    let error = relocated(local, &kernel().0, (s, "0:0", SIZE), &[]).unwrap_err();
    golden::check("CO-RE: instruction outside its program", ErrorKind::Malformed, &error);
}
