//! The kinds of CO-RE relocations (`enum bpf_core_relo_kind` of `linux/bpf.h`).

/// The value that a relocation computes from the types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelocationKind {
    /// The offset of a field, in bytes.
    FieldOffset,
    /// The size of a field, in bytes.
    FieldSize,
    /// Whether a field exists.
    FieldExists,
    /// Whether a field is signed.
    FieldSigned,
    /// The left shift that removes the bits above a bitfield, in a 64-bit register.
    FieldLeftShift,
    /// The right shift that removes the bits below a bitfield, after the left shift.
    FieldRightShift,
    /// The id of a type in the object.
    LocalTypeId,
    /// The id of a type in the kernel.
    TargetTypeId,
    /// Whether a type exists.
    TypeExists,
    /// The size of a type, in bytes.
    TypeSize,
    /// Whether an enumerator exists.
    EnumeratorExists,
    /// The value of an enumerator.
    EnumeratorValue,
    /// Whether a type matches the kernel's.
    TypeMatches,
}

impl RelocationKind {
    /// All kinds, by number.
    const ALL: [Self; 13] = [
        Self::FieldOffset,
        Self::FieldSize,
        Self::FieldExists,
        Self::FieldSigned,
        Self::FieldLeftShift,
        Self::FieldRightShift,
        Self::LocalTypeId,
        Self::TargetTypeId,
        Self::TypeExists,
        Self::TypeSize,
        Self::EnumeratorExists,
        Self::EnumeratorValue,
        Self::TypeMatches,
    ];

    /// Returns the kind with a number; `None` for an unknown number.
    #[must_use]
    pub fn of(number: u32) -> Option<Self> {
        usize::try_from(number).ok().and_then(|number| Self::ALL.get(number)).copied()
    }

    /// Returns the number of the kind.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// Returns whether the relocation is about a type, not about a field or an enumerator.
    #[must_use]
    pub fn concerns_type(self) -> bool {
        matches!(self, Self::LocalTypeId | Self::TargetTypeId | Self::TypeExists | Self::TypeSize | Self::TypeMatches)
    }

    /// Returns whether the relocation is about an enumerator.
    #[must_use]
    pub fn concerns_enumerator(self) -> bool {
        matches!(self, Self::EnumeratorExists | Self::EnumeratorValue)
    }

    /// Returns whether the value of an absent field, type or enumerator is 0, instead of an error.
    #[must_use]
    pub fn may_be_absent(self) -> bool {
        matches!(self, Self::FieldExists | Self::TypeExists | Self::EnumeratorExists | Self::TypeMatches)
    }

    /// Returns the value as words that precede the name of a type, field or enumerator: "offset of".
    #[must_use]
    pub fn quantity(self) -> &'static str {
        match self {
            Self::FieldOffset => "offset of",
            Self::FieldSize | Self::TypeSize => "size of",
            Self::FieldExists | Self::TypeExists | Self::EnumeratorExists => "existence of",
            Self::FieldSigned => "signedness of",
            Self::FieldLeftShift | Self::FieldRightShift => "bit position of",
            Self::LocalTypeId | Self::TargetTypeId => "id of",
            Self::EnumeratorValue => "value of",
            Self::TypeMatches => "type match of",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_kernel() {
        assert_eq!(RelocationKind::of(6), Some(RelocationKind::LocalTypeId));
        assert_eq!(RelocationKind::of(12), Some(RelocationKind::TypeMatches));
        assert_eq!(RelocationKind::of(13), None);
    }
}
