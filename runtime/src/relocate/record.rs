//! CO-RE relocation records, as an object stores them (`struct bpf_core_relo` of `linux/bpf.h`).

pub(super) use skelgen_abi::relocation::RelocationKind;

/// The size of an instruction in bytes.
const INSN: u32 = 8;
/// The size of a record in bytes.
const RECORD: usize = 16;

/// A CO-RE relocation record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// The index of the instruction; `usize::MAX` if the record's offset is not the beginning of an instruction.
    pub(super) insn: usize,
    /// The id of the type in the object's BTF.
    pub(super) type_id: u32,
    /// The offset of the access string in the strings of the object's BTF: `0:2:1`, or an enumerator's index.
    pub(super) access: u32,
    /// The relocation kind, which may be unknown.
    pub(super) kind: u32,
}

impl Record {
    /// Returns whether the relocation depends on the kernel's types.
    pub(super) fn has_candidates(&self) -> bool {
        RelocationKind::of(self.kind).is_some_and(|relocation| relocation != RelocationKind::LocalTypeId)
    }
}

/// Iterates over all records.
pub(super) fn all(bytes: &[u8]) -> impl Iterator<Item = Record> {
    bytes.chunks_exact(RECORD).map(|record| {
        let word = |at: usize| {
            record.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |&word| u32::from_ne_bytes(word))
        };
        // An offset inside an instruction becomes an index outside of the program.
        let insn = if word(0) % INSN == 0 { usize::try_from(word(0) / INSN).unwrap_or(usize::MAX) } else { usize::MAX };
        Record { insn, type_id: word(4), access: word(8), kind: word(12) }
    })
}
