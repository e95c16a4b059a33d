//! What the running kernel supports, probed before a load: program types, map types, helpers and other features.
//!
//! Each answer comes from a request that kernels with the feature accept. Requests are sent and their errors
//! interpreted as in a load (`sys/probe.rs`); a feature that a load probes has the same probe here. The answer "no"
//! means that the kernel does not have the feature; any other failure is an error. This module does not depend on
//! objects or plans.
//!
//! To add a feature, add a variant with its probe to `feature.rs`. A new map type needs only its row in `skelgen_abi::map_types`, a new
//! attach type a line in `attach.rs`.

mod attach;
mod feature;
mod maps;
mod programs;

pub use self::attach::has_attach_type;
pub use self::feature::{Feature, has_feature};
pub use self::maps::{has_map_flags, has_map_type};
pub use self::programs::{HelperSupport, has_helper, has_kfunc, has_program_type, helper_support};
use crate::error::{Errno, Result};
use crate::sys::{self, probe};

/// Returns the answer of a probe, which is not cached. `what` is the text after "whether this kernel" in an error.
fn ask<T>(what: impl std::fmt::Display, mut request: impl FnMut() -> Result<T, Errno>) -> Result<T> {
    with_memory(|| probe::ask(&what, &mut request))
}

/// Runs a probe. If it fails with `EPERM`, and the limit on locked memory can be raised, runs the probe again: kernels
/// before 5.11 count the memory of programs and maps against this limit.
fn with_memory<T>(mut probe: impl FnMut() -> Result<T>) -> Result<T> {
    match probe() {
        Err(error) if error.errno().is_some_and(|errno| errno.raw() == libc::EPERM) => {
            if sys::lift_memlock().unwrap_or(false) { probe() } else { Err(error) }
        }
        answer => answer,
    }
    .map_err(super::causes::advise)
}
