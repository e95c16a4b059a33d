//! Percpu data for kernels that do not know it: a linked program becomes one that finds its CPU's copy by itself.
//!
//! Direct access to a percpu map's value needs Linux 7.3. Before, a percpu section can be the value of an ordinary array, one copy
//! after another, each at a multiple of 64 bytes so that CPUs do not share cache lines. Every function that uses a section gets a
//! prologue: it keeps the function's arguments, asks for the CPU, and puts the address of the CPU's copy of each section on the
//! stack. Each two-slot load of an address in the section becomes a two-slot load from there, so nothing but the prologue changes
//! a function's length. A program cannot change its CPU while it runs, so the address stays right.
//!
//! A pass from [`LinkedProgram`] to [`LinkedProgram`]. It knows no kernel: how many CPUs there are is written into the prologue's
//! mask when the program is loaded.

mod flow;
mod forms;
mod helpers;
mod live;
mod stack;
#[cfg(test)]
mod tests;

pub use forms::{Forms, form, forms};

use std::collections::{BTreeMap, BTreeSet};

use crate::btf::Kind;
use crate::btf::ext::{CoreRelo, FuncInfo, LineInfo};
use crate::error::{Code as ErrorCode, Diagnostic, Result};
use crate::insn::{Code, Insn, InsnIndex, Ref, opcode};
use crate::link::{LinkedProgram, Outside};
use crate::model::{BpfObject, MapId};
use skelgen_abi::plan::{SectionKind, percpu_stride};
use skelgen_abi::uapi::pseudo;

/// The program for kernels without direct access to percpu data; `None` if it uses none.
///
/// # Errors
/// [`ErrorCode::BadLink`] if a function has no room left on its stack.
pub fn emulate(object: &BpfObject, program: &LinkedProgram) -> Result<Option<LinkedProgram>> {
    let is_percpu = |map: MapId| {
        let section = object.maps.get(map.0 as usize).and_then(|map| map.section.as_ref());
        section.is_some_and(|section| section.kind == SectionKind::Percpu)
    };
    let uses_percpu = |reference: &Ref<Outside>| matches!(reference.to, Outside::MapValue(map, _) if is_percpu(map));
    if !program.code.refs.iter().any(uses_percpu) {
        return Ok(None);
    }
    if !program.tables.is_empty() {
        let program = &object.programs[program.program.0 as usize];
        let message = "the program has a jump table and percpu data, which together need Linux 7.3";
        let note = "generate the native form alone (`--percpu native`, `Builder::percpu`)";
        return Err(Diagnostic::new(ErrorCode::BadLink, message).section(&program.section).note(note).into());
    }
    let parts = parts(object, program);
    let arguments = arguments(&parts);
    let mut pieces = Vec::new();
    for (part, arguments) in parts.iter().zip(arguments) {
        let sections: BTreeSet<MapId> = part
            .refs
            .iter()
            .filter_map(|reference| match reference.to {
                Outside::MapValue(map, _) if is_percpu(map) => Some(map),
                _ => None,
            })
            .collect();
        pieces.push(rewrite(object, part, &sections, arguments)?);
    }
    Ok(Some(join(program, &parts, pieces)))
}

/// One function of a program, by itself.
struct Part<'a> {
    name: &'a str,
    section: &'a str,
    start: usize,
    insns: &'a [Insn],
    refs: Vec<Ref<Outside>>,
    /// Calls and addresses of functions: slot in this function, and which part they mean.
    calls: Vec<(usize, usize)>,
    /// Calls of kernel functions: slot, and how many arguments they take.
    kernel: BTreeMap<usize, u8>,
}

fn parts<'a>(object: &'a BpfObject, program: &'a LinkedProgram) -> Vec<Part<'a>> {
    let starts: Vec<usize> = program.functions.iter().map(|(start, _)| start.0).collect();
    let mut parts = Vec::new();
    for (index, (start, id)) in program.functions.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(program.code.insns.len());
        let insns = &program.code.insns[start.0..end];
        let own = program.code.refs.iter().filter(|reference| (start.0..end).contains(&reference.at.0));
        let refs: Vec<_> = own.map(|r| Ref { at: InsnIndex(r.at.0 - start.0), to: r.to }).collect();
        let calls = insns.iter().enumerate().filter(|(_, insn)| means_function(**insn)).filter_map(|(slot, insn)| {
            let target = (start.0 + slot + 1).checked_add_signed(isize::try_from(insn.imm).ok()?)?;
            Some((slot, starts.binary_search(&target).ok()?))
        });
        let kernel = refs.iter().filter_map(|reference| match reference.to {
            Outside::Function(id) => Some((reference.at.0, parameters(object, id.0 as usize))),
            _ => None,
        });
        let function = &object.functions[id.0 as usize];
        parts.push(Part {
            name: &function.name,
            section: &function.section,
            start: start.0,
            calls: calls.collect(),
            kernel: kernel.collect(),
            insns,
            refs,
        });
    }
    parts
}

fn means_function(insn: Insn) -> bool {
    insn.is_local_call() || insn.is_wide_load() && insn.src == pseudo::FUNC
}

fn parameters(object: &BpfObject, external: usize) -> u8 {
    let ty = object.externs.get(external).map(|external| external.ty);
    match object.btf.as_ref().zip(ty).map(|(btf, ty)| &btf.get(ty).kind) {
        Some(Kind::FuncProto { params, .. }) => u8::try_from(params.len()).unwrap_or(5),
        _ => 5,
    }
}

/// The arguments of each part. What a caller passes on depends on what its callees read, so this goes on until nothing changes.
fn arguments(parts: &[Part<'_>]) -> Vec<u16> {
    let mut known = vec![0; parts.len()];
    loop {
        let before = known.clone();
        for (index, part) in parts.iter().enumerate() {
            let local = part.calls.iter().map(|&(slot, callee)| (slot, known[callee])).collect();
            known[index] = live::arguments(part.insns, &live::Calls { local: &local, kernel: &part.kernel });
        }
        if known == before {
            return known;
        }
    }
}

/// A rewritten function: a prologue and a body of the old length.
struct Piece {
    prologue: Vec<Insn>,
    body: Vec<Insn>,
    refs: Vec<Ref<Outside>>,
}

fn rewrite(object: &BpfObject, part: &Part<'_>, sections: &BTreeSet<MapId>, arguments: u16) -> Result<Piece> {
    let mut piece = Piece { prologue: Vec::new(), body: part.insns.to_vec(), refs: Vec::new() };
    if sections.is_empty() {
        piece.refs.clone_from(&part.refs);
        return Ok(piece);
    }
    let depth = stack::depth(part.insns);
    let aligned = (depth + 7) & !7;
    let needed = aligned + 8 * i32::try_from(sections.len()).unwrap_or(i32::MAX / 16);
    if needed > stack::STACK_SIZE {
        let message = format!(
            "function `{}` uses {depth} of its {} bytes of stack, and finding its CPU's data takes {} more",
            part.name,
            stack::STACK_SIZE,
            needed - aligned
        );
        return Err(Diagnostic::new(ErrorCode::BadLink, message)
            .section(part.section)
            .note("use less stack in it, or generate the native form only, for kernels from 7.3 (`--percpu native`)")
            .into());
    }
    let slots: BTreeMap<MapId, i16> = sections
        .iter()
        .zip(1..)
        .map(|(map, number)| (*map, i16::try_from(-(aligned + 8 * number)).unwrap_or(i16::MIN)))
        .collect();
    prologue(object, &mut piece, &slots, arguments)?;
    let base = piece.prologue.len();
    for reference in &part.refs {
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
    Ok(piece)
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
/// r10.
const FRAME: u8 = 10;

fn prologue(object: &BpfObject, piece: &mut Piece, slots: &BTreeMap<MapId, i16>, arguments: u16) -> Result<()> {
    let saved: Vec<u8> = (1..=5).filter(|register| arguments & 1 << register != 0).collect();
    // Four registers survive the call and hold nothing yet; a fifth argument waits in the stack slot of the last section, which
    // is written last. With five arguments the last slot is filled only after the argument is back.
    let keep = |index: usize| u8::try_from(index + 6).ok().filter(|register| *register <= 9);
    let last = slots.values().copied().min().unwrap_or(0);
    let code = &mut piece.prologue;
    for (index, &register) in saved.iter().enumerate() {
        code.push(match keep(index) {
            Some(to) => Insn { code: MOVE, dst: to, src: register, off: 0, imm: 0 },
            None => Insn { code: STORE, dst: FRAME, src: register, off: last, imm: 0 },
        });
    }
    code.push(Insn { code: opcode::CALL, dst: 0, src: 0, off: 0, imm: helpers::GET_SMP_PROCESSOR_ID });
    piece.refs.push(Ref { at: InsnIndex(code.len()), to: Outside::CpuMask });
    code.push(Insn { code: AND, dst: 0, src: 0, off: 0, imm: 0 });
    if saved.len() == 5 {
        code.push(Insn { code: LOAD, dst: 5, src: FRAME, off: last, imm: 0 });
    }
    for (&map, &slot) in slots {
        let size = object.maps[map.0 as usize].def.value_size;
        let align = object.maps[map.0 as usize].section.as_ref().map_or(1, |section| section.align);
        let Some(stride) = percpu_stride(size, align).and_then(|stride| i32::try_from(stride).ok()) else {
            let message = format!("{size} bytes of percpu data are too many");
            return Err(Diagnostic::new(ErrorCode::TooLarge, message)
                .section(&object.maps[map.0 as usize].name)
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

/// Puts the functions together again and moves what refers to them.
fn join(program: &LinkedProgram, parts: &[Part<'_>], pieces: Vec<Piece>) -> LinkedProgram {
    let mut starts = Vec::new();
    let mut bodies = Vec::new();
    let mut code = Code { insns: Vec::new(), refs: Vec::new() };
    for piece in pieces {
        let start = code.insns.len();
        starts.push(start);
        bodies.push(start + piece.prologue.len());
        code.insns.extend(piece.prologue);
        code.insns.extend(piece.body);
        code.refs.extend(piece.refs.into_iter().map(|r| Ref { at: InsnIndex(start + r.at.0), to: r.to }));
    }
    for (part, body) in parts.iter().zip(&bodies) {
        for &(slot, callee) in &part.calls {
            let distance = i64::try_from(starts[callee]).unwrap_or(0) - i64::try_from(body + slot + 1).unwrap_or(0);
            code.insns[body + slot].imm = i32::try_from(distance).unwrap_or(0);
        }
    }
    // A record at a function's first instruction speaks of the function, so it stays at its beginning; all others move with theirs.
    let part_of = |insn: usize| parts.partition_point(|part| part.start <= insn).saturating_sub(1);
    let with_body = |insn: InsnIndex| InsnIndex(bodies[part_of(insn.0)] + insn.0 - parts[part_of(insn.0)].start);
    let with_function = |insn: InsnIndex| {
        let part = part_of(insn.0);
        if insn.0 == parts[part].start { InsnIndex(starts[part]) } else { with_body(insn) }
    };
    LinkedProgram {
        program: program.program,
        code,
        functions: program.functions.iter().map(|(at, id)| (with_function(*at), *id)).collect(),
        funcs: program.funcs.iter().map(|r| FuncInfo { insn: with_function(r.insn), ..*r }).collect(),
        lines: program.lines.iter().map(|r| LineInfo { insn: with_function(r.insn), ..*r }).collect(),
        relos: program.relos.iter().map(|r| CoreRelo { insn: with_body(r.insn), ..*r }).collect(),
        tables: Vec::new(),
    }
}
