//! The parts of an object that were refused, so that references to them are not reported again.
//!
//! A pass that refuses a section, variable, map or function records it here when it reports the diagnostic. A pass that
//! cannot resolve a symbol searches here before it reports an error. This module knows offsets and names, not the
//! items.

use std::collections::{BTreeMap, BTreeSet};

use crate::elf::SectionId;

/// The sections, parts of sections, and names for which an error was reported.
#[derive(Debug, Default)]
pub(super) struct Refused {
    sections: BTreeSet<SectionId>,
    /// The refused byte ranges: section and start offset → end offset (exclusive).
    parts: BTreeMap<(SectionId, u64), u64>,
    names: BTreeSet<String>,
}

impl Refused {
    /// Records that a whole section was refused.
    pub(super) fn section(&mut self, section: SectionId) {
        self.sections.insert(section);
    }

    /// Records that these bytes of a section were refused. A size of 0 counts as one byte.
    pub(super) fn part(&mut self, section: SectionId, from: u64, size: u64) {
        let end = self.parts.entry((section, from)).or_default();
        *end = (*end).max(from.saturating_add(size.max(1)));
    }

    /// Records that the item with this name was refused.
    pub(super) fn name(&mut self, name: &str) {
        self.names.insert(name.to_owned());
    }

    /// Adds the refused items of another pass.
    pub(super) fn extend(&mut self, other: Self) {
        self.sections.extend(other.sections);
        for ((section, from), end) in other.parts {
            self.part(section, from, end - from);
        }
        self.names.extend(other.names);
    }

    /// Returns whether the item at this offset of the section was refused.
    pub(super) fn has(&self, section: SectionId, offset: Option<u64>) -> bool {
        let covers = |offset: u64| {
            let parts = self.parts.range((section, 0)..=(section, offset));
            parts.into_iter().any(|(_, end)| offset < *end)
        };
        self.sections.contains(&section) || offset.is_some_and(covers)
    }

    /// Returns whether any part of the section was refused.
    pub(super) fn has_any(&self, section: SectionId) -> bool {
        self.sections.contains(&section) || self.parts.range((section, 0)..=(section, u64::MAX)).next().is_some()
    }

    /// Returns whether the item with this name was refused.
    pub(super) fn has_name(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_their_bytes() {
        let mut refused = Refused::default();
        let (one, other) = (SectionId(1), SectionId(2));
        refused.part(one, 8, 16);
        refused.part(one, 40, 0);
        let has = |offset| refused.has(one, Some(offset));
        assert_eq!([7, 8, 23, 24, 40, 41].map(has), [false, true, true, false, true, false]);
        assert!(refused.has_any(one) && !refused.has_any(other) && !refused.has(other, Some(8)));
    }
}
