//! The values of an object's CO-RE relocations to the types in a file, and the comparison of its symbols with them, both by
//! the runtime.

use std::path::Path;

use skelgen_abi::plan::essential_name;
use skelgen_runtime::generated::{incompatible_symbols, relocation_numbers};

use crate::check::{Relocated, Resolved};
use crate::error::{Code, Error, Result};
use crate::insn::Endian;
use crate::model::{BpfObject, ExternId, FunctionId};

/// Returns what these types determine about an object.
///
/// # Errors
/// [`Code::Io`] if the types cannot be read.
pub(super) fn resolve(object: &BpfObject, kernel: &Path) -> Result<Resolved> {
    let mut resolved = Resolved::default();
    let Some(btf) = &object.btf else { return Ok(resolved) };
    let failed = |error| Error::new(Code::Io, format!("cannot relocate to {}: {error}", kernel.display()));
    let types = btf.write(if cfg!(target_endian = "big") { Endian::Big } else { Endian::Little });
    let functions = (0..).zip(&object.functions);
    let all = functions.flat_map(|(id, function)| function.info.relos.iter().map(move |it| (FunctionId(id), it)));
    // Relocate the records of all functions at once, because each call reads the kernel's types.
    let records: Vec<u8> = all.clone().flat_map(|(_, relocation)| relocation.record()).collect();
    let numbers = relocation_numbers(&types, kernel, &records).map_err(failed)?;
    for ((function, relocation), number) in all.zip(numbers) {
        let value = number.map_or(Relocated::Absent, Relocated::Number);
        resolved.relocations.insert((function, relocation.insn), value);
    }
    let externs = (0..).zip(&object.externs);
    let typed = externs.filter_map(|(id, symbol)| Some((ExternId(id), (essential_name(&symbol.name), symbol.ty?))));
    let (ids, symbols): (Vec<_>, Vec<_>) = typed.unzip();
    let incompatible = incompatible_symbols(&types, kernel, &symbols).map_err(failed)?;
    resolved.incompatible = ids.into_iter().zip(incompatible).filter_map(|(id, it)| it.then_some(id)).collect();
    Ok(resolved)
}
