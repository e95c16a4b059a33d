//! Symbols that an object uses but does not define: one error for each symbol, even if it is used several times.
//!
//! Instructions, initial elements of maps and function pointers of struct_ops maps can all refer to a symbol of another
//! file. This pass counts the uses and refuses the symbol before other passes resolve references. It does not know the
//! meaning of a reference.

use std::collections::BTreeMap;

use skelgen_abi::plan;

use super::functions::{Functions, line};
use super::pass::{Notes, Pass};
use super::refused::Refused;
use super::struct_ops;
use super::table::MapTable;
use crate::btf::Btf;
use crate::elf::{ElfObject, SectionId, SymbolId, SymbolSection};
use crate::error::{Code, Diagnostic};
use crate::insn::INSN_SIZE;

/// The help text for an undefined symbol.
const HELP: &str = "if another file defines it, link the files first (`skelgen link one.bpf.o other.bpf.o -o all.bpf.o`) and \
                    generate from the result; if the kernel defines it, declare it `__ksym`";

/// Reports the undefined symbols that are neither declared as externs of the kernel, nor kernel configuration, nor
/// refused.
pub(super) fn check(
    elf: &ElfObject<'_>,
    btf: Option<&Btf>,
    functions: &Functions<'_>,
    maps: &MapTable,
    externs: &[plan::Symbol],
    refused: &Refused,
) -> Pass<()> {
    let is_known = |name: &str| {
        externs.iter().any(|known| known.name == name) || maps.config(name).is_some() || refused.has_name(name)
    };
    let mut uses = Uses::default();
    for (_, entry) in functions.iter() {
        for (offset, symbol) in undefined(elf, entry.section.id) {
            let slot = usize::try_from(offset / INSN_SIZE as u64).unwrap_or(usize::MAX);
            if (entry.start..entry.end()).contains(&slot) && !is_known(elf.symbol(symbol).name) {
                uses.add(symbol, |message| {
                    let diagnostic = message.section(entry.section.name).insn(slot);
                    match line(btf, &entry.info, slot - entry.start) {
                        Some(line) => diagnostic.line(line),
                        None => diagnostic,
                    }
                });
            }
        }
    }
    let tables = elf.sections.iter().filter(|section| struct_ops::section(section.name).is_some());
    let values = maps.values().iter().map(|(_, section, values)| (*section, values.clone()));
    for (section, range) in values.chain(tables.map(|section| (section.id, 0..u64::MAX))) {
        for (offset, symbol) in undefined(elf, section) {
            if range.contains(&offset) && !is_known(elf.symbol(symbol).name) {
                uses.add(symbol, |message| message.section(elf.section(section).name).offset(offset));
            }
        }
    }
    uses.report(elf)
}

/// Iterates over the relocations of a section against undefined symbols: offsets in bytes, and symbols.
fn undefined<'a>(elf: &'a ElfObject<'_>, section: SectionId) -> impl Iterator<Item = (u64, SymbolId)> + use<'a> {
    let relocations = elf.section(section).relocations.iter();
    let found = relocations.filter(|relocation| elf.symbol(relocation.symbol).section == SymbolSection::Undefined);
    found.map(|relocation| (relocation.offset, relocation.symbol))
}

/// The uses of undefined symbols, in the order of their first uses.
#[derive(Default)]
struct Uses {
    list: Vec<(SymbolId, Diagnostic, usize)>,
    /// The index in `list` of each symbol.
    known: BTreeMap<SymbolId, usize>,
}

impl Uses {
    /// Adds a use of a symbol. `located` adds the location of the first use.
    fn add(&mut self, symbol: SymbolId, located: impl FnOnce(Diagnostic) -> Diagnostic) {
        let next = self.list.len();
        match self.list.get_mut(*self.known.entry(symbol).or_insert(next)) {
            Some((_, _, count)) => *count += 1,
            None => self.list.push((symbol, located(Diagnostic::new(Code::BadExtern, String::new())), 1)),
        }
    }

    fn report(self, elf: &ElfObject<'_>) -> Pass<()> {
        let mut notes = Notes::default();
        for (symbol, mut diagnostic, count) in self.list {
            let name = elf.symbol(symbol).name;
            diagnostic.message = format!("`{name}` is declared and used, but not defined in the object");
            if count > 1 {
                diagnostic.message += &format!(" (first of {count} uses)");
            }
            notes.report(diagnostic.with_help(HELP));
            notes.refused.name(name);
        }
        notes.with(())
    }
}
