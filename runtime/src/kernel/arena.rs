//! Whether programs of the running kernel may refer to any byte of an arena, not only to the first 512 MiB.
//!
//! Linux lets them since 7.1 or so; a program is loaded for trial, once in a process. Knows no object.

use super::probe::{self, Probe, Trial};
use crate::error::{Errno, Result};
use crate::uapi::MapType;

/// An offset beyond what the verifier took before.
const FAR: u32 = 1 << 30;

/// Whether any offset is good.
///
/// # Errors
/// If that cannot be found out.
pub(crate) fn any_offset(trial: Trial<'_>) -> Result<bool> {
    static PROBE: Probe = Probe::new("takes references to any byte of an arena");
    let exit = [probe::insn(crate::opcode::EXIT, (0, 0), 0)];
    PROBE.ask(|| {
        let mut log = [0; 4096];
        // The offset lies outside the map's value, so the program is refused in any case; by what is said the two are told apart.
        let result = probe::load_with_value("arena_probe", (MapType::ARRAY, FAR), &exit, trial, &mut log)?;
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
