//! Fits instructions to types made by hand: every question, and every way in which there is no answer.

mod odd;
mod types;

use super::Relocator;
use super::patch::ABSENT_HELPER;
use crate::btf::kind;
use crate::btf::testing::Btf;
use crate::error::Result;

/// Numbers of questions (`enum bpf_core_relo_kind`).
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

/// The byte of an instruction that holds its registers, of which the first is written.
const fn registers(dst: u8, src: u8) -> u8 {
    if cfg!(target_endian = "little") { dst | src << 4 } else { dst << 4 | src }
}

/// An instruction that writes r1, or of which r1 is the address.
fn of_r1(code: u8, number: i32) -> Insn {
    let [a, b, c, d] = number.to_ne_bytes();
    [code, registers(1, 0), 0, 0, a, b, c, d]
}

/// `r1 = number`.
fn mov(number: i32) -> Insn {
    of_r1(0xb7, number)
}

/// `r1 = number ll`.
fn wide(low: i32, high: i32) -> [Insn; 2] {
    let [a, b, c, d] = high.to_ne_bytes();
    [of_r1(0x18, low), [0, 0, 0, 0, a, b, c, d]]
}

/// `r1 = *(r2 + offset)` with these bits for its size.
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

/// One record about the first instruction.
fn record(ty: u32, access: u32, question: u32) -> Vec<u8> {
    [0, ty, access, question].iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// What becomes of instructions with one record: about this type of the object, by this path.
fn fit(mut local: Btf, kernel: &Btf, (ty, path, question): (u32, &str, u32), insns: &[Insn]) -> Result<Vec<Insn>> {
    let access = local.string(path);
    let records = record(ty, access, question);
    let mut relocator = Relocator::new(local.types(), &kernel.shared(), false, &[&records]);
    let mut bytes = insns.as_flattened().to_vec();
    relocator.relocate(&mut bytes, &records)?;
    Ok(bytes.chunks_exact(8).map(|insn| insn.try_into().unwrap()).collect())
}

/// The number that a record gives, of an instruction that holds what the object's own types say.
fn number(local: Btf, kernel: &Btf, about: (u32, &str, u32), original: i32) -> Option<i32> {
    let insns = fit(local, kernel, about, &[mov(original)]).unwrap();
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

/// The kernel's: members in another order, `b` inside a union, behind modifiers and other types.
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
    let about = |path, question, original| {
        let (local, s) = local();
        number(local, &kernel().0, (s, path, question), original)
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
    assert_eq!(about("2:0", OFFSET, 48), Some(168), "of the third of an array");
}

#[test]
fn fields_of_other_kinds_do_not_fit() {
    let (local, s) = local();
    let mut kernel = Btf::new();
    let int = kernel.int("int", 4, true);
    kernel.structure("s", 8, &[("p", int, 0), ("a", int, 32)]);
    assert_eq!(number(local, &kernel, (s, "0:3", EXISTS), 1), Some(0));
    // Neither a struct of another name nor a union of the same.
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
    assert_eq!(of(0, true), Some(20), "it has no end");
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
    let about = |question| {
        let mut local = Btf::new();
        let word = local.int("unsigned int", 4, false);
        let s = local.bitfields("s", 4, &[("f", word, 3, 5)]);
        let mut kernel = Btf::new();
        let signed = kernel.int("int", 4, true);
        // Bits 60 to 69: over the end of a word, and of the two words before.
        kernel.bitfields("s", 16, &[("f", signed, 60, 10)]);
        // What is in the instruction does not matter where it is the compiler's choice.
        let original = match question {
            SIGNED => 0,
            RIGHT_SHIFT => 59,
            _ => 12345,
        };
        fit(local, &kernel, (s, "0:0", question), &[mov(original)])
            .map(|insns| i32::from_ne_bytes(insns[0][4..].try_into().unwrap()))
    };
    assert!(about(OFFSET).unwrap_err().to_string().contains("no eight bytes that can be read at once"));

    let about = |question| {
        let mut local = Btf::new();
        let word = local.int("unsigned int", 4, false);
        let s = local.structure("s", 4, &[("f", word, 0)]);
        let mut kernel = Btf::new();
        let signed = kernel.int("int", 4, true);
        // Bits 28 to 37: over the end of a word, so eight bytes are read.
        kernel.bitfields("s", 16, &[("f", signed, 28, 10)]);
        let original = if question == SIZE {
            4
        } else if question == RIGHT_SHIFT || question == LEFT_SHIFT {
            32
        } else {
            0
        };
        number(local, &kernel, (s, "0:0", question), original).unwrap()
    };
    assert_eq!((about(OFFSET), about(SIZE), about(SIGNED), about(RIGHT_SHIFT)), (0, 8, 1, 54));
    assert_eq!(about(LEFT_SHIFT), if cfg!(target_endian = "little") { 64 - 38 } else { 28 });
}

#[test]
fn loads_and_stores_change_their_size() {
    // The object's member and the kernel's: pointers or integers, their sizes, signs.
    let load = |(local_size, local_signed), (kernel_size, kernel_signed), insn| {
        let mut local = Btf::new();
        let int = local.int("int", local_size, local_signed);
        let s = local.structure("s", 16, &[("x", int, 0)]);
        let mut kernel = Btf::new();
        let int = kernel.int("int", kernel_size, kernel_signed);
        kernel.structure("s", 16, &[("x", int, 64)]);
        fit(local, &kernel, (s, "0:0", OFFSET), &[insn]).map(|insns| insns[0])
    };
    assert_eq!(load((8, false), (4, false), ldx(DOUBLE, 0)).unwrap(), ldx(WORD, 8));
    assert_eq!(load((4, false), (1, false), ldx(WORD, 0)).unwrap(), ldx(BYTE, 8));
    assert_eq!(load((2, false), (8, false), ldx(HALF, 0)).unwrap(), ldx(DOUBLE, 8));
    assert_eq!(load((4, true), (4, true), ldx(WORD, 0)).unwrap(), ldx(WORD, 8));
    assert_eq!(load((4, true), (8, true), ldx(WORD, 0)).unwrap(), absent(), "its sign would be lost");
    assert_eq!(load((4, true), (8, true), mov(0)).unwrap(), mov(8), "an offset alone has no size");
    let error = load((8, false), (4, false), ldx(WORD, 0)).unwrap_err().to_string();
    assert!(error.contains("does not access 8 bytes"), "{error}");
    let error = load((8, false), (3, false), ldx(DOUBLE, 0)).unwrap_err().to_string();
    assert!(error.contains("3 bytes long"), "{error}");
    // Stores of registers and of numbers; the immediate stays.
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
    let error = fit(local, &kernel, (s, "0:0", OFFSET), &[ldx(WORD, 0)]).unwrap_err().to_string();
    assert!(error.contains("40000 bytes in"), "{error}");
    assert!(error.contains("instruction 0") && error.contains("offset of `struct s.x`"), "{error}");
}

#[test]
fn instructions_that_say_something_else() {
    let (local, s) = local();
    let error = fit(local, &kernel().0, (s, "0:0", SIZE), &[mov(5)]).unwrap_err().to_string();
    assert!(error.contains("has 5 where the object's own types say 4"), "{error}");
    let (local, s) = self::local();
    // An addition of a register.
    let error = fit(local, &kernel().0, (s, "0:0", SIZE), &[[0x0f, registers(1, 2), 0, 0, 0, 0, 0, 0]])
        .unwrap_err()
        .to_string();
    assert!(error.contains("no number that could be changed"), "{error}");
    let (local, s) = self::local();
    let error = fit(local, &kernel().0, (s, "0:0", SIZE), &[]).unwrap_err().to_string();
    assert!(error.contains("outside its program"), "{error}");
}
