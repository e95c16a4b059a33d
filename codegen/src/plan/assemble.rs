//! Assembly of programs from their functions, as the runtime does it at load time, for printing plans.
//!
//! This module does not know the kernel, so it applies only patches of distances between functions.

use std::collections::BTreeMap;

use skelgen_abi::plan::{Body, Function, JumpTable, Object, Patch, PatchKind, Program};

use super::LoadPlan;
use crate::insn::{INSN_SIZE, Insn};

/// A program in one form of percpu data.
pub(super) struct Assembled {
    pub(super) insns: Vec<Insn>,
    /// The patches of all functions, with instruction indices relative to the program.
    pub(super) patches: Vec<Patch>,
    /// The number of function records.
    pub(super) functions: usize,
    /// The number of line records.
    pub(super) lines: usize,
    /// The number of CO-RE records.
    pub(super) relos: usize,
}

impl Assembled {
    /// Assembles a program.
    pub(super) fn new(plan: &LoadPlan, program: &Program, emulated: bool) -> Self {
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
        let mut all = Self { insns: Vec::new(), patches: Vec::new(), functions: 0, lines: 0, relos: 0 };
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
            all.relos += body.core_relos.len as usize / 16;
            if described {
                all.functions += 1;
                all.lines += body.line_info.len as usize / 16;
            }
        }
        all
    }
}

/// Returns the patches of a function's instructions; skips references that are not patches.
fn patches<'a>(object: &'a Object, body: &Body) -> impl Iterator<Item = Patch> + use<'a> {
    let bytes = object.bytes(body.patches).unwrap_or_default();
    bytes.chunks_exact(Patch::SIZE).filter_map(|chunk| Patch::from_bytes(*chunk.first_chunk()?))
}

/// Returns whether a program has an emulated form for kernels without direct access to percpu data.
pub(super) fn is_emulated(object: &Object, program: &Program) -> bool {
    functions(object, program).iter().any(|(_, function)| function.emulated.is_some())
}

/// Returns the contents of a jump table, with instruction indices relative to the program.
pub(super) fn entries(object: &Object, table: JumpTable, initial: &[u8]) -> Vec<u8> {
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
