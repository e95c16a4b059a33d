//! What kernels of which versions do with an object, as far as that is known from the object alone.
//!
//! Versions are those of upstream Linux; a distribution may have taken a feature earlier. What is loaded is decided by asking the
//! running kernel, not by this table.

use serde::Serialize;
use skelgen_abi::plan::PercpuForm;

use super::{BpfObject, DataSection};

/// What kernels from one version on do, up to the next entry's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelSummary {
    /// The first version; "0" for all before the next entry's.
    pub since: &'static str,
    /// What they do.
    pub what: &'static str,
}

const EMULATED: &str =
    "loads; percpu data is emulated: an array of one element that holds a copy for each CPU, in mapped memory";
const NATIVE: &str =
    "loads; percpu data is native: percpu arrays, each filled by one BPF_MAP_UPDATE_ELEM with BPF_F_ALL_CPUS";
const NO_DIRECT: &str =
    "does not load: programs have no direct access to percpu data, and its emulated form is left out";
const NO_MAPPED: &str = "does not load: maps cannot be mapped into memory";

/// The rows for an object with percpu data whose skeleton holds this form; none for an object without.
pub(super) fn kernels(object: &BpfObject, form: PercpuForm) -> Vec<KernelSummary> {
    let row = |since, what| KernelSummary { since, what };
    if !object.maps.iter().filter_map(|map| map.section.as_ref()).any(DataSection::is_percpu) {
        return Vec::new();
    }
    // BPF_F_MMAPABLE is in Linux 5.5, direct access in 7.3. Programs are fitted to the kernel's types (CO-RE) on all of them.
    match form {
        PercpuForm::Native => vec![row("0", NO_DIRECT), row("7.3", NATIVE)],
        PercpuForm::Emulated => vec![row("0", NO_MAPPED), row("5.5", EMULATED)],
        PercpuForm::Either => vec![row("0", NO_MAPPED), row("5.5", EMULATED), row("7.3", NATIVE)],
    }
}
