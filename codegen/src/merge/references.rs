//! The symbols and relocations of the result.
//!
//! A relocation against a global name refers to its definition. The addend of a relocation against a section symbol is the
//! offset in that section, so it grows with the offset of the file's part in the joined section. Jump tables contain
//! offsets in the section of the function that jumps, without relocations.

use std::collections::{BTreeMap, BTreeSet};

use super::input::Input;
use super::layout::Layout;
use super::symbols::{Globals, Place};
use crate::elf::{Binding, Relocation, RelocationKind, Section, SectionId, SectionKind, Symbol, SymbolId};
use crate::elf::{SymbolKind, SymbolSection};
use crate::error::{Code, Diagnostic, Reporter, Result};
use crate::insn::{Endian, INSN_SIZE, Insn};
use skelgen_abi::opcode;

/// The section of jump tables.
const JUMP_TABLES: &str = ".jumptables";

/// The size of an entry of a jump table, in bytes.
const JUMP_ENTRY: usize = 8;

/// The maximum number of users that the error for a missing symbol lists.
const LISTED: usize = 8;

/// The symbols of the result, and the relocations of its sections.
#[derive(Debug)]
pub(super) struct References<'a> {
    /// The null symbol, local symbols, then global symbols by name.
    pub(super) symbols: Vec<Symbol<'a>>,
    /// By section of the result, by ascending offset.
    pub(super) relocations: Vec<Vec<Relocation>>,
}

/// Moves the symbols and relocations of all files to the result, and changes addends in the contents of `layout`.
///
/// # Errors
/// [`Code::MissingSymbol`] for names that no file defines and the kernel does not either, and [`Code::BadRelocation`].
pub(super) fn merge<'a>(
    inputs: &[Input<'a>],
    globals: &Globals<'a>,
    layout: &mut Layout<'a>,
    endian: Endian,
    of_kernel: &BTreeSet<&str>,
) -> Result<References<'a>> {
    let mut reporter = Reporter::new();
    check_missing(inputs, globals, of_kernel, &mut reporter);
    let table = Symbols::new(inputs, globals, layout);
    let mut relocations = vec![Vec::new(); layout.sections.len()];
    let mut jumps = Jumps::default();
    for (file, input) in inputs.iter().enumerate() {
        for (section, relocation) in input.relocations() {
            let Some(moved) = layout.moved(file, section.id) else { continue };
            if moved.repeated || globals.is_dead(file, section.id, relocation.offset) {
                continue;
            }
            let bad = |message: &str| {
                input.error(
                    Diagnostic::new(Code::BadRelocation, message).section(section.name).offset(relocation.offset),
                )
            };
            let symbol = input.elf.symbol(relocation.symbol);
            let Some(new) = table.of(file, symbol, globals) else {
                // A missing name is reported already.
                if symbol.section != SymbolSection::Undefined {
                    reporter.take(Err::<(), _>(bad("the relocation refers to a section that is not linked")));
                }
                continue;
            };
            let target = match symbol.section {
                SymbolSection::Section(id) => Some((input.elf.section(id), layout.moved(file, id))),
                SymbolSection::Undefined | SymbolSection::Elsewhere => None,
            };
            if let Some((target, Some(to))) = target {
                if symbol.kind == SymbolKind::Section {
                    let at = Addend { section, relocation, shift: to.shift, into: target.kind, endian };
                    let data = &mut layout.sections[moved.to].data;
                    if !at.add(data, moved.shift) {
                        reporter.take(Err::<(), _>(bad("the relocation's addend is out of range after linking")));
                    }
                }
                if target.name == JUMP_TABLES && section.kind == SectionKind::Instructions {
                    let place = (to.to, to.shift.saturating_add(symbol.value), symbol.size);
                    if !jumps.add(place, moved.shift) {
                        reporter.take(Err::<(), _>(bad("functions of two sections use the same jump table")));
                    }
                }
            }
            let offset = relocation.offset.saturating_add(moved.shift);
            relocations[moved.to].push(Relocation { offset, kind: relocation.kind, symbol: new });
        }
    }
    jumps.shift(layout, endian);
    for relocations in &mut relocations {
        relocations.sort_by_key(|relocation| relocation.offset);
    }
    reporter.finish(References { symbols: table.symbols, relocations })
}

/// Reports each name that is used but has no definition, with its users.
fn check_missing(inputs: &[Input<'_>], globals: &Globals<'_>, of_kernel: &BTreeSet<&str>, reporter: &mut Reporter) {
    let mut users: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (file, input) in inputs.iter().enumerate() {
        for (section, relocation) in input.relocations() {
            let symbol = input.elf.symbol(relocation.symbol);
            let missing = globals.of(symbol).is_some_and(|global| global.definition.is_none());
            if !missing || of_kernel.contains(symbol.name) || globals.is_dead(file, section.id, relocation.offset) {
                continue;
            }
            let users = users.entry(symbol.name).or_default();
            if users.len() < LISTED {
                users.insert(format!("`{}` ({})", input.user(section.id, relocation.offset), input.name));
            }
        }
    }
    for (name, users) in users {
        let listed: Vec<_> = users.into_iter().collect();
        let message = format!("no file defines `{name}`; it is used by {}", listed.join(", "));
        reporter.report(Diagnostic::new(Code::MissingSymbol, message));
    }
}

/// The symbol table of the result.
struct Symbols<'a> {
    symbols: Vec<Symbol<'a>>,
    /// The section symbols, by index of the section in the result.
    sections: BTreeMap<usize, SymbolId>,
    /// By file and symbol.
    locals: BTreeMap<(usize, SymbolId), SymbolId>,
    globals: BTreeMap<&'a str, SymbolId>,
    /// By file and section: the section symbol that it became a part of.
    moved: BTreeMap<(usize, SectionId), usize>,
}

impl<'a> Symbols<'a> {
    fn new(inputs: &[Input<'a>], globals: &Globals<'a>, layout: &Layout<'a>) -> Self {
        let mut this = Self {
            symbols: vec![Symbol {
                id: SymbolId(0),
                name: "",
                kind: SymbolKind::None,
                binding: Binding::Local,
                hidden: false,
                section: SymbolSection::Undefined,
                value: 0,
                size: 0,
            }],
            sections: BTreeMap::new(),
            locals: BTreeMap::new(),
            globals: BTreeMap::new(),
            moved: BTreeMap::new(),
        };
        for (index, section) in layout.sections.iter().enumerate() {
            let id = this.push(Symbol {
                id: SymbolId(0),
                name: section.name,
                kind: SymbolKind::Section,
                binding: Binding::Local,
                hidden: false,
                section: of_result(index),
                value: 0,
                size: 0,
            });
            this.sections.insert(index, id);
        }
        for (file, input) in inputs.iter().enumerate() {
            for symbol in &input.elf.symbols {
                let SymbolSection::Section(section) = symbol.section else { continue };
                let Some(moved) = layout.moved(file, section) else { continue };
                if symbol.kind == SymbolKind::Section {
                    this.moved.insert((file, section), moved.to);
                } else if symbol.binding == Binding::Local && !globals.is_dead(file, section, symbol.value) {
                    let id = this.push(Symbol {
                        id: SymbolId(0),
                        section: of_result(moved.to),
                        value: symbol.value.saturating_add(moved.shift),
                        ..*symbol
                    });
                    this.locals.insert((file, symbol.id), id);
                }
            }
        }
        for (name, global) in &globals.names {
            let at = |place: &Place| inputs[place.file].elf.symbol(place.symbol);
            let weak = global.symbols.iter().all(|place| at(place).binding == Binding::Weak);
            let new = match &global.definition {
                Some(place) => {
                    let symbol = at(place);
                    let SymbolSection::Section(section) = symbol.section else { continue };
                    let Some(moved) = layout.moved(place.file, section) else { continue };
                    Symbol {
                        section: of_result(moved.to),
                        value: symbol.value.saturating_add(moved.shift),
                        hidden: global.hidden,
                        ..*symbol
                    }
                }
                None => {
                    let Some(symbol) = global.symbols.first().map(at) else { continue };
                    let binding = if weak { Binding::Weak } else { Binding::Global };
                    Symbol { binding, hidden: global.hidden, ..*symbol }
                }
            };
            let id = this.push(new);
            this.globals.insert(name, id);
        }
        this
    }

    fn push(&mut self, mut symbol: Symbol<'a>) -> SymbolId {
        symbol.id = SymbolId(self.symbols.len());
        let id = symbol.id;
        self.symbols.push(symbol);
        id
    }

    /// Returns the symbol of the result for a symbol of a file.
    fn of(&self, file: usize, symbol: &Symbol<'_>, globals: &Globals<'_>) -> Option<SymbolId> {
        match symbol.section {
            SymbolSection::Section(section) if symbol.kind == SymbolKind::Section => {
                self.sections.get(self.moved.get(&(file, section))?).copied()
            }
            _ if globals.of(symbol).is_some() => self.globals.get(symbol.name).copied(),
            _ => self.locals.get(&(file, symbol.id)).copied(),
        }
    }
}

/// Returns the section of the result with this index; the null section comes before it.
fn of_result(index: usize) -> SymbolSection {
    SymbolSection::Section(SectionId(index + 1))
}

/// The addend of a relocation against a section symbol.
struct Addend<'a, 'data> {
    section: &'a Section<'data>,
    relocation: &'a Relocation,
    /// How far the target moved in its section, in bytes.
    shift: u64,
    /// The kind of the target.
    into: SectionKind,
    endian: Endian,
}

impl Addend<'_, '_> {
    /// Adds the shift to the addend in the contents of the joined section. Returns `false` if it does not fit.
    fn add(&self, data: &mut [u8], moved: u64) -> bool {
        let at = usize::try_from(self.relocation.offset.saturating_add(moved)).unwrap_or(usize::MAX);
        let Some(bytes) = data.get_mut(at..) else { return false };
        if self.section.kind == SectionKind::Instructions {
            let Some(slot) = bytes.first_chunk_mut::<INSN_SIZE>() else { return false };
            let insn = Insn::decode(*slot, self.endian);
            // Calls count instructions, all other addends bytes.
            let call = insn.code == opcode::CALL && self.into == SectionKind::Instructions;
            let shift = if call { self.shift / INSN_SIZE as u64 } else { self.shift };
            let Some(imm) = i32::try_from(shift).ok().and_then(|shift| insn.imm.checked_add(shift)) else {
                return false;
            };
            *slot = Insn { imm, ..insn }.encode(self.endian);
            return true;
        }
        match self.relocation.kind {
            RelocationKind::Load | RelocationKind::Abs64 => {
                let Some(bytes) = bytes.first_chunk_mut::<8>() else { return false };
                let sum = self.endian.u64(*bytes).wrapping_add(self.shift);
                *bytes = word(sum, self.endian);
                true
            }
            RelocationKind::Call | RelocationKind::Abs32 | RelocationKind::NoDyld32 => {
                let Some(bytes) = bytes.first_chunk_mut::<4>() else { return false };
                let sum = u32::try_from(self.shift).ok().and_then(|shift| self.endian.u32(*bytes).checked_add(shift));
                let Some(sum) = sum else { return false };
                *bytes = self.endian.to_bytes(sum);
                true
            }
        }
    }
}

fn word(number: u64, endian: Endian) -> [u8; 8] {
    match endian {
        Endian::Little => number.to_le_bytes(),
        Endian::Big => number.to_be_bytes(),
    }
}

/// The jump tables that functions use: section, offset and size in the result, and the offset of the functions' part in
/// its section.
#[derive(Default)]
struct Jumps(BTreeMap<(usize, u64, u64), u64>);

impl Jumps {
    /// Adds a use. Returns `false` if functions with another offset use the table.
    fn add(&mut self, table: (usize, u64, u64), shift: u64) -> bool {
        *self.0.entry(table).or_insert(shift) == shift
    }

    /// Moves the targets of all tables with their functions.
    fn shift(self, layout: &mut Layout<'_>, endian: Endian) {
        // Tables that overlap are moved once.
        let mut end = (0, 0);
        for ((section, from, size), shift) in self.0 {
            let from = if end.0 == section { from.max(end.1) } else { from };
            end = (section, from.saturating_add(size));
            let range = usize::try_from(from).ok().zip(usize::try_from(size).ok());
            let bytes = range.and_then(|(from, len)| layout.sections[section].data.get_mut(from..)?.get_mut(..len));
            for entry in bytes.into_iter().flat_map(|bytes| bytes.chunks_exact_mut(JUMP_ENTRY)) {
                if let Some(entry) = entry.first_chunk_mut::<JUMP_ENTRY>() {
                    *entry = word(endian.u64(*entry).wrapping_add(shift), endian);
                }
            }
        }
    }
}
