//! The instructions of a program that a kernel's verifier reaches.
//!
//! The verifier does not follow a branch whose condition it knows to be false, so code that a kernel does not support is
//! allowed there. It knows numbers in the instructions, variables of read-only sections, the results of CO-RE relocations,
//! and whether a weak symbol exists. This module follows the same branches: it interprets each function once for all
//! callers, and keeps what is known about registers and the stack. Where paths meet, only what is equal on all of them
//! stays known, so some instructions count as reached that the verifier does not reach, but not the reverse.

use std::collections::{BTreeMap, BTreeSet};

use skelgen_abi::opcode;
use skelgen_abi::plan::{SectionKind, Symbol, essential_name};
use skelgen_abi::relocation::RelocationKind;

use super::kernel::{Kernel, Relocated, Resolved};
use super::state::{State, arithmetic, extended, operand, size, store, unsigned};
use super::value::{Jumps, Value};
use crate::insn::{Endian, Insn, InsnIndex};
use crate::model::reached::{Reached, reached};
use crate::model::{BpfObject, ExternId, FunctionId, MapId, Program, Reference};

/// The first Linux that verifies only those global functions that a program calls.
const LAZY_GLOBAL_FUNCTIONS: (u16, u16) = (6, 8);

/// What is known about an object on a kernel.
pub(super) struct Facts<'a> {
    object: &'a BpfObject,
    kernel: &'a Kernel,
    /// The kinds of relocations without a value.
    unknown: BTreeMap<(FunctionId, InsnIndex), RelocationKind>,
    resolved: Option<&'a Resolved>,
    /// The address of each extern.
    symbols: Vec<Value>,
}

/// The instructions that the verifier reaches.
pub(super) struct Live {
    /// Those that it reaches whatever the unknown facts about the kernel are.
    pub(super) certain: Reached,
    /// Those that it may reach.
    pub(super) possible: Reached,
    /// The certain ones that call [`PER_CPU`] helpers with a null pointer, which the address of a missing weak variable is.
    pub(super) null_calls: BTreeSet<(FunctionId, usize)>,
}

/// The helpers `bpf_per_cpu_ptr` and `bpf_this_cpu_ptr`, whose first argument is the address of a kernel variable.
pub(super) const PER_CPU: [i32; 2] = [153, 154];

impl<'a> Facts<'a> {
    /// Collects the facts. `resolved` is what the kernel's types determine, if they are known.
    pub(super) fn new(object: &'a BpfObject, kernel: &'a Kernel, resolved: Option<&'a Resolved>) -> Self {
        let mut unknown = BTreeMap::new();
        if resolved.is_none() {
            for (index, function) in (0..).zip(&object.functions) {
                let kinds = function.info.relos.iter().filter_map(|it| Some((it.insn, RelocationKind::of(it.kind)?)));
                unknown.extend(kinds.map(|(insn, kind)| ((FunctionId(index), insn), kind)));
            }
        }
        let externs = (0..).zip(&object.externs);
        let is_incompatible = |id| resolved.is_some_and(|resolved| resolved.incompatible.contains(&ExternId(id)));
        let symbols = externs.map(|(id, symbol)| address(symbol, kernel, is_incompatible(id))).collect();
        Self { object, kernel, unknown, resolved, symbols }
    }

    /// Returns the instructions of a program that the verifier reaches.
    pub(super) fn live(&self, program: &Program) -> Live {
        let run = |follow| Run::new(self, program, follow).finish();
        let (certain, null_calls) = run(false).unwrap_or_default();
        let possible = run(true).map(|(reached, _)| reached);
        Live { certain, possible: possible.unwrap_or_else(|| Reached::by_calls(self.object, program)), null_calls }
    }

    /// Returns the value of the relocation of an instruction, if the instruction has one.
    fn relocated(&self, function: FunctionId, at: usize) -> Option<Value> {
        let key = (function, InsnIndex(at));
        match self.resolved {
            Some(resolved) => Some(match resolved.relocations.get(&key)? {
                Relocated::Number(number) => Value::Number(*number),
                Relocated::Absent => Value::Unknown,
            }),
            None => Some(if self.unknown.get(&key)?.may_be_absent() { Value::Kernel } else { Value::Unknown }),
        }
    }

    /// Returns the value of `len` bytes in a section that neither programs nor users change after the load.
    fn constant(&self, map: MapId, at: u32, len: usize) -> Value {
        let Some(section) = self.object.maps.get(map.0 as usize).and_then(|map| map.section.as_ref()) else {
            return Value::Unknown;
        };
        match section.kind {
            SectionKind::Kconfig => match self.object.kconfig.iter().find(|config| config.offset == at) {
                Some(config) if config.name == "LINUX_KERNEL_VERSION" => {
                    self.kernel.version.map_or(Value::Kernel, |(major, minor)| {
                        Value::Version(u32::from(major) << 16 | u32::from(minor) << 8)
                    })
                }
                _ => Value::Kernel,
            },
            SectionKind::Rodata => {
                let begin = at as usize;
                let overlaps = |address: &u32| *address < at.saturating_add(8) && at < address.saturating_add(8);
                if begin + len > section.size as usize || section.addresses.iter().any(overlaps) {
                    return Value::Unknown;
                }
                // A section without bytes is zero.
                let mut bytes = [0; 8];
                let found = section.bytes.get(begin..begin + len).unwrap_or(&[0; 8][..len]);
                match self.object.endian {
                    Endian::Little => bytes[..len].copy_from_slice(found),
                    Endian::Big => bytes[8 - len..].copy_from_slice(found),
                }
                Value::Number(self.object.endian.u64(bytes))
            }
            _ => Value::Unknown,
        }
    }
}

/// Returns the address of a symbol of the kernel.
fn address(symbol: &Symbol, kernel: &Kernel, is_incompatible: bool) -> Value {
    match kernel.has(symbol.kind, essential_name(&symbol.name)) {
        _ if !symbol.weak => Value::Address,
        // A weak symbol of another type counts as missing.
        _ if is_incompatible => Value::Number(0),
        Some(true) => Value::Address,
        Some(false) => Value::Number(0),
        None => Value::Kernel,
    }
}

/// The interpretation of a program.
struct Run<'a> {
    facts: &'a Facts<'a>,
    /// Whether to follow branches that depend on unknown facts about the kernel.
    follow: bool,
    reached: Reached,
    null_calls: BTreeSet<(FunctionId, usize)>,
    /// The states at the beginnings of functions, the targets of jumps, and calls of functions.
    states: BTreeMap<(FunctionId, usize), State>,
    left: BTreeSet<(FunctionId, usize)>,
    /// The results of functions that return.
    results: BTreeMap<FunctionId, Value>,
    /// The calls of each function.
    calls: BTreeMap<FunctionId, BTreeSet<(FunctionId, usize)>>,
    joins: BTreeMap<FunctionId, Vec<bool>>,
    /// The number of instructions that may still be interpreted.
    budget: usize,
}

impl<'a> Run<'a> {
    fn new(facts: &'a Facts<'a>, program: &Program, follow: bool) -> Self {
        let functions = reached(facts.object, program);
        let insns = |id: &FunctionId| facts.object.functions[id.0 as usize].code.insns.len();
        let budget = functions.iter().map(insns).sum::<usize>().saturating_mul(16);
        let mut run = Self {
            facts,
            follow,
            reached: Reached::default(),
            null_calls: BTreeSet::new(),
            states: BTreeMap::new(),
            left: BTreeSet::new(),
            results: BTreeMap::new(),
            calls: BTreeMap::new(),
            joins: functions.iter().map(|&id| (id, joins(facts.object, id))).collect(),
            budget,
        };
        let mut context = [Value::Unknown; 5];
        context[0] = Value::Address;
        run.enter((program.function, 0), &State::entry(context));
        let unknown = State::entry([Value::Unknown; 5]);
        program.exception.into_iter().for_each(|id| run.enter((id, 0), &unknown));
        if facts.kernel.version.is_some_and(|version| version < LAZY_GLOBAL_FUNCTIONS) {
            let global = functions.iter().filter(|id| facts.object.functions[id.0 as usize].global);
            global.for_each(|&id| run.enter((id, 0), &unknown));
        }
        run
    }

    /// Interprets until nothing changes. Returns `None` if that takes too long.
    fn finish(mut self) -> Option<(Reached, BTreeSet<(FunctionId, usize)>)> {
        while let Some(at) = self.left.pop_first() {
            let mut state = self.states.get(&at)?.clone();
            let (function, mut index) = at;
            // Instructions up to the next place where paths join.
            while let Some(next) = self.step(function, index, &mut state) {
                self.budget = self.budget.checked_sub(1)?;
                if self.is_join(function, next) {
                    self.enter((function, next), &state);
                    break;
                }
                index = next;
            }
            self.budget = self.budget.checked_sub(1)?;
        }
        Some((self.reached, self.null_calls))
    }

    fn is_join(&self, function: FunctionId, index: usize) -> bool {
        self.joins.get(&function).and_then(|joins| joins.get(index)).copied().unwrap_or(false)
    }

    /// Adds a path that leads to an instruction.
    fn enter(&mut self, at: (FunctionId, usize), state: &State) {
        let is_new = match self.states.get_mut(&at) {
            Some(known) => known.merge(state),
            None => self.states.insert(at, state.clone()).is_none(),
        };
        if is_new {
            self.left.insert(at);
        }
    }

    /// Interprets an instruction. Returns the next one, if the path does not end.
    fn step(&mut self, function: FunctionId, at: usize, state: &mut State) -> Option<usize> {
        let facts = self.facts;
        let code = &facts.object.functions[function.0 as usize].code;
        let insn = *code.insns.get(at)?;
        self.reached.insert(function, code.insns.len(), at);
        let reference = code.reference(at);
        let relocated = facts.relocated(function, at);
        let (dst, src) = (usize::from(insn.dst), usize::from(insn.src));
        match insn.code & opcode::CLASS_MASK {
            opcode::LD if insn.is_ld_imm64() => {
                state.registers[dst] = match reference {
                    Some(Reference::MapValue(map, offset)) => Value::Data(map, Some(offset)),
                    Some(Reference::ExternVariable(id)) => {
                        facts.symbols.get(id.0 as usize).copied().unwrap_or(Value::Unknown)
                    }
                    Some(Reference::FunctionAddress(callee)) => {
                        self.enter((callee, 0), &State::entry([Value::Unknown; 5]));
                        Value::Address
                    }
                    Some(_) => Value::Address,
                    None => relocated.unwrap_or_else(|| {
                        let high = code.insns.get(at + 1).map_or(0, |insn| insn.imm);
                        Value::Number(u64::from(unsigned(high)) << 32 | u64::from(unsigned(insn.imm)))
                    }),
                };
                return Some(at + 2);
            }
            opcode::LD => state.call(Value::Unknown),
            opcode::LDX => {
                let signed = insn.code & opcode::MODE_MASK == opcode::MEMSX;
                state.registers[dst] = self.loaded(insn, state.registers[src], state, signed);
            }
            opcode::ST => store(state, insn, Value::Number(extended(insn.imm))),
            opcode::STX if insn.code & opcode::MODE_MASK == opcode::ATOMIC => {
                store(state, insn, Value::Unknown);
                match insn.imm {
                    opcode::LOAD_ACQUIRE => state.registers[dst] = Value::Unknown,
                    opcode::CMPXCHG => state.registers[0] = Value::Unknown,
                    fetch if fetch & opcode::FETCH != 0 => state.registers[src] = Value::Unknown,
                    _ => {}
                }
            }
            opcode::STX => store(state, insn, state.registers[src]),
            opcode::ALU | opcode::ALU64 => state.registers[dst] = arithmetic(insn, state, relocated),
            _ => return self.jump(function, at, insn, reference, state),
        }
        Some(at + 1)
    }

    /// Returns what a load reads.
    fn loaded(&self, insn: Insn, from: Value, state: &State, signed: bool) -> Value {
        let len = size(insn);
        let value = match from {
            Value::Data(map, Some(at)) => {
                let at = i64::from(at) + i64::from(insn.off);
                u32::try_from(at).map_or(Value::Unknown, |at| self.facts.constant(map, at, len))
            }
            Value::Stack(Some(at)) => state.load(at.saturating_add(insn.off.into()), len),
            Value::Stack(None) => Value::Stack(None),
            _ => Value::Unknown,
        };
        match value {
            Value::Number(number) if signed => {
                let unused = 64 - 8 * u32::try_from(len).unwrap_or(8);
                let number = i64::from_ne_bytes((number << unused).to_ne_bytes()) >> unused;
                Value::Number(u64::from_ne_bytes(number.to_ne_bytes()))
            }
            value => value,
        }
    }

    /// Interprets a jump, call or exit.
    fn jump(
        &mut self,
        function: FunctionId,
        at: usize,
        insn: Insn,
        reference: Option<Reference>,
        state: &mut State,
    ) -> Option<usize> {
        let target = |distance: i64| usize::try_from(i64::try_from(at).ok()? + 1 + distance).ok();
        let is_wide = insn.code & opcode::CLASS_MASK == opcode::JMP;
        match (insn.code & opcode::OP_MASK, is_wide) {
            (opcode::JA, true) if insn.code & opcode::X != 0 => {
                // A jump through a table leads to any entry of the function's tables.
                let code = &self.facts.object.functions[function.0 as usize];
                code.tables.iter().flatten().for_each(|to| self.enter((function, to.0), state));
                None
            }
            (opcode::JA, true) => target(insn.off.into()),
            (opcode::JA, false) => target(insn.imm.into()),
            (0x80, _) => match reference {
                Some(Reference::Call(callee)) => {
                    self.calls.entry(callee).or_default().insert((function, at));
                    let is_global = self.facts.object.functions[callee.0 as usize].global;
                    let argument = |register: usize| match state.registers[register] {
                        // The callee has a stack frame of its own.
                        Value::Stack(_) => Value::Unknown,
                        value => value,
                    };
                    let arguments = if is_global { [Value::Unknown; 5] } else { [1, 2, 3, 4, 5].map(argument) };
                    self.enter((callee, 0), &State::entry(arguments));
                    // The kernel verifies a global function on its own, so its result is unknown.
                    let result = if is_global { Some(Value::Unknown) } else { self.results.get(&callee).copied() };
                    state.call(result?);
                    Some(at + 1)
                }
                _ => {
                    // The last visit of an instruction has the final state.
                    match insn.is_helper_call() && PER_CPU.contains(&insn.imm) && state.registers[1] == Value::Number(0)
                    {
                        true => self.null_calls.insert((function, at)),
                        false => self.null_calls.remove(&(function, at)),
                    };
                    state.call(Value::Unknown);
                    Some(at + 1)
                }
            },
            (0x90, _) => {
                let result = match state.registers[0] {
                    Value::Stack(_) => Value::Unknown,
                    value => value,
                };
                let known = self.results.get(&function).copied();
                let merged = known.map_or(result, |known| known.or(result));
                if known != Some(merged) {
                    self.results.insert(function, merged);
                    self.left.extend(self.calls.get(&function).into_iter().flatten());
                }
                None
            }
            (operation, _) => {
                let (next, target) = (at + 1, target(insn.off.into())?);
                let dst = usize::from(insn.dst);
                let operand = operand(insn, state);
                let jumps = match operation {
                    opcode::JCOND => Jumps::Perhaps,
                    _ => state.registers[dst].jumps(insn, operand),
                };
                match jumps {
                    Jumps::Always => Some(target),
                    Jumps::Never => Some(next),
                    Jumps::PerKernel if !self.follow => None,
                    Jumps::PerKernel | Jumps::Perhaps => {
                        let mut equal = state.clone();
                        let is_unknown = is_wide && state.registers[dst] == Value::Unknown;
                        if let (Value::Number(_), true) = (operand, is_unknown) {
                            equal.registers[dst] = operand;
                        }
                        let jumping = if operation == opcode::JEQ { &equal } else { &*state };
                        self.enter((function, target), jumping);
                        if operation == opcode::JNE {
                            *state = equal;
                        }
                        Some(next)
                    }
                }
            }
        }
    }
}

/// Returns for each instruction of a function whether several paths can lead to it, or whether it calls a function.
fn joins(object: &BpfObject, id: FunctionId) -> Vec<bool> {
    let function = &object.functions[id.0 as usize];
    let insns = &function.code.insns;
    let mut joins = vec![false; insns.len()];
    let mut set = |at: Option<usize>| {
        at.and_then(|at| joins.get_mut(at)).into_iter().for_each(|join| *join = true);
    };
    set(Some(0));
    for (at, insn) in insns.iter().enumerate() {
        let class = insn.code & opcode::CLASS_MASK;
        let after = |distance: i64| usize::try_from(i64::try_from(at).ok()? + 1 + distance).ok();
        match insn.code & opcode::OP_MASK {
            _ if !matches!(class, opcode::JMP | opcode::JMP32) => {}
            opcode::JA if class == opcode::JMP32 => set(after(insn.imm.into())),
            0x80 => set(Some(at)),
            0x90 => {}
            _ => set(after(insn.off.into())),
        }
    }
    function.tables.iter().flatten().for_each(|to| set(Some(to.0)));
    joins
}

#[cfg(test)]
mod tests;
