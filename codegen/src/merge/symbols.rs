//! Which definition each global name has, among those of all files.
//!
//! The one definition that is not weak, or else the first weak one. The order of files does not depend on the order of
//! arguments, so this does not either. The other definitions are dead.

use std::collections::BTreeMap;
use std::ops::Range;

use super::input::Input;
use crate::elf::{Binding, SectionId, Symbol, SymbolId, SymbolKind, SymbolSection};
use crate::error::{Code, Diagnostic, Reporter, Result};

/// The sections whose contents the files only have to agree on.
pub(super) const AGREED: [&str; 2] = ["license", "version"];

/// A symbol of a file, by the indices of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) symbol: SymbolId,
}

/// A global name.
#[derive(Debug, Default)]
pub(super) struct Global {
    /// The definition; `None` if no file has one.
    pub(super) definition: Option<Place>,
    /// All symbols of this name, in the order of files.
    pub(super) symbols: Vec<Place>,
    /// Whether a symbol of this name is hidden.
    pub(super) hidden: bool,
}

/// The global names of all files.
#[derive(Debug, Default)]
pub(super) struct Globals<'a> {
    pub(super) names: BTreeMap<&'a str, Global>,
    /// The definitions of which another was chosen: their ends, by file, section and beginning. They do not overlap.
    dead: BTreeMap<(usize, SectionId, u64), u64>,
}

impl<'a> Globals<'a> {
    /// Finds the definition of each name.
    ///
    /// # Errors
    /// [`Code::DuplicateSymbol`] and [`Code::Unsupported`].
    pub(super) fn resolve(inputs: &[Input<'a>]) -> Result<Self> {
        let mut reporter = Reporter::new();
        let mut this = Self::default();
        let mut dead = Vec::new();
        for (file, input) in inputs.iter().enumerate() {
            for symbol in input.elf.symbols.iter().filter(|symbol| is_global(symbol)) {
                if symbol.section == SymbolSection::Elsewhere {
                    let message =
                        format!("`{}` is an absolute or common symbol, which BPF objects cannot use", symbol.name);
                    let help = "compile with `-fno-common`, or initialize the variable";
                    let diagnostic = Diagnostic::new(Code::Unsupported, message).with_help(help);
                    reporter.take(Err::<(), _>(input.error(diagnostic)));
                }
                let global = this.names.entry(symbol.name).or_default();
                global.symbols.push(Place { file, symbol: symbol.id });
                global.hidden |= symbol.hidden;
            }
        }
        for (name, global) in &mut this.names {
            reporter.take(choose(inputs, name, global, &mut dead));
        }
        this.dead = joined(dead);
        reporter.finish(this)
    }

    /// Returns whether the byte of a section belongs to a definition that another one replaces.
    pub(super) fn is_dead(&self, file: usize, section: SectionId, offset: u64) -> bool {
        self.dead_at(file, section, offset).is_some_and(|end| offset < end)
    }

    /// Returns whether other definitions replace all contents of a section.
    pub(super) fn is_all_dead(&self, file: usize, section: SectionId, size: u64) -> bool {
        self.dead_at(file, section, 0).is_some_and(|end| end >= size)
    }

    /// Returns the end of the last dead definition that begins at or before this offset.
    fn dead_at(&self, file: usize, section: SectionId, offset: u64) -> Option<u64> {
        let before = self.dead.range((file, section, 0)..=(file, section, offset));
        before.last().map(|(_, end)| *end)
    }

    /// Returns the name with this symbol of a file, if the symbol is global.
    pub(super) fn of(&self, symbol: &Symbol<'_>) -> Option<&Global> {
        if is_global(symbol) { self.names.get(symbol.name) } else { None }
    }
}

/// Returns whether files share the name of the symbol.
fn is_global(symbol: &Symbol<'_>) -> bool {
    symbol.binding != Binding::Local && !symbol.name.is_empty() && symbol.kind != SymbolKind::Section
}

/// Chooses the definition of a name, and records the others as dead.
fn choose(
    inputs: &[Input<'_>],
    name: &str,
    global: &mut Global,
    dead: &mut Vec<(usize, SectionId, Range<u64>)>,
) -> Result<()> {
    let at = |place: &Place| inputs[place.file].elf.symbol(place.symbol);
    let section = |place: &Place| match at(place).section {
        SymbolSection::Section(id) => Some(inputs[place.file].elf.section(id)),
        SymbolSection::Undefined | SymbolSection::Elsewhere => None,
    };
    let defined: Vec<Place> = global.symbols.iter().copied().filter(|place| section(place).is_some()).collect();
    // The contents of these sections are compared as a whole.
    if defined.iter().all(|place| section(place).is_some_and(|section| AGREED.contains(&section.name))) {
        global.definition = defined.first().copied();
        return Ok(());
    }
    let strong: Vec<_> = defined.iter().filter(|place| at(place).binding != Binding::Weak).collect();
    if let [_, _, ..] = strong[..] {
        let files: Vec<_> = strong.iter().map(|place| &inputs[place.file].name[..]).collect();
        let help =
            "declare all but one of them `extern`, make them `static`, or mark definitions that are the same `__weak`";
        let message = format!("`{name}` is defined in {}", files.join(" and in "));
        return Err(Diagnostic::new(Code::DuplicateSymbol, message).with_help(help).into());
    }
    global.definition = strong.first().copied().or(defined.first()).copied();
    for place in defined.iter().filter(|place| Some(**place) != global.definition) {
        let symbol = at(place);
        if let SymbolSection::Section(id) = symbol.section {
            dead.push((place.file, id, symbol.value..symbol.value.saturating_add(symbol.size)));
        }
    }
    Ok(())
}

/// Returns the ends of parts of sections, by file, section and beginning, after joining parts that touch.
fn joined(mut parts: Vec<(usize, SectionId, Range<u64>)>) -> BTreeMap<(usize, SectionId, u64), u64> {
    parts.sort_by_key(|(file, section, range)| (*file, *section, range.start));
    let mut joined: Vec<(usize, SectionId, Range<u64>)> = Vec::new();
    for part in parts.into_iter().filter(|(_, _, range)| !range.is_empty()) {
        match joined.last_mut() {
            Some(last) if (last.0, last.1) == (part.0, part.1) && part.2.start <= last.2.end => {
                last.2.end = last.2.end.max(part.2.end);
            }
            _ => joined.push(part),
        }
    }
    joined.into_iter().map(|(file, section, range)| ((file, section, range.start), range.end)).collect()
}
