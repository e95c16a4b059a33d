//! Jump tables: section `.jumptables`, whose eight-byte numbers are places of instructions in the section of the function that jumps
//! (`gotox`, Linux 6.19).
//!
//! Each symbol in it is a table of one function. The kernel gets each as a map of instructions, by their index in the program.

use std::collections::BTreeMap;

use super::functions::Entry;
use crate::elf::{Section, Symbol};
use crate::insn::{Endian, INSN_SIZE, InsnIndex};

/// The section's name.
pub(super) const SECTION: &str = ".jumptables";

/// Bytes of a number in the section.
const ENTRY: usize = 8;

/// The jump tables of a function as they are met.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) entries: Vec<Vec<InsnIndex>>,
    known: BTreeMap<(u64, u64), usize>,
}

impl Tables {
    /// The place of the symbol's table among those of the function.
    pub(super) fn index(
        &mut self,
        section: &Section<'_>,
        symbol: &Symbol<'_>,
        function: &Entry<'_>,
        endian: Endian,
    ) -> Result<usize, String> {
        let key = (symbol.value, symbol.size);
        if let Some(&index) = self.known.get(&key) {
            return Ok(index);
        }
        let place = usize::try_from(symbol.value).ok().zip(usize::try_from(symbol.size).ok());
        let bytes = place.and_then(|(from, len)| section.data.get(from..)?.get(..len));
        let bytes = bytes.ok_or("it lies outside its section")?;
        if bytes.is_empty() || bytes.len() % ENTRY != 0 || symbol.value % 8 != 0 {
            return Err(format!("{} bytes at {} are not a table of eight-byte places", bytes.len(), symbol.value));
        }
        let mut entries = Vec::new();
        for entry in bytes.chunks_exact(ENTRY) {
            let place = entry.first_chunk().map_or(0, |&bytes| endian.u64(bytes));
            // A place outside the function wraps around to one that no program has: the kernel refuses it, if the program is loaded.
            let slot = usize::try_from(place).unwrap_or(usize::MAX) / INSN_SIZE;
            entries.push(InsnIndex(slot.wrapping_sub(function.start)));
        }
        self.entries.push(entries);
        self.known.insert(key, self.entries.len() - 1);
        Ok(self.entries.len() - 1)
    }
}
