//! The contents of loaded maps as text: variables, copies of variables for each CPU, and records of ring buffers.

use std::fmt::Write as _;

use skelgen_abi::escape::Line;
use skelgen_abi::plan::percpu_stride;
use skelgen_abi::uapi::MapType;
use skelgen_runtime::map::{RingBuf, Untyped};

use crate::btf::value::hex;
use crate::btf::{Btf, TypeId};
use crate::insn::Endian;
use crate::model::{DataSection, Map};

/// A loaded map whose contents are shown.
pub(super) enum Live<'a> {
    /// A section of variables.
    Variables(&'a Map, &'a DataSection, Untyped),
    /// A ring buffer, with the type of its records if that is known.
    Records(&'a Map, Option<TypeId>, RingBuf),
}

/// The types of the object, for the values in its maps.
#[derive(Clone, Copy)]
pub(super) struct Types<'a> {
    pub(super) btf: Option<&'a Btf>,
    pub(super) endian: Endian,
}

/// The maximum number of records that are printed at once, so that this process can end even if programs write records
/// faster than the terminal shows them.
const RECORDS: usize = 10_000;

impl Live<'_> {
    /// Returns the text to print now: a line for each variable, or for each record that was not yet printed.
    pub(super) fn text(&self, types: Types<'_>) -> skelgen_runtime::Result<String> {
        let mut text = String::new();
        match self {
            Self::Variables(map, section, handle) => {
                let copies = copies(map, section, handle)?;
                for variable in &section.variables {
                    let from = usize::try_from(variable.offset).unwrap_or(usize::MAX);
                    let value = |copy: &Vec<u8>| {
                        let bytes = copy.get(from..).unwrap_or_default();
                        let size = usize::try_from(variable.size).unwrap_or(0).min(bytes.len());
                        types.btf.map_or_else(|| hex(&bytes[..size]), |btf| btf.value(variable.ty, bytes, types.endian))
                    };
                    let values: Vec<String> = copies.iter().map(value).collect();
                    let values = match section.is_percpu() {
                        true => format!("per CPU: {}", values.join(", ")),
                        false => values.join(""),
                    };
                    // Writing to a string cannot fail.
                    let _ = writeln!(text, "{} {} = {}", Line(&map.def.name), Line(&variable.name), Line(values));
                }
            }
            Self::Records(map, ty, buffer) => {
                for _ in 0..RECORDS {
                    let Some(record) = buffer.next()? else { break };
                    let typed = ty.zip(types.btf).map(|(ty, btf)| btf.value(ty, &record, types.endian));
                    let value = typed.unwrap_or_else(|| hex(&record));
                    let _ = writeln!(text, "{}: {} bytes: {}", Line(&map.def.name), record.len(), Line(value));
                }
            }
        }
        Ok(text)
    }
}

/// Returns the bytes of a section: one copy, or a copy for each possible CPU.
fn copies(map: &Map, section: &DataSection, handle: &Untyped) -> skelgen_runtime::Result<Vec<Vec<u8>>> {
    let bytes = handle.get(&0_u32.to_ne_bytes())?.unwrap_or_default();
    if !section.is_percpu() {
        return Ok(vec![bytes]);
    }
    let stride = match handle.map_type() {
        MapType::PERCPU_ARRAY => map.def.value_size.checked_next_multiple_of(8),
        // The only element of the map of an emulated section contains the copies for all CPUs.
        _ => percpu_stride(section.size, section.align),
    };
    let stride = stride.and_then(|stride| usize::try_from(stride).ok()).unwrap_or(usize::MAX).max(1);
    let cpus = skelgen_runtime::kernel::cpus::possible()?.len();
    Ok(bytes.chunks(stride).take(cpus).map(<[u8]>::to_vec).collect())
}
