//! Kernel symbols that an object uses: the variables of the BTF data section `.ksyms`.
//!
//! The kernel rejects BTF with extern declarations. They are replaced by definitions of four-byte variables, because
//! programs refer to kernel BTF ids and not to these types.

use std::collections::BTreeMap;

use skelgen_abi::plan::{Symbol, SymbolKind};

use crate::btf::{Btf, Datasec, Int, Kind, Linkage, SecVar, Type, TypeId};
use crate::elf::{Binding, ElfObject, SymbolSection};

/// Finds the externs, and replaces their declarations by definitions that the kernel accepts.
pub(super) fn declare(elf: &ElfObject<'_>, mut btf: Btf) -> (Btf, Vec<Symbol>) {
    let undefined: BTreeMap<&str, bool> = elf
        .symbols
        .iter()
        .filter(|symbol| symbol.section == SymbolSection::Undefined && !symbol.name.is_empty())
        .map(|symbol| (symbol.name, symbol.binding == Binding::Weak))
        .collect();
    let Some(id) = btf.datasec(".ksyms") else { return (btf, Vec::new()) };
    let Kind::Datasec(section) = &btf.get(id).kind else { return (btf, Vec::new()) };
    let vars = section.vars.clone();
    let mut externs = Vec::new();
    let mut declared = Vec::new();
    for var in &vars {
        let name = btf.name(var.ty).to_owned();
        let weak = undefined.get(name.as_str()).copied().unwrap_or(true);
        let (kind, ty) = match btf.get(var.ty).kind {
            Kind::Func { proto, .. } => (SymbolKind::Function, Some(proto.0)),
            Kind::Var { ty, .. } if btf.resolve(ty) == TypeId::VOID => (SymbolKind::Address, None),
            Kind::Var { ty, .. } => (SymbolKind::Variable, Some(ty.0)),
            _ => continue,
        };
        declared.push(var.ty);
        externs.push(Symbol { name: name.into(), kind, weak, ty });
    }
    define(&mut btf, id, &declared);
    (btf, externs)
}

fn define(btf: &mut Btf, section: TypeId, declared: &[TypeId]) {
    let int = int_type(btf);
    let filler = btf.add_string("_kernel");
    let mut stand_in = None;
    let mut vars = Vec::new();
    for (index, &id) in declared.iter().enumerate() {
        let mut ty = id;
        match btf.get(id).kind {
            Kind::Func { proto, .. } => {
                btf.get_mut(id).kind = Kind::Func { proto, linkage: Linkage::Global };
                if let Kind::FuncProto { params, .. } = &mut btf.get_mut(proto).kind {
                    for param in params.iter_mut().filter(|param| param.ty != TypeId::VOID && param.name.0 == 0) {
                        param.name = filler;
                    }
                }
                ty = *stand_in.get_or_insert_with(|| {
                    btf.push(Type { name: filler, kind: Kind::Var { ty: int, linkage: Linkage::Global } })
                });
            }
            _ => btf.get_mut(id).kind = Kind::Var { ty: int, linkage: Linkage::Global },
        }
        vars.push(SecVar { ty, offset: u32::try_from(index).unwrap_or(0) * 4, size: 4 });
    }
    let size = u32::try_from(vars.len()).unwrap_or(0) * 4;
    btf.get_mut(section).kind = Kind::Datasec(Datasec { size, vars });
}

/// Returns a four-byte integer type of the object, or adds one.
fn int_type(btf: &mut Btf) -> TypeId {
    let found =
        btf.iter().find(|(_, ty)| matches!(ty.kind, Kind::Int(Int { size: 4, bits: 32, .. }))).map(|(id, _)| id);
    found.unwrap_or_else(|| {
        let name = btf.add_string("int");
        let int = Int { size: 4, bits: 32, bit_offset: 0, signed: true, char: false, bool: false };
        btf.push(Type { name, kind: Kind::Int(int) })
    })
}
