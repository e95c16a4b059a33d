//! Finds the maps and programs of an object that will not work on a kernel, by the kernel's version, its types, or
//! both.
//!
//! Versions are those of upstream Linux; a distribution may have backported a feature. Types show which functions,
//! variables and hooks a kernel has. Neither is complete: only the kernel's verifier decides. This module does not
//! query the running kernel.

use std::fmt;

use serde::Serialize;
use skelgen_abi::escape::Line;
use skelgen_abi::plan::{Attach, Symbol, SymbolKind, Version, essential_name};
use skelgen_abi::uapi::ProgramType;

use crate::btf::{Btf, Kind};
use crate::model::needs::{Needer, NeederKind, release};
use crate::model::reached::reached;
use crate::model::warnings::definition;
use crate::model::{BpfObject, FunctionId, Program, Reference};

/// The known facts about a kernel.
#[derive(Debug, Default)]
pub struct Kernel {
    /// Its version.
    pub version: Option<Version>,
    /// Its types, without those of modules.
    pub btf: Option<Btf>,
}

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
            Severity::Optional => " (not loaded by default)",
            Severity::Perhaps => " (perhaps)",
        };
        write!(f, "{kind} {}{severity}: {}", Line(&self.subject.name), Line(&self.why))
    }
}

/// Returns the problems of an object on a kernel: those of maps first, then those of programs, in the order of the
/// object.
#[must_use]
pub fn check(object: &BpfObject, kernel: &Kernel) -> Vec<Finding> {
    let mut found = Vec::new();
    of_any_kernel(object, &mut found);
    if let Some(version) = kernel.version {
        for need in object.needs().into_iter().filter(|need| need.since > version) {
            let why = format!("needs {}, which Linux {} and later have", need.feature, release(need.since));
            found.extend(need.by.into_iter().map(|subject| {
                let severity = severity(object, &subject);
                Finding { subject, why: why.clone(), severity }
            }));
        }
    }
    if let Some(btf) = &kernel.btf {
        for program in &object.programs {
            of_program(object, program, btf, &mut found);
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

/// Finds problems on every kernel: incomplete map definitions, programs without a type, and struct_ops programs without
/// a struct.
fn of_any_kernel(object: &BpfObject, found: &mut Vec<Finding>) {
    // The generator defines the maps of data sections.
    for map in object.maps.iter().filter(|map| map.section.is_none()) {
        let subject = Needer { kind: NeederKind::Map, name: map.def.name.clone().into_owned() };
        let prefix = format!("map `{}`: ", map.def.name);
        found.extend(definition(object, map).into_iter().map(|why| Finding {
            subject: subject.clone(),
            why: why.strip_prefix(&prefix).unwrap_or(&why).to_owned(),
            severity: Severity::Fails,
        }));
    }
    for program in &object.programs {
        let is_member = |id: &FunctionId| {
            object.maps.iter().flat_map(|map| &map.member_functions).any(|(_, function)| function == id)
        };
        let why = match program.def.program_type {
            ProgramType::UNSPEC => "its section does not set a program type; set one with `set_type` before the load",
            ProgramType::STRUCT_OPS if !is_member(&program.function) => "no struct_ops map refers to it",
            _ => continue,
        };
        let subject = Needer { kind: NeederKind::Program, name: name(object, program).to_owned() };
        let severity = severity(object, &subject);
        found.push(Finding { subject, why: why.to_owned(), severity });
    }
}

/// Returns the severity of a problem that makes a map or program fail.
pub(crate) fn severity(object: &BpfObject, subject: &Needer) -> Severity {
    let by_default = |program: &Program| program.def.autoload || name(object, program) != subject.name;
    match subject.kind {
        NeederKind::Program if !object.programs.iter().all(by_default) => Severity::Optional,
        _ => Severity::Fails,
    }
}

fn name<'a>(object: &'a BpfObject, program: &Program) -> &'a str {
    &object.functions[program.function.0 as usize].name
}

/// Finds the symbols that a program needs and the kernel's types lack: its attach target, kernel functions and kernel
/// variables.
fn of_program(object: &BpfObject, program: &Program, btf: &Btf, found: &mut Vec<Finding>) {
    let subject = Needer { kind: NeederKind::Program, name: name(object, program).to_owned() };
    let severity = severity(object, &subject);
    let mut add = |why: String, severity| found.push(Finding { subject: subject.clone(), why, severity });
    if let Some(target) = program.target.as_ref().filter(|target| !has(btf, target.kind, &target.name)) {
        add(
            format!("needs {}, which the kernel's BTF does not have; a module may have it", described(target)),
            severity,
        );
    }
    if let Attach::RawTracepoint(tracepoint) = &program.def.attach {
        if !has(btf, SymbolKind::Typedef, &format!("btf_trace_{tracepoint}")) {
            add(format!("attaches to tracepoint `{tracepoint}`, which the kernel's BTF does not have"), severity);
        }
    }
    if let Attach::Kprobe { function, .. } = &program.def.attach {
        // Kprobes can attach to some functions that BTF does not list.
        if !has(btf, SymbolKind::Function, function) {
            let why = format!("attaches to kernel function `{function}`, which the kernel's BTF does not have");
            add(why, severity.max(Severity::Perhaps));
        }
    }
    let references = reached(object, program).into_iter();
    let references = references.flat_map(|id| &object.functions[id.0 as usize].code.refs);
    let externs = references.filter_map(|reference| match reference.to {
        Reference::ExternCall(id) | Reference::ExternVariable(id) => object.externs.get(id.0 as usize),
        _ => None,
    });
    let mut seen = Vec::new();
    for symbol in externs.filter(|symbol| !symbol.weak && symbol.kind != SymbolKind::Address) {
        let named = Symbol { name: essential_name(&symbol.name).to_owned().into(), ..symbol.clone() };
        if !has(btf, named.kind, &named.name) && !seen.contains(&symbol.name) {
            add(
                format!("needs {}, which the kernel's BTF does not have; a module may have it", described(&named)),
                severity,
            );
            seen.push(symbol.name.clone());
        }
    }
}

/// Returns whether the types have a symbol of this kind and name.
fn has(btf: &Btf, kind: SymbolKind, name: &str) -> bool {
    let is_of_kind = |found: &Kind| match kind {
        SymbolKind::Function => matches!(found, Kind::Func { .. }),
        SymbolKind::Typedef => matches!(found, Kind::Typedef(_)),
        SymbolKind::Variable => matches!(found, Kind::Var { .. }),
        SymbolKind::Struct => matches!(found, Kind::Struct(_)),
        SymbolKind::Address => true,
    };
    kind == SymbolKind::Address || btf.find(is_of_kind, name).is_some()
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
