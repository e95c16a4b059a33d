//! Run statistics of programs.

use std::os::fd::OwnedFd;

use crate::error::{Error, LinuxVersion, Result, Step};
use crate::kernel::causes;
use crate::sys::prog as sys;

/// Keeps the run statistics of all programs enabled until it is dropped. Returned by [`enable_run_statistics`].
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let statistics = skelgen_runtime::system::enable_run_statistics()?;
/// std::thread::sleep(std::time::Duration::from_secs(1));
/// println!("{:?} in a second", program.info()?.run_time);
/// drop(statistics);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping it disables the statistics"]
pub struct RunStatistics {
    #[allow(dead_code, reason = "the kernel counts as long as the file descriptor is open")]
    fd: OwnedFd,
}

/// Makes the kernel count and time the runs of all programs, until the returned value and those of other processes are
/// dropped (`BPF_ENABLE_STATS`, Linux 5.8). The results are [`ProgramInfo::run_count`](crate::ProgramInfo::run_count)
/// and [`ProgramInfo::run_time`](crate::ProgramInfo::run_time), which keep their values when the statistics are
/// disabled. Timing costs each run about 20 nanoseconds.
///
/// The statistics are also enabled while the sysctl `kernel.bpf_stats_enabled` is 1 (Linux 5.1).
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::{TestRun, system};
///
/// let statistics = system::enable_run_statistics()?;
/// program.test_run(TestRun::new())?;
/// drop(statistics);
/// assert!(program.info()?.run_count > 0);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the process does not have `CAP_SYS_ADMIN`, or the kernel is older than Linux 5.8.
pub fn enable_run_statistics() -> Result<RunStatistics> {
    sys::enable_stats().map(|fd| RunStatistics { fd }).map_err(|errno| {
        let error = Error::refused("cannot enable the run statistics of programs", errno).during(Step::ReadInfo);
        match errno.raw() {
            libc::EINVAL => causes::since(
                error,
                LinuxVersion::new(5, 8),
                "a process can enable statistics since Linux 5.8, the sysctl `kernel.bpf_stats_enabled` since 5.1",
            ),
            libc::EPERM => error.with_help("run with CAP_SYS_ADMIN, or as root"),
            _ => error,
        }
    })
}
