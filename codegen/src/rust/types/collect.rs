//! Finds the C types that need a Rust type: the requested types and the types they contain.
//!
//! A pointer contains no type, so types that point to each other are not cyclic. Names are assigned later.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::canon::fingerprint;
use super::layout::{Layouts, Part, Position, Shape};
use super::names::{Class, Names, Node, NodeId, Origin};
use crate::btf::{Kind, TypeId};
use crate::skeleton::type_ident;

/// The maximum depth of paths. More deeply nested anonymous types are named by their content.
const MAX_DEPTH: u32 = 12;
/// The maximum number of types named by path. In damaged BTF, their number could double at every level.
const MAX_PATHS: usize = 1 << 15;

/// The maximum number of pointers and arrays between a type and the member that names it.
const MAX_POINTERS: u32 = 8;

impl<'a> Names<'a> {
    pub(super) fn need(&mut self, ty: TypeId, origin: Origin<'_>) {
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
        match origin {
            Origin::Path(path) => {
                if !self.paths.contains_key(&(id, path.to_owned())) {
                    let node = self.push(id, Class::Anonymous, type_ident(path), 0);
                    self.paths.insert((id, path.to_owned()), node);
                }
            }
            Origin::Member(parent, member) => {
                let depth = self.nodes[parent.0].depth + 1;
                if depth > MAX_DEPTH || self.children.len() > MAX_PATHS {
                    self.need_by_content(id);
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

    /// Adds a type that has neither a name nor a path, and is named by its content.
    fn need_by_content(&mut self, id: TypeId) {
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

    /// Adds every type of the table: named types, the types of variables, the target types of pointers in these, and
    /// the remaining types.
    pub(super) fn need_all(&mut self, layouts: &Layouts<'a>) {
        let btf = self.btf;
        for (id, ty) in btf.iter() {
            match ty.kind {
                Kind::Var { ty: variable, .. } => self.need(variable, Origin::Path(btf.str(ty.name))),
                _ if self.target(id).is_some_and(|target| self.is_named(&target)) => self.need(id, Origin::Path("")),
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
        // Types that other types contain are added with those.
        for id in rest.difference(&contained) {
            self.need_by_content(*id);
        }
        self.drain(layouts);
        // Omitted members, which damaged types can have, do not add their types.
        for id in contained {
            if rest.contains(&id) && !self.covered.contains(&id) {
                self.need_by_content(id);
                self.drain(layouts);
            }
        }
    }

    /// Adds anonymous types that are only the target of a pointer member. The path to that member names them.
    fn need_behind_pointers(&mut self, layouts: &Layouts<'a>) {
        let mut index = 0;
        while index < self.nodes.len() {
            for part in parts(&layouts.shape(self.nodes[index].id)) {
                let mut ty = self.btf.resolve(part.ty);
                // A chain of pointers can lead back to itself.
                for _ in 0..MAX_POINTERS {
                    let (Kind::Ptr(to) | Kind::Array { element: to, .. }) = self.btf.get(ty).kind else { break };
                    let next = self.target(to);
                    if next.is_some_and(|target| !self.is_named(&target) && !self.covered.contains(&target.id)) {
                        self.need(to, Origin::Member(NodeId(index), &part.name));
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

    /// Adds the types that known types contain.
    pub(super) fn drain(&mut self, layouts: &Layouts<'a>) {
        while let Some(node) = self.queue.pop_front() {
            let id = self.nodes[node.0].id;
            self.cover(id);
            for (ty, member) in &*self.contents(id, layouts) {
                self.need(*ty, Origin::Member(node, member));
            }
        }
    }

    /// Returns the distinct types that a type contains, each with the first member of that type.
    fn contents(&mut self, id: TypeId, layouts: &Layouts<'a>) -> Rc<[(TypeId, String)]> {
        if let Some(known) = self.contents.get(&id) {
            return Rc::clone(known);
        }
        let mut seen = BTreeSet::new();
        let mut contents = Vec::new();
        for part in parts(&layouts.shape(id)) {
            // Compare ids instead of `number`: typedefs of the same type are distinct here.
            if seen.insert(part.ty) {
                contents.push((part.ty, part.name.clone()));
            }
        }
        let contents: Rc<[_]> = contents.into();
        self.contents.insert(id, Rc::clone(&contents));
        contents
    }

    /// Records that the members of this type are part of a Rust type.
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

/// Returns the members of a type that are visible in Rust.
fn parts(shape: &Shape) -> impl Iterator<Item = &Part> {
    shape.parts.iter().filter(|part| part.position != Position::Omitted)
}
