//! Finds the functions of each program: its own, followed by every function that it reaches.
//!
//! A program's own function comes first, then the others in the order in which a walk through the calls meets them first. A function
//! stands once, whichever programs call it; programs are put together where they are loaded. What functions refer to is one of
//! them, or outside the object's code: maps and the kernel. Knows nothing of kernels or plans.

use std::collections::HashMap;

use crate::btf::TypeId;
use crate::btf::ext::{CoreRelo, LineInfo};
use crate::insn::{Code, InsnIndex, Ref};
use crate::model::{BpfObject, ExternId, FunctionId, MapId, ProgramId, Reference};
use skelgen_abi::uapi::pseudo;

/// The programs of an object and the functions that they reach.
#[derive(Debug, Clone, Default)]
pub struct Linked {
    /// The functions, in the order in which the programs reach them first.
    pub functions: Vec<LinkedFunction>,
    /// The programs, in the object's order.
    pub programs: Vec<LinkedProgram>,
}

/// A program as an ordered list of functions.
#[derive(Debug, Clone)]
pub struct LinkedProgram {
    /// The program.
    pub program: ProgramId,
    /// Indexes into [`Linked::functions`], each once; the program's own is first.
    pub functions: Vec<usize>,
}

/// A function that can be part of several programs. Its instructions are counted from its first.
#[derive(Debug, Clone)]
pub struct LinkedFunction {
    /// The function.
    pub function: FunctionId,
    /// Its instructions.
    pub code: Code<Outside>,
    /// The function in the object's BTF, if the compiler described it.
    pub btf_id: Option<TypeId>,
    /// Which line the instructions from here on come from; empty without a `btf_id`.
    pub lines: Vec<LineInfo>,
    /// What must be adjusted to the running kernel's types.
    pub relos: Vec<CoreRelo>,
    /// Its jump tables: instructions by what an index into the table means.
    pub tables: Vec<Vec<InsnIndex>>,
}

/// What an instruction of a linked function refers to: something outside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outside {
    /// A function, called or by its address: an index into [`Linked::functions`].
    Subprogram(usize),
    /// A map.
    Map(MapId),
    /// A byte of a section of global data.
    MapValue(MapId, u32),
    /// A kernel variable.
    Variable(ExternId),
    /// A call of a kernel function.
    Function(ExternId),
    /// A jump table, by its number among the function's.
    JumpTable(usize),
    /// The running kernel's CPUs, as a mask in the immediate (see `emulate`).
    CpuMask,
    /// The bytes from one CPU's copy of an emulated percpu section to the next, in the immediate (the same).
    Stride(MapId),
}

/// Links every program of an object.
#[must_use]
pub fn link(object: &BpfObject) -> Linked {
    let mut linker = Linker { object, linked: Linked::default(), known: HashMap::new(), reached: Vec::new() };
    for (number, program) in object.programs.iter().enumerate() {
        let mut functions = Vec::new();
        linker.reach(number, program.function, &mut functions);
        // The kernel finds it among the program's functions by its name.
        if let Some(callback) = program.exception {
            linker.reach(number, callback, &mut functions);
        }
        let program = ProgramId(u32::try_from(number).unwrap_or(u32::MAX));
        linker.linked.programs.push(LinkedProgram { program, functions });
    }
    linker.linked
}

struct Linker<'a> {
    object: &'a BpfObject,
    linked: Linked,
    /// The linked functions by the object's. Looked up only, never iterated, so that its order cannot show.
    known: HashMap<FunctionId, usize>,
    /// By linked function: the last program that reached it.
    reached: Vec<Option<usize>>,
}

impl Linker<'_> {
    /// Adds a function to a program's and, depth first, what it calls. An explicit stack keeps deep call chains off ours.
    fn reach(&mut self, program: usize, first: FunctionId, functions: &mut Vec<usize>) {
        let mut stack = Vec::new();
        let first = self.function(first);
        self.enter(program, first, functions, &mut stack);
        while let Some((caller, next)) = stack.pop() {
            let id = self.linked.functions[caller].function;
            let refs = &self.object.functions[id.0 as usize].code.refs;
            let callee = refs.iter().enumerate().skip(next).find_map(|(at, reference)| match reference.to {
                Reference::Call(callee) | Reference::FunctionAddress(callee) => Some((at, callee)),
                _ => None,
            });
            let Some((at, callee)) = callee else { continue };
            stack.push((caller, at + 1));
            let callee = self.function(callee);
            self.refer(caller, at, callee);
            self.enter(program, callee, functions, &mut stack);
        }
    }

    /// Begins with what a function calls, unless the program has it already.
    fn enter(&mut self, program: usize, function: usize, functions: &mut Vec<usize>, stack: &mut Vec<(usize, usize)>) {
        if self.reached[function].replace(program) != Some(program) {
            functions.push(function);
            stack.push((function, 0));
        }
    }

    /// The linked function of one of the object's.
    fn function(&mut self, id: FunctionId) -> usize {
        if let Some(&known) = self.known.get(&id) {
            return known;
        }
        let number = self.linked.functions.len();
        self.known.insert(id, number);
        self.linked.functions.push(linked(self.object, id));
        self.reached.push(None);
        number
    }

    /// Makes a reference of a function lead to a linked one.
    fn refer(&mut self, caller: usize, reference: usize, callee: usize) {
        self.linked.functions[caller].code.refs[reference].to = Outside::Subprogram(callee);
    }
}

/// A function whose references to functions are still to be set.
fn linked(object: &BpfObject, id: FunctionId) -> LinkedFunction {
    let function = &object.functions[id.0 as usize];
    let mut insns = function.code.insns.clone();
    let refs = function.code.refs.iter().map(|reference| {
        let at = reference.at.0;
        let to = match reference.to {
            Reference::Call(_) | Reference::FunctionAddress(_) => {
                insns[at].imm = 0;
                if insns[at].is_wide_load() {
                    insns[at].src = pseudo::FUNC;
                    insns[at + 1].imm = 0;
                } else {
                    insns[at].src = pseudo::CALL;
                }
                Outside::Subprogram(usize::MAX)
            }
            Reference::Map(map) => Outside::Map(map),
            Reference::MapValue(map, offset) => Outside::MapValue(map, offset),
            Reference::ExternVariable(id) => Outside::Variable(id),
            Reference::ExternCall(id) => Outside::Function(id),
            Reference::JumpTable(index) => Outside::JumpTable(index),
        };
        Ref { at: reference.at, to }
    });
    let refs = refs.collect();
    let info = &function.info;
    let btf_id = match &info.funcs[..] {
        [record] if record.insn == InsnIndex(0) => Some(record.ty),
        _ => None,
    };
    LinkedFunction {
        function: id,
        code: Code { insns, refs },
        btf_id,
        lines: if btf_id.is_some() { info.lines.clone() } else { Vec::new() },
        relos: info.relos.clone(),
        tables: function.tables.clone(),
    }
}
