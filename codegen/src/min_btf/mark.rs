//! Marks the types, members and enumerators of the kernel's BTF that the minimized BTF keeps.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::btf::{Btf, Kind, TypeId};

/// The parts of the kernel's BTF that the minimized BTF keeps.
#[derive(Debug)]
pub(super) struct Marks<'btf> {
    pub(super) kernel: &'btf Btf,
    types: HashSet<TypeId>,
    /// The members or enumerators to keep of each type, by index. Marked types that are not listed keep only their
    /// size.
    parts: HashMap<TypeId, BTreeSet<usize>>,
    /// The types that were compared, and whether they were behind a pointer.
    compared: HashSet<(TypeId, bool)>,
    matched: HashSet<(TypeId, bool)>,
}

impl<'btf> Marks<'btf> {
    pub(super) fn new(kernel: &'btf Btf) -> Self {
        Self { kernel, types: HashSet::new(), parts: HashMap::new(), compared: HashSet::new(), matched: HashSet::new() }
    }

    pub(super) fn is_marked(&self, id: TypeId) -> bool {
        self.types.contains(&id)
    }

    /// Returns the indices of the members or enumerators to keep.
    pub(super) fn chosen(&self, id: TypeId) -> &BTreeSet<usize> {
        const NONE: &BTreeSet<usize> = &BTreeSet::new();
        self.parts.get(&id).unwrap_or(NONE)
    }

    /// Marks a type and the types that determine its kind and size: those of typedefs and array elements, but not those
    /// of members or pointers.
    pub(super) fn shallow(&mut self, id: TypeId) {
        // An explicit stack: the input determines the nesting depth, so recursion could overflow the stack.
        let mut stack = vec![id];
        while let Some(id) = stack.pop() {
            if id == TypeId::VOID || !self.types.insert(id) {
                continue;
            }
            match self.kernel.get(id).kind {
                Kind::Typedef(to) | Kind::Volatile(to) | Kind::Const(to) | Kind::Restrict(to) => stack.push(to),
                Kind::TypeTag { ty: to, .. } => stack.push(to),
                Kind::Array { element, index, .. } => stack.extend([index, element]),
                _ => {}
            }
        }
    }

    /// Marks a member of a struct or union.
    pub(super) fn member(&mut self, owner: TypeId, index: usize) {
        let (Kind::Struct(composite) | Kind::Union(composite)) = &self.kernel.get(owner).kind else { return };
        self.shallow(owner);
        let Some(member) = composite.members.get(index) else { return };
        self.parts.entry(owner).or_default().insert(index);
        self.shallow(member.ty);
        // An array without elements is a flexible array only if it is the last member.
        let flexible = matches!(self.kernel.get(self.kernel.resolve(member.ty)).kind, Kind::Array { len: 0, .. });
        let last = composite.members.len() - 1;
        if flexible && index < last {
            self.parts.entry(owner).or_default().insert(last);
            self.shallow(composite.members[last].ty);
        }
    }

    /// Marks an enumerator.
    pub(super) fn enumerator(&mut self, owner: TypeId, index: usize) {
        self.shallow(owner);
        self.parts.entry(owner).or_default().insert(index);
    }

    /// Marks the types that a comparison of kinds reads, including those behind pointers and those of functions.
    pub(super) fn compared(&mut self, id: TypeId) {
        let mut stack = vec![id];
        while let Some(id) = stack.pop() {
            self.shallow(id);
            let id = self.kernel.resolve(id);
            if !self.compared.insert((id, false)) {
                continue;
            }
            match &self.kernel.get(id).kind {
                Kind::Ptr(to) => stack.push(*to),
                Kind::Array { element, .. } => stack.push(*element),
                Kind::FuncProto { returns, params } => {
                    stack.push(*returns);
                    stack.extend(params.iter().map(|param| param.ty));
                }
                _ => {}
            }
        }
    }

    /// Marks the types and members that a comparison of all members reads. Structs behind pointers are compared only by
    /// name.
    pub(super) fn matched(&mut self, id: TypeId) {
        let mut stack = vec![(id, false)];
        while let Some((id, behind)) = stack.pop() {
            self.shallow(id);
            let id = self.kernel.resolve(id);
            if !self.matched.insert((id, behind)) {
                continue;
            }
            match &self.kernel.get(id).kind {
                Kind::Struct(composite) | Kind::Union(composite) if !behind => {
                    for (index, member) in composite.members.iter().enumerate() {
                        self.member(id, index);
                        stack.push((member.ty, false));
                    }
                }
                Kind::Enum(enumeration) => {
                    (0..enumeration.values.len()).for_each(|index| self.enumerator(id, index));
                }
                Kind::Ptr(to) => stack.push((*to, true)),
                Kind::Array { element, .. } => stack.push((*element, behind)),
                Kind::FuncProto { returns, params } => {
                    stack.push((*returns, behind));
                    stack.extend(params.iter().map(|param| (param.ty, behind)));
                }
                _ => {}
            }
        }
    }
}
