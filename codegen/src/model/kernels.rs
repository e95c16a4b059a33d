//! How each range of kernel versions loads an object, as far as the object alone determines it.
//!
//! Versions are those of upstream Linux; a distribution may have backported a feature. The loader uses feature probes,
//! not this table.

use serde::Serialize;
use skelgen_abi::plan::PercpuForm;

use super::{BpfObject, DataSection};

/// The behavior of kernels from one version up to the next entry's version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KernelSummary {
    /// The first version; "0" for all versions before the next entry's.
    pub since: &'static str,
    /// The behavior of these kernels.
    pub what: &'static str,
}

const EMULATED: &str =
    "loads; percpu data is emulated: an array of one element with a copy for each CPU, mapped into memory";
const NATIVE: &str =
    "loads; programs access percpu arrays directly, each initialized by one BPF_MAP_UPDATE_ELEM with BPF_F_ALL_CPUS";
const NO_DIRECT: &str =
    "does not load: programs cannot access percpu arrays directly, and the skeleton does not emulate percpu data";
const NO_MMAP: &str = "does not load: maps cannot be mapped into memory";

/// Returns the entries for an object whose skeleton accesses percpu data in this way; none for an object without percpu
/// data.
pub(super) fn kernels(object: &BpfObject, form: PercpuForm) -> Vec<KernelSummary> {
    let row = |since, what| KernelSummary { since, what };
    if !object.maps.iter().filter_map(|map| map.section.as_ref()).any(DataSection::is_percpu) {
        return Vec::new();
    }
    // BPF_F_MMAPABLE requires Linux 5.5, direct access 7.3. CO-RE relocations are applied on all versions.
    match form {
        PercpuForm::Native => vec![row("0", NO_DIRECT), row("7.3", NATIVE)],
        PercpuForm::Emulated => vec![row("0", NO_MMAP), row("5.5", EMULATED)],
        PercpuForm::Either => vec![row("0", NO_MMAP), row("5.5", EMULATED), row("7.3", NATIVE)],
    }
}
