//! The feature probe for direct access to a percpu array's value, which `.percpu` sections require.
//!
//! Linux 7.3 and later have direct access if the JIT of the architecture supports percpu instructions, so a check of
//! the version would not suffice. The probe creates a map and loads a program, once per process.

use super::probe::{self, Probe, ProbeRequest};
use crate::error::Result;
use crate::opcode;
use crate::uapi::MapType;

/// Returns whether programs can access the value of a percpu array directly on the running kernel.
///
/// # Errors
/// If the probe fails, usually because the process has no permission to create maps and load programs.
pub(crate) fn direct_access(how: ProbeRequest<'_>) -> Result<bool> {
    static PROBE: Probe = Probe::new("has direct access to percpu arrays");
    // r0 = the address of the map's value, then: r0 = *(u32 *)(r0 + 0); exit
    let rest = [probe::insn(opcode::LDX | opcode::MEM | opcode::W, (0, 0), 0), probe::insn(opcode::EXIT, (0, 0), 0)];
    PROBE.run(|| {
        let loaded = probe::load_with_value("percpu_probe", (MapType::PERCPU_ARRAY, 0), &rest, how, &mut [])?;
        // A verifier without direct access returns EINVAL (`resolve_pseudo_ldimm64` up to 7.2); a verifier with a JIT without percpu
        // instructions, EOPNOTSUPP (`percpu_array_map_direct_value_addr`, 7.3); a JIT that cannot compile the program, ENOTSUPP (524).
        probe::verdict(&loaded, &[libc::EINVAL, libc::EOPNOTSUPP, 524])
    })
}
