//! Candidates: the kernel's types that have the name of an object's type, without the flavor suffix.
//!
//! A flavor begins at the last `___` that has other characters on both sides: `task_struct___old` is looked up as `task_struct`. Types of
//! modules are candidates only if the kernel itself has none.

use std::collections::HashMap;
use std::sync::Arc;

use crate::abi::essential_name;
use crate::btf::format::Gap;
use crate::btf::{Types, kind};
use crate::kernel::types;

/// Returns whether a type of one kind can be a candidate for a type of the other: enumerations of 32 and 64 bits can.
pub(super) fn kinds_compatible(one: u32, other: u32) -> bool {
    let plain = |kind| if kind == kind::ENUM64 { kind::ENUM } else { kind };
    plain(one) == plain(other)
}

/// The candidates of an object's types.
pub(super) struct Candidates {
    found: HashMap<Wanted, Vec<(Arc<Types>, u32)>>,
    /// Modules whose types could not be read, each with the reason.
    unread: Vec<String>,
    /// The type at which reading the kernel's types ended early, if not all could be read.
    gap: Option<Gap>,
}

/// A name and a kind to look for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Wanted {
    name: String,
    kind: u32,
}

impl Wanted {
    fn of(types: &Types, id: u32) -> Self {
        let kind = types.kind(id);
        let kind = if kind == kind::ENUM64 { kind::ENUM } else { kind };
        Self { name: essential_name(types.name(id)).to_owned(), kind }
    }
}

impl Candidates {
    /// Finds the candidates of all these types of the object, in one pass over the kernel's types.
    pub(super) fn find(local: &Types, kernel: &Arc<Types>, modules: bool, ids: impl Iterator<Item = u32>) -> Self {
        let mut found = HashMap::new();
        for id in ids.filter(|&id| !local.name(id).is_empty()) {
            found.entry(Wanted::of(local, id)).or_insert_with(Vec::new);
        }
        let gap = kernel.gap().copied();
        let mut unread = Vec::new();
        if found.is_empty() {
            return Self { found, unread, gap };
        }
        scan(kernel, &mut found);
        if modules && found.values().any(Vec::is_empty) {
            let mut missing: HashMap<_, _> = found
                .iter()
                .filter(|(_, all)| all.is_empty())
                .map(|(wanted, _)| (wanted.clone(), Vec::new()))
                .collect();
            let mut modules = types::modules(kernel);
            for (_, module) in modules.by_ref() {
                scan(&module, &mut missing);
            }
            unread = modules.unread;
            found.extend(missing);
        }
        Self { found, unread, gap }
    }

    pub(super) fn unread(&self) -> &[String] {
        &self.unread
    }

    pub(super) const fn gap(&self) -> Option<&Gap> {
        self.gap.as_ref()
    }

    /// Returns the candidates of a type of the object.
    pub(super) fn of(&self, local: &Types, id: u32) -> &[(Arc<Types>, u32)] {
        self.found.get(&Wanted::of(local, id)).map_or(&[], Vec::as_slice)
    }
}

/// Adds the types whose name and kind are wanted.
fn scan(types: &Arc<Types>, found: &mut HashMap<Wanted, Vec<(Arc<Types>, u32)>>) {
    let mut filter = Filter::default();
    for wanted in found.keys() {
        filter.add(wanted);
    }
    let mut wanted: Vec<_> = found.iter_mut().collect();
    types.each_named(|id, own, name| {
        let own = if own == kind::ENUM64 { kind::ENUM } else { own };
        if !filter.may_have(name, own) {
            return;
        }
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        let Ok(name) = std::str::from_utf8(&name[..end]) else { return };
        let name = essential_name(name);
        for (_, ids) in wanted.iter_mut().filter(|(wanted, _)| wanted.kind == own && wanted.name == name) {
            ids.push((Arc::clone(types), id));
        }
    });
}

/// A filter by kind and first two bytes of a name, which excludes most names without a comparison.
struct Filter([u64; Filter::BITS / 64]);

impl Default for Filter {
    fn default() -> Self {
        Self([0; Self::BITS / 64])
    }
}

impl Filter {
    const BITS: usize = 1 << 15;

    fn slot(first: u8, second: u8, kind: u32) -> usize {
        ((usize::from(first) << 7) ^ usize::from(second) ^ ((kind as usize) << 10)) % Self::BITS
    }

    fn add(&mut self, wanted: &Wanted) {
        let add = |filter: &mut Self, first, second| {
            let slot = Self::slot(first, second, wanted.kind);
            filter.0[slot / 64] |= 1 << (slot % 64);
        };
        match *wanted.name.as_bytes() {
            [first, second, ..] => add(self, first, second),
            // A name of one letter is followed by NUL or by its flavor.
            [first] => {
                add(self, first, 0);
                add(self, first, b'_');
            }
            [] => {}
        }
    }

    /// Returns whether a name that begins with these bytes can be one of the wanted names.
    fn may_have(&self, name: &[u8], kind: u32) -> bool {
        let &[first, second, ..] = name else { return false };
        let slot = Self::slot(first, second, kind);
        self.0[slot / 64] & 1 << (slot % 64) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavors() {
        let cases = [
            ("task_struct", "task_struct"),
            ("task_struct___old", "task_struct"),
            ("a___b___c", "a___b"),
            ("x____y", "x____y"),
            ("___x", "___x"),
            ("x___", "x___"),
            ("a___b", "a"),
            ("a__b", "a__b"),
            ("", ""),
        ];
        for (name, expected) in cases {
            assert_eq!(essential_name(name), expected, "{name}");
        }
    }
}
