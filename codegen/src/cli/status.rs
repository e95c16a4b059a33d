//! The exit statuses of the tool, for scripts.

use std::process::ExitCode;

/// The section of the help text about exit statuses.
pub(super) const HELP: &str = "\
Exit status:
  0  success
  1  an input, an output or an option is not valid; standard error has errors with codes
  2  the arguments are not valid
  3  `check` found a map or program that will not work
  4  the kernel rejected what `load` requested";

/// How the tool ended. If several inputs end differently, the later variant counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    /// Everything was done.
    #[default]
    Success,
    /// `check` found a map or program that will not work.
    Unfit,
    /// The kernel rejected the object.
    Rejected,
    /// An error was printed.
    Failed,
    /// The arguments are not valid.
    Usage,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Success => 0,
            Status::Failed => 1,
            Status::Usage => 2,
            Status::Unfit => 3,
            Status::Rejected => 4,
        })
    }
}
