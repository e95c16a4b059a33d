//! Descriptions of CO-RE relocation records, for errors.

use super::path::Spec;
use super::record::{self, Record, RelocationKind};
use crate::btf::{Types, kind};

/// Returns a description of a record: "offset of `struct task_struct.pid`".
pub(super) fn record(types: &Types, record: &Record) -> String {
    let Some(relocation) = RelocationKind::of(record.kind) else {
        return format!("type {}", record.type_id);
    };
    if types.name(record.type_id).is_empty() {
        return format!("{} type {}", relocation.quantity(), record.type_id);
    }
    format!("{} `{}`", relocation.quantity(), spec(types, record, relocation))
}

/// Returns a note about an instruction whose CO-RE relocation has no target in the kernel: "instruction 12 needs the offset of …".
pub(crate) fn unresolved(types: &Types, records: &[u8], insn: usize) -> Option<String> {
    // The second half of a 64-bit immediate load is poisoned as well, but the verifier reaches the first half before it.
    let found = record::all(records).find(|record| record.insn == insn)?;
    Some(format!(
        "instruction {insn} needs the {}: this kernel does not have it, or its value does not fit in the instruction",
        record(types, &found)
    ))
}

fn spec(types: &Types, record: &Record, relocation: RelocationKind) -> String {
    let mut text = format!("{}{}", kind::word(types.kind(record.type_id)), types.name(record.type_id));
    match Spec::parse(types, record, relocation) {
        Ok(Spec::Field(path)) => {
            for (number, step) in path.steps.iter().enumerate() {
                match step.name {
                    Some(name) => {
                        text.push('.');
                        text.push_str(name);
                    }
                    None if number > 0 || step.index > 0 => text.push_str(&format!("[{}]", step.index)),
                    None => {}
                }
            }
        }
        Ok(Spec::Enumerator { name, .. }) => {
            text.push_str("::");
            text.push_str(name);
        }
        Ok(Spec::Type { .. }) | Err(_) => {}
    }
    text
}
