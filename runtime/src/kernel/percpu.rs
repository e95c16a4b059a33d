//! Whether the running kernel gives programs direct access to a percpu array's value, which `.percpu` sections need.
//!
//! Linux does since 7.3, where the JIT knows percpu instructions; there is no version to ask, so a program that does it is loaded
//! for trial: two bpf() calls, once in a process. Knows no object.

use std::sync::OnceLock;

use super::probe::{self, Trial};
use crate::error::Errno;
use crate::uapi::MapType;

/// Whether the running kernel has direct access, or why that cannot be found out (no rights, mostly).
///
/// # Errors
/// What the kernel said, if that does not tell.
pub(crate) fn direct_access(trial: Trial<'_>) -> Result<bool, Errno> {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    if let Some(&known) = KNOWN.get() {
        return Ok(known);
    }
    let found = probe(trial)?;
    Ok(*KNOWN.get_or_init(|| found))
}

fn probe(trial: Trial<'_>) -> Result<bool, Errno> {
    // r0 = the address of the map's value, then: r0 = *(u32 *)(r0 + 0); exit
    let rest = [probe::insn(0x61, (0, 0), 0), probe::insn(0x95, (0, 0), 0)];
    match probe::load_with_value("percpu_probe", (MapType::PERCPU_ARRAY, 0), &rest, trial, &mut [])? {
        Ok(_) => Ok(true),
        // The verifier says EINVAL, a JIT without percpu instructions ENOTSUPP (524).
        Err(errno) if [libc::EINVAL, libc::EACCES, libc::EOPNOTSUPP, 524].contains(&errno.raw()) => Ok(false),
        Err(errno) => Err(errno),
    }
}
