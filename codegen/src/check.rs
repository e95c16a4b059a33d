//! Finds the maps and programs of an object that will not work on a kernel, by the kernel's version, its types, or
//! both.
//!
//! Versions are those of upstream Linux; a distribution may have backported a feature. Types show which functions,
//! variables and hooks a kernel has. Neither is complete: only the kernel's verifier decides. This module does not
//! query the running kernel.

mod kernel;
mod live;
mod state;
#[cfg(feature = "cli")]
mod unchecked;
mod value;

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use skelgen_abi::escape::Line;
use skelgen_abi::helper;
use skelgen_abi::map_types::MapFacts;
use skelgen_abi::plan::{Attach, Symbol, SymbolKind, Version, essential_name};
use skelgen_abi::uapi::{AttachType, ProgramType, prog_flags};

pub use kernel::{Kernel, Modules};
pub(crate) use kernel::{Relocated, Resolved};
use live::{Facts, Live};
#[cfg(feature = "cli")]
pub(crate) use unchecked::{Needs, Unchecked, unchecked};

use crate::btf::{Btf, TypeId};
use crate::model::needs::{self, Feature, Needer, NeederKind, release};
use crate::model::reached::reached;
use crate::model::warnings::definition;
use crate::model::{BpfObject, FunctionId, Map, Program, Reference};

/// A map or program that will not work on a kernel, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The map or program.
    #[serde(flatten)]
    pub subject: Needer,
    /// The reason, without a full stop.
    pub why: String,
    /// How certain the problem is.
    pub severity: Severity,
    /// What fails.
    pub stage: Stage,
}

/// What fails because of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The load of the object.
    Load,
    /// The attachment of the program.
    Attach,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Load => "load",
            Self::Attach => "attach",
        })
    }
}

/// How certain a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The object, unchanged, cannot be loaded or attached.
    Fails,
    /// The program cannot be loaded or attached, but the object does not load it by default.
    Optional,
    /// Whether it fails is unknown: a module may have the symbol, or the code that needs it may not run on this kernel.
    Perhaps,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.subject.kind {
            NeederKind::Map => "map",
            NeederKind::Program => "program",
        };
        let severity = match self.severity {
            Severity::Fails => "",
            Severity::Optional => ", not loaded by default",
            Severity::Perhaps => ", perhaps",
        };
        write!(f, "{kind} {} ({}{severity}): {}", Line(&self.subject.name), self.stage, Line(&self.why))
    }
}

/// Returns the problems of an object on a kernel: those of maps first, then those of programs, in the order of the
/// object. `resolved` is what the kernel's types determine about the object.
#[must_use]
pub fn check(object: &BpfObject, kernel: &Kernel, resolved: Option<&Resolved>) -> Vec<Finding> {
    let mut found = Vec::new();
    of_any_kernel(object, &mut found);
    for map in &object.maps {
        of_map(object, map, kernel, &mut found);
    }
    let facts = Facts::new(object, kernel, resolved);
    for program in &object.programs {
        let subject = Needer { kind: NeederKind::Program, name: name(object, program).to_owned() };
        let severity = severity(object, &subject);
        let mut checked =
            Checked { object, program, kernel, live: facts.live(program), subject, severity, found: &mut found };
        checked.features();
        checked.helpers();
        checked.target();
        checked.hook();
        checked.symbols(resolved);
        if let Some(resolved) = resolved {
            checked.relocations(resolved);
        }
    }
    let place = |finding: &Finding| {
        let same = |name: &str| name == finding.subject.name;
        match finding.subject.kind {
            NeederKind::Map => (0, object.maps.iter().position(|map| same(&map.def.name))),
            NeederKind::Program => (1, object.programs.iter().position(|program| same(name(object, program)))),
        }
    };
    found.sort_by_key(place);
    found
}

/// Finds the features and the struct that a map needs and the kernel lacks.
fn of_map(object: &BpfObject, map: &Map, kernel: &Kernel, found: &mut Vec<Finding>) {
    let struct_ops = map.def.struct_ops.as_ref();
    let severity = match struct_ops.is_none_or(|struct_ops| struct_ops.autocreate) {
        true => Severity::Fails,
        false => Severity::Optional,
    };
    let mut add = |why, severity| {
        let subject = Needer { kind: NeederKind::Map, name: map.def.name.clone().into_owned() };
        found.push(Finding { subject, why, severity, stage: Stage::Load });
    };
    for (_, why) in missing(needs::of_map(object, map), kernel) {
        add(why, severity);
    }
    if MapFacts::of(map.def.map_type).is_none() {
        add(format!("has {}, which this version of skelgen does not know", map.def.map_type), Severity::Perhaps);
    }
    if let Some(struct_ops) = struct_ops {
        let name = essential_name(&struct_ops.name);
        if let Some((is_certain, why)) = absent(kernel, SymbolKind::Struct, name, &format!("needs struct `{name}`")) {
            add(why, if is_certain { severity } else { Severity::Perhaps });
        }
    }
}

/// Returns whether the kernel certainly lacks a symbol, and the text of the problem; `None` if the kernel has the symbol,
/// or if its types are not known.
fn absent(kernel: &Kernel, kind: SymbolKind, name: &str, needs: &str) -> Option<(bool, String)> {
    kernel.btf.as_ref()?;
    match kernel.has(kind, name) {
        Some(true) => None,
        Some(false) => Some((true, format!("{needs}, which neither the kernel's BTF nor that of its modules has"))),
        None => Some((false, format!("{needs}, which the kernel's BTF does not have; a module may have it"))),
    }
}

/// Returns the features that a kernel lacks, newest first, with the text of the problem.
fn missing(needs: BTreeSet<Feature>, kernel: &Kernel) -> Vec<(Feature, String)> {
    let Some(version) = kernel.version else { return Vec::new() };
    let mut missing: Vec<_> = needs.into_iter().filter(|(_, since)| *since > version).collect();
    missing.sort_by(|(a, a_since), (b, b_since)| (b_since, b).cmp(&(a_since, a)));
    let why = |(feature, since): &Feature| format!("needs {feature}, which Linux {} and later have", release(*since));
    missing.into_iter().map(|feature| (feature.clone(), why(&feature))).collect()
}

/// Finds problems on every kernel: incomplete map definitions, programs without a type or target, and struct_ops
/// programs without a struct.
fn of_any_kernel(object: &BpfObject, found: &mut Vec<Finding>) {
    // The generator defines the maps of data sections.
    for map in object.maps.iter().filter(|map| map.section.is_none()) {
        let subject = Needer { kind: NeederKind::Map, name: map.def.name.clone().into_owned() };
        let prefix = format!("map `{}`: ", map.def.name);
        found.extend(definition(object, map).into_iter().map(|why| Finding {
            subject: subject.clone(),
            why: why.strip_prefix(&prefix).unwrap_or(&why).to_owned(),
            severity: Severity::Fails,
            stage: Stage::Load,
        }));
    }
    for program in &object.programs {
        let is_member = |id: &FunctionId| {
            object.maps.iter().flat_map(|map| &map.member_functions).any(|(_, function)| function == id)
        };
        let why = match program.def.program_type {
            ProgramType::UNSPEC => "its section does not set a program type; set one with `set_type` before the load",
            ProgramType::STRUCT_OPS if !is_member(&program.function) => "no struct_ops map refers to it",
            ProgramType::EXT => {
                "replaces a function of another program, which no section names; set it with `set_attach_program` before the load"
            }
            _ => match program.def.attach {
                Attach::Target(kind) if kind.is_loaded_for() => {
                    "its section does not name an attach target; set one with `set_attach_target` before the load"
                }
                _ => continue,
            },
        };
        let subject = Needer { kind: NeederKind::Program, name: name(object, program).to_owned() };
        let severity = severity(object, &subject);
        found.push(Finding { subject, why: why.to_owned(), severity, stage: Stage::Load });
    }
}

/// Returns the severity of a problem that makes a map or program fail.
fn severity(object: &BpfObject, subject: &Needer) -> Severity {
    let by_default = |program: &Program| program.def.autoload || name(object, program) != subject.name;
    match subject.kind {
        NeederKind::Program if !object.programs.iter().all(by_default) => Severity::Optional,
        _ => Severity::Fails,
    }
}

fn name<'a>(object: &'a BpfObject, program: &Program) -> &'a str {
    &object.functions[program.function.0 as usize].name
}

/// A program, and what is known about it on a kernel.
struct Checked<'a> {
    object: &'a BpfObject,
    program: &'a Program,
    kernel: &'a Kernel,
    live: Live,
    subject: Needer,
    /// The severity of a certain problem.
    severity: Severity,
    found: &'a mut Vec<Finding>,
}

impl Checked<'_> {
    fn add(&mut self, stage: Stage, is_certain: bool, why: String) {
        let severity = if is_certain { self.severity } else { Severity::Perhaps };
        let finding = Finding { subject: self.subject.clone(), why, severity, stage };
        if !self.found.contains(&finding) {
            self.found.push(finding);
        }
    }

    /// Adds a problem if the kernel lacks a symbol.
    fn need(&mut self, stage: Stage, kind: SymbolKind, name: &str, needs: &str) {
        if let Some((is_certain, why)) = absent(self.kernel, kind, name, needs) {
            self.add(stage, is_certain, why);
        }
    }

    /// Finds features that the kernel lacks.
    fn features(&mut self) {
        let certain = needs::of_program(self.object, self.program, &self.live.certain);
        let possible = needs::of_program(self.object, self.program, &self.live.possible);
        let section = needs::section(self.program);
        for (feature, why) in missing(possible, self.kernel) {
            let stage = if feature == section { self.stage_of_section() } else { Some(Stage::Load) };
            if let Some(stage) = stage {
                self.add(stage, certain.contains(&feature), why);
            }
        }
    }

    /// Finds calls of helpers whose first version is not known.
    fn helpers(&mut self) {
        for id in reached(self.object, self.program) {
            let code = &self.object.functions[id.0 as usize].code;
            for (index, insn) in code.insns.iter().enumerate() {
                let is_unknown = insn.is_helper_call() && helper::name(insn.imm).is_none();
                if is_unknown && self.live.possible.contains(id, index) && code.reference(index).is_none() {
                    let why = format!("calls helper {}, which this version of skelgen does not know", insn.imm);
                    self.add(Stage::Load, false, why);
                }
            }
        }
    }

    /// Returns what fails on a kernel without the kind of program that the section names; `None` if the kernel handles
    /// such programs as those of an older kind.
    fn stage_of_section(&self) -> Option<Stage> {
        /// Kernels with only one attach type for these program types do not check it when a program is loaded.
        const UNCHECKED: [ProgramType; 4] =
            [ProgramType::KPROBE, ProgramType::SCHED_CLS, ProgramType::SK_REUSEPORT, ProgramType::SK_SKB];
        /// The first Linux with kprobe programs that may sleep.
        const SLEEPING_PROBES: Version = (6, 0);
        /// The first Linux that checks whether iterators and programs at tracepoints may sleep.
        const CHECKED_SLEEP: Version = (6, 6);
        let def = &self.program.def;
        let may_sleep = def.flags & prog_flags::SLEEPABLE != 0;
        let is_older = |version| self.kernel.version < Some(version);
        match def.expected_attach_type {
            AttachType::TRACE_RAW_TP | AttachType::TRACE_ITER if may_sleep && is_older(CHECKED_SLEEP) => None,
            _ if !UNCHECKED.contains(&def.program_type) => Some(Stage::Load),
            _ if may_sleep && is_older(SLEEPING_PROBES) => Some(Stage::Load),
            _ => Some(Stage::Attach),
        }
    }

    /// Checks the type or function that the program is loaded for.
    fn target(&mut self) {
        if let Some(target) = &self.program.target {
            self.need(Stage::Load, target.kind, &target.name, &format!("needs {}", described(target)));
        }
    }

    /// Checks the place that the program attaches to.
    fn hook(&mut self) {
        // Tracepoints of these categories do not come from tracepoints of the kernel's source.
        const OTHERS: [&str; 5] = ["syscalls", "ftrace", "kprobes", "uprobes", "synthetic"];
        match &self.program.def.attach {
            Attach::RawTracepoint(name) => self.tracepoint(name),
            Attach::Tracepoint { category, name } if !OTHERS.contains(&&**category) => self.tracepoint(name),
            // Kprobes can attach to some functions that BTF does not list.
            Attach::Kprobe { function, .. } | Attach::KprobeMulti { pattern: function, .. }
                if !function.contains(['*', '?'])
                    && self.kernel.btf.is_some()
                    && self.kernel.has(SymbolKind::Function, function) != Some(true) =>
            {
                let why = format!("attaches to kernel function `{function}`, which the kernel's BTF does not have");
                self.add(Stage::Attach, false, why);
            }
            _ => {}
        }
    }

    fn tracepoint(&mut self, name: &str) {
        let needs = format!("attaches to tracepoint `{name}`");
        self.need(Stage::Attach, SymbolKind::Typedef, &format!("btf_trace_{name}"), &needs);
    }

    /// Checks the functions and variables of the kernel that the program uses. A load looks up all of them, but a weak
    /// one may be missing where the verifier does not reach its use.
    fn symbols(&mut self, resolved: Option<&Resolved>) {
        for id in reached(self.object, self.program) {
            for reference in &self.object.functions[id.0 as usize].code.refs {
                let (extern_id, is_call) = match reference.to {
                    Reference::ExternCall(symbol) => (symbol, true),
                    Reference::ExternVariable(symbol) => (symbol, false),
                    _ => continue,
                };
                let Some(symbol) = self.object.externs.get(extern_id.0 as usize) else { continue };
                if symbol.kind == SymbolKind::Address {
                    continue;
                }
                let named = Symbol { name: essential_name(&symbol.name).to_owned().into(), ..symbol.clone() };
                let is_certain_call = is_call && self.live.certain.contains(id, reference.at.0);
                let needs = match symbol.weak {
                    true if is_certain_call => format!("calls {}", described(&named)),
                    true => continue,
                    false => format!("needs {}", described(&named)),
                };
                if resolved.is_some_and(|resolved| resolved.incompatible.contains(&extern_id)) {
                    self.add(Stage::Load, true, format!("{needs}, which this kernel declares with a different type"));
                } else if self.kernel.btf.is_none() {
                    self.add(Stage::Load, false, format!("{needs}, which only the kernel's types show"));
                } else {
                    self.need(Stage::Load, named.kind, &named.name, &needs);
                }
            }
        }
        if !self.live.null_calls.is_empty() {
            let why =
                "passes the address of a weak kernel variable that this kernel does not have to `bpf_per_cpu_ptr`";
            self.add(Stage::Load, true, why.to_owned());
        }
    }

    /// Checks the CO-RE relocations of the instructions that the verifier reaches.
    fn relocations(&mut self, resolved: &Resolved) {
        let Some(btf) = &self.object.btf else { return };
        for id in reached(self.object, self.program) {
            for relocation in &self.object.functions[id.0 as usize].info.relos {
                let is_absent = resolved.relocations.get(&(id, relocation.insn)) == Some(&Relocated::Absent);
                if is_absent && self.live.possible.contains(id, relocation.insn.0) {
                    let what = btf.relocation(relocation);
                    let why = format!(
                        "needs the {what}: the kernel's types do not have it, or its value does not fit in the instruction"
                    );
                    let is_certain =
                        self.live.certain.contains(id, relocation.insn.0) && self.has_type(btf, relocation.ty);
                    self.add(Stage::Load, is_certain, why);
                }
            }
        }
    }

    /// Returns whether it is known which types have the name of a type of the object.
    fn has_type(&self, local: &Btf, id: TypeId) -> bool {
        let name = local.try_get(id).map_or("", |ty| local.str(ty.name));
        let has = |btf: &Btf| btf.iter().any(|(_, ty)| btf.str(ty.name) == essential_name(name));
        self.kernel.modules.complete || self.kernel.btf.as_ref().is_some_and(has)
    }
}

fn described(symbol: &Symbol) -> String {
    let kind = match symbol.kind {
        SymbolKind::Function => "kernel function",
        SymbolKind::Typedef => "type",
        SymbolKind::Variable => "kernel variable",
        SymbolKind::Struct => "struct",
        SymbolKind::Address => "symbol",
    };
    match symbol.name.strip_prefix("btf_trace_").filter(|_| symbol.kind == SymbolKind::Typedef) {
        Some(tracepoint) => format!("tracepoint `{tracepoint}`"),
        None => format!("{kind} `{}`", symbol.name),
    }
}
