//! The order of declarations and definitions: a type is complete before a value of it is part of another type, and
//! declared before its name is used.
//!
//! Structs and unions behind pointers need only a declaration, so types that refer to each other can be ordered. This
//! module does not know C's syntax.

use std::collections::HashSet;

use super::budget;
use super::names::is_declaration;
use crate::btf::{Btf, Kind, TypeId};

/// A step of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Declare a struct or union, define an enum, or define a typedef.
    Declare(TypeId),
    /// Define a struct or union. For a typedef: make its type complete; nothing is written.
    Define(TypeId),
}

/// The steps to define types, in order.
#[derive(Debug)]
pub(super) struct Order<'btf> {
    btf: &'btf Btf,
    seen: HashSet<Step>,
    pub(super) steps: Vec<Step>,
    /// The number of types that can still be visited: many definitions can contain the same anonymous types.
    left: u64,
}

impl<'btf> Order<'btf> {
    pub(super) fn new(btf: &'btf Btf) -> Self {
        Self { btf, seen: HashSet::new(), steps: Vec::new(), left: budget::most(btf) }
    }

    /// Returns whether the search stopped before all steps were found, because the types repeat others too often.
    pub(super) fn is_exceeded(&self) -> bool {
        self.left == 0
    }

    /// Adds the steps that make a type complete: its definition and those that it requires.
    pub(super) fn define(&mut self, id: TypeId) {
        self.add(id, true);
    }

    /// Adds the steps that declare all types in a declaration of this type.
    pub(super) fn declare(&mut self, id: TypeId) {
        self.add(id, false);
    }

    fn add(&mut self, id: TypeId, complete: bool) {
        let mut needs = Vec::new();
        Needs::new(self, &mut needs, None).add(id, complete);
        needs.into_iter().for_each(|step| self.visit(step));
    }

    /// Adds a step after the steps that it requires, with an explicit stack, because the input determines the depth. A
    /// type cannot contain itself, and C cannot express other cycles, such as a typedef that refers to itself through a
    /// pointer: they are cut.
    fn visit(&mut self, root: Step) {
        if !self.seen.insert(root) {
            return;
        }
        let mut stack = vec![(root, self.needs(root).into_iter())];
        while let Some((step, needs)) = stack.last_mut() {
            match needs.next() {
                Some(next) => {
                    if self.seen.insert(next) {
                        let needs = self.needs(next).into_iter();
                        stack.push((next, needs));
                    }
                }
                None => {
                    self.steps.push(*step);
                    stack.pop();
                }
            }
        }
    }

    /// Returns the steps before a step.
    fn needs(&mut self, step: Step) -> Vec<Step> {
        let mut found = Vec::new();
        let btf = self.btf;
        match step {
            Step::Declare(id) => {
                if let Kind::Typedef(to) = btf.get(id).kind {
                    Needs::new(self, &mut found, None).add(to, false);
                }
            }
            Step::Define(id) => match &btf.get(id).kind {
                Kind::Typedef(to) => {
                    found.push(Step::Declare(id));
                    Needs::new(self, &mut found, None).add(*to, true);
                }
                Kind::Struct(composite) | Kind::Union(composite) => {
                    let mut needs = Needs::new(self, &mut found, Some(id));
                    for member in &composite.members {
                        needs.member(member.ty, btf.str(member.name).is_empty());
                    }
                }
                _ => {}
            },
        }
        found
    }
}

/// The dependencies of one declaration.
struct Needs<'a> {
    btf: &'a Btf,
    left: &'a mut u64,
    found: &'a mut Vec<Step>,
    /// The struct that is being defined; its definition also declares it.
    own: Option<TypeId>,
    /// The types that were visited, and whether they must be complete.
    seen: HashSet<(TypeId, bool)>,
    /// The anonymous structs whose definitions are part of this one.
    inside: HashSet<TypeId>,
    /// The types to visit; the last one is next.
    stack: Vec<(TypeId, bool)>,
}

impl<'a> Needs<'a> {
    fn new(order: &'a mut Order<'_>, found: &'a mut Vec<Step>, own: Option<TypeId>) -> Self {
        let (btf, left) = (order.btf, &mut order.left);
        Self { btf, left, found, own, seen: HashSet::new(), inside: HashSet::new(), stack: Vec::new() }
    }

    /// Adds the dependencies of a member. The struct of a member without a name is written in place.
    fn member(&mut self, id: TypeId, unnamed: bool) {
        *self.left = self.left.saturating_sub(1);
        if *self.left == 0 {
            return;
        }
        let inside = self.btf.resolve(id);
        match &self.btf.get(inside).kind {
            Kind::Struct(composite) | Kind::Union(composite) if unnamed => {
                if !self.inside.insert(inside) {
                    return;
                }
                for member in &composite.members {
                    self.member(member.ty, self.btf.str(member.name).is_empty());
                }
            }
            _ => self.add(id, true),
        }
    }

    /// Adds the dependencies of a type. `complete` is set if a definition of the type is required, not only a
    /// declaration.
    fn add(&mut self, id: TypeId, complete: bool) {
        self.stack.push((id, complete));
        while let Some((id, complete)) = self.stack.pop() {
            *self.left = self.left.saturating_sub(1);
            if *self.left == 0 {
                return;
            }
            let is_declared = self.own == Some(id) && !complete;
            if is_declared || !self.seen.insert((id, complete)) {
                continue;
            }
            let named = !self.btf.name(id).is_empty();
            match &self.btf.get(id).kind {
                kind if named && is_declaration(kind) => self.found.push(Step::Declare(id)),
                Kind::Struct(_) | Kind::Union(_) if named && complete => self.found.push(Step::Define(id)),
                Kind::Struct(_) | Kind::Union(_) if named => self.found.push(Step::Declare(id)),
                Kind::Struct(composite) | Kind::Union(composite) => {
                    self.stack.extend(composite.members.iter().rev().map(|member| (member.ty, true)));
                }
                Kind::Enum(_) if named => self.found.push(Step::Declare(id)),
                Kind::Typedef(_) if complete => self.found.push(Step::Define(id)),
                Kind::Typedef(_) => self.found.push(Step::Declare(id)),
                Kind::Ptr(to) => self.stack.push((*to, false)),
                // C has no arrays of incomplete types, even behind pointers.
                Kind::Array { element, .. } => self.stack.push((*element, true)),
                Kind::FuncProto { returns, params } => {
                    self.stack.extend(params.iter().rev().map(|param| (param.ty, false)));
                    self.stack.push((*returns, false));
                }
                Kind::Const(to) | Kind::Volatile(to) | Kind::Restrict(to) | Kind::TypeTag { ty: to, .. } => {
                    self.stack.push((*to, complete));
                }
                _ => {}
            }
        }
    }
}
