//! CO-RE relocation in user space: for kernels that do not support it, and against types that are not the running
//! kernel's.
//!
//! A record names an instruction and a field, type or enumerator of the object's own types. The kernel's types of the same name are its
//! candidates. The field is looked up in each compatible candidate, and the resulting number is written into the instruction.
//!
//! The rules are those of Linux 7.3.4 and libbpf 1.8. Where Linux and libbpf differ, this module does the following. As in libbpf,
//! enumerations of 32 and 64 bits are candidates for each other, and function types are compared to any depth. As in Linux, each
//! record considers all candidates, also those that were not compatible for an earlier record.
//!
//! This module does not know plans and makes no system calls.

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
use std::sync::Arc;

use crate::btf::Types;
use crate::error::{Error, ErrorKind, Result, Step};

use candidates::Candidates;
use path::Spec;
use record::{Record, RelocationKind};
use value::Resolution;

pub(crate) use compatible::types_compatible;
pub(crate) use describe::unresolved;
pub(crate) use patch::ABSENT_HELPER;

/// The CO-RE relocation of one object's programs against one kernel.
pub(crate) struct Relocator {
    local: Types,
    candidates: Candidates,
    /// Resolutions by type, access path and kind: many records differ only in their instruction.
    known: HashMap<(u32, u32, u32), Resolution>,
}

impl Relocator {
    /// Creates a relocator from the object's types, the kernel's types and the records of the programs that will be loaded.
    /// `with_modules` allows candidates among the types of modules.
    pub(crate) fn new(local: Types, kernel: &Arc<Types>, with_modules: bool, records: &[&[u8]]) -> Self {
        let wanted =
            records.iter().copied().flat_map(record::all).filter(Record::has_candidates).map(|record| record.type_id);
        let candidates = Candidates::find(&local, kernel, with_modules, wanted);
        Self { local, candidates, known: HashMap::new() }
    }

    /// Returns notes about the types of the kernel or its modules that could not be read.
    pub(crate) fn unread(&self) -> &[String] {
        self.candidates.unread()
    }

    /// Applies the records of a program to its instructions.
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
                error
                    .during(Step::Relocate)
                    .within(format_args!("cannot relocate instruction {} ({what})", record.insn))
            })?;
        }
        Ok(())
    }

    /// Returns the number of each record; `None` for a record without a target in the kernel. A record of kind "exists" always has a
    /// target: the number 0 or 1.
    pub(crate) fn numbers(&self, records: &[u8]) -> Vec<Option<u64>> {
        let number = |record: Record| match self.resolve(&record) {
            Ok(Resolution::Number { number, .. }) => Some(number),
            _ => None,
        };
        record::all(records).map(number).collect()
    }

    /// Returns the result of each record as text.
    pub(crate) fn results(&self, records: &[u8]) -> Vec<String> {
        let result = |record| match self.resolve(&record) {
            Ok(resolution) => format!("{resolution:?}"),
            Err(error) => error.to_string(),
        };
        record::all(records).map(result).collect()
    }

    fn resolve(&self, record: &Record) -> Result<Resolution> {
        let relocation = RelocationKind::of(record.kind)
            .ok_or_else(|| Error::malformed(format_args!("unknown CO-RE relocation kind {}", record.kind)))?;
        let local = Spec::parse(&self.local, record, relocation)?;
        if relocation == RelocationKind::LocalTypeId {
            return Ok(Resolution::local_id(record.type_id));
        }
        if self.local.name(record.type_id).is_empty() {
            return Err(Error::malformed("the type has no name to look up"));
        }
        let mut found: Option<(u64, Resolution)> = None;
        for (types, id) in self.candidates.of(&self.local, record.type_id) {
            let Some(target) = matching::find(&self.local, &local, types, *id, relocation)? else { continue };
            let resolution = value::resolve(relocation, (&self.local, &local), Some((types, &target)))?;
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
            // A candidate may be among the types that could not be read, so it is unknown whether the field is absent.
            None if self.candidates.of(&self.local, record.type_id).is_empty() && self.candidates.gap().is_some() => {
                let gap = self.candidates.gap().map(ToString::to_string).unwrap_or_default();
                Err(Error::malformed(format_args!("the kernel's BTF cannot be read completely: {gap}")))
            }
            None => value::resolve(relocation, (&self.local, &local), None),
        }
    }
}

fn ambiguous(first: &str, second: &str) -> Error {
    Error::of(
        ErrorKind::Ambiguous,
        format_args!(
            "ambiguous: the kernel has several types of this name, with different results: {first} and {second}"
        ),
    )
}
