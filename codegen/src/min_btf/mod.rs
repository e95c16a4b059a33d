//! Minimized BTF: the part of a kernel's types that the CO-RE relocations of objects need.
//!
//! A kernel without BTF can load programs that are relocated to BTF from another source. The BTF of a whole kernel
//! takes megabytes; an object needs a few kilobytes of it. Relocation against the minimized BTF has the same results as
//! against the whole BTF, except for type ids, which are those of the minimized file. `runtime/src/relocate` defines
//! the rules of relocation; this module keeps all types that these rules read. It does not know files, or how objects
//! are loaded.

mod mark;
mod paths;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use skelgen_abi::plan::essential_name;

use crate::btf::ext::{BtfExt, CoreRelo};
use crate::btf::{Btf, Composite, Enum, Kind, Param, StringRef, Type, TypeId};

use mark::Marks;
use paths::Path;

/// The numbers of relocations (`enum bpf_core_relo_kind` of `linux/bpf.h`) for fields, types and enumerators. A
/// relocation to a type id of the object itself needs no types of the kernel.
mod relocation {
    pub(super) const FIELDS: std::ops::RangeInclusive<u32> = 0..=5;
    pub(super) const TYPES: std::ops::RangeInclusive<u32> = 7..=9;
    pub(super) const ENUMERATORS: std::ops::RangeInclusive<u32> = 10..=11;
    pub(super) const MATCHES: u32 = 12;
}

/// Returns the types of `kernel` that the relocations of all these objects need.
#[must_use]
pub(crate) fn minimize<'a>(kernel: &Btf, objects: impl Iterator<Item = (&'a Btf, &'a BtfExt)>) -> Btf {
    let mut marks = Marks::new(kernel);
    let mut candidates: HashMap<&str, Vec<TypeId>> = HashMap::new();
    for (id, ty) in kernel.iter().filter(|(_, ty)| is_candidate(&ty.kind)) {
        let name = essential_name(kernel.str(ty.name));
        if !name.is_empty() {
            candidates.entry(name).or_default().push(id);
        }
    }
    for (local, ext) in objects {
        for relo in ext.sections.iter().flat_map(|section| &section.relos) {
            let ty = local.get(relo.ty);
            let found = candidates.get(essential_name(local.str(ty.name))).map_or(&[][..], Vec::as_slice);
            for &id in found.iter().filter(|&&id| same_kind(&kernel.get(id).kind, &ty.kind)) {
                keep(local, relo, id, &mut marks);
            }
        }
    }
    marks.table()
}

/// Returns whether relocations can refer to a type of this kind. Forward declarations also count: the runtime looks up
/// candidates by name and kind.
const fn is_candidate(kind: &Kind) -> bool {
    !matches!(kind, Kind::Void | Kind::Func { .. } | Kind::Var { .. } | Kind::Datasec(_) | Kind::DeclTag { .. })
}

/// Returns whether two types have the same kind. Enumerations of 32 and 64 bits count as the same kind.
fn same_kind(one: &Kind, other: &Kind) -> bool {
    matches!((one, other), (Kind::Enum(_), Kind::Enum(_))) || one.number() == other.number()
}

/// Marks the parts of one candidate type that a relocation needs.
fn keep(local: &Btf, relo: &CoreRelo, id: TypeId, marks: &mut Marks<'_>) {
    let kernel = marks.kernel;
    if relocation::FIELDS.contains(&relo.kind) {
        if let Some(path) = Path::find(local, relo, kernel, id) {
            marks.shallow(id);
            for (owner, member) in path.members {
                marks.member(owner, member);
            }
            path.elements.into_iter().for_each(|element| marks.shallow(element));
        }
    } else if relocation::TYPES.contains(&relo.kind) {
        marks.compared(id);
    } else if relocation::ENUMERATORS.contains(&relo.kind) {
        let index = local.str(relo.access).parse::<usize>().ok();
        let Kind::Enum(Enum { values, .. }) = &local.get(local.resolve(relo.ty)).kind else { return };
        let Some((name, _)) = index.and_then(|index| values.get(index)) else { return };
        let Kind::Enum(Enum { values, .. }) = &kernel.get(kernel.resolve(id)).kind else { return };
        let wanted = essential_name(local.str(*name));
        if let Some(index) = values.iter().position(|(name, _)| essential_name(kernel.str(*name)) == wanted) {
            marks.shallow(id);
            marks.enumerator(kernel.resolve(id), index);
        }
    } else if relo.kind == relocation::MATCHES {
        marks.matched(id);
    }
}

/// The strings of the minimized BTF. Searching the string table for each string would take quadratic time.
#[derive(Default)]
struct Strings<'btf>(HashMap<&'btf str, StringRef>);

impl<'btf> Strings<'btf> {
    /// Adds a string to the table, unless it is there.
    fn add(&mut self, out: &mut Btf, string: &'btf str) -> StringRef {
        match string {
            "" => StringRef(0),
            string => *self.0.entry(string).or_insert_with(|| out.append_string(string)),
        }
    }
}

impl Marks<'_> {
    /// Returns a table of the marked types.
    fn table(&self) -> Btf {
        let (mut out, mut strings) = (Btf::new(), Strings::default());
        let mut ids: HashMap<TypeId, TypeId> = HashMap::new();
        let kept: Vec<(TypeId, &Type)> = self.kernel.iter().filter(|(id, _)| self.is_marked(*id)).collect();
        for ((id, _), new) in kept.iter().zip(1..) {
            ids.insert(*id, TypeId(new));
        }
        // A type that no relocation reads, such as a type behind a pointer, becomes `void`.
        let renamed = |id: TypeId| ids.get(&id).copied().unwrap_or_default();
        for (id, ty) in kept {
            let mut string = |string| strings.add(&mut out, self.kernel.str(string));
            let name = string(ty.name);
            let kind = self.needed(id, &ty.kind).with(renamed, string);
            out.push(Type { name, kind });
        }
        out
    }

    /// Returns the parts of a type that relocations read: the marked members and enumerators, and functions without the names of parameters.
    fn needed(&self, id: TypeId, kind: &Kind) -> Kind {
        let is_chosen = |index: &usize| self.chosen(id).contains(index);
        let composite = |it: &Composite| Composite { members: chosen(&it.members, is_chosen), ..*it };
        match kind {
            Kind::Struct(it) => Kind::Struct(composite(it)),
            Kind::Union(it) => Kind::Union(composite(it)),
            Kind::Enum(it) => Kind::Enum(Enum { values: chosen(&it.values, is_chosen), ..*it }),
            Kind::FuncProto { returns, params } => Kind::FuncProto {
                returns: *returns,
                params: params.iter().map(|param| Param { name: StringRef(0), ..param.clone() }).collect(),
            },
            other => other.clone(),
        }
    }
}

/// Returns the elements whose index is chosen.
fn chosen<T: Clone>(all: &[T], is_chosen: impl Fn(&usize) -> bool) -> Vec<T> {
    let indexed = all.iter().enumerate().filter(|(index, _)| is_chosen(index));
    indexed.map(|(_, element)| element.clone()).collect()
}
