//! What a check of an object cannot decide, because the version or the types of the kernel are not known.

use serde::Serialize;
use skelgen_abi::plan::Attach;

use super::Kernel;
use crate::model::{BpfObject, Program};

/// Properties of an object that were not checked, and what is required to check them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Unchecked {
    /// The properties: `3 attach targets`.
    pub(crate) what: String,
    /// What is not known of the kernel.
    pub(crate) needs: Needs,
}

/// What is not known of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Needs {
    /// The version.
    Version,
    /// The types.
    Types,
}

/// Returns the properties of an object that [`check`](super::check()) does not check for this kernel.
pub(crate) fn unchecked(object: &BpfObject, kernel: &Kernel) -> Vec<Unchecked> {
    let mut found = Vec::new();
    if kernel.version.is_none() {
        let what = "map types, map flags, helpers, instructions and program sections".to_owned();
        found.push(Unchecked { what, needs: Needs::Version });
    }
    if kernel.btf.is_none() {
        let relocations = object.functions.iter().map(|function| function.info.relos.len()).sum();
        let by_name = |attach: &Attach| {
            matches!(attach, Attach::RawTracepoint(_) | Attach::Tracepoint { .. } | Attach::Kprobe { .. })
        };
        let is_target = |program: &Program| program.target.is_some() || by_name(&program.def.attach);
        let targets = object.programs.iter().filter(|program| is_target(program)).count();
        let structs = object.maps.iter().filter(|map| map.def.struct_ops.is_some()).count();
        for (count, one, many) in [
            (targets, "attach target", "attach targets"),
            (relocations, "CO-RE relocation", "CO-RE relocations"),
            (structs, "struct_ops map", "struct_ops maps"),
        ] {
            match count {
                0 => continue,
                1 => found.push(Unchecked { what: format!("1 {one}"), needs: Needs::Types }),
                _ => found.push(Unchecked { what: format!("{count} {many}"), needs: Needs::Types }),
            }
        }
    }
    found
}
