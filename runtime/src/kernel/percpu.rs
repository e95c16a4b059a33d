//! Whether the running kernel gives programs direct access to a percpu array's value, which `.percpu` sections need.
//!
//! Linux does since 7.3, where the JIT knows percpu instructions; there is no version to ask, so a program that does it is loaded
//! for trial: two bpf() calls, once in a process. Knows no object.

use super::probe::{self, Probe, Trial};
use crate::error::Result;
use crate::opcode;
use crate::uapi::MapType;

/// Whether the running kernel has direct access.
///
/// # Errors
/// If that cannot be found out: no rights, mostly.
pub(crate) fn direct_access(trial: Trial<'_>) -> Result<bool> {
    static PROBE: Probe = Probe::new("has direct access to percpu arrays");
    // r0 = the address of the map's value, then: r0 = *(u32 *)(r0 + 0); exit
    let rest = [probe::insn(opcode::LDX | opcode::MEM | opcode::W, (0, 0), 0), probe::insn(opcode::EXIT, (0, 0), 0)];
    PROBE.ask(|| {
        let loaded = probe::load_with_value("percpu_probe", (MapType::PERCPU_ARRAY, 0), &rest, trial, &mut [])?;
        // Verifiers without it answer EINVAL (`resolve_pseudo_ldimm64` up to 7.2), those whose JIT has no percpu instructions
        // EOPNOTSUPP (`percpu_array_map_direct_value_addr`, 7.3), and a JIT that gives up ENOTSUPP (524).
        probe::verdict(&loaded, &[libc::EINVAL, libc::EOPNOTSUPP, 524])
    })
}
