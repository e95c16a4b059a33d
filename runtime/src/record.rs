//! Records the bpf() calls that this thread makes: for tests, for benchmarks that replay them, and to see what a load does.
//!
//! Costs one look at a thread-local flag a call when nothing is recorded. While recording, the name and sizes of the map of an
//! element operation are asked of the kernel, by a call that is not recorded itself.
//!
//! ```no_run
//! let (result, calls) = skelgen_runtime::record::calls(|| { /* load something */ });
//! for call in &calls {
//!     println!("{call}");
//! }
//! ```

use crate::error::Error;
pub use crate::sys::call::{Buffer, Call, MapOf};
pub use crate::sys::replay::Replay;
use crate::sys::trace::{self, Mode};

/// Runs `work` and returns the bpf() calls that it made on this thread.
pub fn calls<R>(work: impl FnOnce() -> R) -> (R, Vec<Call>) {
    trace::during(Mode::Sizes, work)
}

/// Runs `work` and returns the bpf() calls that it made on this thread, with copies of everything that the requests pointed to.
pub fn whole<R>(work: impl FnOnce() -> R) -> (R, Vec<Call>) {
    trace::during(Mode::Whole, work)
}

/// Runs `work` and returns the bpf() calls that it made on this thread, ready to be made again without it: the least that `work`
/// can cost.
///
/// # Errors
/// If one of the calls cannot be made again: of the commands, those that load an object can, on maps that were created meanwhile.
///
/// ```no_run
/// let (result, replay) = skelgen_runtime::record::replay(|| { /* load something */ });
/// println!("{} ns", replay?.run()?);
/// # Ok::<(), skelgen_runtime::Error>(())
/// ```
pub fn replay<R>(work: impl FnOnce() -> R) -> (R, Result<Replay, Error>) {
    let (result, calls) = whole(work);
    (result, Replay::new(&calls))
}
