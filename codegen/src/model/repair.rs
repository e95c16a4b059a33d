//! What compilers write into BTF and no kernel takes, made into what it takes without a change of meaning.
//!
//! The rules are those of the kernel's checks (kernel/bpf/btf.c, Linux 7.3.4): a function's parameters have names, and an enumeration
//! has a size even if it is only declared.

use crate::btf::{Btf, Kind, TypeId};

/// The size of an enumeration of which no more is known, in bytes: that of C's `int`.
const ENUM_SIZE: u32 = 4;

/// Repairs what can be.
pub(super) fn repair(btf: &mut Btf) {
    let mut unnamed = Vec::new();
    let mut unsized_enums = Vec::new();
    for (id, ty) in btf.iter() {
        match &ty.kind {
            Kind::Func { proto, .. } => {
                if let Kind::FuncProto { params, .. } = &btf.get(*proto).kind {
                    if params.iter().any(|param| param.ty != TypeId::VOID && param.name.0 == 0) {
                        unnamed.push(*proto);
                    }
                }
            }
            Kind::Enum(enumeration) if enumeration.size == 0 => unsized_enums.push(id),
            _ => {}
        }
    }
    if !unnamed.is_empty() {
        let filler = btf.add_string("_unnamed");
        for proto in unnamed {
            if let Kind::FuncProto { params, .. } = &mut btf.get_mut(proto).kind {
                for param in params.iter_mut().filter(|param| param.ty != TypeId::VOID && param.name.0 == 0) {
                    param.name = filler;
                }
            }
        }
    }
    for id in unsized_enums {
        if let Kind::Enum(enumeration) = &mut btf.get_mut(id).kind {
            enumeration.size = ENUM_SIZE;
        }
    }
}
