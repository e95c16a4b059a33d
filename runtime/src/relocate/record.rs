//! Records of relocations, as an object has them (`struct bpf_core_relo` of `linux/bpf.h`).

/// Bytes of an instruction.
const INSN: u32 = 8;
/// Bytes of a record.
const RECORD: usize = 16;

/// A relocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// Index of the instruction.
    pub(super) insn: usize,
    /// The type in the object's BTF that it is about.
    pub(super) type_id: u32,
    /// Where the path to a field is in the strings of the object's BTF: `0:2:1`, or an enumerator's index.
    pub(super) access: u32,
    /// The number of the question.
    pub(super) kind: u32,
}

impl Record {
    /// Whether the kernel's types have a say in it.
    pub(super) fn has_candidates(&self) -> bool {
        Question::of(self.kind).is_some_and(|question| question != Question::LocalTypeId)
    }
}

/// All records.
pub(super) fn all(bytes: &[u8]) -> impl Iterator<Item = Record> {
    bytes.chunks_exact(RECORD).map(|record| {
        let word = |at: usize| {
            record.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |&word| u32::from_ne_bytes(word))
        };
        // An offset that is no whole number of instructions leads nowhere.
        let insn = if word(0) % INSN == 0 { usize::try_from(word(0) / INSN).unwrap_or(usize::MAX) } else { usize::MAX };
        Record { insn, type_id: word(4), access: word(8), kind: word(12) }
    })
}

/// What a relocation asks of the kernel's types (`enum bpf_core_relo_kind` of `linux/bpf.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    FieldOffset,
    FieldSize,
    FieldExists,
    FieldSigned,
    FieldLeftShift,
    FieldRightShift,
    LocalTypeId,
    TargetTypeId,
    TypeExists,
    TypeSize,
    EnumeratorExists,
    EnumeratorValue,
    TypeMatches,
}

impl Question {
    pub(super) fn of(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::FieldOffset,
            1 => Self::FieldSize,
            2 => Self::FieldExists,
            3 => Self::FieldSigned,
            4 => Self::FieldLeftShift,
            5 => Self::FieldRightShift,
            6 => Self::LocalTypeId,
            7 => Self::TargetTypeId,
            8 => Self::TypeExists,
            9 => Self::TypeSize,
            10 => Self::EnumeratorExists,
            11 => Self::EnumeratorValue,
            12 => Self::TypeMatches,
            _ => return None,
        })
    }

    pub(super) fn is_about_type(self) -> bool {
        matches!(self, Self::LocalTypeId | Self::TargetTypeId | Self::TypeExists | Self::TypeSize | Self::TypeMatches)
    }

    pub(super) fn is_about_enumerator(self) -> bool {
        matches!(self, Self::EnumeratorExists | Self::EnumeratorValue)
    }
}
