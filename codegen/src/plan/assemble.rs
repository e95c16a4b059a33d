//! Assembly of programs from their functions, for printing plans, in the same way as by the runtime at load time.
//!
//! This module does not know the running kernel, so it applies only the patches that do not depend on it: call
//! distances between functions.

use std::collections::BTreeMap;

use skelgen_abi::plan::{Body, Function, JumpTable, Object, Patch, PatchKind, Program, Span, decode_lines};

use super::LoadPlan;
use crate::btf::ext::{CoreRelo, LineInfo};
use crate::btf::{StringRef, TypeId};
use crate::insn::{Endian, INSN_SIZE, Insn, InsnIndex};

/// An assembled program, for direct access to percpu data or for emulation.
#[derive(Default)]
pub(crate) struct Assembled {
    pub(crate) insns: Vec<Insn>,
    /// The patches of all functions, with instruction indices relative to the program.
    pub(crate) patches: Vec<Patch>,
    /// The first instruction of each function and the function's id in the object's BTF; the id is 0 if the BTF does
    /// not describe the function.
    pub(crate) functions: Vec<(usize, u32)>,
    /// Whether the program is loaded with function and line records.
    pub(crate) described: bool,
    /// The line records, with instruction indices relative to the program.
    pub(crate) lines: Vec<LineInfo>,
    /// The CO-RE records, with instruction indices relative to the program.
    pub(crate) relos: Vec<CoreRelo>,
}

impl Assembled {
    /// Assembles a program.
    pub(crate) fn new(plan: &LoadPlan, program: &Program, emulated: bool) -> Self {
        let object = &plan.object;
        let functions = functions(object, program);
        let starts: BTreeMap<u32, usize> = functions
            .iter()
            .scan(0, |end, &(index, function)| {
                let start = *end;
                *end += length(body(function, emulated));
                Some((index, start))
            })
            .collect();
        let described = functions.iter().all(|(_, function)| function.btf_id != 0);
        let mut all = Self { described, ..Self::default() };
        for (_, function) in functions {
            let body = body(function, emulated);
            let start = all.insns.len();
            let slots = object
                .bytes(body.insns)
                .unwrap_or_default()
                .chunks_exact(INSN_SIZE)
                .filter_map(|slot| slot.first_chunk());
            all.insns.extend(slots.map(|slot| Insn::decode(*slot, plan.endian)));
            for patch in patches(object, body) {
                let at = start + patch.insn as usize;
                if let PatchKind::Subprogram(callee) = patch.kind {
                    all.insns[at].imm = starts.get(&callee).map_or(0, |&callee| distance(at, callee));
                }
                all.patches.push(Patch { insn: u32::try_from(at).unwrap_or(u32::MAX), kind: patch.kind });
            }
            all.functions.push((start, function.btf_id));
            all.relos.extend(records(plan, body.core_relos).map(|[insn, ty, access, kind]| CoreRelo {
                insn: InsnIndex(start + insn as usize / INSN_SIZE),
                ty: TypeId(ty),
                access: StringRef(access),
                kind,
            }));
            if described {
                let lines = decode_lines(object.bytes(body.line_info).unwrap_or_default());
                all.lines.extend(lines.flatten().map(|[insn, file, text, line]| LineInfo {
                    insn: InsnIndex(start + insn as usize),
                    file: StringRef(file),
                    text: StringRef(text),
                    line: line >> 10,
                    column: line & 0x3ff,
                }));
            }
        }
        all
    }
}

/// Returns the records in a range of the blob, each of four words.
fn records(plan: &LoadPlan, span: Span) -> impl Iterator<Item = [u32; 4]> {
    let bytes = plan.object.bytes(span).unwrap_or_default();
    let word = |record: &[u8], at: usize| {
        let bytes = record.get(at * 4..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        if plan.endian == Endian::Little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
    };
    bytes.chunks_exact(16).map(move |record| [0, 1, 2, 3].map(|at| word(record, at)))
}

/// Returns the patches of a function's instructions; skips references that need no patch.
fn patches<'a>(object: &'a Object, body: &Body) -> impl Iterator<Item = Patch> + use<'a> {
    let bytes = object.bytes(body.patches).unwrap_or_default();
    bytes.chunks_exact(Patch::SIZE).filter_map(|chunk| Patch::from_bytes(*chunk.first_chunk()?))
}

/// Returns whether a function of the program has an emulated body, for kernels without direct access to percpu data.
pub(crate) fn is_emulated(object: &Object, program: &Program) -> bool {
    functions(object, program).iter().any(|(_, function)| function.emulated.is_some())
}

/// Returns the contents of a jump table, with instruction indices relative to the program.
pub(crate) fn entries(object: &Object, table: JumpTable, initial: &[u8]) -> Vec<u8> {
    let program = object.programs.get(table.program as usize);
    let functions = program.map(|program| functions(object, program)).unwrap_or_default();
    let before = functions.iter().take_while(|(index, _)| *index != table.function);
    let start: usize = before.map(|(_, function)| length(&function.body)).sum();
    let start = u32::try_from(start).unwrap_or(u32::MAX);
    let entries = initial.chunks_exact(4).filter_map(|entry| entry.first_chunk());
    entries.flat_map(|entry| start.saturating_add(u32::from_le_bytes(*entry)).to_le_bytes()).collect()
}

fn functions<'a>(object: &'a Object, program: &Program) -> Vec<(u32, &'a Function)> {
    program.functions.iter().filter_map(|&index| Some((index, object.functions.get(index as usize)?))).collect()
}

fn body(function: &Function, emulated: bool) -> &Body {
    function.emulated.as_ref().filter(|_| emulated).unwrap_or(&function.body)
}

fn length(body: &Body) -> usize {
    body.insns.len as usize / INSN_SIZE
}

/// Returns the immediate of a call at `from` to the function at `to`.
fn distance(from: usize, to: usize) -> i32 {
    let distance = i64::try_from(to).ok().zip(i64::try_from(from).ok()).map(|(to, from)| to - from - 1);
    distance.and_then(|distance| i32::try_from(distance).ok()).unwrap_or(0)
}
