//! The parts of the runtime's executor that a plan needs, and the ways in which its programs attach.
//!
//! A skeleton names them, so that a program contains no code that its object never uses. If a part is missing here, the
//! load fails; a part that is not needed only makes programs larger. The names are methods of the runtime's `Parts` and
//! functions of its module `link::ways`. To add a part, add a row to [`of`].

use skelgen_abi::plan::{Attach, Function, Map, Object, Step, TargetKind};
use skelgen_abi::uapi::{MapType, ProgramType};

use crate::btf::{Btf, Kind};

/// Returns the names of the parts of the executor that a load needs.
pub(super) fn of(plan: &Object, btf: Option<&Btf>) -> impl Iterator<Item = &'static str> {
    let any_map = |is: fn(&Map) -> bool| plan.maps.iter().any(is);
    let any_step = |is: fn(&Step) -> bool| plan.steps.iter().any(is);
    let has_relocations = |function: &Function| {
        let bodies = [Some(&function.body), function.emulated.as_ref()];
        bodies.into_iter().flatten().any(|body| body.core_relos.len > 0)
    };
    // A loader program needs none of the parts for requests of the process, except to write initial values of sections.
    let is_for_loader = |name: &str| matches!(name, "loader" | "percpu");
    let parts = [
        ("arenas", any_map(|map| map.map_type == MapType::ARENA)),
        ("core", plan.functions.iter().any(has_relocations)),
        ("inner_maps", any_map(|map| map.inner.is_some())),
        ("loader", plan.loader.is_some()),
        ("kconfig", any_step(|step| matches!(step, Step::FillKconfig { .. }))),
        (
            "percpu",
            any_map(Map::is_percpu_section) || plan.functions.iter().any(|function| function.emulated.is_some()),
        ),
        ("pins", any_map(|map| map.pin_by_name)),
        ("sanitizing", btf.is_some_and(|btf| btf.iter().any(|(id, ty)| is_new(btf.name(id), &ty.kind)))),
        ("struct_ops", any_map(|map| map.struct_ops.is_some()) || has_struct_ops_programs(plan)),
        ("symbols", !plan.symbols.is_empty()),
        ("usdt", any_map(|map| map.name == Map::USDT_SPECS)),
    ];
    parts
        .into_iter()
        .filter(move |(name, needed)| *needed && (plan.loader.is_none() || is_for_loader(name)))
        .map(|(name, _)| name)
}

fn has_struct_ops_programs(plan: &Object) -> bool {
    plan.programs.iter().any(|program| program.program_type == ProgramType::STRUCT_OPS)
}

/// Returns whether Linux 5.6 rejects BTF with this type. The load of such an object needs the part `sanitizing`, because the running kernel
/// may reject the type as well.
fn is_new(name: &str, kind: &Kind) -> bool {
    match kind {
        Kind::Float(_) | Kind::DeclTag { .. } | Kind::TypeTag { .. } | Kind::Unknown(_) => true,
        Kind::Enum(of) => of.wide || of.signed,
        Kind::Datasec(section) => section.vars.is_empty() || name.starts_with('?'),
        _ => false,
    }
}

/// Returns the name of the function in the runtime's `link::ways` that attaches a program, to the target in its section
/// or to the target that the user sets.
pub(super) fn way<S>(attach: &Attach<S>) -> &'static str {
    match attach.target_kind() {
        None => "never",
        Some(TargetKind::RawTracepoint) => "raw_tracepoint",
        Some(TargetKind::Tracepoint) => "tracepoint",
        Some(TargetKind::Kprobe { .. }) => "kprobe",
        Some(TargetKind::KprobeMulti { .. }) => "kprobe_multi",
        Some(TargetKind::Ksyscall { .. }) => "ksyscall",
        Some(TargetKind::Uprobe { .. }) => "uprobe",
        Some(TargetKind::UprobeMulti { .. }) => "uprobe_multi",
        Some(TargetKind::Usdt) => "usdt",
        Some(TargetKind::TracingMulti) => "tracing_multi",
        Some(TargetKind::BtfTracepoint | TargetKind::Function | TargetKind::Lsm) => "tracing",
        Some(TargetKind::Iter) => "iter",
    }
}
