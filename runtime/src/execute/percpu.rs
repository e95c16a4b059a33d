//! The form of percpu sections on the running kernel: percpu arrays, or arrays with one copy for each CPU.
//!
//! This is the only part of the executor that allocates by the number of CPUs: that of the running kernel, at load.

use super::{Executor, is_eperm, lift_memlock};
use crate::abi::{PercpuForm, SectionKind, percpu_stride};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::probe::without_rights;
use crate::kernel::{cpus, percpu};
use crate::open::OpenMap;
use crate::uapi::{MapType, map_flags};

/// The parts of a map's definition that depend on the form of percpu data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) map_type: MapType,
    pub(super) value_size: u32,
    pub(super) flags: u32,
    /// Whether the map is an emulated percpu section.
    pub(super) emulated: bool,
}

impl Executor {
    /// Chooses the form of percpu data by the kernel's features, unless the object or the user leaves no choice.
    pub(super) fn choose_percpu(&mut self) -> Result<()> {
        let forms = self.object.percpu;
        self.emulate = match (forms, self.options.percpu) {
            (PercpuForm::Native, PercpuForm::Emulated) => {
                let any = self.object.maps.iter().any(is_percpu);
                if any {
                    return Err(Error::unsupported(
                        "the skeleton was generated without the emulated form of percpu data",
                    ));
                }
                false
            }
            (PercpuForm::Emulated, PercpuForm::Native) => {
                return Err(Error::unsupported("the skeleton was generated without the native form of percpu data"));
            }
            (PercpuForm::Native, _) | (_, PercpuForm::Native) => false,
            (PercpuForm::Emulated, _) | (_, PercpuForm::Emulated) => true,
            (PercpuForm::Either, PercpuForm::Either) => {
                let mut found = percpu::direct_access(self.probe_request()?);
                if is_eperm(&found) {
                    lift_memlock(&mut self.memlock);
                    found = percpu::direct_access(self.probe_request()?);
                }
                // Without the right to probe, the error of the object's own loads is more helpful.
                !without_rights(found, true)?
            }
        };
        Ok(())
    }

    /// Returns the definition to create for a map.
    pub(super) fn shape(&self, open: &OpenMap) -> Result<Shape> {
        // An arena has no values; its value size in the tables is the size of its variables.
        let value_size = if open.row.map_type == MapType::ARENA { 0 } else { open.row.value_size };
        let (map_type, flags) = (open.row.map_type, open.row.flags);
        if !self.emulate || !is_percpu(open.definition) {
            return Ok(Shape { map_type, value_size, flags, emulated: false });
        }
        let align = open.definition.section.map_or(1, |section| section.align);
        let cpus = cpus::counted()?.slots();
        let value_size = percpu_stride(value_size, align).and_then(|stride| stride.checked_mul(cpus));
        let value_size = value_size.ok_or_else(|| {
            Error::of(
                ErrorKind::LimitReached,
                format_args!("section `{}` is too large for {cpus} CPUs", &*open.definition.name),
            )
        })?;
        Ok(Shape { map_type: MapType::ARRAY, value_size, flags: flags | map_flags::MMAPABLE, emulated: true })
    }
}

/// Returns the initial contents of an emulated section of `size` bytes: a copy of the value for each possible CPU, at equal distances,
/// indexed by the CPU's number.
pub(super) fn spread(value: &[u8], size: u32) -> Result<Vec<u8>> {
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

/// Returns a copy of the value for each possible CPU as a percpu map's update takes them: each padded to a multiple of eight bytes, ordered
/// by CPU.
pub(super) fn repeat(value: &[u8]) -> Result<Vec<u8>> {
    let mut one = value.to_vec();
    one.resize(value.len().next_multiple_of(8), 0);
    Ok(one.repeat(cpus::counted()?.len()))
}

fn is_percpu(map: &crate::abi::Map) -> bool {
    map.section.is_some_and(|section| section.kind == SectionKind::Percpu)
}
