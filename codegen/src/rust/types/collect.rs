//! Finds the C types for which there is a Rust type: those that were asked for, and what they contain.
//!
//! A pointer contains nothing, so types that point to each other are no matter. Names are given later.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::canon::fingerprint;
use super::layout::{Layouts, Part, Place, Shape};
use super::names::{Asker, Class, Names, Node, NodeId};
use crate::btf::{Kind, TypeId};
use crate::skeleton::type_ident;

/// How deep paths go; deeper types without a name are named by what they are.
const MAX_DEPTH: u32 = 12;
/// How many types there can be by path. Damaged types could go on doubling.
const MAX_PATHS: usize = 1 << 15;

/// How many pointers and arrays a type may be away from a member that names it.
const MAX_POINTERS: u32 = 8;

impl<'a> Names<'a> {
    pub(super) fn need(&mut self, ty: TypeId, asker: Asker<'_>) {
        let Some(target) = self.target(ty) else { return };
        let id = target.id;
        if self.is_named(&target) {
            let typedef = self.key(&target);
            let node = match self.named.get(&(id, typedef)) {
                Some(node) => *node,
                None => {
                    let base = if typedef.is_empty() { self.btf.name(id) } else { typedef };
                    let class = if typedef.is_empty() { self.class(id) } else { Class::Typedef };
                    let node = self.push(id, class, type_ident(base), 0);
                    self.named.insert((id, typedef), node);
                    node
                }
            };
            for alias in target.typedefs.into_iter().filter(|alias| *alias != typedef) {
                self.aliases.entry(alias).or_default().insert(node);
            }
            return;
        }
        match asker {
            Asker::Path(path) => {
                if !self.paths.contains_key(&(id, path.to_owned())) {
                    let node = self.push(id, Class::Anonymous, type_ident(path), 0);
                    self.paths.insert((id, path.to_owned()), node);
                }
            }
            Asker::Member(parent, member) => {
                let depth = self.nodes[parent.0].depth + 1;
                if depth > MAX_DEPTH || self.children.len() > MAX_PATHS {
                    self.need_loose(id);
                } else if !self.children.contains_key(&(parent, id)) {
                    let node = self.push(id, Class::Anonymous, String::new(), depth);
                    self.children.insert((parent, id), node);
                    self.nodes[parent.0].children.push((member.to_owned(), node));
                }
            }
        }
    }

    pub(super) fn need_longer(&mut self, ty: TypeId, path: &str, size: u64) {
        let Some(target) = self.target(ty) else { return };
        let node = self.push(target.id, Class::Anonymous, type_ident(path), 0);
        self.nodes[node.0].longer = Some(size);
        self.paths.insert((target.id, path.to_owned()), node);
    }

    /// A type that neither a name nor a path leads to is named by what it is.
    fn need_loose(&mut self, id: TypeId) {
        if self.loose.contains_key(&id) {
            return;
        }
        let base = match &self.btf.get(id).kind {
            Kind::Enum(it) if !it.values.is_empty() => {
                format!("anon_enum_{}", self.btf.str(it.values[0].0))
            }
            Kind::Enum(_) => "anon_enum".to_owned(),
            Kind::Union(_) => format!("anon_union_{:08x}", fingerprint(self.btf, id, false)),
            _ => format!("anon_struct_{:08x}", fingerprint(self.btf, id, false)),
        };
        let node = self.push(id, Class::Anonymous, type_ident(&base), MAX_DEPTH / 2);
        self.loose.insert(id, node);
    }

    /// Every type of the table: what has a name, what variables have, what pointers in these lead to, and the rest.
    pub(super) fn need_all(&mut self, layouts: &Layouts<'a>) {
        let btf = self.btf;
        for (id, ty) in btf.iter() {
            match ty.kind {
                Kind::Var { ty: variable, .. } => self.need(variable, Asker::Path(btf.str(ty.name))),
                _ if self.target(id).is_some_and(|target| self.is_named(&target)) => self.need(id, Asker::Path("")),
                _ => {}
            }
        }
        self.drain(layouts);
        self.need_behind_pointers(layouts);
        let mut rest = BTreeSet::new();
        let mut contained = BTreeSet::new();
        for (id, ty) in btf.iter() {
            let members = match &ty.kind {
                Kind::Struct(it) | Kind::Union(it) => it.members.as_slice(),
                Kind::Enum(it) if it.size > 0 => &[],
                _ => continue,
            };
            if self.covered.contains(&id) {
                continue;
            }
            rest.insert(id);
            contained.extend(members.iter().filter_map(|member| self.target(member.ty)).map(|target| target.id));
        }
        // Those that others of them contain come with these.
        for id in rest.difference(&contained) {
            self.need_loose(*id);
        }
        self.drain(layouts);
        // Members that are left out, as damaged types have, lead to nothing.
        for id in contained {
            if rest.contains(&id) && !self.covered.contains(&id) {
                self.need_loose(id);
                self.drain(layouts);
            }
        }
    }

    /// Types without a name to which only a member points are named by the path to that member.
    fn need_behind_pointers(&mut self, layouts: &Layouts<'a>) {
        let mut index = 0;
        while index < self.nodes.len() {
            for part in parts(&layouts.shape(self.nodes[index].id)) {
                let mut ty = self.btf.resolve(part.ty);
                // A pointer can lead back to itself.
                for _ in 0..MAX_POINTERS {
                    let (Kind::Ptr(to) | Kind::Array { element: to, .. }) = self.btf.get(ty).kind else { break };
                    let next = self.target(to);
                    if next.is_some_and(|target| !self.is_named(&target) && !self.covered.contains(&target.id)) {
                        self.need(to, Asker::Member(NodeId(index), &part.name));
                    }
                    ty = self.btf.resolve(to);
                }
            }
            self.drain(layouts);
            index += 1;
        }
    }

    fn class(&self, id: TypeId) -> Class {
        match self.btf.get(id).kind {
            Kind::Union(_) => Class::Union,
            Kind::Enum(_) => Class::Enum,
            _ => Class::Struct,
        }
    }

    fn push(&mut self, id: TypeId, class: Class, base: String, depth: u32) -> NodeId {
        let node = NodeId(self.nodes.len());
        self.nodes.push(Node {
            id,
            name: String::new(),
            longer: None,
            class,
            base,
            children: Vec::new(),
            same_as: node,
            depth,
        });
        self.queue.push_back(node);
        node
    }

    /// Finds what the types that were found contain.
    pub(super) fn drain(&mut self, layouts: &Layouts<'a>) {
        while let Some(node) = self.queue.pop_front() {
            let id = self.nodes[node.0].id;
            self.cover(id);
            for (ty, member) in &*self.contents(id, layouts) {
                self.need(*ty, Asker::Member(node, member));
            }
        }
    }

    /// The different types that a type contains, each with the first member that has it.
    fn contents(&mut self, id: TypeId, layouts: &Layouts<'a>) -> Rc<[(TypeId, String)]> {
        if let Some(known) = self.contents.get(&id) {
            return Rc::clone(known);
        }
        let mut seen = BTreeSet::new();
        let mut contents = Vec::new();
        for part in parts(&layouts.shape(id)) {
            // Not the same type, as typedefs of one type are told apart.
            if seen.insert(part.ty) {
                contents.push((part.ty, part.name.clone()));
            }
        }
        let contents: Rc<[_]> = contents.into();
        self.contents.insert(id, Rc::clone(&contents));
        contents
    }

    /// Notes that there is a Rust type with the members of this one.
    fn cover(&mut self, id: TypeId) {
        if !self.covered.insert(id) {
            return;
        }
        let btf = self.btf;
        if let Kind::Struct(it) | Kind::Union(it) = &btf.get(id).kind {
            for member in it.members.iter().filter(|member| btf.str(member.name).is_empty()) {
                let inner = btf.resolve(member.ty);
                if matches!(btf.get(inner).kind, Kind::Struct(_) | Kind::Union(_)) {
                    self.cover(inner);
                }
            }
        }
    }
}

/// The members of a type that Rust sees.
fn parts(shape: &Shape) -> impl Iterator<Item = &Part> {
    shape.parts.iter().filter(|part| part.place != Place::Nowhere)
}
