//! The promise that a plan is safe to load into the kernel: the only such promise in the generator's crate.

use skelgen_runtime::generated::Trusted;

use crate::plan::LoadPlan;

/// Declares the plan of an object as trusted. The plan stays in memory, because a load needs it until the process ends.
pub(super) fn trusted(plan: LoadPlan) -> Trusted {
    let object = Box::leak(Box::new(plan.object));
    // SAFETY: the tables are the unmodified output of the generator in this process. The programs are those of an object
    // that the user of the tool named to be loaded, with the rights of that user.
    skelgen_runtime::trusted!(unsafe object)
}
