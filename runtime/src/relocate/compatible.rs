//! Whether a type of the kernel is one of the object's: whether it may stand for it, and whether it looks the same.

use std::cell::Cell;

use super::candidates::kinds_fit;
use crate::abi::essential_name;
use crate::btf::{Types, kind};
use crate::error::{Error, Result};

/// How deep types are compared, as in libbpf.
const MAX_DEPTH: u32 = 32;

/// How many pairs of types one comparison looks at. A function can take many pointers to its own type, which would go on for ever.
const MAX_PAIRS: u32 = 1 << 18;

/// Whether the kernel's type may stand for the object's in questions about whole types, and as the type of a function or variable. Names and sizes do not count, nor do the
/// insides of structs; pointers, arrays and functions must be about types that fit.
pub(crate) fn types_fit(local: &Types, local_id: u32, target: &Types, target_id: u32) -> Result<bool> {
    Ok(kinds_fit(local.kind(local_id), target.kind(target_id))
        && fit(&Pair { local, local_id, target, target_id, left: &Cell::new(MAX_PAIRS) }, MAX_DEPTH)?)
}

/// Whether the kernel's type looks like the object's: all that the object has of it is there under the same name and looks the
/// same; of structs behind pointers only the name counts.
pub(super) fn types_match(local: &Types, local_id: u32, target: &Types, target_id: u32) -> Result<bool> {
    look_alike(&Pair { local, local_id, target, target_id, left: &Cell::new(MAX_PAIRS) }, false, MAX_DEPTH)
}

/// Whether an integer is all of its bytes, as all are but bitfields in the form before 4.20.
pub(super) fn whole(types: &Types, id: u32) -> bool {
    types.integer(id).is_some_and(|integer| integer.bit_offset == 0)
}

/// A type of the object and one of the kernel.
#[derive(Clone, Copy)]
struct Pair<'a> {
    local: &'a Types,
    local_id: u32,
    target: &'a Types,
    target_id: u32,
    /// How many pairs may still be looked at.
    left: &'a Cell<u32>,
}

impl Pair<'_> {
    /// The types behind typedefs and modifiers, the next pair that is looked at.
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

    /// What both are about: the types behind pointers, or the results of functions.
    fn about(&self, kind: u32) -> Option<Self> {
        Some(self.with(self.local.about(self.local_id, kind)?, self.target.about(self.target_id, kind)?))
    }

    /// What two functions return, if they have as many parameters and each two of these pass.
    fn returned(&self, pass: impl Fn(&Self) -> Result<bool>) -> Result<Option<Self>> {
        if self.local.count(self.local_id) != self.target.count(self.target_id) {
            return Ok(None);
        }
        for (ours, theirs) in self.local.parameters(self.local_id).zip(self.target.parameters(self.target_id)) {
            if !pass(&self.with(ours, theirs))? {
                return Ok(None);
            }
        }
        Ok(self.about(kind::FUNC_PROTO))
    }

    fn same_name(&self) -> bool {
        names_match(self.local.name(self.local_id), self.target.name(self.target_id))
    }
}

fn fit(pair: &Pair<'_>, level: u32) -> Result<bool> {
    let level = level.checked_sub(1).ok_or_else(too_deep)?;
    let mut pair = *pair;
    for _ in 0..MAX_DEPTH {
        pair = pair.resolved()?;
        let (ours, theirs) = pair.kinds();
        if !kinds_fit(ours, theirs) {
            return Ok(false);
        }
        let next = match ours {
            kind::VOID | kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::FWD => return Ok(true),
            kind::INT => return Ok(whole(pair.local, pair.local_id) && whole(pair.target, pair.target_id)),
            kind::PTR => pair.about(kind::PTR),
            kind::ARRAY => elements(&pair).map(|(pair, _)| pair),
            kind::FUNC_PROTO => pair.returned(|parameter| fit(parameter, level))?,
            _ => None,
        };
        match next {
            Some(next) => pair = next,
            None => return Ok(false),
        }
    }
    Err(too_deep())
}

fn look_alike(pair: &Pair<'_>, behind_pointer: bool, level: u32) -> Result<bool> {
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
            // The flag of what is only declared says whether it is a union.
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
                pair.about(kind::PTR)
            }
            (kind::ARRAY, kind::ARRAY) => elements(&pair).filter(|(_, same)| *same).map(|(pair, _)| pair),
            (kind::FUNC_PROTO, kind::FUNC_PROTO) => {
                pair.returned(|parameter| look_alike(parameter, behind_pointer, level))?
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

/// Whether each member that the object's struct has is in the kernel's.
fn members_match(pair: &Pair<'_>, level: u32) -> Result<bool> {
    let Pair { local, local_id, target, target_id, .. } = *pair;
    if local.count(local_id) > target.count(target_id) {
        return Ok(false);
    }
    for ours in local.members(local_id) {
        let mut found = false;
        for theirs in target.members(target_id) {
            if names_match(ours.name, theirs.name) && look_alike(&pair.with(ours.ty, theirs.ty), false, level)? {
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

/// Whether each enumerator that the object's enumeration has is in the kernel's, of whatever value.
fn enums_match(pair: &Pair<'_>) -> bool {
    let Pair { local, local_id, target, target_id, .. } = *pair;
    local.size(local_id) == target.size(target_id)
        && local.count(local_id) <= target.count(target_id)
        && local
            .enumerators(local_id)
            .all(|(ours, _)| target.enumerators(target_id).any(|(theirs, _)| names_match(ours, theirs)))
}

/// The types of elements, and whether there are as many.
fn elements<'a>(pair: &Pair<'a>) -> Option<(Pair<'a>, bool)> {
    let ((ours, our_count), (theirs, their_count)) =
        (pair.local.array(pair.local_id)?, pair.target.array(pair.target_id)?);
    Some((pair.with(ours, theirs), our_count == their_count))
}

/// Whether two names are the same up to their flavors. What has no name is like what has none.
fn names_match(local: &str, target: &str) -> bool {
    essential_name(local) == essential_name(target)
}

fn too_deep() -> Error {
    Error::invalid("the types are nested too deep to be compared")
}
