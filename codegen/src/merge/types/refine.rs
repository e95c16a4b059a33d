//! Partition refinement: the largest classes of nodes that refer to the same classes.
//!
//! The algorithm is Hopcroft's for the minimization of automata: the users of one class split all other classes, and of
//! a class that was split, only the smaller part has to split others again. So a node is in such a part at most log n
//! times. Nothing is hashed, so no input can make different nodes collide, and nothing recurses.
//!
//! All choices depend on numbers and sizes of classes, never on the order of nodes. So if the numbers of the initial
//! classes are canonical, those of the result are.

use std::collections::VecDeque;

/// The class of a node that has none yet.
const NONE: u32 = u32::MAX;

/// The users of each node, with the places of their references.
#[derive(Debug)]
pub(super) struct Users {
    /// By node: the index of its first user.
    starts: Vec<u32>,
    /// The place of the reference in the upper half, and the node that has it in the lower.
    users: Vec<u64>,
}

/// A reference of a node to another. A node has one reference at each place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reference {
    pub(super) from: u32,
    pub(super) place: u32,
    pub(super) to: u32,
}

impl Users {
    pub(super) fn new(nodes: usize, references: &[Reference]) -> Self {
        let mut starts = vec![0_u32; nodes + 1];
        for reference in references {
            starts[reference.to as usize + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        let mut next = starts.clone();
        let mut users = vec![0; references.len()];
        for reference in references {
            let at = &mut next[reference.to as usize];
            users[*at as usize] = u64::from(reference.place) << 32 | u64::from(reference.from);
            *at += 1;
        }
        Self { starts, users }
    }

    fn of(&self, node: u32) -> &[u64] {
        &self.users[self.starts[node as usize] as usize..self.starts[node as usize + 1] as usize]
    }
}

/// A node that stands for others as long as they are in one class, such as a declaration with several definitions. It
/// is in their class, although it has no references. When their class is split, it becomes a class of its own.
#[derive(Debug)]
pub(super) struct Alias {
    pub(super) node: u32,
    /// At least one node. No two aliases share a node.
    pub(super) of: Vec<u32>,
}

/// Returns the class of each node. `initial` has the initial class of each node, without gaps from 0; the class of an
/// alias is ignored.
pub(super) fn refine(initial: &[u32], users: &Users, aliases: &[Alias]) -> Vec<u32> {
    let mut partition = Partition::new(initial, aliases);
    while let Some(class) = partition.pending.pop_front() {
        partition.is_pending[class as usize] = false;
        partition.split_by(class, users);
    }
    for alias in aliases {
        if partition.class[alias.node as usize] == NONE {
            partition.class[alias.node as usize] = partition.class[alias.of[0] as usize];
        }
    }
    partition.class
}

/// A class: a part of the list of nodes.
#[derive(Debug, Clone, Copy, Default)]
struct Class {
    start: u32,
    end: u32,
    /// The number of marked nodes, which are the first ones.
    marked: u32,
}

struct Partition<'a> {
    /// By node; `NONE` for an alias that is in the class of others.
    class: Vec<u32>,
    classes: Vec<Class>,
    /// The nodes, those of a class together.
    nodes: Vec<u32>,
    /// By node: its index in `nodes`.
    position: Vec<u32>,
    /// The classes whose users have to split other classes.
    pending: VecDeque<u32>,
    is_pending: Vec<bool>,
    aliases: &'a [Alias],
    /// By node: the index of the alias that stands for it.
    alias_of: Vec<u32>,
    /// By alias: a scratch counter of nodes.
    moved: Vec<usize>,
}

impl<'a> Partition<'a> {
    fn new(initial: &[u32], aliases: &'a [Alias]) -> Self {
        let mut class = initial.to_vec();
        let mut alias_of = vec![NONE; initial.len()];
        for (index, alias) in (0..).zip(aliases) {
            class[alias.node as usize] = NONE;
            for node in &alias.of {
                alias_of[*node as usize] = index;
            }
        }
        let count = initial.iter().max().map_or(0, |last| *last as usize + 1);
        let mut classes = vec![Class::default(); count];
        for class in class.iter().filter(|class| **class != NONE) {
            classes[*class as usize].end += 1;
        }
        let mut start = 0;
        for class in &mut classes {
            let len = class.end;
            (class.start, class.end) = (start, start);
            start += len;
        }
        let mut nodes = vec![0; start as usize];
        let mut position = vec![0; initial.len()];
        for (node, class) in (0..).zip(&class) {
            if *class != NONE {
                let class = &mut classes[*class as usize];
                nodes[class.end as usize] = node;
                position[node as usize] = class.end;
                class.end += 1;
            }
        }
        let moved = vec![0; aliases.len()];
        let mut this = Self {
            class,
            classes,
            nodes,
            position,
            pending: VecDeque::new(),
            is_pending: vec![false; count],
            aliases,
            alias_of,
            moved,
        };
        (0..).take(count).for_each(|class| this.add(class));
        for (index, alias) in aliases.iter().enumerate() {
            let class = |node: u32| this.class[node as usize];
            if alias.of.iter().any(|node| class(*node) != class(alias.of[0])) {
                this.separate(index);
            }
        }
        this
    }

    fn add(&mut self, class: u32) {
        self.is_pending[class as usize] = true;
        self.pending.push_back(class);
    }

    /// Splits all classes by whether their nodes refer to this class, for each place of references.
    fn split_by(&mut self, class: u32, users: &Users) {
        let mut found = Vec::new();
        let Class { start, end, .. } = self.classes[class as usize];
        for &node in &self.nodes[start as usize..end as usize] {
            found.extend_from_slice(users.of(node));
            if let Some(alias) = self.aliases.get(self.alias_of[node as usize] as usize) {
                if alias.of[0] == node && self.class[alias.node as usize] == NONE {
                    found.extend_from_slice(users.of(alias.node));
                }
            }
        }
        found.sort_unstable();
        let mut touched = Vec::new();
        for users in found.chunk_by(|one, other| one >> 32 == other >> 32) {
            for user in users {
                self.mark((user & u64::from(u32::MAX)) as u32, &mut touched);
            }
            touched.sort_unstable();
            for class in touched.drain(..) {
                self.split(class);
            }
        }
    }

    /// Marks a node, which is not marked.
    fn mark(&mut self, node: u32, touched: &mut Vec<u32>) {
        let number = self.class[node as usize];
        let class = &mut self.classes[number as usize];
        if class.marked == 0 {
            touched.push(number);
        }
        let (from, to) = (self.position[node as usize], class.start + class.marked);
        class.marked += 1;
        let other = self.nodes[to as usize];
        self.nodes.swap(from as usize, to as usize);
        self.position[other as usize] = from;
        self.position[node as usize] = to;
    }

    /// Separates the marked nodes of a class from the others. The smaller part becomes a new class.
    fn split(&mut self, number: u32) {
        let class = &mut self.classes[number as usize];
        let marked = std::mem::take(&mut class.marked);
        let others = class.end - class.start - marked;
        if others == 0 {
            return;
        }
        let boundary = class.start + marked;
        let part = if marked <= others {
            let part = Class { start: class.start, end: boundary, marked: 0 };
            class.start = boundary;
            part
        } else {
            let part = Class { start: boundary, end: class.end, marked: 0 };
            class.end = boundary;
            part
        };
        let new = self.push(part);
        self.separate_split_aliases(new);
    }

    /// Adds a class of these nodes.
    fn push(&mut self, part: Class) -> u32 {
        let new = u32::try_from(self.classes.len()).unwrap_or(NONE);
        self.classes.push(part);
        self.is_pending.push(false);
        for node in &self.nodes[part.start as usize..part.end as usize] {
            self.class[*node as usize] = new;
        }
        self.add(new);
        new
    }

    /// Separates the aliases of the nodes in a new class that also stand for nodes in another class.
    fn separate_split_aliases(&mut self, new: u32) {
        if self.aliases.is_empty() {
            return;
        }
        let Class { start, end, .. } = self.classes[new as usize];
        let mut found = Vec::new();
        for node in &self.nodes[start as usize..end as usize] {
            let alias = self.alias_of[*node as usize];
            if alias != NONE {
                self.moved[alias as usize] += 1;
                found.push(alias as usize);
            }
        }
        for alias in found {
            let moved = std::mem::take(&mut self.moved[alias]);
            let Alias { node, of } = &self.aliases[alias];
            if moved != 0 && moved != of.len() && self.class[*node as usize] == NONE {
                self.separate(alias);
            }
        }
    }

    /// Makes an alias a class of its own.
    fn separate(&mut self, alias: usize) {
        let node = self.aliases[alias].node;
        let start = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        self.nodes.push(node);
        self.position[node as usize] = start;
        self.push(Class { start, end: start + 1, marked: 0 });
    }
}

#[cfg(test)]
mod tests {
    use super::{Alias, Reference, Users, refine};

    /// Returns the classes of nodes without initial differences, except for the given initial classes.
    fn classes(initial: &[u32], references: &[(u32, u32, u32)], aliases: &[Alias]) -> Vec<u32> {
        let references: Vec<_> = references.iter().map(|&(from, place, to)| Reference { from, place, to }).collect();
        refine(initial, &Users::new(initial.len(), &references), aliases)
    }

    #[test]
    fn cycles_of_one_meaning_are_one_class() {
        // A node that refers to itself, and a cycle of two.
        let found = classes(&[0, 0, 0], &[(0, 0, 0), (1, 0, 2), (2, 0, 1)], &[]);
        assert_eq!(found[0], found[1]);
        assert_eq!(found[1], found[2]);
        // A chain has a class for each distance from its end, and places matter.
        let found = classes(&[0, 1, 1, 1], &[(1, 0, 0), (2, 0, 1), (3, 0, 2)], &[]);
        assert!(found[1] != found[2] && found[2] != found[3] && found[1] != found[3]);
        let found = classes(&[0, 1, 2, 2], &[(2, 0, 0), (2, 1, 1), (3, 0, 1), (3, 1, 0)], &[]);
        assert_ne!(found[2], found[3]);
    }

    #[test]
    fn an_alias_is_separated_with_the_nodes_that_it_stands_for() {
        // Nodes 2 and 3 look the same until 4 and 5, of different initial classes, split them; 0 stands for both.
        let alias = || [Alias { node: 0, of: vec![2, 3] }];
        let users = [(1, 0, 0), (6, 0, 2), (2, 0, 4), (3, 0, 5)];
        let found = classes(&[0, 3, 1, 1, 0, 2, 3], &users, &alias());
        assert!(found[2] != found[3] && found[0] != found[2] && found[0] != found[3] && found[1] != found[6]);
        let found = classes(&[0, 3, 1, 1, 2, 2, 3], &users, &alias());
        assert!(found[0] == found[2] && found[2] == found[3] && found[1] == found[6]);
    }

    #[test]
    fn long_chains_take_little_time() {
        let nodes = 300_000;
        let references: Vec<_> = (1..nodes).map(|node| (node, 0, node - 1)).collect();
        let mut initial = vec![1; nodes as usize];
        initial[0] = 0;
        let mut found = classes(&initial, &references, &[]);
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), nodes as usize);
    }
}
