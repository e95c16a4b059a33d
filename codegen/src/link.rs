//! Makes each program self-contained: its function, followed by every function that it reaches.
//!
//! A program's own function comes first, then the others in the order in which a walk through the calls meets them first; calls
//! and addresses of functions become distances in instructions, and the records of each function move with it. What is left to
//! refer to is outside the program: maps and the kernel. Knows nothing of kernels or plans.

use std::collections::BTreeMap;

use crate::btf::ext::{CoreRelo, FuncInfo, LineInfo};
use crate::error::{Code as ErrorCode, Diagnostic, Reporter, Result};
use crate::insn::{Code, InsnIndex, Ref};
use crate::model::{BpfObject, ExternId, FunctionId, MapId, ProgramId, Reference};
use skelgen_abi::uapi::pseudo;

/// A program with all its functions in one stream of instructions.
#[derive(Debug, Clone)]
pub struct LinkedProgram {
    /// The program.
    pub program: ProgramId,
    /// Its instructions.
    pub code: Code<Outside>,
    /// Where each of its functions begins; the program's own is first, at 0.
    pub functions: Vec<(InsnIndex, FunctionId)>,
    /// Where functions begin and what their types are; empty if that is not known of all of them.
    pub funcs: Vec<FuncInfo>,
    /// Which line the instructions from here on come from.
    pub lines: Vec<LineInfo>,
    /// What must be adjusted to the running kernel's types.
    pub relos: Vec<CoreRelo>,
    /// Its jump tables: instructions by what an index into the table means.
    pub tables: Vec<Vec<InsnIndex>>,
}

/// What an instruction of a linked program refers to: something outside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outside {
    /// A map.
    Map(MapId),
    /// A byte of a section of global data.
    MapValue(MapId, u32),
    /// A kernel variable.
    Variable(ExternId),
    /// A call of a kernel function.
    Function(ExternId),
    /// A jump table, by its place among the program's.
    JumpTable(usize),
    /// The running kernel's CPUs, as a mask in the immediate (see [`crate::emulate`]).
    CpuMask,
    /// The bytes from one CPU's copy of an emulated percpu section to the next, in the immediate (the same).
    Stride(MapId),
}

/// Links every program of an object.
///
/// # Errors
/// The codes of phase 04.
pub fn link(object: &BpfObject) -> Result<Vec<LinkedProgram>> {
    let mut reporter = Reporter::new();
    let mut programs = Vec::new();
    for (index, program) in object.programs.iter().enumerate() {
        let id = ProgramId(u32::try_from(index).unwrap_or(u32::MAX));
        let mut linker = Linker::new(object, id);
        linker.append(program.function);
        // The kernel finds it among the program's functions by its name.
        if let Some(callback) = program.exception.filter(|callback| !linker.starts.contains_key(callback)) {
            linker.append(callback);
        }
        programs.extend(reporter.take(linker.finish()));
    }
    reporter.finish(programs)
}

struct Linker<'a> {
    object: &'a BpfObject,
    linked: LinkedProgram,
    starts: BTreeMap<FunctionId, usize>,
    /// Where each function's jump tables begin among the program's.
    tables: BTreeMap<FunctionId, usize>,
    calls: Vec<(usize, FunctionId)>,
}

impl<'a> Linker<'a> {
    fn new(object: &'a BpfObject, program: ProgramId) -> Self {
        let linked = LinkedProgram {
            program,
            code: Code::default(),
            functions: Vec::new(),
            funcs: Vec::new(),
            lines: Vec::new(),
            relos: Vec::new(),
            tables: Vec::new(),
        };
        Self { object, linked, starts: BTreeMap::new(), tables: BTreeMap::new(), calls: Vec::new() }
    }

    /// Appends a function and, depth first, what it calls. An explicit stack keeps deep call chains off ours.
    fn append(&mut self, first: FunctionId) {
        let mut stack = vec![(self.place(first), first, 0)];
        while let Some((base, id, next)) = stack.pop() {
            let refs = &self.object.functions[id.0 as usize].code.refs;
            let Some(reference) = refs.get(next) else { continue };
            stack.push((base, id, next + 1));
            let at = base + reference.at.0;
            let outside = match reference.to {
                Reference::Call(callee) | Reference::FunctionAddress(callee) => {
                    self.calls.push((at, callee));
                    if !self.starts.contains_key(&callee) {
                        stack.push((self.place(callee), callee, 0));
                    }
                    continue;
                }
                Reference::Map(map) => Outside::Map(map),
                Reference::MapValue(map, offset) => Outside::MapValue(map, offset),
                Reference::ExternVariable(id) => Outside::Variable(id),
                Reference::ExternCall(id) => Outside::Function(id),
                Reference::JumpTable(index) => Outside::JumpTable(self.first_table(id) + index),
            };
            self.linked.code.refs.push(Ref { at: InsnIndex(at), to: outside });
        }
    }

    /// Copies a function's instructions and records to the end; gives where it begins.
    fn place(&mut self, id: FunctionId) -> usize {
        let function = &self.object.functions[id.0 as usize];
        let linked = &mut self.linked;
        let base = linked.code.insns.len();
        let moved = |insn: InsnIndex| InsnIndex(base + insn.0);
        self.starts.insert(id, base);
        linked.functions.push((InsnIndex(base), id));
        self.tables.insert(id, linked.tables.len());
        linked.tables.extend(
            function
                .tables
                .iter()
                .map(|table| table.iter().map(|insn| InsnIndex(base.wrapping_add(insn.0))).collect::<Vec<_>>()),
        );
        extend(&mut linked.code.insns, function.code.insns.iter().copied());
        let info = &function.info;
        extend(&mut linked.funcs, info.funcs.iter().map(|record| FuncInfo { insn: moved(record.insn), ..*record }));
        extend(&mut linked.lines, info.lines.iter().map(|record| LineInfo { insn: moved(record.insn), ..*record }));
        extend(&mut linked.relos, info.relos.iter().map(|record| CoreRelo { insn: moved(record.insn), ..*record }));
        base
    }

    fn first_table(&self, function: FunctionId) -> usize {
        self.tables.get(&function).copied().unwrap_or(0)
    }

    fn finish(self) -> Result<LinkedProgram> {
        let Self { object, mut linked, starts, calls, .. } = self;
        for (at, callee) in calls {
            let distance = starts.get(&callee).and_then(|start| {
                let start = i64::try_from(*start).ok()?;
                i32::try_from(start - i64::try_from(at).ok()? - 1).ok()
            });
            let Some(distance) = distance else {
                let program = &object.programs[linked.program.0 as usize];
                let message = format!("a call is too far in a program of {} instructions", linked.code.insns.len());
                return Err(Diagnostic::new(ErrorCode::BadLink, message).section(&program.section).into());
            };
            let insn = &mut linked.code.insns[at];
            insn.imm = distance;
            if insn.is_wide_load() {
                insn.src = pseudo::FUNC;
                linked.code.insns[at + 1].imm = 0;
            } else {
                insn.src = pseudo::CALL;
            }
        }
        linked.code.refs.sort_by_key(|reference| reference.at);
        let described =
            linked.functions.iter().all(|(start, _)| linked.funcs.iter().any(|record| record.insn == *start));
        if !described || linked.funcs.len() != linked.functions.len() {
            linked.funcs.clear();
            linked.lines.clear();
        }
        Ok(linked)
    }
}

/// Adds items to the end. A list that doubles whenever it is full leaves up to half of a large program's memory unused; this one
/// grows by an eighth beyond what is asked for.
fn extend<T>(list: &mut Vec<T>, items: impl ExactSizeIterator<Item = T>) {
    if list.capacity() - list.len() < items.len() {
        list.reserve_exact(items.len() + list.len() / 8);
    }
    list.extend(items);
}
