//! What a program in the kernel cannot do, although a plan can state it.
//!
//! The helper for system calls (`bpf_sys_bpf`) accepts few commands, and a program sees neither files nor memory that is
//! mapped into the process. Each reason is a diagnostic, so that no skeleton exists that could never load.

use skelgen_abi::plan::{Map, SectionKind};
use skelgen_abi::uapi::{MapType, ProgramType};

use crate::error::{Code, Diagnostic, Reporter, Result};
use crate::plan::LoadPlan;

/// Reports everything in a plan that cannot be lowered.
pub(super) fn check(plan: &LoadPlan) -> Result<()> {
    let object = &plan.object;
    let mut reporter = Reporter::new();
    let mut refuse = |what: String, help: &str| {
        reporter.report(Diagnostic::new(Code::LoaderProgram, what).with_help(help));
    };
    for map in object.maps.iter() {
        if let Some(reason) = reason(map) {
            refuse(format!("map `{}` {reason}", map.name), SYSTEM_CALLS);
        }
    }
    for program in object.programs.iter() {
        match program.program_type {
            ProgramType::STRUCT_OPS => refuse(
                format!(
                    "program `{}` is a member of a struct_ops map, whose layout is read from the kernel's types",
                    program.name
                ),
                SYSTEM_CALLS,
            ),
            ProgramType::EXT => refuse(
                format!(
                    "program `{}` replaces a function of another program, which only the process has",
                    program.name
                ),
                SYSTEM_CALLS,
            ),
            _ => {}
        }
    }
    reporter.finish(())
}

/// Returns why a loader program cannot create or initialize a map.
fn reason(map: &Map) -> Option<&'static str> {
    if map.pin_by_name {
        return Some("is pinned by name, and a program can neither open pins nor create them");
    }
    if map.map_type == MapType::ARENA {
        return Some("is an arena, whose variables are written to memory that is mapped into the process");
    }
    if map.struct_ops.is_some() {
        return Some("is a struct_ops map, whose layout is read from the kernel's types");
    }
    match map.section.map(|section| section.kind) {
        Some(SectionKind::Kconfig) => Some("has the kernel's configuration, which is read from files"),
        _ => None,
    }
}

const SYSTEM_CALLS: &str = "load the object with system calls, the default: `--loader syscalls` (`Builder::loader`)";
