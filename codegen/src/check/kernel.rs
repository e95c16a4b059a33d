//! What is known about a kernel: its version, its types, and what these types determine about an object.

use std::collections::{BTreeMap, BTreeSet};

use skelgen_abi::plan::{SymbolKind, Version};

use crate::btf::{Btf, Kind};
use crate::insn::InsnIndex;
use crate::model::{ExternId, FunctionId};

/// The known facts about a kernel.
#[derive(Debug, Default)]
pub struct Kernel {
    /// Its version.
    pub version: Option<Version>,
    /// Its types, without those of modules.
    pub btf: Option<Btf>,
    /// Its modules.
    pub modules: Modules,
}

/// The known modules of a kernel.
#[derive(Debug, Default)]
pub struct Modules {
    /// Whether no other module is loaded.
    pub complete: bool,
    symbols: BTreeSet<(u8, String)>,
}

impl Modules {
    /// Adds the symbols of a module: those types that follow the `base` types of the kernel.
    pub fn add(&mut self, btf: &Btf, base: usize) {
        let own = btf.iter().skip_while(|(id, _)| (id.0 as usize) < base);
        self.symbols.extend(own.filter_map(|(_, ty)| Some((number(kind_of(&ty.kind)?), btf.str(ty.name).to_owned()))));
    }
}

impl Kernel {
    /// Returns whether the kernel or a module has a symbol; `None` if that is unknown.
    pub(crate) fn has(&self, kind: SymbolKind, name: &str) -> Option<bool> {
        let btf = self.btf.as_ref().filter(|_| kind != SymbolKind::Address)?;
        // Attach targets can name the module: `MODULE:NAME`.
        let name = name.split_once(':').map_or(name, |(_, name)| name);
        let in_kernel = || btf.find(|found| kind_of(found) == Some(kind), name).is_some();
        if in_kernel() || self.modules.symbols.contains(&(number(kind), name.to_owned())) {
            return Some(true);
        }
        self.modules.complete.then_some(false)
    }
}

/// Returns the [`SymbolKind`] for a kind of BTF type, or `None` if no symbol is looked up among types of this kind.
fn kind_of(kind: &Kind) -> Option<SymbolKind> {
    Some(match kind {
        Kind::Func { .. } => SymbolKind::Function,
        Kind::Typedef(_) => SymbolKind::Typedef,
        Kind::Var { .. } => SymbolKind::Variable,
        Kind::Struct(_) => SymbolKind::Struct,
        _ => return None,
    })
}

fn number(kind: SymbolKind) -> u8 {
    kind as u8
}

/// The value of a CO-RE relocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relocated {
    /// The kernel does not have the field, type or enumerator, or its value does not fit.
    Absent,
    /// A number.
    Number(u64),
}

/// What the kernel's types determine about an object.
#[derive(Debug, Clone, Default)]
pub struct Resolved {
    /// The values of the CO-RE relocations, by function and instruction.
    pub relocations: BTreeMap<(FunctionId, InsnIndex), Relocated>,
    /// The functions and variables that the kernel declares with a type that is not compatible with the object's.
    pub incompatible: BTreeSet<ExternId>,
}
