//! Emulation of percpu data for kernels that do not support it, by rewriting linked functions to compute the address of
//! their CPU's copy.
//!
//! Direct access to the value of a percpu map requires Linux 7.3. On earlier kernels a percpu section is the value of
//! an ordinary array with one copy for each CPU. Copies begin at multiples of 64 bytes, so that CPUs do not share cache
//! lines. Every function that uses such a section gets a prologue. It saves the function's arguments, calls
//! `bpf_get_smp_processor_id`, and stores the address of each section's copy on the stack. Each 64-bit immediate load
//! of an address in the section becomes a load from the stack in two slots, so that only the prologue changes a
//! function's length. A program cannot migrate to another CPU while it runs, so the address stays valid.
//!
//! The pass maps [`LinkedFunction`]s to [`LinkedFunction`]s, whichever programs they are part of. It does not know
//! kernels: the mask with the number of CPUs is written into the prologue when the program is loaded.

mod flow;
mod forms;
mod live;
mod stack;
#[cfg(test)]
mod tests;

pub use forms::{Forms, FunctionForms, form, forms};

use std::collections::{BTreeMap, BTreeSet};

use crate::btf::ext::{CoreRelo, LineInfo};
use crate::btf::{Kind, TypeId};
use crate::error::{Code as ErrorCode, Diagnostic, Reporter, Result};
use crate::insn::{Code, Insn, InsnIndex, Ref};
use crate::link::{Linked, LinkedFunction, Outside};
use crate::model::{BpfObject, DataSection, MapId};
use skelgen_abi::plan::percpu_stride;
use skelgen_abi::{helper, opcode};

/// Returns the linked functions for kernels without direct access to percpu data, in order; `None` for each function
/// without percpu data.
///
/// # Errors
/// [`ErrorCode::BadLink`] for each function without enough free stack, and each program with both percpu data and a
/// jump table; [`ErrorCode::TooLarge`] for a section whose copies exceed 2 GiB for each CPU.
pub fn emulate(object: &BpfObject, linked: &Linked) -> Result<Vec<Option<LinkedFunction>>> {
    let mut reporter = Reporter::new();
    let sections: Vec<_> = linked.functions.iter().map(|function| percpu_sections(object, function)).collect();
    for program in &linked.programs {
        let has_table = program.functions.iter().any(|&function| !linked.functions[function].tables.is_empty());
        let has_data = program.functions.iter().any(|&function| !sections[function].is_empty());
        if has_table && has_data {
            let program = &object.programs[program.program.0 as usize];
            let message = "percpu data cannot be emulated in a program with a jump table";
            let help = "generate the skeleton without emulation, for Linux 7.3 and later (`--percpu native`, `Builder::percpu`)";
            reporter
                .report(Diagnostic::new(ErrorCode::BadLink, message).section(&*program.def.section).with_help(help));
        }
    }
    if sections.iter().all(BTreeSet::is_empty) {
        return reporter.finish(vec![None; linked.functions.len()]);
    }
    let arguments = arguments(object, &linked.functions);
    let mut emulated = Vec::new();
    for ((function, sections), arguments) in linked.functions.iter().zip(&sections).zip(arguments) {
        let has_data = !sections.is_empty();
        emulated.push(has_data.then(|| reporter.take(rewrite(object, function, sections, arguments))).flatten());
    }
    reporter.finish(emulated)
}

/// Returns the percpu sections that a function uses.
fn percpu_sections(object: &BpfObject, function: &LinkedFunction) -> BTreeSet<MapId> {
    let is_percpu = |map: MapId| {
        let section = object.maps.get(map.0 as usize).and_then(|map| map.section.as_ref());
        section.is_some_and(DataSection::is_percpu)
    };
    let used = function.code.refs.iter().filter_map(|reference| match reference.to {
        Outside::MapValue(map, _) if is_percpu(map) => Some(map),
        _ => None,
    });
    used.collect()
}

fn parameters(object: &BpfObject, external: usize) -> u8 {
    let ty = object.externs.get(external).and_then(|external| external.ty).map(TypeId);
    match object.btf.as_ref().zip(ty).map(|(btf, ty)| &btf.get(ty).kind) {
        Some(Kind::FuncProto { params, .. }) => u8::try_from(params.len()).unwrap_or(5),
        _ => 5,
    }
}

/// Returns the registers in which each function has arguments, as a bit mask. A function's registers depend on those of
/// its callees, so this iterates to a fixed point.
fn arguments(object: &BpfObject, functions: &[LinkedFunction]) -> Vec<u16> {
    let kernel: Vec<BTreeMap<usize, u8>> = functions
        .iter()
        .map(|function| {
            let calls = function.code.refs.iter().filter_map(|reference| match reference.to {
                Outside::Function(id) => Some((reference.at.0, parameters(object, id.0 as usize))),
                _ => None,
            });
            calls.collect()
        })
        .collect();
    let mut known = vec![0; functions.len()];
    loop {
        let before = known.clone();
        for (index, (function, kernel)) in functions.iter().zip(&kernel).enumerate() {
            let calls = function.code.refs.iter().filter_map(|reference| match reference.to {
                Outside::Subprogram(callee) => Some((reference.at.0, known.get(callee).copied().unwrap_or(0))),
                _ => None,
            });
            let local = calls.collect();
            known[index] = live::arguments(&function.code.insns, &live::Calls { local: &local, kernel });
        }
        if known == before {
            return known;
        }
    }
}

/// The new instructions of a function: a prologue, and a body of unchanged length.
struct Piece {
    prologue: Vec<Insn>,
    body: Vec<Insn>,
    refs: Vec<Ref<Outside>>,
}

fn rewrite(
    object: &BpfObject,
    function: &LinkedFunction,
    sections: &BTreeSet<MapId>,
    arguments: u16,
) -> Result<LinkedFunction> {
    let mut piece = Piece { prologue: Vec::new(), body: function.code.insns.clone(), refs: Vec::new() };
    let depth = stack::depth(&function.code.insns);
    let aligned = (depth + 7) & !7;
    let needed = aligned + 8 * i32::try_from(sections.len()).unwrap_or(i32::MAX / 16);
    if needed > stack::STACK_SIZE {
        let named = &object.functions[function.function.0 as usize];
        let message = format!(
            "function `{}` uses {depth} of its {} bytes of stack, and emulating percpu data takes {} more",
            named.name,
            stack::STACK_SIZE,
            needed - aligned
        );
        return Err(Diagnostic::new(ErrorCode::BadLink, message)
            .section(&named.section)
            .with_help(
                "reduce its stack use, or generate the skeleton without emulation, for Linux 7.3 and later (`--percpu native`, \
                 `Builder::percpu`)",
            )
            .into());
    }
    let slots: BTreeMap<MapId, i16> = sections
        .iter()
        .zip(1..)
        .map(|(map, number)| (*map, i16::try_from(-(aligned + 8 * number)).unwrap_or(i16::MIN)))
        .collect();
    prologue(object, &mut piece, &slots, arguments)?;
    let base = piece.prologue.len();
    for reference in &function.code.refs {
        match reference.to {
            Outside::MapValue(map, offset) if slots.contains_key(&map) => {
                let at = reference.at.0;
                let dst = piece.body[at].dst;
                piece.body[at] = Insn { code: LOAD, dst, src: FRAME, off: slots[&map], imm: 0 };
                let offset = i32::from_ne_bytes(offset.to_ne_bytes());
                piece.body[at + 1] = Insn { code: ADD, dst, src: 0, off: 0, imm: offset };
            }
            to => piece.refs.push(Ref { at: InsnIndex(base + reference.at.0), to }),
        }
    }
    Ok(moved(function, piece))
}

/// `rD = *(u64 *)(rS + off)`.
const LOAD: u8 = 0x79;
/// `*(u64 *)(rD + off) = rS`.
const STORE: u8 = 0x7b;
/// `rD += imm`.
const ADD: u8 = 0x07;
/// `rD += rS`.
const ADD_REGISTER: u8 = 0x0f;
/// `rD = rS`.
const MOVE: u8 = 0xbf;
/// `rD &= imm`.
const AND: u8 = 0x57;
/// `rD *= imm`.
const MULTIPLY: u8 = 0x27;
/// r10, the frame pointer.
const FRAME: u8 = 10;

fn prologue(object: &BpfObject, piece: &mut Piece, slots: &BTreeMap<MapId, i16>, arguments: u16) -> Result<()> {
    let saved: Vec<u8> = (1..=5).filter(|register| arguments & 1 << register != 0).collect();
    // r6 to r9 survive the call and are still free. A fifth argument is saved in the stack slot of the last section,
    // which is written last. With five arguments, that slot is written only after the argument is restored.
    let keep = |index: usize| u8::try_from(index + 6).ok().filter(|register| *register <= 9);
    let last = slots.values().copied().min().unwrap_or(0);
    let code = &mut piece.prologue;
    for (index, &register) in saved.iter().enumerate() {
        code.push(match keep(index) {
            Some(to) => Insn { code: MOVE, dst: to, src: register, off: 0, imm: 0 },
            None => Insn { code: STORE, dst: FRAME, src: register, off: last, imm: 0 },
        });
    }
    code.push(Insn { code: opcode::CALL, dst: 0, src: 0, off: 0, imm: helper::GET_SMP_PROCESSOR_ID });
    piece.refs.push(Ref { at: InsnIndex(code.len()), to: Outside::CpuMask });
    code.push(Insn { code: AND, dst: 0, src: 0, off: 0, imm: 0 });
    if saved.len() == 5 {
        code.push(Insn { code: LOAD, dst: 5, src: FRAME, off: last, imm: 0 });
    }
    for (&map, &slot) in slots {
        let size = object.maps[map.0 as usize].def.value_size;
        let align = object.maps[map.0 as usize].section.as_ref().map_or(1, |section| section.align);
        let Some(stride) = percpu_stride(size, align).and_then(|stride| i32::try_from(stride).ok()) else {
            let message = format!("{size} bytes of percpu data exceed the limit of emulation, 2 GiB for each CPU");
            return Err(Diagnostic::new(ErrorCode::TooLarge, message)
                .section(&*object.maps[map.0 as usize].def.name)
                .into());
        };
        piece.refs.push(Ref { at: InsnIndex(code.len()), to: Outside::MapValue(map, 0) });
        code.push(Insn { code: opcode::LD_IMM64, dst: 1, ..Insn::default() });
        code.push(Insn::default());
        code.push(Insn { code: MOVE, dst: 2, src: 0, off: 0, imm: 0 });
        piece.refs.push(Ref { at: InsnIndex(code.len()), to: Outside::Stride(map) });
        code.push(Insn { code: MULTIPLY, dst: 2, src: 0, off: 0, imm: stride });
        code.push(Insn { code: ADD_REGISTER, dst: 1, src: 2, off: 0, imm: 0 });
        code.push(Insn { code: STORE, dst: FRAME, src: 1, off: slot, imm: 0 });
    }
    for (index, &register) in saved.iter().enumerate() {
        if let Some(from) = keep(index) {
            code.push(Insn { code: MOVE, dst: register, src: from, off: 0, imm: 0 });
        }
    }
    Ok(())
}

/// Creates the function with these instructions, and adapts the offsets in its records.
fn moved(function: &LinkedFunction, piece: Piece) -> LinkedFunction {
    let base = piece.prologue.len();
    let with_body = |insn: InsnIndex| InsnIndex(base + insn.0);
    // A line record at the first instruction describes the function, so it stays at the beginning.
    let with_function = |insn: InsnIndex| if insn.0 == 0 { insn } else { with_body(insn) };
    let mut insns = piece.prologue;
    insns.extend(piece.body);
    LinkedFunction {
        code: Code { insns, refs: piece.refs },
        lines: function.lines.iter().map(|r| LineInfo { insn: with_function(r.insn), ..*r }).collect(),
        relos: function.relos.iter().map(|r| CoreRelo { insn: with_body(r.insn), ..*r }).collect(),
        tables: Vec::new(),
        ..*function
    }
}
