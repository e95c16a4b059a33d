//! The names of Rust types, and the C types that have a Rust type.
//!
//! A name depends on the type and on the items that contain it, never on the order of a table or on unrelated types:
//! - A struct, union or enum has its own name. An anonymous one has the name of its typedef, or else a path: the
//!   containing type and the member, or the variable or map.
//! - If types of different kinds have the same name, the first of struct, union, enum and typedef has it; the others
//!   get the kind as a suffix.
//! - If linking merged different types with the same name and kind, all get a hash of their members as a suffix, so
//!   that no change to one renames another.
//!
//! [`collect`](super::collect) finds the types. This module generates no text.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::canon::{Canon, fingerprint};
use super::layout::Layouts;
use crate::btf::{Btf, Kind, TypeId};
use crate::skeleton::{Scope, type_ident};

/// The types that need a Rust type.
#[derive(Debug, Clone, Default)]
pub(super) struct NeededTypes {
    /// The types, each with the path that becomes its name if it is anonymous.
    pub(super) roots: Vec<(TypeId, String)>,
    /// Variables that are longer than their types, because the flexible array at their end has elements: type, path and
    /// size in bytes.
    pub(super) longer: Vec<(TypeId, String, u64)>,
    /// The types in memory that is shared with programs.
    pub(super) shared: Vec<(TypeId, String)>,
    /// Whether every type of the table is needed.
    pub(super) everything: bool,
}

/// The index of a Rust type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(pub(super) usize);

/// The user of a type, which names it if it is anonymous.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'n> {
    /// A member of this type, with its name.
    Member(NodeId, &'n str),
    /// The item at this path.
    Path(&'n str),
}

/// A Rust type.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) id: TypeId,
    /// The type's Rust name, not yet escaped; empty if an equivalent type has the name.
    pub(super) name: String,
    /// For a type that exists only for one variable, the size of the variable, including the elements of its flexible
    /// array.
    pub(super) longer: Option<u64>,
    pub(super) class: Class,
    pub(super) base: String,
    pub(super) children: Vec<(String, NodeId)>,
    pub(super) same_as: NodeId,
    pub(super) depth: u32,
}

/// The origin of a type's name, by descending priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Struct,
    Union,
    Enum,
    Typedef,
    /// The path to the type; without a path, the content of the type.
    Anonymous,
}

/// The Rust types and their names.
pub(super) struct Names<'a> {
    pub(super) btf: &'a Btf,
    pub(super) nodes: Vec<Node>,
    /// The types by id, and by the name of the typedef that names an anonymous type (else empty).
    pub(super) named: BTreeMap<(TypeId, &'a str), NodeId>,
    pub(super) children: BTreeMap<(NodeId, TypeId), NodeId>,
    pub(super) paths: BTreeMap<(TypeId, String), NodeId>,
    pub(super) loose: BTreeMap<TypeId, NodeId>,
    /// The names of typedefs that differ from the name of their type, with the types that they name.
    pub(super) aliases: BTreeMap<&'a str, BTreeSet<NodeId>>,
    /// The types that have a Rust type or whose members are part of one.
    pub(super) covered: BTreeSet<TypeId>,
    pub(super) queue: VecDeque<NodeId>,
    /// The distinct types in a type; see `contents`.
    pub(super) contents: BTreeMap<TypeId, Rc<[(TypeId, String)]>>,
}

/// The struct, union or enum that a type resolves to: the type itself, or the element type of an array.
pub(super) struct Target<'a> {
    pub(super) id: TypeId,
    /// The typedefs between the last array and the type, outermost first.
    pub(super) typedefs: Vec<&'a str>,
}

impl<'a> Names<'a> {
    /// Finds and names all types that the needed types contain.
    pub(super) fn new(btf: &'a Btf, layouts: &Layouts<'a>, needed: &NeededTypes) -> Self {
        let mut this = Self {
            btf,
            nodes: Vec::new(),
            named: BTreeMap::new(),
            children: BTreeMap::new(),
            paths: BTreeMap::new(),
            loose: BTreeMap::new(),
            aliases: BTreeMap::new(),
            covered: BTreeSet::new(),
            queue: VecDeque::new(),
            contents: BTreeMap::new(),
        };
        for (ty, path, size) in &needed.longer {
            this.need_longer(*ty, path, *size);
        }
        for (ty, path) in &needed.roots {
            this.need(*ty, Origin::Path(path));
        }
        this.drain(layouts);
        if needed.everything {
            this.need_all(layouts);
        }
        this.merge();
        this.assign();
        this
    }

    /// Returns the types to write, sorted by name.
    pub(super) fn sorted(&self) -> Vec<(NodeId, &Node)> {
        let mut all: Vec<_> = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| !node.name.is_empty())
            .map(|(index, node)| (NodeId(index), node))
            .collect();
        all.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        all
    }

    /// Returns the aliases of types: the alias and the name of its type.
    pub(super) fn aliases(&self) -> Vec<(String, &str)> {
        let taken: BTreeSet<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        // An ambiguous alias is omitted.
        let mut aliases: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for (name, nodes) in &self.aliases {
            let alias = type_ident(name);
            if !taken.contains(alias.as_str()) {
                aliases.entry(alias).or_default().extend(nodes.iter().map(|node| self.name(*node)));
            }
        }
        aliases.retain(|_, names| names.len() == 1 && !names.contains(""));
        aliases.into_iter().filter_map(|(alias, names)| Some((alias, names.into_iter().next()?))).collect()
    }

    /// Returns the Rust name of a type, if it has a Rust type.
    pub(super) fn of(&self, ty: TypeId, origin: Origin<'_>) -> Option<&str> {
        self.node(ty, origin).map(|node| self.name(node))
    }

    /// Returns the index of the Rust type for a C type, if there is one.
    fn node(&self, ty: TypeId, origin: Origin<'_>) -> Option<NodeId> {
        let target = self.target(ty)?;
        let node = match origin {
            Origin::Path(path) if self.longer(target.id, path).is_some() => self.longer(target.id, path),
            _ if self.is_named(&target) => self.named.get(&(target.id, self.key(&target))).copied(),
            Origin::Path(path) => self.paths.get(&(target.id, path.to_owned())).copied(),
            Origin::Member(parent, _) => self.children.get(&(self.root(parent), target.id)).copied(),
        };
        let node = node.or_else(|| self.loose.get(&target.id).copied())?;
        Some(self.root(node))
    }

    /// Returns the given types and all types they contain.
    pub(super) fn closure(&self, types: &[(TypeId, String)]) -> BTreeSet<NodeId> {
        let mut closure = BTreeSet::new();
        let mut queue: Vec<NodeId> = types.iter().filter_map(|(ty, path)| self.node(*ty, Origin::Path(path))).collect();
        while let Some(node) = queue.pop() {
            if closure.insert(node) {
                let contents = self.contents.get(&self.nodes[node.0].id);
                let contents = contents.into_iter().flat_map(|contents| contents.iter());
                queue.extend(contents.filter_map(|(ty, member)| self.node(*ty, Origin::Member(node, member))));
            }
        }
        closure
    }

    /// Returns whether the flexible array at the end of the variable has elements, so that the variable has a Rust type
    /// of its own.
    pub(super) fn is_longer(&self, ty: TypeId, path: &str) -> bool {
        self.target(ty).is_some_and(|target| self.longer(target.id, path).is_some())
    }

    /// Returns the structs, unions and enums of the table that have a Rust type or are part of one.
    pub(super) fn covered(&self) -> &BTreeSet<TypeId> {
        &self.covered
    }

    fn longer(&self, id: TypeId, path: &str) -> Option<NodeId> {
        let node = *self.paths.get(&(id, path.to_owned()))?;
        self.nodes[node.0].longer.map(|_| node)
    }

    fn root(&self, node: NodeId) -> NodeId {
        self.nodes[node.0].same_as
    }

    fn name(&self, node: NodeId) -> &str {
        &self.nodes[self.root(node).0].name
    }

    pub(super) fn target(&self, mut id: TypeId) -> Option<Target<'a>> {
        let btf = self.btf;
        let mut typedefs = Vec::new();
        loop {
            id = match &btf.get(id).kind {
                Kind::Typedef(to) => {
                    typedefs.push(btf.name(id));
                    *to
                }
                Kind::Volatile(to) | Kind::Const(to) | Kind::Restrict(to) | Kind::TypeTag { ty: to, .. } => *to,
                Kind::Array { element, .. } => {
                    typedefs.clear();
                    *element
                }
                Kind::Enum(it) if it.size == 0 => return None,
                Kind::Struct(_) | Kind::Union(_) | Kind::Enum(_) => return Some(Target { id, typedefs }),
                _ => return None,
            };
        }
    }

    pub(super) fn is_named(&self, target: &Target<'a>) -> bool {
        !self.btf.name(target.id).is_empty() || !self.key(target).is_empty()
    }

    /// Returns the typedef that names a type; empty if it has a name of its own.
    pub(super) fn key(&self, target: &Target<'a>) -> &'a str {
        let own = self.btf.name(target.id);
        if own.is_empty() { target.typedefs.last().copied().unwrap_or("") } else { "" }
    }

    /// Merges equivalent types with the same preferred name.
    fn merge(&mut self) {
        let mut canon = Canon::new(self.btf);
        let mut groups: BTreeMap<(&str, Class), Vec<NodeId>> = BTreeMap::new();
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| !node.base.is_empty()) {
            groups.entry((&node.base, node.class)).or_default().push(NodeId(index));
        }
        let mut same = Vec::new();
        for mut group in groups.into_values().filter(|group| group.len() > 1) {
            group.sort_by_key(|node| (self.nodes[node.0].id, *node));
            let mut first = BTreeMap::new();
            for node in group {
                let it = &self.nodes[node.0];
                let root = *first.entry((canon.number(it.id), it.longer)).or_insert(node);
                same.push((node, root));
            }
        }
        for (node, root) in same {
            self.nodes[node.0].same_as = root;
        }
    }

    /// Assigns a name to every type: first to types with their own name, then to those with suffixes, then to those
    /// named by path.
    fn assign(&mut self) {
        let mut scope = Scope::default();
        let mut bases: BTreeMap<String, BTreeMap<Class, Vec<NodeId>>> = BTreeMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            if !node.base.is_empty() && node.same_as == NodeId(index) {
                bases.entry(node.base.clone()).or_default().entry(node.class).or_default().push(NodeId(index));
            }
        }
        let mut yielding = Vec::new();
        for (base, classes) in bases {
            for (rank, (class, group)) in classes.into_iter().enumerate() {
                match group[..] {
                    [only] if rank == 0 && !is_shadowed(&base, class) => self.nodes[only.0].name = scope.claim(&base),
                    [only] => yielding.push((suffixed(&base, class), only)),
                    _ => {
                        let base = if rank == 0 { base.clone() } else { suffixed(&base, class) };
                        yielding.extend(self.numbered(&base, &group));
                    }
                }
            }
        }
        for (name, node) in yielding {
            self.nodes[node.0].name = scope.claim(&name);
        }
        self.assign_children(&mut scope);
    }

    /// Returns names for different types of the same name and kind, with a hash of their content.
    fn numbered(&self, base: &str, group: &[NodeId]) -> Vec<(String, NodeId)> {
        let shallow: Vec<u32> = group.iter().map(|node| fingerprint(self.btf, self.nodes[node.0].id, false)).collect();
        let distinct = shallow.iter().collect::<BTreeSet<_>>().len() == group.len();
        let mut names: Vec<(String, NodeId)> = group
            .iter()
            .zip(&shallow)
            .map(|(node, shallow)| {
                let number = if distinct { *shallow } else { fingerprint(self.btf, self.nodes[node.0].id, true) };
                (format!("{base}_{number:08x}"), *node)
            })
            .collect();
        names.sort();
        names
    }

    fn assign_children(&mut self, scope: &mut Scope) {
        let mut queue: VecDeque<NodeId> = self.sorted().into_iter().map(|(node, _)| node).collect();
        while let Some(parent) = queue.pop_front() {
            let name = self.nodes[parent.0].name.clone();
            for (member, child) in self.nodes[parent.0].children.clone() {
                self.nodes[child.0].name = scope.claim(&type_ident(&format!("{name}__{member}")));
                queue.push_back(child);
            }
        }
    }
}

fn suffixed(base: &str, class: Class) -> String {
    let suffix = match class {
        Class::Struct => "struct",
        Class::Union => "union",
        Class::Enum => "enum",
        Class::Typedef => "typedef",
        Class::Anonymous => "anon",
    };
    format!("{base}_{suffix}")
}

/// Returns whether an enum of this name would shadow a variable in generated code, because its constructor is a
/// function.
fn is_shadowed(base: &str, class: Class) -> bool {
    matches!(class, Class::Enum | Class::Typedef | Class::Anonymous) && base == "value"
}
