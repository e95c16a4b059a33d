//! The running kernel: its BTF, its CPUs, its features.

pub(crate) mod arena;
pub(crate) mod btf;
pub(crate) mod causes;
pub(crate) mod features;
pub(crate) mod jit;
pub(crate) mod kallsyms;
pub(crate) mod kconfig;
pub(crate) mod percpu;
pub(crate) mod probe;
pub mod token;
pub(crate) mod types;

use std::os::fd::OwnedFd;

use crate::error::{Error, Result, Step};
use crate::sys;
pub use crate::sys::cpus;

/// Enables run count and run time statistics of all programs, until the file descriptor is closed (Linux 5.8).
///
/// # Errors
/// If the kernel rejects it. It requires `CAP_SYS_ADMIN`.
pub fn enable_stats() -> Result<OwnedFd> {
    sys::prog::enable_stats()
        .map_err(|errno| Error::refused("cannot enable statistics of programs", errno).during(Step::ReadInfo))
}
