//! Recording of the bpf() calls of this thread: for tests, for benchmarks that replay them, and for inspecting a load.
//!
//! Without a recording, each call reads one thread-local flag. While recording, each element operation costs an additional call, which
//! reads the name and sizes of the map and is not recorded.
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

/// Runs `work` and returns the bpf() calls that it made on this thread, with copies of the memory that the requests point to.
pub fn whole<R>(work: impl FnOnce() -> R) -> (R, Vec<Call>) {
    trace::during(Mode::Whole, work)
}

/// Runs `work` and returns the bpf() calls that it made on this thread as a [`Replay`], which repeats them without `work`. The time of the
/// replay is a lower bound for the time of `work`.
///
/// # Errors
/// If one of the calls cannot be repeated. The calls of a load can be repeated; element operations only on a map that was created
/// while recording.
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
