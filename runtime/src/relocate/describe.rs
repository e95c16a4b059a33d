//! Says for people what a record is about.

use super::path::Subject;
use super::record::{self, Question, Record};
use crate::btf::{Types, kind};

/// What a record is about: "offset of `struct task_struct.pid`".
pub(super) fn record(types: &Types, record: &Record) -> String {
    let Some(question) = Question::of(record.kind) else {
        return format!("type {}", record.type_id);
    };
    format!("{} `{}`", asked(question), subject(types, record, question))
}

/// What an instruction needs that the kernel does not have, if a record is about it: "instruction 12 needs the offset of …".
pub(crate) fn unresolved(types: &Types, records: &[u8], insn: usize) -> Option<String> {
    // The second half of a 64-bit immediate load is poisoned as well, but never the first that is reached.
    let found = record::all(records).find(|record| record.insn == insn)?;
    Some(format!(
        "instruction {insn} needs the {}, which the kernel does not have, or not so that the instruction could use it",
        record(types, &found)
    ))
}

fn asked(question: Question) -> &'static str {
    match question {
        Question::FieldOffset => "offset of",
        Question::FieldSize | Question::TypeSize => "size of",
        Question::FieldExists | Question::TypeExists | Question::EnumeratorExists => "existence of",
        Question::FieldSigned => "signedness of",
        Question::FieldLeftShift | Question::FieldRightShift => "place in its bytes of",
        Question::LocalTypeId | Question::TargetTypeId => "id of",
        Question::EnumeratorValue => "value of",
        Question::TypeMatches => "likeness of",
    }
}

fn subject(types: &Types, record: &Record, question: Question) -> String {
    let mut text = format!("{}{}", kind::word(types.kind(record.type_id)), types.name(record.type_id));
    match Subject::parse(types, record, question) {
        Ok(Subject::Field(path)) => {
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
        Ok(Subject::Enumerator { name, .. }) => {
            text.push_str("::");
            text.push_str(name);
        }
        Ok(Subject::Type { .. }) | Err(_) => {}
    }
    text
}
