//! The lookup of a record's type, enumerator or field in a candidate.

use std::collections::HashSet;

use super::candidates::kinds_compatible;
use super::compatible;
use super::path::{MAX_DEPTH, Path, Spec, Step};
use super::record::RelocationKind;
use crate::abi::essential_name;
use crate::btf::{Types, kind};
use crate::error::{Error, Result};

/// Looks up the object's `spec` in the kernel's type with this id. Returns `None` if the type does not have it.
pub(super) fn find<'t>(
    local: &Types,
    spec: &Spec<'_>,
    target: &'t Types,
    id: u32,
    relocation: RelocationKind,
) -> Result<Option<Spec<'t>>> {
    match spec {
        Spec::Type { id: local_id } => {
            let fits = if relocation == RelocationKind::TypeMatches {
                compatible::types_match(local, *local_id, target, id)?
            } else {
                compatible::types_compatible(local, *local_id, target, id)?
            };
            Ok(fits.then_some(Spec::Type { id }))
        }
        Spec::Enumerator { name, .. } => {
            let same = |found: &(&str, u64)| essential_name(found.0) == essential_name(name);
            let found = target.enumerators(target.resolve(id)).find(same);
            Ok(found.map(|(name, value)| Spec::Enumerator { name, value }))
        }
        Spec::Field(path) => Ok(follow(local, path, target, id)?.map(Spec::Field)),
    }
}

/// Follows the access path through the kernel's types.
fn follow<'t>(local: &Types, path: &Path<'_>, target: &'t Types, id: u32) -> Result<Option<Path<'t>>> {
    let root = target.resolve(id);
    let first = path.steps.first().map_or(0, |step| step.index);
    let mut found = Path::new(target, root, first)
        .ok_or_else(|| Error::malformed(format_args!("type `{}` of the kernel has no size", target.name(id))))?;
    let mut id = root;
    for step in path.steps.iter().skip(1) {
        id = target.resolve(id);
        let next = match step.name {
            Some(name) => {
                let ty = local.member(step.type_id, step.index).map_or(0, |member| member.ty);
                member(&Wanted { local, name, ty }, target, id, &mut found, &mut HashSet::new())?
            }
            None if target.kind(id) == kind::ARRAY => found.element(target, id, step.index),
            None => None,
        };
        match next {
            Some(next) => id = next,
            None => return Ok(None),
        }
        if found.depth > MAX_DEPTH {
            return Err(too_deep());
        }
    }
    Ok(Some(found))
}

/// A member of one of the object's structs, to look up in a struct of the kernel.
struct Wanted<'a> {
    local: &'a Types,
    name: &'a str,
    ty: u32,
}

/// Looks up a member in a struct and in its anonymous members, adds it to the path and returns its type.
///
/// `without` has the structs that were searched and do not have the member: a struct can have many anonymous members of one
/// type, at each level.
fn member<'t>(
    wanted: &Wanted<'_>,
    types: &'t Types,
    id: u32,
    path: &mut Path<'t>,
    without: &mut HashSet<u32>,
) -> Result<Option<u32>> {
    let id = types.resolve(id);
    if path.depth >= MAX_DEPTH {
        return Err(too_deep());
    }
    if without.contains(&id) {
        return Ok(None);
    }
    let (depth, bit_offset) = (path.depth, path.bit_offset);
    path.depth += 1;
    for (index, member_here) in (0..).zip(types.members(id)) {
        path.bit_offset = bit_offset + u64::from(member_here.bit_offset);
        if member_here.name.is_empty() {
            if let Some(found) = member(wanted, types, member_here.ty, path, without)? {
                return Ok(Some(found));
            }
        } else if member_here.name == wanted.name {
            if fields_compatible(wanted.local, wanted.ty, types, member_here.ty) {
                path.steps.push(Step { type_id: id, index, name: Some(member_here.name) });
                return Ok(Some(member_here.ty));
            }
            // No other member of the struct has this name.
            break;
        }
    }
    (path.depth, path.bit_offset) = (depth, bit_offset);
    without.insert(id);
    Ok(None)
}

fn too_deep() -> Error {
    Error::malformed("the kernel's types are nested too deeply")
}

/// Returns whether a field of the kernel is compatible with one of the object. They must have the same kind, but not the same size. Structs
/// and unions are compatible with each other. Enumerations and forward declarations are compatible if their names are equal or one has no
/// name; arrays, if their element types are compatible.
fn fields_compatible(local: &Types, local_id: u32, target: &Types, target_id: u32) -> bool {
    let (mut local_id, mut target_id) = (local.resolve(local_id), target.resolve(target_id));
    for _ in 0..MAX_DEPTH {
        if local.is_composite(local_id) && target.is_composite(target_id) {
            return true;
        }
        let kind = local.kind(local_id);
        if !kinds_compatible(kind, target.kind(target_id)) {
            return false;
        }
        match kind {
            kind::PTR | kind::FLOAT => return true,
            kind::FWD | kind::ENUM | kind::ENUM64 => {
                let (ours, theirs) = (essential_name(local.name(local_id)), essential_name(target.name(target_id)));
                return ours.is_empty() || theirs.is_empty() || ours == theirs;
            }
            kind::INT => return compatible::whole(local, local_id) && compatible::whole(target, target_id),
            kind::ARRAY => {
                let (Some((ours, _)), Some((theirs, _))) = (local.array(local_id), target.array(target_id)) else {
                    return false;
                };
                (local_id, target_id) = (local.resolve(ours), target.resolve(theirs));
            }
            _ => return false,
        }
    }
    false
}
