//! The types of all inputs as nodes of one graph.

use std::collections::HashMap;

use super::declared::Declared;
use super::key::{Keys, Tag};
use super::refine::{Alias, Reference, Users};
use super::strings::{Numbers, Strings};
use crate::btf::{Btf, Kind, Linkage, StringRef, Type, TypeId};

/// The types of all inputs. The nodes of an input follow those of the input before, in the order of ids.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    /// By node.
    pub(super) types: Vec<&'a Type>,
    /// By input: its first node.
    pub(super) starts: Vec<u32>,
    numbers: Vec<Numbers<'a>>,
    /// By node: the node that stands for it. All declarations of one name and kind have one.
    pub(super) same: Vec<u32>,
    /// By node: a number that equal types share.
    pub(super) initial: Vec<u32>,
    pub(super) users: Users,
    /// The declarations that have definitions.
    pub(super) aliases: Vec<Alias>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(inputs: &[&'a Btf], strings: &mut Strings<'a>) -> Self {
        let mut this = Self {
            types: Vec::new(),
            starts: Vec::new(),
            numbers: inputs.iter().map(|input| Numbers::new(input)).collect(),
            same: Vec::new(),
            initial: Vec::new(),
            users: Users::new(0, &[]),
            aliases: Vec::new(),
        };
        for input in inputs {
            this.starts.push(count(this.types.len()));
            this.types.extend(input.iter().map(|(_, ty)| ty));
        }
        let mut declared = Declared::default();
        for (start, input, numbers) in this.inputs(inputs) {
            for (node, (_, ty)) in (start..).zip(input.iter()) {
                declared.declare(node, ty, numbers.add(ty.name, strings));
            }
        }
        for (start, input, numbers) in this.inputs(inputs) {
            for (node, (_, ty)) in (start..).zip(input.iter()) {
                declared.define(node, ty, numbers.of(ty.name));
            }
        }
        (this.same, this.aliases) = declared.finish(this.types.len());
        let tags = this.tags();
        let mut tags = tags.as_slice();
        let mut keys = Keys::default();
        for (start, input, numbers) in this.inputs(inputs) {
            for (node, (_, ty)) in (start..).zip(input.iter()) {
                let own = tags.iter().take_while(|(target, _)| *target == node).count();
                let (here, rest) = tags.split_at(own);
                tags = rest;
                let here: Vec<Tag> = here.iter().map(|(_, tag)| *tag).collect();
                let extra = is_unique(&ty.kind).then_some(node);
                keys.push(ty, &here, extra, |string| numbers.add(string, strings));
            }
        }
        this.initial = group(&keys);
        this.users = Users::new(this.types.len(), &this.references());
        this
    }

    /// Returns each input with its first node and the numbers of its strings.
    fn inputs<'b>(
        &'b mut self,
        inputs: &'b [&'a Btf],
    ) -> impl Iterator<Item = (u32, &'a Btf, &'b mut Numbers<'a>)> + use<'a, 'b> {
        let starts = self.starts.iter().copied();
        starts.zip(inputs.iter().copied()).zip(&mut self.numbers).map(|((start, input), it)| (start, input, it))
    }

    /// Returns the first node of a node's input, and the numbers of the input's strings.
    fn input(&self, node: u32) -> (u32, &Numbers<'a>) {
        let input = self.starts.partition_point(|start| *start <= node) - 1;
        (self.starts[input], &self.numbers[input])
    }

    /// Returns the node of a type that a node refers to.
    pub(super) fn target(&self, node: u32, to: TypeId) -> u32 {
        self.same[(self.input(node).0 + to.0) as usize]
    }

    /// Returns the number of a string of a node.
    pub(super) fn string(&self, node: u32, string: StringRef) -> u32 {
        self.input(node).1.of(string)
    }

    /// Returns the number of a node's name.
    pub(super) fn name(&self, node: u32) -> u32 {
        self.string(node, self.types[node as usize].name)
    }

    /// Returns a declaration tag as a part of keys, and the node that it is on; `None` for other types.
    pub(super) fn tag(&self, node: u32) -> Option<(u32, Tag)> {
        match self.types[node as usize].kind {
            Kind::DeclTag { ty, component, attribute } => {
                let tag = [self.name(node), component.unwrap_or(u32::MAX), attribute.into()];
                Some((self.target(node, ty), tag))
            }
            _ => None,
        }
    }

    /// Returns the declaration tags with the nodes that they are on, sorted, each once.
    fn tags(&self) -> Vec<(u32, Tag)> {
        let mut tags: Vec<_> = (0..count(self.types.len())).filter_map(|node| self.tag(node)).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    fn references(&self) -> Vec<Reference> {
        let mut references = Vec::with_capacity(self.types.len() * 2);
        for (index, start) in self.starts.iter().enumerate() {
            let end = self.starts.get(index + 1).map_or(self.types.len(), |end| *end as usize);
            for (from, ty) in (*start..).zip(&self.types[*start as usize..end]) {
                let mut place = 0;
                ty.kind.each_id(|to| {
                    references.push(Reference { from, place, to: self.same[(start + to.0) as usize] });
                    place += 1;
                });
            }
        }
        references
    }
}

/// Returns whether a type of this kind is equal only to itself.
fn is_unique(kind: &Kind) -> bool {
    matches!(kind, Kind::Var { linkage: Linkage::Static, .. } | Kind::Datasec(_) | Kind::Unknown(_))
}

/// Returns the number of each key, which equal keys share.
fn group(keys: &Keys) -> Vec<u32> {
    let mut numbers: HashMap<&[u32], u32> = HashMap::new();
    keys.iter()
        .map(|key| {
            let new = count(numbers.len());
            *numbers.entry(key).or_insert(new)
        })
        .collect()
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
