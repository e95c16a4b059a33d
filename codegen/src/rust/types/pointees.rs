//! The target types of pointers. They are useful in an arena, because user space can follow the pointers there.

use std::collections::BTreeSet;

use crate::btf::{Btf, Kind, TypeId};

/// Returns the named structs and unions to which pointers in this type lead, directly or indirectly, in order of
/// discovery.
pub(crate) fn behind_pointers(btf: &Btf, ty: TypeId) -> Vec<TypeId> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut open = vec![(ty, false)];
    while let Some((id, pointed)) = open.pop() {
        let id = btf.resolve(id);
        // A pointer can lead back to itself without an intermediate struct.
        if !seen.insert((id, pointed)) {
            continue;
        }
        match &btf.get(id).kind {
            Kind::Ptr(to) => open.push((*to, true)),
            Kind::Array { element, .. } => open.push((*element, pointed)),
            Kind::Struct(composite) | Kind::Union(composite) => {
                if pointed && !btf.name(id).is_empty() {
                    found.push(id);
                }
                open.extend(composite.members.iter().rev().map(|member| (member.ty, false)));
            }
            _ => {}
        }
    }
    found
}
