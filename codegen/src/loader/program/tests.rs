//! Tests of the loader program: its text is assembled and compared with the committed instructions.

use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::insn::disassemble_one;
use crate::loader::assemble::{Assembled, Names, assemble};
use skelgen_abi::loader::{State, context, header, op};

const FILES: &[(&str, &str)] = &[
    ("may_goto.s", include_str!("may_goto.s")),
    ("bpf_loop.s", include_str!("bpf_loop.s")),
    ("enter.s", include_str!("enter.s")),
    ("pointer.s", include_str!("pointer.s")),
    ("step.s", include_str!("step.s")),
    ("report.s", include_str!("report.s")),
    ("slot.s", include_str!("slot.s")),
    ("check.s", include_str!("check.s")),
];

/// The maximum number of iterations of `bpf_loop` (`BPF_MAX_LOOPS`).
const LOOPS: u32 = 8 << 20;

/// The names in the texts.
fn constants() -> Vec<(&'static str, i64)> {
    let fields = [
        ("ADDRESS", header::ADDRESS),
        ("NEXT", header::NEXT),
        ("END", header::END),
        ("ON_ERROR", header::ON_ERROR),
        ("POINTERS", header::POINTERS),
        ("SLOTS_END", header::SLOTS_END),
        ("RESULT", header::RESULT),
        ("HOST", header::HOST),
        ("LOG_BUFFER", header::LOG_BUFFER),
        ("LOG_LEVEL", header::LOG_LEVEL),
        ("LOG_STEP", header::LOG_STEP),
        ("SYMBOL", header::SYMBOL),
        ("STATE", header::STATE),
        ("CONTEXT_ERROR", context::ERROR),
        ("CONTEXT_STEP", context::STEP),
        ("HEADER_SIZE", loader::HEADER_SIZE),
        ("SLOT_SIZE", loader::SLOT_SIZE),
        ("STEP_SIZE", loader::STEP_SIZE),
        ("STEP_SHIFT", loader::STEP_SIZE.trailing_zeros()),
        ("REQUEST_MASK", loader::MAX_REQUEST - 1),
        ("LOOPS", LOOPS),
        ("COPY_MASK", loader::MAX_COPY - 1),
        ("REJECTED", State::Rejected.number()),
        ("INTERRUPTED", State::Interrupted.number()),
        ("FINISHED", State::Finished.number()),
        ("FAILED", State::Failed.number()),
        ("EBADF", 9),
        ("EINVAL", 22),
    ];
    let operations = [
        ("REQUEST", op::REQUEST),
        ("COPY", op::COPY),
        ("COPY_FROM_HOST", op::COPY_FROM_HOST),
        ("FIND_TYPE", op::FIND_TYPE),
        ("FIND_SYMBOL", op::FIND_SYMBOL),
        ("JUMP_IF_EQUAL", op::JUMP_IF_EQUAL),
        ("JUMP_IF_NOT_EQUAL", op::JUMP_IF_NOT_EQUAL),
        ("CLOSE", op::CLOSE),
        ("FAIL", op::FAIL),
    ];
    let operations = operations.map(|(name, number)| (name, i64::from(number)));
    fields.map(|(name, number)| (name, i64::from(number))).into_iter().chain(operations).collect()
}

#[test]
fn committed_instructions_are_the_assembled_text() {
    let mut text = String::from(
        "//! The instructions of the texts in this directory, assembled by the tests (`SKELGEN_BLESS=1 cargo test -p skelgen --lib`).\n\n\
         use super::Insn;\n\n\
         /// Creates an instruction.\n\
         const fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {\n    \
             Insn { code, dst, src, off, imm }\n}\n\n",
    );
    for (name, file, patch, meaning, names) in [
        ("MAY_GOTO", "may_goto.s", "LIMITS", "the largest allowed offset", &["LIMIT"][..]),
        ("BPF_LOOP", "bpf_loop.s", "LIMITS", "the largest allowed offset", &["LIMIT"]),
        ("CHECK", "check.s", "HASHES", "eight bytes of the hash", &["HASH0", "HASH1", "HASH2", "HASH3"]),
    ] {
        let program = assemble(file, FILES, &Names { constants: &constants(), patched: names }).unwrap();
        let patches: Vec<usize> = program.patches.iter().map(|(at, _)| *at).collect();
        writeln!(text, "/// The indexes of instructions in [`{name}`] whose immediate is {meaning}.").unwrap();
        writeln!(text, "pub(super) const {name}_{patch}: &[usize] = &{patches:?};\n").unwrap();
        if !program.functions.is_empty() {
            let functions = program.functions.iter().map(|(at, name)| format!("({at}, {name:?})"));
            let functions = functions.collect::<Vec<_>>().join(", ");
            writeln!(text, "/// The first instructions of functions in [`{name}`] besides the first.").unwrap();
            writeln!(text, "pub(super) const {name}_FUNCTIONS: &[(usize, &str)] = &[{functions}];\n").unwrap();
        }
        writeln!(text, "/// The instructions of `{file}`.\n#[rustfmt::skip]\npub(super) const {name}: &[Insn] = &[")
            .unwrap();
        text.push_str(&listing(&program));
        text.push_str("];\n\n");
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/loader/program/assembled.rs");
    skelgen_corpus::golden::check(&file, format!("{}\n", text.trim_end()).as_bytes()).unwrap();
}

/// Returns a line for each instruction, with its disassembly.
fn listing(program: &Assembled) -> String {
    let mut text = String::new();
    let mut after_first = false;
    for (index, insn) in program.insns.iter().enumerate() {
        let Insn { code, dst, src, off, imm } = *insn;
        write!(text, "    insn({code:#04x}, {dst}, {src}, {off}, {imm}),").unwrap();
        let shown = disassemble_one(*insn, program.insns.get(index + 1).copied());
        let shown = if after_first { String::new() } else { format!(" // {index}: {shown}") };
        writeln!(text, "{shown}").unwrap();
        after_first = insn.is_ld_imm64();
    }
    text
}
