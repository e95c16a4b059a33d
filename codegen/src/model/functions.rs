//! The functions of an object: its executable sections, split at their symbols.

use std::collections::BTreeMap;

use super::pass::{Notes, Pass};
use super::refused::Refused;
use super::{Function, FunctionId, Reference};
use crate::btf::Btf;
use crate::btf::ext::{BtfExt, SectionInfo};
use crate::elf::{Binding, ElfObject, Section, SectionId, SectionKind, Symbol, SymbolKind, SymbolSection};
use crate::error::{Code as ErrorCode, Diagnostic};
use crate::insn::{Code, INSN_SIZE, Insn, InsnIndex, Ref};

/// All functions, in the order of sections and of offsets within them.
pub(super) struct Functions<'a> {
    functions: Vec<Entry<'a>>,
    by_place: BTreeMap<(SectionId, usize), FunctionId>,
}

/// A function whose references are not yet resolved.
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) section: &'a Section<'a>,
    /// The index in the section of the function's first slot.
    pub(super) start: usize,
    pub(super) insns: Vec<Insn>,
    pub(super) info: SectionInfo,
    pub(super) global: bool,
    /// Whether another function calls it. Such a function need not be a program.
    pub(super) called: bool,
}

/// The references of a function.
pub(super) struct Resolved {
    pub(super) refs: Vec<Ref<Reference>>,
    pub(super) tables: Vec<Vec<InsnIndex>>,
}

impl Entry<'_> {
    /// Returns whether the function is in the section for subprograms (`.text`).
    pub(super) fn is_subprogram(&self) -> bool {
        self.section.name == ".text" || self.section.name.starts_with(".text.")
    }

    /// Returns the exclusive end of the function: the index, in its section, of the first instruction slot after it.
    pub(super) fn end(&self) -> usize {
        self.start + self.insns.len()
    }
}

impl<'a> Functions<'a> {
    /// Splits the executable sections into functions.
    pub(super) fn collect(elf: &'a ElfObject<'a>, btf: Option<&Btf>, ext: &BtfExt) -> Pass<Self> {
        let mut notes = Notes::default();
        let records: BTreeMap<&str, &SectionInfo> = match btf {
            Some(btf) => ext.sections.iter().map(|section| (btf.str(section.name), section)).collect(),
            None => BTreeMap::new(),
        };
        let mut functions: Vec<Entry<'a>> = Vec::new();
        for section in &elf.sections {
            if section.kind != SectionKind::Instructions || section.size == 0 {
                continue;
            }
            let from = functions.len();
            let found = split(elf, section, records.get(section.name).copied());
            let broken = found.reported();
            functions.extend(notes.join(found));
            let untyped = untyped(elf, section, &functions[from..], &notes.refused);
            if !untyped.is_empty() {
                notes.report(without_type(section, &untyped));
                untyped.iter().for_each(|symbol| refuse(&mut notes.refused, section, symbol));
            } else if functions.len() == from && !broken {
                let message = "the section has instructions but no function symbol";
                notes.report(
                    Diagnostic::new(ErrorCode::BadInstruction, message)
                        .section(section.name)
                        .with_help("keep the symbol table; do not strip the object"),
                );
            }
            if functions.len() == from {
                notes.refused.section(section.id);
            }
        }
        let by_place = functions
            .iter()
            .enumerate()
            .map(|(index, entry)| ((entry.section.id, entry.start), id(index)))
            .collect::<BTreeMap<_, _>>();
        let mut functions = Self { functions, by_place };
        functions.mark_called();
        notes.with(functions)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (FunctionId, &Entry<'a>)> {
        self.functions.iter().enumerate().map(|(index, entry)| (id(index), entry))
    }

    /// Returns the function that begins at this slot of the section.
    pub(super) fn at(&self, section: SectionId, slot: usize) -> Option<FunctionId> {
        self.by_place.get(&(section, slot)).copied()
    }

    /// Returns the functions with their references. `found` has the references in the same order as the functions.
    pub(super) fn with(self, found: Vec<Resolved>) -> Vec<Function> {
        let function = |(entry, found): (Entry<'_>, Resolved)| Function {
            name: entry.name.to_owned(),
            section: entry.section.name.to_owned(),
            start: InsnIndex(entry.start),
            global: entry.global,
            code: Code { insns: entry.insns, refs: found.refs },
            info: entry.info,
            tables: found.tables,
        };
        self.functions.into_iter().zip(found).map(function).collect()
    }

    /// Marks the functions that are called from their own section. These calls have no relocations, so the instructions
    /// are searched.
    fn mark_called(&mut self) {
        let mut called = Vec::new();
        for entry in &self.functions {
            for (index, insn) in entry.insns.iter().enumerate() {
                if !insn.is_local_call() {
                    continue;
                }
                let slot = target(entry.start + index, insn.imm).filter(|slot| *slot != entry.start);
                called.extend(slot.and_then(|slot| self.at(entry.section.id, slot)));
            }
        }
        for id in called {
            self.functions[id.0 as usize].called = true;
        }
    }
}

/// Returns the target slot of a call at `slot` in the same section.
pub(super) fn target(slot: usize, imm: i32) -> Option<usize> {
    slot.checked_add(1)?.checked_add_signed(isize::try_from(imm).ok()?)
}

fn id(index: usize) -> FunctionId {
    FunctionId(u32::try_from(index).unwrap_or(u32::MAX))
}

/// Splits a section into its functions.
fn split<'a>(elf: &'a ElfObject<'a>, section: &'a Section<'a>, info: Option<&SectionInfo>) -> Pass<Vec<Entry<'a>>> {
    let mut notes = Notes::default();
    let mut functions = Vec::new();
    let broken = |message: String| Diagnostic::new(ErrorCode::BadInstruction, message).section(section.name);
    if section.data.len() % INSN_SIZE != 0 {
        notes.report(broken(format!(
            "the section's {} bytes are not a whole number of instructions",
            section.data.len()
        )));
        return notes.with(functions);
    }
    let mut symbols: Vec<_> = elf
        .symbols
        .iter()
        .filter(|symbol| symbol.kind == SymbolKind::Function && symbol.section == SymbolSection::Section(section.id))
        .collect();
    symbols.sort_by_key(|symbol| (symbol.value, symbol.binding == Binding::Local, symbol.id));
    symbols.dedup_by_key(|symbol| symbol.value);
    let mut end = 0;
    for symbol in symbols {
        let range = usize::try_from(symbol.value)
            .ok()
            .zip(usize::try_from(symbol.size).ok())
            .and_then(|(from, size)| Some(from..from.checked_add(size)?));
        let Some((range, bytes)) = range.and_then(|range| Some((range.clone(), section.data.get(range)?))) else {
            notes.report(broken(format!("function `{}` is outside its section", symbol.name)));
            refuse(&mut notes.refused, section, symbol);
            continue;
        };
        if range.start % INSN_SIZE != 0 || range.len() % INSN_SIZE != 0 || range.is_empty() || range.start < end {
            let message =
                format!("function `{}` is empty, overlaps another, or ends inside an instruction", symbol.name);
            notes.report(broken(message));
            refuse(&mut notes.refused, section, symbol);
            continue;
        }
        end = range.end;
        let mut insns = Vec::with_capacity(bytes.len() / INSN_SIZE);
        let slots = bytes.chunks_exact(INSN_SIZE).filter_map(|slot| slot.try_into().ok());
        insns.extend(slots.map(|slot| Insn::decode(slot, elf.endian)));
        let start = range.start / INSN_SIZE;
        notes.reporter.take(check(&insns, start, symbol.name, section.name));
        functions.push(Entry {
            name: symbol.name,
            section,
            start,
            info: info.map(|info| slice(info, start, start + insns.len())).unwrap_or_default(),
            insns,
            global: symbol.binding != Binding::Local && !symbol.hidden,
            called: false,
        });
    }
    notes.with(functions)
}

/// Records that a function was refused.
fn refuse(refused: &mut Refused, section: &Section<'_>, symbol: &Symbol<'_>) {
    refused.part(section.id, symbol.value, symbol.size);
    refused.name(symbol.name);
}

/// Returns the untyped symbols at instructions outside of all functions. They are probably functions whose symbol type
/// the assembly code did not set.
fn untyped<'e, 'data>(
    elf: &'e ElfObject<'data>,
    section: &Section<'_>,
    functions: &[Entry<'_>],
    refused: &Refused,
) -> Vec<&'e Symbol<'data>> {
    let is_in_function = |value: u64| {
        let slot = usize::try_from(value).map_or(usize::MAX, |value| value / INSN_SIZE);
        functions.iter().any(|function| (function.start..function.end()).contains(&slot))
    };
    let is_one = |symbol: &&Symbol<'_>| {
        symbol.kind == SymbolKind::None
            && symbol.section == SymbolSection::Section(section.id)
            && !symbol.name.is_empty()
            && symbol.value < section.size
            && !is_in_function(symbol.value)
            && !refused.has(section.id, Some(symbol.value))
    };
    let mut found: Vec<_> = elf.symbols.iter().filter(is_one).collect();
    // Local symbols may be labels inside functions, so they count only if all symbols are local.
    if found.iter().any(|symbol| symbol.binding != Binding::Local) {
        found.retain(|symbol| symbol.binding != Binding::Local);
    }
    found
}

fn without_type(section: &Section<'_>, symbols: &[&Symbol<'_>]) -> Diagnostic {
    let names: Vec<_> = symbols.iter().map(|symbol| format!("`{}`", symbol.name)).collect();
    let (names, has, first) = (names.join(", "), if symbols.len() == 1 { "has" } else { "have" }, symbols[0].name);
    let message = format!("{names} {has} no symbol type (STT_NOTYPE), so the functions cannot be identified");
    Diagnostic::new(ErrorCode::BadInstruction, message).section(section.name).with_help(format!(
        "in assembly, add `.type {first}, @function` and `.size {first}, .-{first}`; if a compiler wrote the symbol, use a \
         newer one"
    ))
}

/// Checks that every 64-bit immediate load has its second slot, in which all fields but the immediate are zero.
fn check(insns: &[Insn], start: usize, function: &str, section: &str) -> Result<(), Diagnostic> {
    let mut index = 0;
    while let Some(insn) = insns.get(index) {
        if insn.is_ld_imm64() {
            let whole =
                insns.get(index + 1).is_some_and(|second| second.code == 0 && second.dst == 0 && second.src == 0);
            if !whole {
                let message =
                    format!("function `{function}` has a 64-bit immediate load (`ld_imm64`) without its second slot");
                return Err(Diagnostic::new(ErrorCode::BadInstruction, message).section(section).insn(start + index));
            }
            index += 1;
        }
        index += 1;
    }
    Ok(())
}

/// Returns the records about the slots `from..to`, with indices relative to `from`.
fn slice(info: &SectionInfo, from: usize, to: usize) -> SectionInfo {
    let rebase = |insn: InsnIndex| (from..to).contains(&insn.0).then(|| InsnIndex(insn.0 - from));
    let mut slice = SectionInfo {
        name: info.name,
        funcs: info
            .funcs
            .iter()
            .filter_map(|r| Some(crate::btf::ext::FuncInfo { insn: rebase(r.insn)?, ..*r }))
            .collect(),
        lines: info
            .lines
            .iter()
            .filter_map(|r| Some(crate::btf::ext::LineInfo { insn: rebase(r.insn)?, ..*r }))
            .collect(),
        relos: info
            .relos
            .iter()
            .filter_map(|r| Some(crate::btf::ext::CoreRelo { insn: rebase(r.insn)?, ..*r }))
            .collect(),
    };
    // Free unused capacity: there are as many records as instructions, and they stay in memory.
    slice.lines.shrink_to_fit();
    slice.relos.shrink_to_fit();
    slice
}

/// Returns the source line of a slot of a function.
pub(super) fn line(btf: Option<&Btf>, info: &SectionInfo, slot: usize) -> Option<crate::error::SourceLine> {
    let btf = btf?;
    let record = info.lines.iter().take_while(|record| record.insn.0 <= slot).last()?;
    let text = btf.str(record.text);
    Some(crate::error::SourceLine {
        file: btf.str(record.file).to_owned(),
        line: record.line,
        column: record.column,
        text: (!text.is_empty()).then(|| text.to_owned()),
    })
}
