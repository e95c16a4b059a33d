//! The lookups of kernel symbols.
//!
//! A symbol is looked up once, if a program that needs it is loaded. Programs that use it then copy the result to their
//! instructions. The declared type of a symbol is not compared with the kernel's: the verifier checks uses.

use std::collections::BTreeSet;

use skelgen_abi::plan::{PatchKind, Setting, Symbol, SymbolKind};

use super::Lowering;
use crate::loader::table::{Copied, HeaderField, Label, Place, Slot, TableError};
use crate::plan::Assembled;

/// The lookup of a symbol.
#[derive(Clone, Copy)]
pub(super) struct Lookup {
    /// The result, two u32, which are zero if the symbol was not looked up or is absent: the BTF id and 0, or the
    /// halves of the address.
    pub(super) found: Place,
    /// The file descriptor of the BTF of the module that has the symbol; 0 for vmlinux.
    pub(super) module: Slot,
    /// The step that looks the symbol up.
    pub(super) step: u32,
}

impl Lowering<'_> {
    /// Adds what the lookup of a symbol writes.
    pub(super) fn declare(&mut self, _: &Symbol) -> Result<Lookup, TableError> {
        Ok(Lookup { found: self.table.reserve(8)?, module: self.table.slot(), step: u32::MAX })
    }

    pub(super) fn resolve_symbols(&mut self) -> Result<(), TableError> {
        let mut users: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); self.object.symbols.len()];
        for (index, program) in (0..).zip(self.object.programs.iter()) {
            let assembled = Assembled::new(self.plan, program, false);
            let used = assembled.patches.iter().filter_map(|patch| symbol_of(patch.kind)).chain(program.target);
            for symbol in used {
                if let Some(users) = users.get_mut(symbol as usize) {
                    users.insert(index);
                }
            }
        }
        for (index, users) in users.into_iter().enumerate() {
            self.find_if_used(index, &users)?;
        }
        Ok(())
    }

    /// Adds the lookup of a symbol, which is executed if one of these programs is loaded.
    fn find_if_used(&mut self, index: usize, users: &BTreeSet<u32>) -> Result<(), TableError> {
        let (find, end) = (self.table.label(), self.table.label());
        let mut is_optional = true;
        for &program in users {
            match self.host.place(Setting::Autoload { program }) {
                Some(autoload) => self.table.jump_if_not_equal(autoload, 0, find).map(drop)?,
                None => is_optional = false,
            }
        }
        if is_optional {
            self.table.jump(end);
        }
        self.table.bind(find);
        let object = self.object;
        let (symbol, Lookup { found, module, .. }) = (&object.symbols[index], self.symbols[index]);
        let (step, result, copied) = match symbol.kind {
            SymbolKind::Address => {
                let (step, address) = self.table.find_symbol(&symbol.name)?;
                (step, address, Copied::U64)
            }
            kind => {
                let (step, id) = self.table.find_type(&symbol.name, kind.btf_kind(), module)?;
                (step, id, Copied::U32)
            }
        };
        if symbol.weak {
            self.table.on_error(step, end);
        }
        if symbol.weak && symbol.kind != SymbolKind::Address {
            self.unless_without_address(symbol, end)?;
        }
        self.table.copy(found, copied, result)?;
        self.table.bind(end);
        self.symbols[index].step = step.index();
        Ok(())
    }
}

impl Lowering<'_> {
    /// Adds a jump for a symbol that is in BTF but has no address: the kernel rejects programs that use it.
    fn unless_without_address(&mut self, symbol: &Symbol, absent: Label) -> Result<(), TableError> {
        let unknown = self.table.label();
        let (step, _) = self.table.find_symbol(&symbol.name)?;
        self.table.on_error(step, unknown);
        let has_address = self.table.label();
        self.table.jump(has_address);
        self.table.bind(unknown);
        // Any other error number means that this process must not know addresses.
        self.table.jump_if_equal(HeaderField::Result, ENOENT, absent)?;
        self.table.bind(has_address);
        Ok(())
    }
}

/// The result of a lookup that finds nothing, as the loader program stores it.
const ENOENT: u32 = 2_u32.wrapping_neg();

/// Returns the symbol that a patch refers to.
pub(super) fn symbol_of(patch: PatchKind) -> Option<u32> {
    match patch {
        PatchKind::Variable(symbol) | PatchKind::Function(symbol) | PatchKind::Address(symbol) => Some(symbol),
        PatchKind::Map(_)
        | PatchKind::ArenaValue(_)
        | PatchKind::CpuMask
        | PatchKind::Stride(_)
        | PatchKind::Subprogram(_)
        | PatchKind::JumpTable(_) => None,
    }
}
