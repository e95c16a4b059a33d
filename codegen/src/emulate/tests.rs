//! Tests of the rewriting, on functions of a few instructions. The kernel tests check the results of rewritten
//! programs.

use skelgen_abi::plan::{self, Attach, SectionKind};
use skelgen_abi::uapi::{MapType, ProgramType};

use super::emulate;
use crate::btf::ext::SectionInfo;
use crate::insn::{Code, Insn, InsnIndex, Ref};
use crate::link::{Linked, LinkedFunction, LinkedProgram, Outside};
use crate::model::{BpfObject, DataSection, Function, FunctionId, Map, MapId, Program, ProgramId};
use skelgen_abi::opcode;

const EXIT: Insn = Insn { code: opcode::EXIT, dst: 0, src: 0, off: 0, imm: 0 };
const ZERO: Insn = Insn { code: 0xb7, dst: 0, src: 0, off: 0, imm: 0 };

/// Returns an object with one percpu section of 8 bytes and the function `probe` in section `raw_tp`.
fn object() -> BpfObject {
    let section = DataSection {
        kind: SectionKind::Percpu,
        size: 8,
        align: 8,
        bytes: Vec::new(),
        variables: Vec::new(),
        addresses: Vec::new(),
    };
    let function = Function {
        name: "probe".into(),
        section: "raw_tp".into(),
        start: InsnIndex(0),
        global: true,
        code: Code::default(),
        info: SectionInfo::default(),
        tables: Vec::new(),
    };
    let program = Program {
        function: FunctionId(0),
        exception: None,
        def: plan::Program::new("probe", "raw_tp", ProgramType::RAW_TRACEPOINT, Attach::Needs("nothing"), &[]),
        target: None,
    };
    BpfObject {
        endian: crate::insn::Endian::Little,
        name: "test".into(),
        license: String::new(),
        kernel_version: 0,
        btf: None,
        maps: vec![Map::of_section(".percpu", MapType::PERCPU_ARRAY, section)],
        functions: vec![function],
        programs: vec![program],
        externs: Vec::new(),
        kconfig: Vec::new(),
    }
}

/// Returns a program with one function of these instructions, whose 64-bit immediate loads are addresses in the
/// section.
fn program(insns: Vec<Insn>) -> Linked {
    let refs = insns
        .iter()
        .enumerate()
        .filter(|(_, insn)| insn.is_ld_imm64())
        .map(|(at, _)| Ref { at: InsnIndex(at), to: Outside::MapValue(MapId(0), 0) })
        .collect();
    let function = LinkedFunction {
        function: FunctionId(0),
        code: Code { insns, refs },
        btf_id: None,
        lines: Vec::new(),
        relos: Vec::new(),
        tables: Vec::new(),
    };
    Linked { functions: vec![function], programs: vec![LinkedProgram { program: ProgramId(0), functions: vec![0] }] }
}

fn address(dst: u8) -> [Insn; 2] {
    [Insn { code: opcode::LD_IMM64, dst, ..Insn::default() }, Insn::default()]
}

fn rewritten(insns: Vec<Insn>) -> LinkedFunction {
    emulate(&object(), &program(insns)).unwrap().remove(0).unwrap()
}

#[test]
fn without_percpu_data_there_is_nothing_to_do() {
    assert!(emulate(&object(), &program(vec![ZERO, EXIT])).unwrap()[0].is_none());
}

#[test]
fn a_jump_to_the_first_instruction_lands_behind_the_prologue() {
    let [load, second] = address(1);
    let back = Insn { code: 0x15, dst: 0, src: 0, off: -4, imm: 7 };
    let insns = vec![load, second, ZERO, back, EXIT];
    let after = rewritten(insns.clone());
    let prologue = after.code.insns.len() - insns.len();
    // The jump's offset is unchanged, so it leads to the former first instruction.
    assert_eq!(after.code.insns[prologue + 3], back);
    assert_eq!(after.code.insns[prologue].code, 0x79, "the address is now loaded from the stack");
}

#[test]
fn only_arguments_that_are_read_are_kept() {
    let [load, second] = address(2);
    let from = |src| Insn { code: 0xbf, dst: 0, src, off: 0, imm: 0 };
    let unread = rewritten(vec![load, second, ZERO, EXIT]);
    assert_eq!(unread.code.insns[0].code, opcode::CALL);
    let read = rewritten(vec![load, second, from(1), from(3), EXIT]);
    let kept: Vec<_> = read.code.insns.iter().take_while(|insn| insn.code == 0xbf).map(|insn| insn.src).collect();
    assert_eq!(kept, [1, 3]);
}

#[test]
fn a_full_stack_is_an_error_with_function_and_bytes() {
    let [load, second] = address(1);
    let store = |off| Insn { code: 0x7b, dst: 10, src: 1, off, imm: 0 };
    assert!(emulate(&object(), &program(vec![load, second, store(-504), ZERO, EXIT])).unwrap()[0].is_some());
    let error = emulate(&object(), &program(vec![load, second, store(-512), ZERO, EXIT])).unwrap_err().to_string();
    for part in ["`probe`", "512", "8 more", "raw_tp", "--percpu native"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn the_mask_is_left_to_the_load() {
    let [load, second] = address(1);
    let after = rewritten(vec![load, second, ZERO, EXIT]);
    let masks: Vec<_> = after.code.refs.iter().filter(|reference| reference.to == Outside::CpuMask).collect();
    assert_eq!(masks.len(), 1);
    assert_eq!(after.code.insns[masks[0].at.0].code, 0x57);
}
