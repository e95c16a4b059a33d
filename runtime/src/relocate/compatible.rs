//! The comparison of an object's type with one of the kernel: whether they are compatible, and whether they match.

use std::cell::Cell;

use super::candidates::kinds_compatible;
use crate::abi::essential_name;
use crate::btf::{Types, kind};
use crate::error::{Error, Result};

/// The maximum depth of a comparison, as in libbpf.
const MAX_DEPTH: u32 = 32;

/// The maximum number of pairs of types in one comparison. A function can take several pointers to its own type, so the number of pairs can
/// grow exponentially with the depth.
const MAX_PAIRS: u32 = 1 << 18;

/// Returns whether the kernel's type is compatible with the object's, for relocations of whole types and for the types of functions and
/// variables. Names, sizes and members are not compared. Pointers, arrays and functions are compared by the types that they refer to.
pub(crate) fn types_compatible(local: &Types, local_id: u32, target: &Types, target_id: u32) -> Result<bool> {
    Ok(kinds_compatible(local.kind(local_id), target.kind(target_id))
        && compatible(&Pair { local, local_id, target, target_id, left: &Cell::new(MAX_PAIRS) }, MAX_DEPTH)?)
}

/// Returns whether the kernel's type matches the object's: it has all members or enumerators of the object's type, with the same names and
/// matching types. Structs behind pointers are compared by name only.
pub(super) fn types_match(local: &Types, local_id: u32, target: &Types, target_id: u32) -> Result<bool> {
    types_alike(&Pair { local, local_id, target, target_id, left: &Cell::new(MAX_PAIRS) }, false, MAX_DEPTH)
}

/// Returns whether an integer type uses all of its bits. Only types of bitfields in the BTF encoding before Linux 4.20
/// do not.
pub(super) fn whole(types: &Types, id: u32) -> bool {
    types.integer(id).is_some_and(|integer| integer.bit_offset == 0)
}

/// A type of the object, and the type of the kernel that it is compared with.
#[derive(Clone, Copy)]
struct Pair<'a> {
    local: &'a Types,
    local_id: u32,
    target: &'a Types,
    target_id: u32,
    /// The number of further pairs that may be compared.
    left: &'a Cell<u32>,
}

impl Pair<'_> {
    /// Returns the pair with typedefs and modifiers resolved on both sides. Uses up one of the `left` comparisons, which
    /// bound the work on malformed BTF.
    ///
    /// # Errors
    /// If no comparisons are left.
    fn resolved(&self) -> Result<Self> {
        self.left.set(self.left.get().checked_sub(1).ok_or_else(too_deep)?);
        Ok(self.with(self.local.resolve(self.local_id), self.target.resolve(self.target_id)))
    }

    fn with(&self, local_id: u32, target_id: u32) -> Self {
        Self { local_id, target_id, ..*self }
    }

    fn kinds(&self) -> (u32, u32) {
        (self.local.kind(self.local_id), self.target.kind(self.target_id))
    }

    /// Returns the types that the two types of the pair refer to: pointees of pointers, or return types of functions.
    fn referenced(&self, kind: u32) -> Option<Self> {
        Some(self.with(self.local.referenced(self.local_id, kind)?, self.target.referenced(self.target_id, kind)?))
    }

    /// Returns the return types of two functions if they have the same number of parameters and `pass` returns `true` for each
    /// pair of parameters.
    fn returned(&self, pass: impl Fn(&Self) -> Result<bool>) -> Result<Option<Self>> {
        if self.local.count(self.local_id) != self.target.count(self.target_id) {
            return Ok(None);
        }
        for (ours, theirs) in self.local.parameters(self.local_id).zip(self.target.parameters(self.target_id)) {
            if !pass(&self.with(ours, theirs))? {
                return Ok(None);
            }
        }
        Ok(self.referenced(kind::FUNC_PROTO))
    }

    fn same_name(&self) -> bool {
        names_match(self.local.name(self.local_id), self.target.name(self.target_id))
    }
}

fn compatible(pair: &Pair<'_>, level: u32) -> Result<bool> {
    let level = level.checked_sub(1).ok_or_else(too_deep)?;
    let mut pair = *pair;
    for _ in 0..MAX_DEPTH {
        pair = pair.resolved()?;
        let (ours, theirs) = pair.kinds();
        if !kinds_compatible(ours, theirs) {
            return Ok(false);
        }
        let next = match ours {
            kind::VOID | kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::FWD => return Ok(true),
            kind::INT => return Ok(whole(pair.local, pair.local_id) && whole(pair.target, pair.target_id)),
            kind::PTR => pair.referenced(kind::PTR),
            kind::ARRAY => elements(&pair).map(|(pair, _)| pair),
            kind::FUNC_PROTO => pair.returned(|parameter| compatible(parameter, level))?,
            _ => None,
        };
        match next {
            Some(next) => pair = next,
            None => return Ok(false),
        }
    }
    Err(too_deep())
}

fn types_alike(pair: &Pair<'_>, behind_pointer: bool, level: u32) -> Result<bool> {
    let level = level.checked_sub(1).ok_or_else(too_deep)?;
    let (mut pair, mut behind_pointer) = (*pair, behind_pointer);
    for _ in 0..MAX_DEPTH {
        pair = pair.resolved()?;
        if !pair.same_name() {
            return Ok(false);
        }
        let (ours, theirs) = pair.kinds();
        let (local_flag, target_flag) = (pair.local.flag(pair.local_id), pair.target.flag(pair.target_id));
        let next = match (ours, theirs) {
            (kind::VOID, kind::VOID) => return Ok(true),
            // The flag of a forward declaration is set for a union.
            (kind::FWD, kind::FWD) => return Ok(local_flag == target_flag),
            (kind::FWD, kind::STRUCT) => return Ok(behind_pointer && !local_flag),
            (kind::FWD, kind::UNION) => return Ok(behind_pointer && local_flag),
            (kind::STRUCT | kind::UNION, kind::FWD) => {
                return Ok(behind_pointer && (ours == kind::UNION) == target_flag);
            }
            (kind::ENUM | kind::ENUM64, kind::ENUM | kind::ENUM64) => return Ok(enums_match(&pair)),
            (kind::STRUCT | kind::UNION, _) if ours == theirs => {
                return if behind_pointer { Ok(true) } else { members_match(&pair, level) };
            }
            (kind::INT, kind::INT) => {
                const SIGNED: u32 = 1;
                let signed = |types: &Types, id| types.integer(id).map(|integer| integer.encoding & SIGNED);
                return Ok(pair.local.size(pair.local_id) == pair.target.size(pair.target_id)
                    && signed(pair.local, pair.local_id) == signed(pair.target, pair.target_id));
            }
            (kind::PTR, kind::PTR) => {
                behind_pointer = true;
                pair.referenced(kind::PTR)
            }
            (kind::ARRAY, kind::ARRAY) => elements(&pair).filter(|(_, same)| *same).map(|(pair, _)| pair),
            (kind::FUNC_PROTO, kind::FUNC_PROTO) => {
                pair.returned(|parameter| types_alike(parameter, behind_pointer, level))?
            }
            _ => None,
        };
        match next {
            Some(next) => pair = next,
            None => return Ok(false),
        }
    }
    Err(too_deep())
}

/// Returns whether the kernel's struct has each member of the object's struct.
fn members_match(pair: &Pair<'_>, level: u32) -> Result<bool> {
    let Pair { local, local_id, target, target_id, .. } = *pair;
    if local.count(local_id) > target.count(target_id) {
        return Ok(false);
    }
    for ours in local.members(local_id) {
        let mut found = false;
        for theirs in target.members(target_id) {
            if names_match(ours.name, theirs.name) && types_alike(&pair.with(ours.ty, theirs.ty), false, level)? {
                found = true;
                break;
            }
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns whether the kernel's enumeration has each enumerator of the object's, regardless of its value.
fn enums_match(pair: &Pair<'_>) -> bool {
    let Pair { local, local_id, target, target_id, .. } = *pair;
    local.size(local_id) == target.size(target_id)
        && local.count(local_id) <= target.count(target_id)
        && local
            .enumerators(local_id)
            .all(|(ours, _)| target.enumerators(target_id).any(|(theirs, _)| names_match(ours, theirs)))
}

/// Returns the element types of two arrays, and whether their lengths are equal.
fn elements<'a>(pair: &Pair<'a>) -> Option<(Pair<'a>, bool)> {
    let ((ours, our_count), (theirs, their_count)) =
        (pair.local.array(pair.local_id)?, pair.target.array(pair.target_id)?);
    Some((pair.with(ours, theirs), our_count == their_count))
}

/// Returns whether two names are equal without their flavors. Two empty names are equal.
fn names_match(local: &str, target: &str) -> bool {
    essential_name(local) == essential_name(target)
}

fn too_deep() -> Error {
    Error::malformed("the types are nested too deeply to compare them")
}
