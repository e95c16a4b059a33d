//! Linking: finds the functions of each program, which are its own function and all functions that it calls, directly
//! or indirectly.
//!
//! A program's own function comes first, then the others in depth-first order of the calls. A function is stored once,
//! even if several programs call it; the runtime assembles programs when it loads them. References of linked functions
//! lead to other linked functions or outside the object's code: to maps and the kernel. This module does not depend on
//! kernels or plans.

use std::collections::HashMap;

use crate::btf::TypeId;
use crate::btf::ext::{CoreRelo, LineInfo};
use crate::insn::{Code, InsnIndex, Ref};
use crate::model::{BpfObject, ExternId, FunctionId, MapId, ProgramId, Reference};
use skelgen_abi::uapi::pseudo;

/// The programs of an object and the functions that they reach.
#[derive(Debug, Clone, Default)]
pub struct Linked {
    /// The functions, in the order in which programs first reach them.
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

/// A function that can be part of several programs. Instruction indexes count from its first instruction.
#[derive(Debug, Clone)]
pub struct LinkedFunction {
    /// The function.
    pub function: FunctionId,
    /// The function's instructions.
    pub code: Code<Outside>,
    /// The function in the object's BTF, if the compiler described it.
    pub btf_id: Option<TypeId>,
    /// The source lines of the instructions; empty without a `btf_id`.
    pub lines: Vec<LineInfo>,
    /// The CO-RE relocations of its instructions.
    pub relos: Vec<CoreRelo>,
    /// The function's jump tables: the target instruction of each table index.
    pub tables: Vec<Vec<InsnIndex>>,
}

/// The target of a reference from an instruction of a linked function to outside of that function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outside {
    /// A function, called or by address: an index into [`Linked::functions`].
    Subprogram(usize),
    /// A map.
    Map(MapId),
    /// A byte offset in a section of global data.
    MapValue(MapId, u32),
    /// The address of a kernel variable, a kernel function, or a kernel symbol without a type.
    Variable(ExternId),
    /// A call of a kernel function.
    Function(ExternId),
    /// A jump table: an index into the function's tables.
    JumpTable(usize),
    /// A mask of the running kernel's CPUs, in the immediate (see `emulate`).
    CpuMask,
    /// The distance in bytes between the copies of an emulated percpu section for two CPUs, in the immediate (see
    /// `emulate`).
    Stride(MapId),
}

/// Links all programs of an object.
#[must_use]
pub fn link(object: &BpfObject) -> Linked {
    let mut linker = Linker { object, linked: Linked::default(), known: HashMap::new(), reached: Vec::new() };
    for (number, program) in object.programs.iter().enumerate() {
        let mut functions = Vec::new();
        linker.reach(number, program.function, &mut functions);
        // The kernel finds the callback by name among the program's functions.
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
    /// The linked functions by the object's ids. Only looked up, never iterated, so its order does not affect the
    /// output.
    known: HashMap<FunctionId, usize>,
    /// For each linked function, the last program that reached it.
    reached: Vec<Option<usize>>,
}

impl Linker<'_> {
    /// Adds a function and, depth first, the functions that it calls to a program. An explicit stack avoids recursion
    /// on deep call chains.
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

    /// Schedules the calls of a function, unless the program already has the function.
    fn enter(&mut self, program: usize, function: usize, functions: &mut Vec<usize>, stack: &mut Vec<(usize, usize)>) {
        if self.reached[function].replace(program) != Some(program) {
            functions.push(function);
            stack.push((function, 0));
        }
    }

    /// Returns the index of the linked function for a function of the object, and links it if necessary.
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

    /// Sets the target of a reference to a linked function.
    fn refer(&mut self, caller: usize, reference: usize, callee: usize) {
        self.linked.functions[caller].code.refs[reference].to = Outside::Subprogram(callee);
    }
}

/// Creates a linked function whose references to functions are not yet set.
fn linked(object: &BpfObject, id: FunctionId) -> LinkedFunction {
    let function = &object.functions[id.0 as usize];
    let mut insns = function.code.insns.clone();
    let refs = function.code.refs.iter().map(|reference| {
        let at = reference.at.0;
        let to = match reference.to {
            Reference::Call(_) | Reference::FunctionAddress(_) => {
                insns[at].imm = 0;
                if insns[at].is_ld_imm64() {
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
