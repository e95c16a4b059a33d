//! The kernel features that an object needs, each with the first upstream Linux that has it. A distribution may have
//! backported a feature.
//!
//! To add a feature, add a row where the object shows its use. This module does not decide which requests are sent to a
//! kernel; `skelgen inspect` and `skelgen check` use it for explanations.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use skelgen_abi::map_types::{MapFacts, flags_since};
use skelgen_abi::plan::Version;
use skelgen_abi::uapi::{map_flags, pseudo};
use skelgen_abi::{helper, opcode};

use super::reached::reached;
use super::{BpfObject, Map, Program, Reference};
use crate::insn::Insn;

/// A feature that an object needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The feature, in words, such as "map type ringbuf" or "helper bpf_loop".
    pub feature: String,
    /// The first upstream Linux with the feature.
    #[serde(serialize_with = "version")]
    pub since: Version,
    /// The maps and programs that need the feature.
    pub by: Vec<Needer>,
}

/// A map or program that needs a feature.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Needer {
    /// Whether it is a map or a program.
    pub kind: NeederKind,
    /// Its name.
    pub name: String,
}

/// Whether a feature is needed by a map or a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NeederKind {
    /// A map.
    Map,
    /// A program.
    Program,
}

/// Returns a version as text, such as "5.8".
#[must_use]
pub fn release((major, minor): Version) -> String {
    format!("{major}.{minor}")
}

fn version<S: Serializer>(version: &Version, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&release(*version))
}

/// Features by version and name, with the maps and programs that need them.
#[derive(Default)]
struct Needs(BTreeMap<(Version, String), Vec<Needer>>);

impl Needs {
    fn add(&mut self, feature: impl Into<String>, since: Version, kind: NeederKind, name: &str) {
        // (0, 0) stands for an unknown version.
        if since != (0, 0) {
            let by = self.0.entry((since, feature.into())).or_default();
            let needer = Needer { kind, name: name.to_owned() };
            if !by.contains(&needer) {
                by.push(needer);
            }
        }
    }
}

impl BpfObject {
    /// Returns the features that the object needs, by descending version. Includes those of programs that are not
    /// loaded by default.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        let mut needs = Needs::default();
        for map in &self.maps {
            of_map(map, &mut needs);
        }
        for program in &self.programs {
            of_program(self, program, &mut needs);
        }
        let needs = needs.0.into_iter().rev();
        needs.map(|((since, feature), by)| Need { feature, since, by }).collect()
    }
}

fn of_map(map: &Map, needs: &mut Needs) {
    let (def, name) = (&map.def, &*map.def.name);
    let mut add = |feature: String, since| needs.add(feature, since, NeederKind::Map, name);
    if let Some(facts) = MapFacts::of(def.map_type) {
        add(format!("map type {}", def.map_type), facts.since);
    }
    let is_percpu = map.section.as_ref().is_some_and(super::DataSection::is_percpu);
    if map.section.is_some() && !is_percpu && def.struct_ops.is_none() {
        add("global data".into(), (5, 2));
    }
    // Sections are mapped into memory only if the kernel supports it, and percpu data is emulated if programs cannot
    // access it directly.
    if def.flags & map_flags::MMAPABLE != 0 && map.section.is_none() || is_percpu {
        add("maps mapped into memory (BPF_F_MMAPABLE)".into(), (5, 5));
    }
    for (flag, since) in flags_since(def.flags) {
        add(format!("map flag {flag:#x}"), since);
    }
}

fn of_program(object: &BpfObject, program: &Program, needs: &mut Needs) {
    let name = &object.functions[program.function.0 as usize].name;
    let mut add = |feature: String, since| needs.add(feature, since, NeederKind::Program, name);
    let section = program.def.section.trim_start_matches('?');
    let kind = section.split('/').next().unwrap_or(section);
    add(format!("program section {kind}"), program.def.since);
    let functions = reached(object, program);
    if functions.len() > 1 {
        add("BPF-to-BPF calls".into(), (4, 16));
    }
    if program.exception.is_some() {
        add("exceptions".into(), (6, 7));
    }
    for id in functions {
        let code = &object.functions[id.0 as usize].code;
        let mut slots = code.insns.iter().enumerate();
        while let Some((index, insn)) = slots.next() {
            let reference = code.refs.binary_search_by_key(&index, |reference| reference.at.0).ok();
            // References are in the order of their instructions.
            let reference = reference.map(|found| code.refs[found].to);
            match reference {
                Some(Reference::ExternCall(_)) => add("calls of kernel functions (kfuncs)".into(), (5, 13)),
                Some(Reference::FunctionAddress(_)) => add("callbacks".into(), (5, 13)),
                Some(Reference::ExternVariable(_)) => add("addresses of kernel variables (ksyms)".into(), (5, 10)),
                Some(Reference::JumpTable(_)) => add("jump tables (map type insn_array)".into(), (6, 19)),
                Some(_) => {}
                None if insn.is_helper_call() => {
                    if let (Some(name), Some(since)) = (helper::name(insn.imm), helper::since(insn.imm)) {
                        add(format!("helper {name}"), since);
                    }
                }
                None => instruction(*insn).into_iter().for_each(|(what, since)| add(what.into(), since)),
            }
            if insn.is_ld_imm64() {
                slots.next();
            }
        }
    }
}

/// Returns the name and version of an instruction that Linux 5.4 does not have. Versions are those in which the
/// verifier first accepts the instruction, from the history of Documentation/bpf/standardization.
fn instruction(insn: Insn) -> Option<(&'static str, Version)> {
    let class = insn.code & opcode::CLASS_MASK;
    let operation = insn.code & opcode::OP_MASK;
    let cpu_v4 = Some(("instructions of BPF CPU v4", (6, 6)));
    match class {
        opcode::STX if insn.code & 0xe0 == opcode::ATOMIC => match insn.imm {
            0 => None,
            opcode::LOAD_ACQUIRE | opcode::STORE_RELEASE => Some(("load-acquire and store-release", (6, 15))),
            _ => Some(("atomic operations other than addition", (5, 12))),
        },
        opcode::LDX if insn.code & 0xe0 == opcode::MEMSX => cpu_v4,
        opcode::ALU64 if operation == 0xb0 && insn.code & opcode::X != 0 && insn.off == 1 => {
            Some(("arena address casts (addr_space_cast)", (6, 9)))
        }
        // Signed division and modulo, moves with sign extension, unconditional byte swaps.
        opcode::ALU | opcode::ALU64 if matches!(operation, 0x30 | 0x90 | 0xb0) && insn.off != 0 => cpu_v4,
        opcode::ALU64 if operation == 0xd0 => cpu_v4,
        opcode::JMP32 if operation == 0 => cpu_v4,
        _ if insn.code == opcode::JCOND | 0x05 && insn.src == 0 => Some(("may_goto", (6, 9))),
        opcode::JMP32 => Some(("32-bit conditional jumps (JMP32)", (5, 1))),
        _ if insn.is_ld_imm64() && insn.src == pseudo::FUNC => Some(("callbacks", (5, 13))),
        _ => None,
    }
}
