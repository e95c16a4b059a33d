//! The path of a relocation to a field, followed through the types of a kernel.

use std::collections::HashSet;

use skelgen_abi::plan::essential_name;

use crate::btf::ext::CoreRelo;
use crate::btf::{Btf, Kind, TypeId};

/// The maximum number of steps to a field, as in the kernel (`BPF_CORE_SPEC_MAX_LEN`).
const MAX_STEPS: usize = 64;

/// The types and members on the path to a field.
#[derive(Debug, Default)]
pub(super) struct Path {
    /// Each struct or union with the index of the member, including members without a name.
    pub(super) members: Vec<(TypeId, usize)>,
    /// The element types of arrays.
    pub(super) elements: Vec<TypeId>,
    /// The structs and unions that were searched for the current step's member and do not have it. A struct can have
    /// many anonymous members of one type, at each level, so searching a type again could take exponential time.
    without: HashSet<TypeId>,
}

/// A step of the path in the object's types.
enum Step<'a> {
    /// A member of this name and type.
    Member(&'a str, TypeId),
    /// An element of an array.
    Element,
}

impl Path {
    /// Follows a relocation of an object through a type of the kernel. Returns `None` if the type does not have the
    /// field.
    pub(super) fn find(local: &Btf, relo: &CoreRelo, kernel: &Btf, id: TypeId) -> Option<Self> {
        let mut path = Self::default();
        let mut id = kernel.resolve(id);
        for step in steps(local, relo)? {
            id = kernel.resolve(id);
            path.without.clear();
            id = match (step, &kernel.get(id).kind) {
                (Step::Member(name, ty), _) => path.member(local, (name, ty), kernel, id, 0)?,
                (Step::Element, Kind::Array { element, .. }) => {
                    path.elements.push(*element);
                    *element
                }
                (Step::Element, _) => return None,
            };
        }
        Some(path)
    }

    /// Looks up a member in a struct and in its members without a name, and returns the member's type.
    fn member(
        &mut self,
        local: &Btf,
        wanted: (&str, TypeId),
        kernel: &Btf,
        id: TypeId,
        depth: usize,
    ) -> Option<TypeId> {
        let id = kernel.resolve(id);
        let (Kind::Struct(composite) | Kind::Union(composite)) = &kernel.get(id).kind else { return None };
        if depth > MAX_STEPS || self.without.contains(&id) {
            return None;
        }
        for (index, member) in composite.members.iter().enumerate() {
            let name = kernel.str(member.name);
            if name.is_empty() {
                self.members.push((id, index));
                if let Some(found) = self.member(local, wanted, kernel, member.ty, depth + 1) {
                    return Some(found);
                }
                self.members.pop();
            } else if name == wanted.0 {
                // No other member of the struct has this name.
                if !compatible(local, wanted.1, kernel, member.ty) {
                    break;
                }
                self.members.push((id, index));
                return Some(member.ty);
            }
        }
        self.without.insert(id);
        None
    }
}

/// Returns the steps of a relocation after the first index, through the object's types; `None` if the access path is
/// not valid.
fn steps<'a>(local: &'a Btf, relo: &CoreRelo) -> Option<Vec<Step<'a>>> {
    let indexes = local.str(relo.access).split(':').map(|index| index.parse::<usize>().ok());
    let indexes: Vec<usize> = indexes.collect::<Option<_>>()?;
    if indexes.len() > MAX_STEPS {
        return None;
    }
    let (mut id, mut steps) = (relo.ty, Vec::new());
    for &index in &indexes[1..] {
        id = local.resolve(id);
        id = match &local.get(id).kind {
            Kind::Struct(composite) | Kind::Union(composite) => {
                let member = composite.members.get(index)?;
                let name = local.str(member.name);
                if !name.is_empty() {
                    steps.push(Step::Member(name, member.ty));
                }
                member.ty
            }
            Kind::Array { element, .. } => {
                steps.push(Step::Element);
                *element
            }
            _ => return None,
        };
    }
    Some(steps)
}

/// Returns whether a field of the kernel has the same kind as the object's field. The sizes may differ.
fn compatible(local: &Btf, local_id: TypeId, kernel: &Btf, kernel_id: TypeId) -> bool {
    let (mut ours, mut theirs) = (local.resolve(local_id), kernel.resolve(kernel_id));
    for _ in 0..MAX_STEPS {
        let names = || (essential_name(local.name(ours)), essential_name(kernel.name(theirs)));
        return match (&local.get(ours).kind, &kernel.get(theirs).kind) {
            (Kind::Struct(_) | Kind::Union(_), Kind::Struct(_) | Kind::Union(_)) => true,
            (Kind::Ptr(_), Kind::Ptr(_)) | (Kind::Float(_), Kind::Float(_)) => true,
            (Kind::Fwd { .. }, Kind::Fwd { .. }) | (Kind::Enum(_), Kind::Enum(_)) => {
                let (ours, theirs) = names();
                ours.is_empty() || theirs.is_empty() || ours == theirs
            }
            // Integers with an offset are bitfields of kernels before 5.0.
            (Kind::Int(ours), Kind::Int(theirs)) => ours.bit_offset == 0 && theirs.bit_offset == 0,
            (Kind::Array { element: one, .. }, Kind::Array { element: other, .. }) => {
                (ours, theirs) = (local.resolve(*one), kernel.resolve(*other));
                continue;
            }
            _ => false,
        };
    }
    false
}
