//! Descriptions of records, for errors.

use super::path::Spec;
use super::record::{self, Record, RelocationKind};
use crate::btf::{Types, kind};

/// Returns what a record refers to: "offset of `struct task_struct.pid`".
pub(super) fn record(types: &Types, record: &Record) -> String {
    let Some(relocation) = RelocationKind::of(record.kind) else {
        return format!("type {}", record.type_id);
    };
    if types.name(record.type_id).is_empty() {
        return format!("{} type {}", quantity(relocation), record.type_id);
    }
    format!("{} `{}`", quantity(relocation), spec(types, record, relocation))
}

/// Returns what an instruction needs that the kernel does not have, if a record refers to it: "instruction 12 needs the offset of …".
pub(crate) fn unresolved(types: &Types, records: &[u8], insn: usize) -> Option<String> {
    // The second half of a 64-bit immediate load is poisoned as well, but the verifier reaches the first half before it.
    let found = record::all(records).find(|record| record.insn == insn)?;
    Some(format!(
        "instruction {insn} needs the {}, which the kernel does not have, or not in a form that the instruction can use",
        record(types, &found)
    ))
}

fn quantity(relocation: RelocationKind) -> &'static str {
    match relocation {
        RelocationKind::FieldOffset => "offset of",
        RelocationKind::FieldSize | RelocationKind::TypeSize => "size of",
        RelocationKind::FieldExists | RelocationKind::TypeExists | RelocationKind::EnumeratorExists => "existence of",
        RelocationKind::FieldSigned => "signedness of",
        RelocationKind::FieldLeftShift | RelocationKind::FieldRightShift => "bit position of",
        RelocationKind::LocalTypeId | RelocationKind::TargetTypeId => "id of",
        RelocationKind::EnumeratorValue => "value of",
        RelocationKind::TypeMatches => "match of",
    }
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
