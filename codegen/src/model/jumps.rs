//! Jump tables: the section `.jumptables` of eight-byte offsets of instructions, relative to the section of the
//! function that jumps (`gotox`, Linux 6.19).
//!
//! Each symbol in the section is a table of one function. The runtime creates an instruction array map for each table,
//! with instruction indices of the program.

use std::collections::BTreeMap;

use super::functions::Entry;
use crate::elf::{Section, Symbol};
use crate::insn::{Endian, INSN_SIZE, InsnIndex};

/// The section's name.
pub(super) const SECTION: &str = ".jumptables";

/// The size of an offset in the section, in bytes.
const ENTRY: usize = 8;

/// The jump tables of a function, in the order of their first use.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) entries: Vec<Vec<InsnIndex>>,
    known: BTreeMap<(u64, u64), usize>,
}

impl Tables {
    /// Returns the index of the symbol's table in the list of the function's tables.
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
        let range = usize::try_from(symbol.value).ok().zip(usize::try_from(symbol.size).ok());
        let bytes = range.and_then(|(from, len)| section.data.get(from..)?.get(..len));
        let bytes = bytes.ok_or("the table is outside its section")?;
        if bytes.is_empty() || bytes.len() % ENTRY != 0 || symbol.value % 8 != 0 {
            return Err(format!(
                "the {} bytes at offset {} are not a table of eight-byte offsets",
                bytes.len(),
                symbol.value
            ));
        }
        let mut entries = Vec::new();
        for entry in bytes.chunks_exact(ENTRY) {
            let offset = entry.first_chunk().map_or(0, |&bytes| endian.u64(bytes));
            // An offset outside the function wraps around to an index that no program has. The kernel rejects it if the
            // program is loaded.
            let slot = usize::try_from(offset).unwrap_or(usize::MAX) / INSN_SIZE;
            entries.push(InsnIndex(slot.wrapping_sub(function.start)));
        }
        self.entries.push(entries);
        self.known.insert(key, self.entries.len() - 1);
        Ok(self.entries.len() - 1)
    }
}
