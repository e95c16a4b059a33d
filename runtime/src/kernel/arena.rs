//! Whether programs of the running kernel may refer to any byte of an arena, not only to the first 512 MiB.
//!
//! Linux lets them since 7.1 or so; a program is loaded for trial, once in a process. Knows no object.

use std::sync::OnceLock;

use super::probe::{self, Trial};
use crate::error::Errno;
use crate::uapi::MapType;

/// An offset beyond what the verifier took before.
const FAR: u32 = 1 << 30;

/// Whether any offset is good.
///
/// # Errors
/// What the kernel said, if that does not tell.
pub(crate) fn any_offset(trial: Trial<'_>) -> Result<bool, Errno> {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    if let Some(&known) = KNOWN.get() {
        return Ok(known);
    }
    let exit = [probe::insn(0x95, (0, 0), 0)];
    let mut log = [0; 1024];
    // The offset lies outside the map's value, so the program is refused in any case; by what is said the two are told apart.
    drop(probe::load_with_value("arena_probe", (MapType::ARRAY, FAR), &exit, trial, &mut log)?);
    let len = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[..len]).into_owned();
    Ok(*KNOWN.get_or_init(|| !text.is_empty() && !text.contains("direct value offset of")))
}
