//! The value of a relocation: the value that the compiler wrote, and the value for the kernel.

use std::fmt;

use super::path::{Path, Spec};
use super::record::RelocationKind;
use crate::btf::{Types, kind};
use crate::error::{Error, Result};

/// The result of a relocation: how to patch the instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolution {
    /// The kernel does not have the field, type or enumerator. The instruction is poisoned.
    Absent,
    /// A number.
    Number {
        /// The number that the compiler wrote, if it follows from the object's types.
        original: Option<u64>,
        /// The number in the kernel.
        number: u64,
        /// The size of the access, for instructions that load or store the field.
        access: Access,
    },
}

/// How the size of a load or store changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// The size does not change.
    Same,
    /// The field's size changes from `from` to `to` bytes. A load of `to` bytes has the same value.
    Resized { from: u64, to: u64 },
    /// The field's size changes, and a load of the new size would not give the same value.
    Incompatible,
}

impl Resolution {
    /// Returns the id of a type in the object's BTF, which does not depend on the kernel.
    pub(super) fn local_id(id: u32) -> Self {
        Self::Number { original: None, number: id.into(), access: Access::Same }
    }

    /// Returns whether both resolutions have the same number, or both are absent.
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

/// The number of a relocation in one set of types.
#[derive(Clone, Copy)]
struct Value {
    number: u64,
    /// Whether every compiler computes the same number from the same types, so that the original number can be checked.
    certain: bool,
    /// The size and type of a field that can be loaded.
    field: Option<(u64, u32)>,
}

impl Value {
    fn number(number: u64) -> Self {
        Self { number, certain: true, field: None }
    }
}

/// Computes the number from the object's types and, if the kernel has the target, from the kernel's.
pub(super) fn resolve(
    relocation: RelocationKind,
    local: (&Types, &Spec<'_>),
    target: Option<(&Types, &Spec<'_>)>,
) -> Result<Resolution> {
    let original = compute(relocation, local.0, local.1)?;
    let Some((types, spec)) = target else {
        // Existence, match, size and id are 0 for an absent target.
        let defined = relocation.concerns_type()
            || matches!(relocation, RelocationKind::FieldExists | RelocationKind::EnumeratorExists);
        let original = original.certain.then_some(original.number);
        return Ok(if defined {
            Resolution::Number { original, number: 0, access: Access::Same }
        } else {
            Resolution::Absent
        });
    };
    let new = compute(relocation, types, spec)?;
    let access = match (original.field, new.field) {
        (None, None) => Access::Same,
        (Some((from, _)), Some((to, _))) if from == to => Access::Same,
        (Some((from, ours)), Some((to, theirs))) if same_number(local.0, ours, types, theirs) => {
            Access::Resized { from, to }
        }
        // This includes a bitfield on one side only: a bitfield has no bytes of its own.
        _ => Access::Incompatible,
    };
    Ok(Resolution::Number { original: original.certain.then_some(original.number), number: new.number, access })
}

/// Returns whether zero-extending or truncating a value keeps its meaning: it does for pointers and unsigned integers.
fn same_number(local: &Types, ours: u32, target: &Types, theirs: u32) -> bool {
    const SIGNED: u32 = 1;
    let unsigned = |types: &Types, id| types.integer(id).is_some_and(|integer| integer.encoding != SIGNED);
    local.kind(ours) == kind::PTR && target.kind(theirs) == kind::PTR
        || unsigned(local, ours) && unsigned(target, theirs)
}

fn compute(relocation: RelocationKind, types: &Types, spec: &Spec<'_>) -> Result<Value> {
    match (relocation, spec) {
        (
            RelocationKind::FieldExists
            | RelocationKind::TypeExists
            | RelocationKind::TypeMatches
            | RelocationKind::EnumeratorExists,
            _,
        ) => Ok(Value::number(1)),
        // Ids change when objects are linked.
        (RelocationKind::TargetTypeId | RelocationKind::LocalTypeId, Spec::Type { id }) => {
            Ok(Value { certain: false, ..Value::number((*id).into()) })
        }
        (RelocationKind::TypeSize, Spec::Type { id }) => Ok(Value::number(size(types, *id)?)),
        (RelocationKind::EnumeratorValue, Spec::Enumerator { value, .. }) => Ok(Value::number(*value)),
        (_, Spec::Field(path)) => field(relocation, types, path),
        _ => Err(Error::malformed(
            "the relocation kind does not match the target that the access string names (a type, an enumerator or a field)",
        )),
    }
}

fn field(relocation: RelocationKind, types: &Types, path: &Path<'_>) -> Result<Value> {
    let step = path.steps.last().copied().ok_or_else(|| Error::malformed("the access string is empty"))?;
    let bit_offset = path.bit_offset;
    if step.name.is_none() {
        return match relocation {
            RelocationKind::FieldOffset => {
                let size = size(types, types.innermost(step.type_id))?;
                Ok(Value { field: Some((size, step.type_id)), ..Value::number(bit_offset / 8) })
            }
            RelocationKind::FieldSize => Ok(Value::number(size(types, step.type_id)?)),
            _ => Err(Error::malformed("the relocation kind does not apply to an array element")),
        };
    }
    let member = types.member(step.type_id, step.index).ok_or_else(|| Error::malformed("the member does not exist"))?;
    let ty = types.resolve(member.ty);
    let bitfield = member.bit_size != 0;
    let bit_size;
    let (offset, bytes) = if bitfield {
        bit_size = u64::from(member.bit_size);
        containing_integer(bit_offset, bit_size, size(types, ty)?)?
    } else {
        let bytes = size(types, ty)?;
        bit_size = bytes.saturating_mul(8);
        (bit_offset / 8, bytes)
    };
    // The compiler chooses how to read a bitfield, so its numbers can differ from those computed here.
    let plain = |number| Value { certain: !bitfield, ..Value::number(number) };
    Ok(match relocation {
        RelocationKind::FieldOffset if bitfield => plain(offset),
        RelocationKind::FieldOffset => {
            let size = size(types, types.innermost(ty))?;
            Value { field: Some((size, ty)), ..plain(offset) }
        }
        RelocationKind::FieldSize => plain(bytes),
        RelocationKind::FieldSigned => {
            let integer = types.integer(ty).is_some_and(|integer| integer.encoding & 1 != 0);
            Value::number((integer || types.is_enum(ty) && types.flag(ty)).into())
        }
        RelocationKind::FieldLeftShift => plain(if cfg!(target_endian = "little") {
            64_u64.wrapping_sub(bit_offset.wrapping_add(bit_size).wrapping_sub(offset * 8))
        } else {
            8_u64.wrapping_sub(bytes).wrapping_mul(8).wrapping_add(bit_offset - offset * 8)
        }),
        RelocationKind::FieldRightShift => Value::number(64_u64.wrapping_sub(bit_size)),
        _ => return Err(Error::malformed("the relocation kind does not apply to a field")),
    })
}

/// Returns the byte offset and size of the smallest aligned integer that contains all of a bitfield.
fn containing_integer(bit_offset: u64, bit_size: u64, declared: u64) -> Result<(u64, u64)> {
    let mut bytes = declared.max(1);
    loop {
        let offset = bit_offset / 8 / bytes * bytes;
        if bit_offset + bit_size - offset * 8 <= bytes.saturating_mul(8) {
            return Ok((offset, bytes));
        }
        if bytes >= 8 {
            return Err(Error::mismatch("the bitfield crosses a boundary of eight bytes, so one load cannot read it"));
        }
        bytes *= 2;
    }
}

fn size(types: &Types, id: u32) -> Result<u64> {
    types.size(id).ok_or_else(|| Error::malformed(format_args!("type `{}` has no size", types.name(id))))
}
