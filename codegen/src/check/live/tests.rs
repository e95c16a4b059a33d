//! Small programs whose branches known facts decide.

use skelgen_abi::plan::{Attach, Kconfig, KconfigKind};
use skelgen_abi::uapi::{MapType, ProgramType};

use super::*;
use crate::btf::ext::{CoreRelo, SectionInfo};
use crate::btf::{Btf, StringRef, TypeId};
use crate::check::kernel::Modules;
use crate::insn::{Code, Ref};
use crate::model::{DataSection, Function, Map};
use skelgen_abi::plan;

const EXIT: Insn = insn(opcode::EXIT, 0, 0, 0, 0);
/// A call of a helper, for which the tests ask.
const HELPER: Insn = insn(opcode::CALL, 0, 0, 0, 5);

const fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { code, dst, src, off, imm }
}

const fn set(dst: u8, imm: i32) -> Insn {
    insn(0xb7, dst, 0, 0, imm)
}

/// `if dst == 0 goto +off`
const fn if_zero(dst: u8, off: i16) -> Insn {
    insn(0x15, dst, 0, off, 0)
}

/// `dst = 0 ll`, in two slots.
const fn address(dst: u8) -> [Insn; 2] {
    [insn(opcode::LD_IMM64, dst, 0, 0, 0), insn(0, 0, 0, 0, 0)]
}

/// Returns an object whose first function is its only program.
fn object(functions: &[&[Insn]]) -> BpfObject {
    let function = |(index, insns): (usize, &&[Insn])| Function {
        name: format!("function{index}"),
        section: String::new(),
        start: InsnIndex(0),
        global: false,
        code: Code { insns: insns.to_vec(), refs: Vec::new() },
        info: SectionInfo::default(),
        tables: Vec::new(),
    };
    let program = Program {
        function: FunctionId(0),
        exception: None,
        def: plan::Program::new("", "", ProgramType::SYSCALL, Attach::Never("here"), &[]),
        target: None,
    };
    BpfObject {
        endian: Endian::Little,
        name: "tests".into(),
        license: String::new(),
        kernel_version: 0,
        btf: None,
        maps: Vec::new(),
        functions: functions.iter().enumerate().map(function).collect(),
        programs: vec![program],
        externs: Vec::new(),
        kconfig: Vec::new(),
    }
}

fn refer(object: &mut BpfObject, function: usize, at: usize, to: Reference) {
    object.functions[function].code.refs.push(Ref { at: InsnIndex(at), to });
}

fn section(kind: SectionKind, bytes: &[u8]) -> Map {
    let size = u32::try_from(bytes.len()).expect("it is small");
    let contents =
        DataSection { kind, size, align: 8, bytes: bytes.to_vec(), variables: Vec::new(), addresses: Vec::new() };
    Map::of_section(".section", MapType::ARRAY, contents)
}

/// Returns whether the program certainly and possibly reaches an instruction of a function.
fn reaches(object: &BpfObject, kernel: &Kernel, resolved: Option<&Resolved>, at: (u32, usize)) -> (bool, bool) {
    let live = Facts::new(object, kernel, resolved).live(&object.programs[0]);
    let at = (FunctionId(at.0), at.1);
    (live.certain.contains(at.0, at.1), live.possible.contains(at.0, at.1))
}

const YES: (bool, bool) = (true, true);
const NO: (bool, bool) = (false, false);
const PERHAPS: (bool, bool) = (false, true);

#[test]
fn relocations_decide_branches() {
    let mut object = object(&[&[set(1, 1), if_zero(1, 1), HELPER, EXIT]]);
    let kind = RelocationKind::FieldExists.number();
    let relocation = CoreRelo { insn: InsnIndex(0), ty: TypeId(1), access: StringRef::default(), kind };
    object.functions[0].info.relos.push(relocation);
    let kernel = Kernel::default();
    for (value, expected) in [(0, NO), (1, YES)] {
        let mut resolved = Resolved::default();
        resolved.relocations.insert((FunctionId(0), InsnIndex(0)), Relocated::Number(value));
        assert_eq!(reaches(&object, &kernel, Some(&resolved), (0, 2)), expected);
    }
    assert_eq!(reaches(&object, &kernel, None, (0, 2)), PERHAPS);
    assert_eq!(reaches(&object, &kernel, None, (0, 1)), YES);
}

#[test]
fn constants_decide_branches() {
    let [low, high] = address(1);
    // r2 = *(u8 *)(r1 + 1)
    let load = insn(0x71, 2, 1, 1, 0);
    let mut object = object(&[&[low, high, load, if_zero(2, 1), HELPER, EXIT]]);
    refer(&mut object, 0, 0, Reference::MapValue(MapId(0), 1));
    for (kind, bytes, expected) in [
        (SectionKind::Rodata, [9, 9, 0, 9], NO),
        (SectionKind::Rodata, [0, 0, 1, 0], YES),
        // Programs and users can change other sections.
        (SectionKind::Data, [0, 0, 0, 0], YES),
    ] {
        object.maps = vec![section(kind, &bytes)];
        assert_eq!(reaches(&object, &Kernel::default(), None, (0, 4)), expected, "{kind:?} {bytes:?}");
    }
}

#[test]
fn the_version_decides_branches() {
    let [low, high] = address(1);
    // r2 = *(u32 *)(r1 + 0); if r2 < 6.2 goto +1
    let load = insn(0x61, 2, 1, 0, 0);
    let older = insn(0xa5, 2, 0, 1, 6 << 16 | 2 << 8);
    let mut object = object(&[&[low, high, load, older, HELPER, EXIT]]);
    refer(&mut object, 0, 0, Reference::MapValue(MapId(0), 0));
    object.maps = vec![section(SectionKind::Kconfig, &[0; 4])];
    object.kconfig = vec![Kconfig::new("LINUX_KERNEL_VERSION", KconfigKind::Integer { signed: false }, 0, 4)];
    for (version, expected) in [(Some((6, 1)), NO), (Some((6, 2)), YES), (Some((7, 0)), YES), (None, PERHAPS)] {
        let kernel = Kernel { version, ..Kernel::default() };
        assert_eq!(reaches(&object, &kernel, None, (0, 4)), expected, "{version:?}");
    }
    // 6.2.5 is between the first and the last version of its series.
    object.functions[0].code.insns[3].imm += 5;
    let kernel = Kernel { version: Some((6, 2)), ..Kernel::default() };
    assert_eq!(reaches(&object, &kernel, None, (0, 4)), PERHAPS);
}

#[test]
fn weak_symbols_decide_branches() {
    let [low, high] = address(1);
    let mut object = object(&[&[low, high, if_zero(1, 1), HELPER, EXIT]]);
    refer(&mut object, 0, 0, Reference::ExternVariable(ExternId(0)));
    let symbol = Symbol::new("absent", plan::SymbolKind::Function);
    let kernel = |complete| {
        let mut modules = Modules::default();
        modules.complete = complete;
        Kernel { btf: Some(Btf::new()), modules, ..Kernel::default() }
    };
    let mut resolved = Resolved::default();
    resolved.incompatible.insert(ExternId(0));
    object.externs = vec![Symbol { weak: true, ..symbol.clone() }];
    assert_eq!(reaches(&object, &kernel(false), Some(&resolved), (0, 3)), NO);
    for (weak, complete, expected) in [(true, true, NO), (true, false, PERHAPS), (false, true, YES)] {
        object.externs = vec![Symbol { weak, ..symbol.clone() }];
        assert_eq!(reaches(&object, &kernel(complete), None, (0, 3)), expected, "{weak} {complete}");
    }
}

#[test]
fn null_pointers_are_not_kernel_variables() {
    let [low, high] = address(1);
    let per_cpu = insn(opcode::CALL, 0, 0, 0, PER_CPU[0]);
    let mut object = object(&[&[low, high, per_cpu, EXIT]]);
    refer(&mut object, 0, 0, Reference::ExternVariable(ExternId(0)));
    let mut modules = Modules::default();
    modules.complete = true;
    let kernel = Kernel { btf: Some(Btf::new()), modules, ..Kernel::default() };
    for (weak, expected) in [(true, 1), (false, 0)] {
        object.externs = vec![Symbol { weak, ..Symbol::new("absent", plan::SymbolKind::Variable) }];
        let live = Facts::new(&object, &kernel, None).live(&object.programs[0]);
        assert_eq!(live.null_calls.len(), expected);
    }
}

#[test]
fn numbers_are_known_in_the_stack_and_across_calls() {
    // *(u64 *)(r10 - 8) = r1; r3 = *(u64 *)(r10 - 8)
    let (spill, fill) = (insn(0x7b, 10, 1, -8, 0), insn(0x79, 3, 10, -8, 0));
    let spilled = object(&[&[set(1, 0), spill, set(1, 7), fill, if_zero(3, 1), HELPER, EXIT]]);
    assert_eq!(reaches(&spilled, &Kernel::default(), None, (0, 5)), NO);

    let call = insn(opcode::CALL, 0, 1, 0, 0);
    let copy = insn(0xbf, 0, 1, 0, 0);
    let mut called = object(&[&[set(1, 0), call, if_zero(0, 1), HELPER, EXIT], &[copy, if_zero(1, 1), HELPER, EXIT]]);
    refer(&mut called, 0, 1, Reference::Call(FunctionId(1)));
    assert_eq!(reaches(&called, &Kernel::default(), None, (0, 3)), NO);
    assert_eq!(reaches(&called, &Kernel::default(), None, (1, 2)), NO);
    // The kernel verifies a global function for any argument.
    called.functions[1].global = true;
    assert_eq!(reaches(&called, &Kernel::default(), None, (0, 3)), YES);
    assert_eq!(reaches(&called, &Kernel::default(), None, (1, 2)), YES);
}

#[test]
fn loops_end() {
    // r1 = 0; r1 += 1; goto -2
    let object = object(&[&[set(1, 0), insn(0x07, 1, 0, 0, 1), insn(0x05, 0, 0, -2, 0), HELPER]]);
    assert_eq!(reaches(&object, &Kernel::default(), None, (0, 2)), YES);
    assert_eq!(reaches(&object, &Kernel::default(), None, (0, 3)), NO);
}

#[test]
fn unknown_helpers_are_found_where_they_are_reached() {
    let unknown = insn(opcode::CALL, 0, 0, 0, 9999);
    let found = |insns: &[Insn]| {
        let kernel = Kernel { version: Some((7, 3)), ..Kernel::default() };
        let found = crate::check::check(&object(&[insns]), &kernel, None);
        found.into_iter().map(|finding| finding.to_string()).collect::<Vec<_>>()
    };
    let text = "program function0 (load, perhaps): calls helper 9999, which this version of skelgen does not know";
    assert_eq!(found(&[unknown, EXIT]), [text]);
    let none: [&str; 0] = [];
    assert_eq!(found(&[HELPER, EXIT]), none);
    assert_eq!(found(&[set(1, 0), if_zero(1, 1), unknown, EXIT]), none);
}
