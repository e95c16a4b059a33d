//! Declarations: those of types, which are resolved before types are compared, and those of functions and variables,
//! to which no type refers, and which are resolved afterwards.

use std::collections::HashMap;

use super::graph::Graph;
use super::refine::Alias;
use super::strings::EMPTY;
use crate::btf::{Kind, Linkage, Type};

/// A node or class that does not exist.
pub(super) const NONE: u32 = u32::MAX;

/// The declared types with their definitions.
#[derive(Debug, Default)]
pub(super) struct Declared {
    /// By name and keyword: the index of the group.
    groups: HashMap<(u32, Keyword), usize>,
    /// The first declaration of each name stands for the others.
    aliases: Vec<Alias>,
    /// The other declarations, with their groups.
    repeated: Vec<(u32, usize)>,
}

/// The keyword of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Keyword {
    Struct,
    Union,
    Enum,
}

/// Returns the keyword of a type, and whether the type is only declared.
fn keyword(kind: &Kind) -> Option<(Keyword, bool)> {
    match kind {
        Kind::Struct(_) => Some((Keyword::Struct, false)),
        Kind::Union(_) => Some((Keyword::Union, false)),
        Kind::Enum(it) => Some((Keyword::Enum, it.size == 0 && it.values.is_empty())),
        Kind::Fwd { union: false } => Some((Keyword::Struct, true)),
        Kind::Fwd { union: true } => Some((Keyword::Union, true)),
        _ => None,
    }
}

impl Declared {
    /// Adds a type if it is a declaration with a name.
    pub(super) fn declare(&mut self, node: u32, ty: &Type, name: u32) {
        let Some((keyword, true)) = keyword(&ty.kind).filter(|_| name != EMPTY) else { return };
        let new = self.aliases.len();
        let group = *self.groups.entry((name, keyword)).or_insert(new);
        if group == new {
            self.aliases.push(Alias { node, of: Vec::new() });
        } else {
            self.repeated.push((node, group));
        }
    }

    /// Adds a type if it is a definition of a declared name. All declarations have been added.
    pub(super) fn define(&mut self, node: u32, ty: &Type, name: u32) {
        let Some((keyword, false)) = keyword(&ty.kind) else { return };
        if let Some(&group) = self.groups.get(&(name, keyword)) {
            self.aliases[group].of.push(node);
        }
    }

    /// Returns the node that stands for each node, and the declarations with definitions.
    pub(super) fn finish(mut self, nodes: usize) -> (Vec<u32>, Vec<Alias>) {
        let mut same: Vec<u32> = (0..).take(nodes).collect();
        for (node, group) in self.repeated {
            same[node as usize] = self.aliases[group].node;
        }
        self.aliases.retain(|alias| !alias.of.is_empty());
        (same, self.aliases)
    }
}

/// The types of the result, not yet in order.
#[derive(Debug)]
pub(super) struct Kept {
    /// A node for each type.
    pub(super) nodes: Vec<u32>,
    /// By node: the index of its type in `nodes`, or `NONE` if it is not in the result.
    pub(super) index: Vec<u32>,
}

/// Chooses a node of each class, and resolves extern functions and variables.
pub(super) fn resolve(graph: &Graph<'_>, classes: &[u32]) -> Kept {
    let mut merged = Classes::new(graph, classes);
    merged.resolve_externs();
    merged.unite_tags();
    merged.finish()
}

struct Classes<'a, 'b> {
    graph: &'a Graph<'b>,
    classes: &'a [u32],
    /// By class: a node, or `NONE`. A definition if there is one.
    node: Vec<u32>,
    /// By class: the class that replaces it, or itself.
    replaced: Vec<u32>,
}

/// What identifies a declaration across files: whether it is a function, and its name.
type Symbol = (bool, u32);

impl<'a, 'b> Classes<'a, 'b> {
    fn new(graph: &'a Graph<'b>, classes: &'a [u32]) -> Self {
        let count = classes.iter().max().map_or(0, |last| *last as usize + 1);
        let mut node = vec![NONE; count];
        for (new, ty) in (0..).zip(&graph.types) {
            if graph.same[new as usize] != new || matches!(ty.kind, Kind::Datasec(_)) {
                continue;
            }
            let chosen = &mut node[classes[new as usize] as usize];
            let is_better = match graph.types.get(*chosen as usize) {
                None => true,
                Some(old) => keyword(&old.kind).is_some_and(|(_, declared)| declared),
            };
            if is_better {
                *chosen = new;
            }
        }
        let replaced = (0..).take(count).collect();
        Self { graph, classes, node, replaced }
    }

    fn class(&self, node: u32) -> u32 {
        self.classes[self.graph.same[node as usize] as usize]
    }

    /// Returns the classes that are not empty, with a node of each, in the order of nodes.
    fn chosen(&self) -> Vec<(u32, u32)> {
        let is_chosen = |node: &u32| self.node[self.class(*node) as usize] == *node;
        let nodes = (0..).take(self.graph.types.len());
        nodes.filter(is_chosen).map(|node| (self.class(node), node)).collect()
    }

    /// Replaces extern functions and variables by their definition, or by one declaration for each type.
    fn resolve_externs(&mut self) {
        // `None` if there are several.
        let mut definitions: HashMap<Symbol, Option<u32>> = HashMap::new();
        let mut externs: Vec<(u32, Symbol, u32)> = Vec::new();
        for (class, node) in self.chosen() {
            let (is_func, to, linkage) = match self.graph.types[node as usize].kind {
                Kind::Func { proto, linkage } => (true, proto, linkage),
                Kind::Var { ty, linkage } => (false, ty, linkage),
                _ => continue,
            };
            let symbol = (is_func, self.graph.name(node));
            match linkage {
                Linkage::Static => {}
                Linkage::Global => {
                    definitions.entry(symbol).and_modify(|other| *other = None).or_insert(Some(class));
                }
                Linkage::Extern => externs.push((class, symbol, self.class(self.graph.target(node, to)))),
            }
        }
        let mut declarations: HashMap<(Symbol, u32), u32> = HashMap::new();
        for (class, symbol, ty) in externs {
            let first = *declarations.entry((symbol, ty)).or_insert(class);
            self.replaced[class as usize] = definitions.get(&symbol).copied().flatten().unwrap_or(first);
        }
    }

    /// Replaces equal tags on what is now one type by one tag.
    fn unite_tags(&mut self) {
        let mut tags = HashMap::new();
        for (class, node) in self.chosen() {
            let Some((target, tag)) = self.graph.tag(node) else { continue };
            self.replaced[class as usize] = match self.graph.types[target as usize].kind {
                // Not in the result, and not valid.
                Kind::Datasec(_) | Kind::DeclTag { .. } => NONE,
                _ => {
                    let on = self.replaced[self.class(target) as usize];
                    *tags.entry((on, tag)).or_insert(class)
                }
            };
        }
    }

    fn finish(self) -> Kept {
        let mut index = vec![NONE; self.node.len()];
        let mut nodes = Vec::new();
        for (class, node) in self.chosen() {
            if self.replaced[class as usize] == class {
                index[class as usize] = u32::try_from(nodes.len()).unwrap_or(NONE);
                nodes.push(node);
            }
        }
        let of = |node: u32| match self.replaced[self.class(node) as usize] {
            NONE => NONE,
            class => index[class as usize],
        };
        let index = (0..).take(self.graph.types.len()).map(of).collect();
        Kept { nodes, index }
    }
}
