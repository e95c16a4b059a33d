//! The ids of types of vmlinux that this process has found so far.
//!
//! They stay valid, because the kernel's own BTF does not change until the next boot. Types of modules do not belong here: a module can be
//! unloaded and loaded again.

use std::sync::{Mutex, PoisonError};

use super::Wanted;
use crate::abi::SymbolKind;

/// The names that were found, one after another in one buffer.
#[derive(Debug)]
struct Known {
    names: String,
    types: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Where the name ends in [`Known::names`]. It begins where the name before it ends.
    end: usize,
    kind: SymbolKind,
    id: u32,
}

static KNOWN: Mutex<Known> = Mutex::new(Known { names: String::new(), types: Vec::new() });

/// The maximum number of names. A process that looks up more of them, such as a tool that loads objects of others, searches again.
const MOST: usize = 4096;

/// Sets the ids of the names that were found before.
pub(super) fn recall(wanted: &mut [Wanted<'_>]) {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut begin = 0;
    for entry in &known.types {
        let name = &known.names[begin..entry.end];
        begin = entry.end;
        for wanted in wanted.iter_mut().filter(|wanted| wanted.kind == entry.kind && wanted.name == name) {
            (wanted.id, wanted.is_known) = (Some(entry.id), true);
        }
    }
}

/// Stores the ids of the names that were found after [`recall`].
pub(super) fn remember<'a>(found: impl Iterator<Item = &'a Wanted<'a>> + Clone) {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.names.reserve(found.clone().map(|wanted| wanted.name.len()).sum());
    known.types.reserve(found.clone().count());
    for wanted in found {
        let Some(id) = wanted.id.filter(|_| known.types.len() < MOST) else { continue };
        known.names.push_str(wanted.name);
        let end = known.names.len();
        known.types.push(Entry { end, kind: wanted.kind, id });
    }
}
