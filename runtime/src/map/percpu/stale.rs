//! The feature probe for stale values: whether setting one CPU's value of a new element leaves old data in the other
//! CPUs' values.
//!
//! The other CPUs' values of a new element must be zero. Linux 7.0 and 7.1 leave the previous content of the element's
//! memory, mostly another element's values (`pcpu_init_value`, kernel/bpf/hashtab.c; seen on 7.0.13 and 7.1.13, fixed
//! in 7.2.12 and 7.3.4). A feature probe decides, because fixes are backported.

use crate::error::{Errno, Result};
use crate::kernel::probe::{Probe, without_rights};
use crate::sys::cpus;
use crate::sys::elem::Map;
use crate::sys::map::{Map as NewMap, Request};
use crate::uapi::{MapType, elem_flags};

/// Returns whether the running kernel leaves stale values in new elements. Returns `true` if the process has no
/// permission to create a map.
pub(super) fn leaves_stale_values() -> Result<bool> {
    static PROBE: Probe = Probe::new("leaves stale values in new elements of percpu hash maps");
    if let Some(known) = PROBE.known() {
        return Ok(known);
    }
    let one = cpus::count()?.cpus == 1;
    without_rights(PROBE.run(|| if one { Ok(false) } else { probe() }), true)
}

/// Sets and removes the only element of a map, then creates it again with one CPU's value. The map has memory for one
/// element, so the new element reuses the memory of the removed one.
fn probe() -> Result<bool, Errno> {
    let map = NewMap::create(&Request::for_probe("probe", MapType::PERCPU_HASH))?.into_fd();
    let map = Map::new(map).map_err(|error| error.errno().unwrap_or(Errno::from_raw(libc::EINVAL)))?;
    let key = [0; 4];
    map.update(&key, &[0xff; 8], elem_flags::ALL_CPUS)?;
    map.delete(&key)?;
    map.update(&key, &[0; 8], elem_flags::CPU)?;
    let mut values = vec![0; map.full_len()];
    map.lookup(&key, &mut values, elem_flags::ANY)?;
    Ok(values.iter().any(|&byte| byte != 0))
}
