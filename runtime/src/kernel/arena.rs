//! The feature probe for references to any byte of an arena. Older kernels accept references to the first 512 MiB only.
//!
//! Linux 7.0 accepts all references, Linux 6.18 does not. The probe loads a program, once per process.

use super::probe::{self, Probe, ProbeRequest};
use crate::error::{Errno, Result};
use crate::uapi::MapType;

/// An offset that older verifiers reject.
const FAR: u32 = 1 << 30;

/// Returns whether programs can refer to any byte of an arena.
///
/// # Errors
/// If the probe fails.
pub(crate) fn accepts_any_offset(how: ProbeRequest<'_>) -> Result<bool> {
    static PROBE: Probe = Probe::new("accepts references to any byte of an arena");
    let exit = [probe::insn(crate::opcode::EXIT, (0, 0), 0)];
    PROBE.run(|| {
        let mut log = [0; 4096];
        // The offset is outside of the value of the probe's map, so every verifier rejects the program. The message
        // shows which check failed.
        let result = probe::load_with_value("arena_probe", (MapType::ARRAY, FAR), &exit, how, &mut log)?;
        let len = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
        let text = String::from_utf8_lossy(&log[..len]);
        if text.contains("direct value offset of") {
            Ok(false)
        } else if text.contains("invalid access to map value pointer") {
            Ok(true)
        } else {
            Err(result.err().unwrap_or(Errno::from_raw(libc::EINVAL)))
        }
    })
}
