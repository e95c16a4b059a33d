//! The values of an object's CO-RE relocations to the types in a file, by the runtime's relocation.

use std::path::Path;

use skelgen_runtime::generated::relocation_numbers;

use crate::check::{Relocated, Relocations};
use crate::error::{Code, Error, Result};
use crate::model::{BpfObject, FunctionId};

/// Returns the values of the CO-RE relocations of an object with these types.
///
/// # Errors
/// [`Code::Io`] if the types cannot be read.
pub(super) fn relocations(object: &BpfObject, kernel: &Path) -> Result<Relocations> {
    let mut values = Relocations::default();
    let Some(btf) = &object.btf else { return Ok(values) };
    let functions = (0..).zip(&object.functions);
    let all = functions.flat_map(|(id, function)| function.info.relos.iter().map(move |it| (FunctionId(id), it)));
    // Relocate the records of all functions at once, because each call reads the kernel's types.
    let records: Vec<u8> = all.clone().flat_map(|(_, relocation)| relocation.record()).collect();
    let numbers = relocation_numbers(&btf.write(object.endian), kernel, &records)
        .map_err(|error| Error::new(Code::Io, format!("cannot relocate to {}: {error}", kernel.display())))?;
    for ((function, relocation), number) in all.zip(numbers) {
        let value = number.map_or(Relocated::Absent, Relocated::Number);
        values.0.insert((function, relocation.insn), value);
    }
    Ok(values)
}
