//! Percpu sections on the running kernel: percpu arrays that programs access directly, or emulation by an array with a
//! copy for each CPU.
//!
//! Only this part of the executor depends on the number of CPUs. It is read from the running kernel during the load.

use super::parts::{self, Percpu};
use super::{Executor, is_eperm};
use crate::abi::{PercpuForm, percpu_stride};
use crate::error::{Errno, Error, ErrorKind, Result};
use crate::kernel::probe::without_rights;
use crate::kernel::{cpus, percpu};
use crate::open::{LoadEvent, OpenMap};
use crate::sys;
use crate::uapi::{MapType, elem_flags, map_flags};

/// The parts of a map's definition that depend on whether percpu data is emulated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) map_type: MapType,
    pub(super) value_size: u32,
    pub(super) flags: u32,
    /// Whether the map is an emulated percpu section.
    pub(super) emulated: bool,
}

/// The part of the executor for objects with percpu sections.
pub(super) static PART: Percpu = Percpu { choose: Executor::choose_percpu, emulated, spread, update_each, mask };

impl Executor {
    /// Decides whether to emulate percpu data: by a feature probe of the kernel, unless the object supports only one
    /// form or the user set one.
    fn choose_percpu(&mut self) -> Result<()> {
        let forms = self.object.percpu;
        self.emulate = match (forms, self.options.percpu) {
            (PercpuForm::Native, PercpuForm::Emulated) => {
                let any = self.object.maps.iter().any(crate::abi::Map::is_percpu_section);
                if any {
                    return Err(Error::unsupported(
                        "`PercpuForm::Emulated` was set with `set_percpu`, but the skeleton was generated with `--percpu native`",
                    ));
                }
                false
            }
            (PercpuForm::Emulated, PercpuForm::Native) => {
                return Err(Error::unsupported(
                    "`PercpuForm::Native` was set with `set_percpu`, but the skeleton was generated with `--percpu emulated`",
                ));
            }
            (PercpuForm::Native, _) | (_, PercpuForm::Native) => false,
            (PercpuForm::Emulated, _) | (_, PercpuForm::Emulated) => true,
            (PercpuForm::Either, PercpuForm::Either) => {
                let mut found = self.permitted(|executor| percpu::direct_access(executor.probe_request()?));
                if is_eperm(&found) {
                    sys::lift_memlock_once(&mut self.memlock);
                    found = percpu::direct_access(self.probe_request()?);
                }
                // If this process has no right to probe, assume direct access: the error of the object's own loads is
                // more helpful.
                !without_rights(found, true)?
            }
        };
        if self.emulate && self.object.maps.iter().any(crate::abi::Map::is_percpu_section) {
            self.emit(&LoadEvent::PercpuEmulated);
        }
        Ok(())
    }

    /// Returns the definition to create for a map.
    pub(super) fn shape(&self, open: &OpenMap) -> Result<Shape> {
        // An arena has no values; its value size in the tables is the size of its variables.
        let value_size = if open.row.map_type == MapType::ARENA { 0 } else { open.row.value_size };
        let (map_type, flags) = (open.row.map_type, open.row.flags);
        if !self.emulate || !open.definition.is_percpu_section() {
            return Ok(Shape { map_type, value_size, flags, emulated: false });
        }
        (parts::needed(self.parts.percpu, "percpu")?.emulated)(open)
    }
}

/// Returns the definition of the map that emulates a percpu section.
fn emulated(open: &OpenMap) -> Result<Shape> {
    let align = open.definition.section.map_or(1, |section| section.align);
    let cpus = cpus::counted()?.slots();
    let value_size = percpu_stride(open.row.value_size, align).and_then(|stride| stride.checked_mul(cpus));
    let value_size = value_size.ok_or_else(|| {
        Error::of(
            ErrorKind::LimitReached,
            format_args!("section `{}` is too large for {cpus} CPUs", &*open.definition.name),
        )
    })?;
    let flags = open.row.flags | map_flags::MMAPABLE;
    Ok(Shape { map_type: MapType::ARRAY, value_size, flags, emulated: true })
}

/// Returns the mask that programs apply to the number of a CPU, so that the result is the index of a copy of an emulated
/// section.
fn mask() -> Result<u32> {
    Ok(cpus::counted()?.slots() - 1)
}

/// Returns the initial contents of an emulated section of `size` bytes: a copy of the value for each possible CPU, at equal distances,
/// indexed by the CPU's number.
fn spread(value: &[u8], size: u32) -> Result<Vec<u8>> {
    let all = cpus::counted()?;
    let mut values = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
    let stride = values.len() / usize::try_from(all.slots()).unwrap_or(1);
    for cpu in all.iter() {
        let from = usize::try_from(cpu).unwrap_or(usize::MAX).saturating_mul(stride);
        if let Some(copy) = values.get_mut(from..).and_then(|rest| rest.get_mut(..value.len())) {
            copy.copy_from_slice(value);
        }
    }
    Ok(values)
}

/// Writes a value for each possible CPU, in the layout that an update of a percpu map requires: ordered by CPU, each padded to a multiple of
/// eight bytes.
fn update_each(map: &sys::map::Map, key: &[u8], value: &[u8]) -> Result<Result<(), Errno>> {
    let mut one = value.to_vec();
    one.resize(value.len().next_multiple_of(8), 0);
    Ok(map.update_each(key, &one.repeat(cpus::counted()?.len()), elem_flags::ANY))
}
