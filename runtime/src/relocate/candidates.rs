//! The kernel's types that an object's type may stand for: those of the same name up to its flavor.
//!
//! A name is cut at its last `___` between two other characters: `task_struct___old` is `task_struct` to whoever looks for it.
//! Candidates are the kernel's; only if it has none, those of all its modules.

use std::collections::HashMap;
use std::rc::Rc;

use crate::abi::essential_name;
use crate::btf::format::Gap;
use crate::btf::{Types, kind};
use crate::kernel::types;

/// Whether a type of one kind may stand for one of the other.
pub(super) fn kinds_fit(one: u32, other: u32) -> bool {
    let plain = |kind| if kind == kind::ENUM64 { kind::ENUM } else { kind };
    plain(one) == plain(other)
}

/// Candidates of an object's types.
pub(super) struct Candidates {
    found: HashMap<Wanted, Vec<(Rc<Types>, u32)>>,
    /// Modules whose types could not be read, and why.
    unread: Vec<String>,
    /// Where the kernel's own types end too early.
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
    /// Looks for candidates of all these types of the object, in one pass over the kernel's.
    pub(super) fn find(local: &Types, kernel: &Rc<Types>, modules: bool, ids: impl Iterator<Item = u32>) -> Self {
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

    /// The candidates of a type of the object.
    pub(super) fn of(&self, local: &Types, id: u32) -> &[(Rc<Types>, u32)] {
        self.found.get(&Wanted::of(local, id)).map_or(&[], Vec::as_slice)
    }
}

/// Adds the types that are wanted.
fn scan(types: &Rc<Types>, found: &mut HashMap<Wanted, Vec<(Rc<Types>, u32)>>) {
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
            ids.push((Rc::clone(types), id));
        }
    });
}

/// Tells by its kind and its first two bytes that a name is none of those wanted, as most are.
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
            // Behind a name of one letter is its end, or its flavor.
            [first] => {
                add(self, first, 0);
                add(self, first, b'_');
            }
            [] => {}
        }
    }

    /// Whether a name that begins with these bytes may be wanted.
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
