//! The kernel features that an object needs, each with the first upstream Linux that has it. A distribution may have
//! backported a feature.
//!
//! To add a feature, add a row where the object shows its use. This module does not decide which requests are sent to a
//! kernel; `skelgen inspect` and `skelgen check` use it for explanations.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};
use skelgen_abi::map_types::{MapFacts, flags_since};
use skelgen_abi::plan::Version;
use skelgen_abi::uapi::{map_flags, pseudo};
use skelgen_abi::{helper, opcode};

use super::reached::{Reached, reached};
use super::{BpfObject, Function, Map, Program, Reference};
use crate::btf::{Kind, TypeId};
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

/// A feature in words, with the first upstream Linux that has it.
pub(crate) type Feature = (String, Version);

impl BpfObject {
    /// Returns the features that the object needs, by descending version. Includes those of programs that are not
    /// loaded by default.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        let mut needs = BTreeMap::<(Version, String), Vec<Needer>>::new();
        let mut add = |(feature, since): Feature, kind, name: &str| {
            let by = needs.entry((since, feature)).or_default();
            let needer = Needer { kind, name: name.to_owned() };
            if !by.contains(&needer) {
                by.push(needer);
            }
        };
        for map in &self.maps {
            of_map(self, map).into_iter().for_each(|feature| add(feature, NeederKind::Map, &map.def.name));
        }
        for program in &self.programs {
            let name = &self.functions[program.function.0 as usize].name;
            let features = of_program(self, program, &Reached::by_calls(self, program));
            features.into_iter().for_each(|feature| add(feature, NeederKind::Program, name));
        }
        let needs = needs.into_iter().rev();
        needs.map(|((since, feature), by)| Need { feature, since, by }).collect()
    }
}

/// Returns the features that a map needs.
pub(crate) fn of_map(object: &BpfObject, map: &Map) -> BTreeSet<Feature> {
    let def = &map.def;
    let mut needs = BTreeSet::new();
    if let Some(facts) = MapFacts::of(def.map_type) {
        needs.insert((format!("map type {}", def.map_type), facts.since));
    }
    let is_percpu = map.section.as_ref().is_some_and(super::DataSection::is_percpu);
    if map.section.is_some() && !is_percpu && def.struct_ops.is_none() {
        needs.insert(("global data".into(), (5, 2)));
    }
    // Sections are mapped into memory only if the kernel supports it, and percpu data is emulated if programs cannot
    // access it directly.
    if def.flags & map_flags::MMAPABLE != 0 && map.section.is_none() || is_percpu {
        needs.insert(("maps mapped into memory (BPF_F_MMAPABLE)".into(), (5, 5)));
    }
    if map.inner.as_ref().is_some_and(|inner| has_spin_lock(object, inner)) {
        needs.insert(("spin locks in inner maps".into(), (6, 2)));
    }
    needs.extend(flags_since(def.flags).map(|(flag, since)| (format!("map flag {flag:#x}"), since)));
    known(needs)
}

/// Returns whether the values of a map have a `struct bpf_spin_lock`.
fn has_spin_lock(object: &BpfObject, map: &Map) -> bool {
    let Some((btf, value)) = object.btf.as_ref().zip(map.value_type) else { return false };
    let is_lock = |ty: TypeId| btf.name(btf.resolve(ty)) == "bpf_spin_lock";
    match &btf.get(btf.resolve(value)).kind {
        Kind::Struct(value) => value.members.iter().any(|member| is_lock(member.ty)),
        _ => false,
    }
}

/// Returns whether a function has an argument that is a pointer to a struct other than the context of programs.
fn has_pointer_argument(object: &BpfObject, function: &Function) -> bool {
    /// The structs that contexts of programs point to.
    const CONTEXTS: [&str; 17] = [
        "__sk_buff",
        "xdp_md",
        "pt_regs",
        "user_pt_regs",
        "bpf_perf_event_data",
        "bpf_raw_tracepoint_args",
        "bpf_sock",
        "bpf_sock_addr",
        "bpf_sock_ops",
        "bpf_sockopt",
        "bpf_sysctl",
        "bpf_sk_lookup",
        "bpf_cgroup_dev_ctx",
        "bpf_nf_ctx",
        "sk_msg_md",
        "sk_reuseport_md",
        "bpf_iter_meta",
    ];
    let Some((btf, info)) = object.btf.as_ref().zip(function.info.funcs.first()) else { return false };
    let Some(Kind::Func { proto, .. }) = btf.try_get(info.ty).map(|ty| &ty.kind) else { return false };
    let Some(Kind::FuncProto { params, .. }) = btf.try_get(*proto).map(|ty| &ty.kind) else { return false };
    params.iter().any(|param| match btf.get(btf.resolve(param.ty)).kind {
        Kind::Ptr(to) => {
            let to = btf.resolve(to);
            matches!(btf.get(to).kind, Kind::Struct(_)) && !CONTEXTS.contains(&btf.name(to))
        }
        _ => false,
    })
}

/// Returns the feature that stands for the program's section.
pub(crate) fn section(program: &Program) -> Feature {
    let section = program.def.section.trim_start_matches('?');
    let kind = section.split('/').next().unwrap_or(section);
    (format!("program section {kind}"), program.def.since)
}

/// Returns the features that a program needs, by the instructions that it reaches.
pub(crate) fn of_program(object: &BpfObject, program: &Program, executed: &Reached) -> BTreeSet<Feature> {
    let mut needs = BTreeSet::new();
    let mut add = |feature: &str, since| {
        needs.insert((feature.to_owned(), since));
    };
    let (section, since) = section(program);
    add(&section, since);
    let functions = reached(object, program);
    if functions.len() > 1 {
        add("BPF-to-BPF calls", (4, 16));
    }
    if program.exception.is_some() {
        add("exceptions", (6, 7));
    }
    for id in functions {
        let function = &object.functions[id.0 as usize];
        if function.global && id != program.function && has_pointer_argument(object, function) {
            add("pointers as arguments of global functions", (5, 12));
        }
        let code = &function.code;
        let mut slots = code.insns.iter().enumerate();
        while let Some((index, insn)) = slots.next() {
            let is_executed = executed.contains(id, index);
            match code.reference(index) {
                // The verifier checks the form of each instruction, also of those that it does not reach.
                Some(Reference::FunctionAddress(_)) => add(CALLBACKS, (5, 13)),
                Some(Reference::JumpTable(_)) => add("jump tables (map type insn_array)", (6, 19)),
                Some(Reference::ExternCall(_)) if is_executed => {
                    add("calls of kernel functions (kfuncs)", (5, 13));
                }
                Some(Reference::ExternVariable(_)) if is_executed => {
                    add("addresses of kernel variables (ksyms)", (5, 10));
                }
                Some(_) => {}
                None if insn.is_helper_call() => {
                    if let (Some(name), Some(since), true) =
                        (helper::name(insn.imm), helper::since(insn.imm), is_executed)
                    {
                        add(&format!("helper {name}"), since);
                    }
                }
                None => {
                    let needed = instruction(*insn).filter(|(.., is_form)| *is_form || is_executed);
                    needed.into_iter().for_each(|(what, since, _)| add(what, since));
                }
            }
            if insn.is_ld_imm64() {
                slots.next();
            }
        }
    }
    known(needs)
}

/// Removes features of unknown version, for which (0, 0) stands.
fn known(mut needs: BTreeSet<Feature>) -> BTreeSet<Feature> {
    needs.retain(|(_, since)| *since != (0, 0));
    needs
}

const CALLBACKS: &str = "callbacks";

/// Returns the name and version of an instruction that Linux 5.0 does not have, and whether older kernels reject its
/// form (its opcode) even where they do not reach it. Versions are those in which the verifier first accepts the
/// instruction, from the history of Documentation/bpf/standardization.
fn instruction(insn: Insn) -> Option<(&'static str, Version, bool)> {
    let class = insn.code & opcode::CLASS_MASK;
    let operation = insn.code & opcode::OP_MASK;
    let cpu_v4 = |is_form| Some(("instructions of BPF CPU v4", (6, 6), is_form));
    match class {
        opcode::STX if insn.code & 0xe0 == opcode::ATOMIC => match insn.imm {
            0 => None,
            opcode::LOAD_ACQUIRE | opcode::STORE_RELEASE => Some(("load-acquire and store-release", (6, 15), false)),
            _ => Some(("atomic operations other than addition", (5, 12), false)),
        },
        opcode::LDX if insn.code & 0xe0 == opcode::MEMSX => cpu_v4(true),
        opcode::ALU64 if operation == 0xb0 && insn.code & opcode::X != 0 && insn.off == 1 => {
            Some(("arena address casts (addr_space_cast)", (6, 9), false))
        }
        // Signed division and modulo, moves with sign extension, unconditional byte swaps.
        opcode::ALU | opcode::ALU64 if matches!(operation, 0x30 | 0x90 | 0xb0) && insn.off != 0 => cpu_v4(false),
        opcode::ALU64 if operation == 0xd0 => cpu_v4(true),
        opcode::JMP32 if operation == 0 => cpu_v4(true),
        _ if insn.code == opcode::JCOND | 0x05 && insn.src == 0 => Some(("may_goto", (6, 9), true)),
        opcode::JMP32 => Some(("32-bit conditional jumps (JMP32)", (5, 1), true)),
        _ if insn.is_ld_imm64() && insn.src == pseudo::FUNC => Some((CALLBACKS, (5, 13), true)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::ext::FuncInfo;
    use crate::btf::{Btf, Composite, Linkage, Param, StringRef, Type};
    use crate::insn::InsnIndex;

    #[test]
    fn pointers_to_contexts_are_not_pointers_to_structs() {
        let skelgen_object = skelgen_corpus::objects::object("tiny").expect("the fixture exists");
        let mut object =
            crate::generate::inspect(skelgen_object, &crate::Options::for_file("tiny")).expect("it is valid");
        let mut btf = Btf::new();
        let mut function = object.functions[0].clone();
        let mut has = |name: &str, is_struct: bool| {
            let name = btf.add_string(name);
            let kind = match is_struct {
                true => Kind::Struct(Composite::default()),
                false => Kind::Fwd { union: false },
            };
            let pointee = btf.push(Type { name, kind });
            let ty = btf.push(Type { name: StringRef::default(), kind: Kind::Ptr(pointee) });
            let params = vec![Param { name: StringRef::default(), ty }];
            let kind = Kind::FuncProto { returns: TypeId(0), params };
            let proto = btf.push(Type { name: StringRef::default(), kind });
            let linkage = Linkage::Global;
            let func = btf.push(Type { name: StringRef::default(), kind: Kind::Func { proto, linkage } });
            function.info.funcs = vec![FuncInfo { insn: InsnIndex(0), ty: func }];
            object.btf = Some(btf.clone());
            has_pointer_argument(&object, &function)
        };
        assert!(has("point", true));
        assert!(!has("__sk_buff", true));
        assert!(!has("only_declared", false));
    }
}
