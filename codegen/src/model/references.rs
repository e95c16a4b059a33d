//! The references of instructions, from relocations and from calls within a section.

use std::collections::BTreeMap;

use super::functions::{Entry, Functions, Resolved, line, target};
use super::jumps::{self, Tables};
use super::pass::{Notes, Pass};
use super::refused::Refused;
use super::table::MapTable;
use super::{ExternId, Reference};
use crate::btf::Btf;
use crate::elf::{ElfObject, Relocation, RelocationKind, Section, SectionId, Symbol, SymbolId, SymbolSection};
use crate::error::{Code as ErrorCode, Diagnostic, Reporter};
use crate::insn::{INSN_SIZE, Insn, InsnIndex, Ref};
use skelgen_abi::opcode;
use skelgen_abi::plan::{self, SymbolKind};
use skelgen_abi::uapi::pseudo;

/// The possible targets of references.
pub(super) struct References<'a> {
    pub(super) elf: &'a ElfObject<'a>,
    pub(super) functions: &'a Functions<'a>,
    pub(super) maps: &'a MapTable,
    pub(super) externs: &'a [plan::Symbol],
    pub(super) refused: &'a Refused,
    pub(super) btf: Option<&'a Btf>,
}

impl References<'_> {
    /// Resolves the references of each function. The results are in the order of the functions.
    pub(super) fn resolve(&self) -> Pass<Vec<Resolved>> {
        let mut notes = Notes::default();
        let mut causes = Causes::default();
        let entries = self.functions.iter();
        let found = entries.map(|(_, entry)| self.function(entry, &mut causes, &mut notes.reporter)).collect();
        causes.report(&mut notes.reporter);
        notes.with(found)
    }

    fn function(&self, entry: &Entry<'_>, causes: &mut Causes, reporter: &mut Reporter) -> Resolved {
        let relocations = self.relocations(entry, reporter);
        let mut refs = Vec::new();
        let mut tables = Tables::default();
        let mut index = 0;
        while let Some(&insn) = entry.insns.get(index) {
            let found = match relocations.get(&index) {
                Some(relocation) => self.relocated(entry, index, insn, *relocation, &mut tables),
                None => self.bare(entry, index, insn),
            };
            match found {
                Ok(Some(to)) => refs.push(Ref { at: InsnIndex(index), to }),
                Ok(None) => {}
                Err(diagnostic) => {
                    let symbol = relocations.get(&index).map(|relocation| relocation.symbol);
                    causes.add(symbol, self.located(*diagnostic, entry, index));
                }
            }
            index += if insn.is_ld_imm64() { 2 } else { 1 };
        }
        if let Some(slot) = relocations.keys().find(|slot| !is_referring(entry.insns.get(**slot))) {
            let message = "the relocated instruction is neither a 64-bit immediate load nor a call";
            reporter.report(self.located(Diagnostic::new(ErrorCode::BadRelocation, message), entry, *slot));
        }
        Resolved { refs, tables: tables.entries }
    }

    /// Returns the relocations of a function by slot.
    fn relocations(&self, entry: &Entry<'_>, reporter: &mut Reporter) -> BTreeMap<usize, Relocation> {
        let mut found = BTreeMap::new();
        for relocation in &entry.section.relocations {
            let Ok(offset) = usize::try_from(relocation.offset) else { continue };
            let slot = offset / INSN_SIZE;
            if !(entry.start..entry.end()).contains(&slot) {
                continue;
            }
            if offset % INSN_SIZE != 0 {
                let message = "the relocation's offset is inside an instruction";
                reporter.report(
                    Diagnostic::new(ErrorCode::BadRelocation, message)
                        .section(entry.section.name)
                        .offset(relocation.offset),
                );
            }
            found.insert(slot - entry.start, *relocation);
        }
        found
    }

    fn bare(&self, entry: &Entry<'_>, index: usize, insn: Insn) -> Found {
        if !insn.is_local_call() {
            return Ok(None);
        }
        let callee = target(entry.start + index, insn.imm).and_then(|slot| self.functions.at(entry.section.id, slot));
        match callee {
            Some(id) => Ok(Some(Reference::Call(id))),
            None if self.is_refused(entry.section.id, target(entry.start + index, insn.imm)) => Ok(None),
            None => Err(bad("the call's target is not the beginning of a function")),
        }
    }

    fn relocated(
        &self,
        entry: &Entry<'_>,
        index: usize,
        insn: Insn,
        relocation: Relocation,
        tables: &mut Tables,
    ) -> Found {
        let symbol = self.elf.symbol(relocation.symbol);
        let section = section_of(self.elf, symbol.section).filter(|section| section.name == jumps::SECTION);
        match relocation.kind {
            RelocationKind::Load if insn.is_ld_imm64() && section.is_some() => {
                let table = section.map_or(Err("the symbol is not in a section".into()), |section| {
                    tables.index(section, symbol, entry, self.elf.endian)
                });
                table
                    .map(|index| Some(Reference::JumpTable(index)))
                    .map_err(|what| bad(format!("jump table `{}` of function `{}`: {what}", symbol.name, entry.name)))
            }
            RelocationKind::Call if insn.code == opcode::CALL => self.call(symbol, insn),
            RelocationKind::Load if insn.is_ld_imm64() => self.load(symbol, insn),
            RelocationKind::Call
            | RelocationKind::Load
            | RelocationKind::Abs64
            | RelocationKind::Abs32
            | RelocationKind::NoDyld32 => Err(Box::new(Diagnostic::new(
                ErrorCode::BadRelocation,
                format!(
                    "relocation type {:?} does not apply to instruction {index} of function `{}`",
                    relocation.kind, entry.name
                ),
            ))),
        }
    }

    fn call(&self, symbol: &Symbol<'_>, insn: Insn) -> Found {
        let Some(section) = section_of(self.elf, symbol.section) else {
            return self.external(symbol, true);
        };
        let slot = usize::try_from(symbol.value).ok().and_then(|value| target(value / INSN_SIZE, insn.imm));
        match slot.and_then(|slot| self.functions.at(section.id, slot)) {
            Some(id) => Ok(Some(Reference::Call(id))),
            None if self.is_refused(section.id, slot) => Ok(None),
            None => Err(bad(format!("the call of `{}` does not lead to the beginning of a function", symbol.name))),
        }
    }

    fn load(&self, symbol: &Symbol<'_>, insn: Insn) -> Found {
        let Some(section) = section_of(self.elf, symbol.section) else {
            return self.external(symbol, false);
        };
        let offset = symbol.value.checked_add_signed(i64::from(insn.imm));
        if let Some(id) = self.maps.defined_at(section.id, offset) {
            return Ok(Some(Reference::Map(id)));
        }
        if self.refused.has(section.id, offset) {
            return Ok(None);
        }
        if let Some((id, size)) = self.maps.of_section(section.id) {
            return match offset.and_then(|offset| u32::try_from(offset).ok()).filter(|&offset| offset <= size) {
                Some(offset) => Ok(Some(Reference::MapValue(id, offset))),
                None => Err(bad(format!("the address of `{}` is outside section {}", symbol.name, section.name))),
            };
        }
        if section.kind == crate::elf::SectionKind::Instructions {
            let function = offset
                .and_then(|offset| usize::try_from(offset).ok())
                .and_then(|offset| self.functions.at(section.id, offset / INSN_SIZE));
            return match function {
                Some(id) => Ok(Some(Reference::FunctionAddress(id))),
                None => Err(bad(format!("the address of `{}` is not the beginning of a function", symbol.name))),
            };
        }
        if section.name == ".maps" || super::struct_ops::section(section.name).is_some() {
            let message = format!("the address of `{}` is not the beginning of a map", symbol.name);
            return Err(bad(message));
        }
        Err(Box::new(
            Diagnostic::new(
                ErrorCode::Unsupported,
                format!("`{}` is in section {}, which programs cannot refer to", symbol.name, section.name),
            )
            .with_help(
                "use .maps, .data, .rodata, .bss or .percpu, optionally with a suffix after a dot, or a function",
            ),
        ))
    }

    /// Returns whether the item at this slot of the section was refused.
    fn is_refused(&self, section: SectionId, slot: Option<usize>) -> bool {
        let offset = slot.and_then(|slot| u64::try_from(slot.checked_mul(INSN_SIZE)?).ok());
        self.refused.has(section, offset)
    }

    fn external(&self, symbol: &Symbol<'_>, call: bool) -> Found {
        if let (Some((map, offset)), false) = (self.maps.config(symbol.name), call) {
            return Ok(Some(Reference::MapValue(map, offset)));
        }
        if self.refused.has_name(symbol.name) {
            return Ok(None);
        }
        let found = self.externs.iter().position(|external| external.name == symbol.name);
        let Some(index) = found else {
            return Err(bad(format!("`{}` has neither a section nor a declaration as extern", symbol.name)));
        };
        let id = ExternId(u32::try_from(index).unwrap_or(u32::MAX));
        match (self.externs[index].kind, call) {
            (SymbolKind::Function, true) => Ok(Some(Reference::ExternCall(id))),
            (_, false) => Ok(Some(Reference::ExternVariable(id))),
            (_, true) => Err(bad(format!("`{}` is a variable, but it is called", symbol.name))),
        }
    }

    fn located(&self, diagnostic: Diagnostic, entry: &Entry<'_>, index: usize) -> Diagnostic {
        let diagnostic = diagnostic.section(entry.section.name).insn(entry.start + index);
        match line(self.btf, &entry.info, index) {
            Some(line) => diagnostic.line(line),
            None => diagnostic,
        }
    }
}

/// The errors of references, one for each symbol, even if several instructions refer to it.
#[derive(Default)]
struct Causes {
    /// The diagnostics in the order of the first uses, each with its number of uses.
    list: Vec<(Diagnostic, usize)>,
    /// The indices in `list`, by symbol and message. A symbol can have several errors.
    known: BTreeMap<(SymbolId, String), usize>,
}

impl Causes {
    /// Adds the error of one instruction. `symbol` is the symbol to which the instruction refers.
    fn add(&mut self, symbol: Option<SymbolId>, diagnostic: Diagnostic) {
        let next = self.list.len();
        let known = symbol.map(|symbol| *self.known.entry((symbol, diagnostic.message.clone())).or_insert(next));
        match known.and_then(|known| self.list.get_mut(known)) {
            Some((_, uses)) => *uses += 1,
            None => self.list.push((diagnostic, 1)),
        }
    }

    fn report(self, reporter: &mut Reporter) {
        for (mut diagnostic, uses) in self.list {
            if uses > 1 {
                diagnostic.message = format!("{} (first of {uses} uses)", diagnostic.message);
            }
            reporter.report(diagnostic);
        }
    }
}

type Found = Result<Option<Reference>, Box<Diagnostic>>;

fn bad(message: impl Into<String>) -> Box<Diagnostic> {
    Box::new(Diagnostic::new(ErrorCode::BadReference, message))
}

/// Returns whether an instruction can refer to an item outside its function.
fn is_referring(insn: Option<&Insn>) -> bool {
    insn.is_some_and(|insn| {
        insn.is_ld_imm64() || insn.code == opcode::CALL && matches!(insn.src, pseudo::CALL | pseudo::KFUNC_CALL)
    })
}

/// Returns the section that defines a symbol.
fn section_of<'e, 'data>(elf: &'e ElfObject<'data>, section: SymbolSection) -> Option<&'e Section<'data>> {
    match section {
        SymbolSection::Section(id) => Some(elf.section(id)),
        SymbolSection::Undefined | SymbolSection::Elsewhere => None,
    }
}
