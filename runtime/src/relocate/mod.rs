//! Programs fitted to the types of a kernel (CO-RE) in user space, for kernels that do not do it themselves and for other types
//! than the running kernel's.
//!
//! A record says of an instruction which field, type or enumerator of the object's own types it is about. The types of the same
//! name are looked up among the kernel's, the field is followed in each that fits, and the instruction gets the number that comes
//! out. The rules are those of Linux 7.3.4 and libbpf 1.8. Where these two differ: enumerations of 32 and of 64 bits are
//! candidates for each other and function types are compared to any depth, as in libbpf; which candidates fitted one record has
//! no influence on another, as in Linux.
//!
//! Knows types, records and instructions; no plan and no system call.

mod candidates;
mod compatible;
mod describe;
mod matching;
mod patch;
mod path;
mod record;
mod value;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::rc::Rc;

use crate::btf::Types;
use crate::error::{Error, Result};

use candidates::Candidates;
use path::Subject;
use record::{Question, Record};
use value::Resolution;

pub(crate) use compatible::types_fit;
pub(crate) use describe::unresolved;
pub(crate) use patch::ABSENT_HELPER;

/// Fits programs of one object to one kernel.
pub(crate) struct Relocator {
    local: Types,
    candidates: Candidates,
    /// What came of records before: many say the same of different instructions.
    known: HashMap<(u32, u32, u32), Resolution>,
}

impl Relocator {
    /// For an object with these types and the records of the programs that will be loaded, on a kernel with those types; with
    /// the types of its modules, if they may be asked.
    pub(crate) fn new(local: Types, kernel: &Rc<Types>, with_modules: bool, records: &[&[u8]]) -> Self {
        let wanted =
            records.iter().copied().flat_map(record::all).filter(Record::has_candidates).map(|record| record.type_id);
        let candidates = Candidates::find(&local, kernel, with_modules, wanted);
        Self { local, candidates, known: HashMap::new() }
    }

    /// What could not be read of the kernel's types or its modules', each with the reason.
    pub(crate) fn unread(&self) -> &[String] {
        self.candidates.unread()
    }

    /// Changes the instructions of a program as its records say.
    pub(crate) fn relocate(&mut self, insns: &mut [u8], records: &[u8]) -> Result<()> {
        for record in record::all(records) {
            let key = (record.type_id, record.access, record.kind);
            let resolved = match self.known.get(&key) {
                Some(known) => Ok(*known),
                None => self.resolve(&record),
            };
            let applied = resolved.and_then(|resolution| {
                self.known.insert(key, resolution);
                patch::apply(insns, record.insn, &resolution)
            });
            applied.map_err(|error| {
                let what = describe::record(&self.local, &record);
                error.within(format_args!("fitting instruction {} to the kernel's {what}", record.insn))
            })?;
        }
        Ok(())
    }

    fn resolve(&self, record: &Record) -> Result<Resolution> {
        let question = Question::of(record.kind)
            .ok_or_else(|| Error::invalid(format_args!("a CO-RE relocation of unknown kind {}", record.kind)))?;
        let local = Subject::parse(&self.local, record, question)?;
        if question == Question::LocalTypeId {
            return Ok(Resolution::local_id(record.type_id));
        }
        if self.local.name(record.type_id).is_empty() {
            return Err(Error::invalid("a type without a name cannot be looked up"));
        }
        let mut found: Option<(u64, Resolution)> = None;
        for (types, id) in self.candidates.of(&self.local, record.type_id) {
            let Some(target) = matching::find(&self.local, &local, types, *id, question)? else { continue };
            let resolution = value::resolve(question, (&self.local, &local), Some((types, &target)))?;
            let bit_offset = target.bit_offset();
            match &found {
                None => found = Some((bit_offset, resolution)),
                Some((before, _)) if *before != bit_offset => {
                    return Err(ambiguous(&format!("bit {before}"), &format!("bit {bit_offset}")));
                }
                Some((_, before)) if !before.is_same(&resolution) => {
                    return Err(ambiguous(&before.to_string(), &resolution.to_string()));
                }
                Some(_) => {}
            }
        }
        match found {
            Some((_, resolution)) => Ok(resolution),
            // What is behind the end of what could be read is not absent.
            None if self.candidates.of(&self.local, record.type_id).is_empty() && self.candidates.gap().is_some() => {
                let gap = self.candidates.gap().map(ToString::to_string).unwrap_or_default();
                Err(Error::invalid(format_args!("the kernel's BTF could not be read to its end: {gap}")))
            }
            None => value::resolve(question, (&self.local, &local), None),
        }
    }
}

fn ambiguous(first: &str, second: &str) -> Error {
    Error::invalid(format_args!(
        "it is ambiguous: the kernel has several types of this name, which say {first} and {second}"
    ))
}
