//! The types of the records in ring buffers and perf event arrays: those in map definitions, and those in options.

use skelgen_abi::uapi::MapType;

use super::request::named;
use crate::btf::{Btf, Kind, TypeId};
use crate::error::{Code, Diagnostic, Result};
use crate::model::{BpfObject, Map, MapId};

/// Returns the type of a map's records, if its definition states a type of fixed size. The definition states it as the
/// type of values, which such a map does not have.
#[must_use]
pub(super) fn declared(btf: Option<&Btf>, map: &Map) -> Option<TypeId> {
    let (btf, ty) = (btf?, map.value_type?);
    // The values of a perf event array are file descriptors, and a definition often declares them as such.
    let is_descriptor = map.def.map_type == MapType::PERF_EVENT_ARRAY
        && matches!(btf.get(btf.resolve(ty)).kind, Kind::Int(_) | Kind::Enum(_))
        && btf.size_of(ty) == Some(4);
    (has_records(map) && !is_descriptor && is_fixed(btf, ty)).then_some(ty)
}

/// Returns the maps and record types that options name, as pairs of names. Leaves out those that the object lacks: see
/// [`Missing`](super::Missing).
///
/// # Errors
/// [`Code::BadOptions`] if a map has no records or has an untyped handle, or the type is ambiguous or has no fixed size.
pub(super) fn chosen(
    object: &BpfObject,
    names: &[(String, String)],
    untyped: &[String],
) -> Result<Vec<(MapId, TypeId)>> {
    let maps = || (0..).map(MapId).zip(&object.maps);
    let mut chosen: Vec<(MapId, TypeId)> = Vec::new();
    for (map_name, type_name) in names {
        let Some((id, map)) = maps().find(|(_, map)| map.def.name == **map_name) else { continue };
        let bad = |what: String| Err(Diagnostic::new(Code::BadOptions, what).into());
        if !has_records(map) {
            let kind = map.def.map_type;
            return bad(format!("map `{map_name}` of type {kind} has no records; do not set a record type for it"));
        }
        if untyped.contains(map_name) {
            return bad(format!("map `{map_name}` cannot have both an untyped handle and a record type"));
        }
        if chosen.iter().any(|(other, _)| *other == id) {
            return bad(format!("two record types are set for map `{map_name}`"));
        }
        let Some(btf) = &object.btf else { continue };
        match types_named(btf, type_name)[..] {
            [] => {}
            [ty] if is_fixed(btf, ty) => chosen.push((id, ty)),
            [_] => {
                return bad(format!(
                    "records of map `{map_name}`: type `{type_name}` has no fixed size; leave the records as bytes"
                ));
            }
            [..] => return bad(format!("records of map `{map_name}`: the object has several types `{type_name}`")),
        }
    }
    Ok(chosen)
}

/// Returns whether programs and user space exchange records through the map.
fn has_records(map: &Map) -> bool {
    matches!(map.def.map_type, MapType::RINGBUF | MapType::USER_RINGBUF | MapType::PERF_EVENT_ARRAY)
}

/// Returns whether values of the type have a fixed size: it does not end with an array of unknown length.
fn is_fixed(btf: &Btf, ty: TypeId) -> bool {
    let mut last = ty;
    while let Kind::Struct(it) = &btf.get(btf.resolve(last)).kind {
        let Some(member) = it.members.last() else { break };
        last = member.ty;
    }
    let is_open = matches!(btf.get(btf.resolve(last)).kind, Kind::Array { len: 0, .. });
    !is_open && btf.size_of(ty).is_some_and(|size| size != 0)
}

/// Returns the distinct types with this name in C: structs, unions, enums, typedefs of these, and numbers (`__u64`).
pub(crate) fn types_named(btf: &Btf, name: &str) -> Vec<TypeId> {
    let mut types = named(btf, name);
    if types.is_empty() {
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
        let is_meant = |kind: &Kind| matches!(kind, Kind::Int(_) | Kind::Typedef(_));
        types = btf.iter().filter(|(_, ty)| is_meant(&ty.kind) && btf.str(ty.name) == name).map(|(id, _)| id).collect();
    }
    let mut seen = Vec::new();
    types.retain(|&ty| {
        let resolved = btf.resolve(ty);
        let is_new = !seen.contains(&resolved);
        seen.push(resolved);
        is_new
    });
    types
}
