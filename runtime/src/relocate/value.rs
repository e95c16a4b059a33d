//! The number that a record asks for: what it was for the compiler, and what it is in the kernel.

use std::fmt;

use super::path::{Path, Subject};
use super::record::Question;
use crate::btf::{Types, kind};
use crate::error::{Error, Result};

/// What to write into an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolution {
    /// Nothing: the kernel does not have what the instruction needs, so it must not be reached.
    Absent,
    /// A number.
    Number {
        /// The number that the compiler put there, unless that cannot be known.
        original: Option<u64>,
        /// The kernel's.
        number: u64,
        /// For instructions that load or store the field.
        access: Access,
    },
}

/// What becomes of the size of a load or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// It stays.
    Same,
    /// The field has another size, from this one to that one, and the value is the same number with it.
    Resized { from: u64, to: u64 },
    /// The field has another size, and reading so much of it would give another value.
    Unfit,
}

impl Resolution {
    /// The number of a type in the object's BTF, which needs no other.
    pub(super) fn local_id(id: u32) -> Self {
        Self::Number { original: None, number: id.into(), access: Access::Same }
    }

    /// Whether both say the same to an instruction.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => true,
            (Self::Number { number: one, .. }, Self::Number { number: other, .. }) => one == other,
            _ => false,
        }
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("nothing"),
            Self::Number { number, .. } => write!(f, "{number}"),
        }
    }
}

/// What is said of a subject by its own types.
#[derive(Clone, Copy)]
struct Answer {
    number: u64,
    /// Whether any compiler would give the same number for the same types.
    certain: bool,
    /// Of a field to be loaded: its size and type.
    field: Option<(u64, u32)>,
}

impl Answer {
    fn number(number: u64) -> Self {
        Self { number, certain: true, field: None }
    }
}

/// What to write for a subject in the object's types and, if the kernel has it, in the kernel's.
pub(super) fn resolve(
    question: Question,
    local: (&Types, &Subject<'_>),
    target: Option<(&Types, &Subject<'_>)>,
) -> Result<Resolution> {
    let original = answer(question, local.0, local.1)?;
    let Some((types, subject)) = target else {
        // What exists and what a type is like has an answer, no, where there is nothing.
        let answered =
            question.is_about_type() || matches!(question, Question::FieldExists | Question::EnumeratorExists);
        let original = original.certain.then_some(original.number);
        return Ok(if answered {
            Resolution::Number { original, number: 0, access: Access::Same }
        } else {
            Resolution::Absent
        });
    };
    let new = answer(question, types, subject)?;
    let access = match (original.field, new.field) {
        (None, None) => Access::Same,
        (Some((from, _)), Some((to, _))) if from == to => Access::Same,
        (Some((from, ours)), Some((to, theirs))) if same_number(local.0, ours, types, theirs) => {
            Access::Resized { from, to }
        }
        // Among them a bitfield where there was none or the other way round: it has no bytes of its own.
        _ => Access::Unfit,
    };
    Ok(Resolution::Number { original: original.certain.then_some(original.number), number: new.number, access })
}

/// Whether a value is the same number with more or fewer zeros before it: pointers are, and integers without a sign.
fn same_number(local: &Types, ours: u32, target: &Types, theirs: u32) -> bool {
    const SIGNED: u32 = 1;
    let unsigned = |types: &Types, id| types.integer(id).is_some_and(|integer| integer.encoding != SIGNED);
    local.kind(ours) == kind::PTR && target.kind(theirs) == kind::PTR
        || unsigned(local, ours) && unsigned(target, theirs)
}

fn answer(question: Question, types: &Types, subject: &Subject<'_>) -> Result<Answer> {
    match (question, subject) {
        (Question::FieldExists | Question::TypeExists | Question::TypeMatches | Question::EnumeratorExists, _) => {
            Ok(Answer::number(1))
        }
        // Ids change when objects are linked.
        (Question::TargetTypeId | Question::LocalTypeId, Subject::Type { id }) => {
            Ok(Answer { certain: false, ..Answer::number((*id).into()) })
        }
        (Question::TypeSize, Subject::Type { id }) => Ok(Answer::number(size(types, *id)?)),
        (Question::EnumeratorValue, Subject::Enumerator { value, .. }) => Ok(Answer::number(*value)),
        (_, Subject::Field(path)) => field(question, types, path),
        _ => Err(Error::invalid("its question does not fit what it is about")),
    }
}

fn field(question: Question, types: &Types, path: &Path<'_>) -> Result<Answer> {
    let step = path.steps.last().copied().ok_or_else(|| Error::invalid("its path is empty"))?;
    let bit_offset = path.bit_offset;
    if step.name.is_none() {
        return match question {
            Question::FieldOffset => {
                let size = size(types, types.innermost(step.type_id))?;
                Ok(Answer { field: Some((size, step.type_id)), ..Answer::number(bit_offset / 8) })
            }
            Question::FieldSize => Ok(Answer::number(size(types, step.type_id)?)),
            _ => Err(Error::invalid("this cannot be asked of an element of an array")),
        };
    }
    let member = types.member(step.type_id, step.index).ok_or_else(|| Error::invalid("its member is not there"))?;
    let ty = types.resolve(member.ty);
    let bitfield = member.bit_size != 0;
    let bit_size;
    let (offset, bytes) = if bitfield {
        bit_size = u64::from(member.bit_size);
        holder(bit_offset, bit_size, size(types, ty)?)?
    } else {
        let bytes = size(types, ty)?;
        bit_size = bytes.saturating_mul(8);
        (bit_offset / 8, bytes)
    };
    // How a bitfield is read is up to the compiler, so its numbers need not be ours.
    let plain = |number| Answer { certain: !bitfield, ..Answer::number(number) };
    Ok(match question {
        Question::FieldOffset if bitfield => plain(offset),
        Question::FieldOffset => {
            let size = size(types, types.innermost(ty))?;
            Answer { field: Some((size, ty)), ..plain(offset) }
        }
        Question::FieldSize => plain(bytes),
        Question::FieldSigned => {
            let integer = types.integer(ty).is_some_and(|integer| integer.encoding & 1 != 0);
            Answer::number((integer || types.is_enum(ty) && types.flag(ty)).into())
        }
        Question::FieldLeftShift => plain(if cfg!(target_endian = "little") {
            64_u64.wrapping_sub(bit_offset.wrapping_add(bit_size).wrapping_sub(offset * 8))
        } else {
            8_u64.wrapping_sub(bytes).wrapping_mul(8).wrapping_add(bit_offset - offset * 8)
        }),
        Question::FieldRightShift => Answer::number(64_u64.wrapping_sub(bit_size)),
        _ => return Err(Error::invalid("this cannot be asked of a field")),
    })
}

/// Where the smallest aligned integer that holds all of a bitfield begins, and its size, in bytes.
fn holder(bit_offset: u64, bit_size: u64, declared: u64) -> Result<(u64, u64)> {
    let mut bytes = declared.max(1);
    loop {
        let offset = bit_offset / 8 / bytes * bytes;
        if bit_offset + bit_size - offset * 8 <= bytes.saturating_mul(8) {
            return Ok((offset, bytes));
        }
        if bytes >= 8 {
            return Err(Error::invalid("the bitfield is in no eight bytes that can be read at once"));
        }
        bytes *= 2;
    }
}

fn size(types: &Types, id: u32) -> Result<u64> {
    types.size(id).ok_or_else(|| Error::invalid(format_args!("type `{}` has no size", types.name(id))))
}
