//! The result: the kept types in canonical order.

use super::Merged;
use super::declared::{Kept, NONE};
use super::graph::Graph;
use super::key::{Keys, Tag};
use super::refine::{Reference, Users, refine};
use super::strings::Strings;
use crate::btf::{Btf, Type, TypeId};
use crate::error::Result;

/// Writes the kept types, sorted by kind, name and the rest of their keys, and then by what they refer to.
///
/// # Errors
/// [`Code::BadBtf`](crate::error::Code::BadBtf) if a type contains itself.
pub(super) fn write<'a>(graph: &Graph<'a>, kept: &Kept, mut strings: Strings<'a>) -> Result<Merged<'a>> {
    let mut btf = Btf::new();
    let sorted = sorted_strings(graph, kept, &strings);
    let mut ranks = vec![0; strings.len()];
    for (rank, number) in (0..).zip(&sorted) {
        ranks[*number as usize] = rank;
    }
    let references: Vec<_> = sorted.iter().map(|&number| strings.add(&mut btf, strings.text(number))).collect();

    let order = order(graph, kept, &ranks);
    let mut ids = vec![TypeId::VOID; kept.nodes.len()];
    // Only `void` is of kind 0, so it is the first.
    for (id, index) in (0..).zip(&order) {
        ids[*index as usize] = TypeId(id);
    }
    let id = |node: u32| match kept.index[node as usize] {
        NONE => TypeId::VOID,
        index => ids[index as usize],
    };
    for index in order.iter().skip(1) {
        let node = kept.nodes[*index as usize];
        let ty = graph.types[node as usize];
        let string = |string| references[ranks[graph.string(node, string) as usize] as usize];
        btf.push(Type { name: string(ty.name), kind: ty.kind.with(|to| id(graph.target(node, to)), string) });
    }
    let ends = graph.starts.iter().skip(1).copied().chain([u32::try_from(graph.types.len()).unwrap_or(NONE)]);
    let ids = graph.starts.iter().zip(ends).map(|(start, end)| (*start..end).map(id).collect()).collect();
    Ok(Merged { btf: btf.checked()?, ids, strings })
}

/// Returns the numbers of the strings of the kept types, sorted by text.
fn sorted_strings(graph: &Graph<'_>, kept: &Kept, strings: &Strings<'_>) -> Vec<u32> {
    let mut is_used = vec![false; strings.len()];
    for node in &kept.nodes {
        let ty = graph.types[*node as usize];
        is_used[graph.name(*node) as usize] = true;
        ty.kind.each_string(|string| is_used[graph.string(*node, string) as usize] = true);
    }
    let mut used: Vec<u32> = (0..).zip(is_used).filter(|(_, is_used)| *is_used).map(|(number, _)| number).collect();
    used.sort_unstable_by_key(|number| strings.text(*number));
    used
}

/// Returns the indices of the kept types in canonical order. Types of equal meaning, such as static variables of one
/// name, are in the order of the inputs; their order does not affect the bytes of the table.
fn order(graph: &Graph<'_>, kept: &Kept, ranks: &[u32]) -> Vec<u32> {
    let mut tags: Vec<(u32, Tag)> = kept
        .nodes
        .iter()
        .filter_map(|node| graph.tag(*node))
        .map(|(on, [name, rest @ ..])| (kept.index[on as usize], [ranks[name as usize], rest[0], rest[1]]))
        .collect();
    tags.sort_unstable();

    let mut keys = Keys::default();
    let mut rest = tags.as_slice();
    let mut references = Vec::new();
    for (index, node) in (0..).zip(&kept.nodes) {
        let own = rest.iter().take_while(|(on, _)| *on == index).count();
        let here: Vec<Tag> = rest[..own].iter().map(|(_, tag)| *tag).collect();
        rest = &rest[own..];
        let ty = graph.types[*node as usize];
        keys.push(ty, &here, None, |string| ranks[graph.string(*node, string) as usize]);
        let mut place = 0;
        ty.kind.each_id(|to| {
            let to = kept.index[graph.target(*node, to) as usize];
            references.push(Reference { from: index, place, to });
            place += 1;
        });
    }

    let keys: Vec<&[u32]> = keys.iter().collect();
    let mut order: Vec<u32> = (0..).take(keys.len()).collect();
    order.sort_by_key(|index| keys[*index as usize]);
    let mut initial = vec![0; keys.len()];
    let mut number = 0;
    for pair in order.windows(2) {
        number += u32::from(keys[pair[0] as usize] != keys[pair[1] as usize]);
        initial[pair[1] as usize] = number;
    }
    let classes = refine(&initial, &Users::new(keys.len(), &references), &[]);
    let place = |index: u32| (initial[index as usize], classes[index as usize]);
    order.sort_by_key(|index| place(*index));

    // Tags on types of equal meaning follow these.
    let mut positions = vec![0_u32; keys.len()];
    for (position, index) in (0..).zip(&order) {
        positions[*index as usize] = position;
    }
    let on =
        |index: u32| graph.tag(kept.nodes[index as usize]).map(|(on, _)| positions[kept.index[on as usize] as usize]);
    order.sort_by_key(|index| (place(*index), on(*index)));
    order
}
