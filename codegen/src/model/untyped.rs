//! Types for the variables of an object without BTF, made from the offsets and sizes of its symbols.
//!
//! Without BTF the object would load, but its constants could not be set. A variable with the size and alignment of an
//! integer becomes an unsigned integer, any other variable an array of bytes. Maps in `.maps` and struct_ops maps
//! require the compiler's BTF; later passes report it as missing.

use std::collections::BTreeMap;

use super::data::data_kind;
use super::struct_ops;
use crate::btf::{Btf, Datasec, Int, Kind, Linkage, SecVar, Type, TypeId};
use crate::elf::{Binding, ElfObject, Section, Symbol, SymbolKind, SymbolSection};

/// Creates types for the variables that are visible to other files; `None` if there are none.
pub(super) fn types(elf: &ElfObject<'_>) -> Option<Btf> {
    if elf.sections.iter().any(|section| section.name == ".maps" || struct_ops::section(section.name).is_some()) {
        return None;
    }
    let mut types = Types::default();
    for section in elf.sections.iter().filter(|section| data_kind(section).is_some()) {
        types.section(section, elf);
    }
    types.any.then_some(types.btf)
}

#[derive(Default)]
struct Types {
    btf: Btf,
    /// Whether a variable was added.
    any: bool,
    numbers: BTreeMap<u32, TypeId>,
}

impl Types {
    /// Adds a section with its variables. A later pass sets the offsets, as for objects with BTF.
    fn section(&mut self, section: &Section<'_>, elf: &ElfObject<'_>) {
        let mut vars = Vec::new();
        let mut end = 0;
        for symbol in variables(section, elf) {
            let Ok(size) = u32::try_from(symbol.size) else { continue };
            // The symbol is an alias of the previous variable.
            if symbol.value < end {
                continue;
            }
            end = symbol.value.saturating_add(symbol.size);
            let ty = self.variable(symbol.value, size);
            let name = self.btf.add_string(symbol.name);
            let ty = self.btf.push(Type { name, kind: Kind::Var { ty, linkage: Linkage::Global } });
            vars.push(SecVar { ty, offset: 0, size });
        }
        if !vars.is_empty() {
            self.any = true;
            let name = self.btf.add_string(section.name);
            self.btf.push(Type { name, kind: Kind::Datasec(Datasec { size: 0, vars }) });
        }
    }

    fn variable(&mut self, at: u64, size: u32) -> TypeId {
        if matches!(size, 1 | 2 | 4 | 8) && at % u64::from(size) == 0 {
            return self.number(size);
        }
        let kind = Kind::Array { element: self.number(1), index: self.number(4), len: size };
        let name = self.btf.add_string("");
        self.btf.push(Type { name, kind })
    }

    /// Returns the unsigned integer type of this size in bytes.
    fn number(&mut self, size: u32) -> TypeId {
        let btf = &mut self.btf;
        *self.numbers.entry(size).or_insert_with(|| {
            let bits = u8::try_from(size * 8).unwrap_or(u8::MAX);
            let int = Int { size, bits, bit_offset: 0, signed: false, char: false, bool: false };
            let name = btf.add_string(&format!("u{bits}"));
            btf.push(Type { name, kind: Kind::Int(int) })
        })
    }
}

/// Returns the symbols of a section's variables, by offset.
fn variables<'e, 'data>(section: &Section<'_>, elf: &'e ElfObject<'data>) -> Vec<&'e Symbol<'data>> {
    let is_one = |symbol: &&Symbol<'_>| {
        symbol.section == SymbolSection::Section(section.id)
            && symbol.kind == SymbolKind::Object
            && symbol.binding != Binding::Local
            && (1..=section.size).contains(&symbol.size)
            && symbol.value <= section.size - symbol.size
            && is_identifier(symbol.name)
    };
    let mut symbols: Vec<_> = elf.symbols.iter().filter(is_one).collect();
    symbols.sort_by_key(|symbol| (symbol.value, symbol.id));
    symbols
}

/// Returns whether kernels accept the text as a variable's name.
fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
