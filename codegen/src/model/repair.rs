//! Repairs BTF that compilers write and the kernel would reject, without changing the meaning of the types.
//!
//! The rules are those of kernel/bpf/btf.c in Linux 7.3.4: function parameters have names, names are C identifiers, and
//! an enumeration has a size even if it is only declared.

use std::collections::BTreeMap;

use crate::btf::{Btf, Kind, StringRef, TypeId};

/// The size in bytes of an enumeration without a definition: that of C's `int`.
const ENUM_SIZE: u32 = 4;

/// Applies all changes.
pub(super) fn repair(mut btf: Btf) -> Btf {
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
    rename(&mut btf);
    btf
}

/// Replaces characters that C identifiers cannot contain by `_`. bpf-linker keeps some names of Rust types, such as
/// `()`.
fn rename(btf: &mut Btf) {
    let mut wrong: BTreeMap<StringRef, StringRef> = BTreeMap::new();
    let ids: Vec<TypeId> = btf.iter().map(|(id, _)| id).collect();
    for &id in &ids {
        for name in names(btf, id) {
            if !wrong.contains_key(&name) && !is_name(btf.str(name)) {
                let text = identifier(btf.str(name));
                let right = btf.add_string(&text);
                wrong.insert(name, right);
            }
        }
    }
    if wrong.is_empty() {
        return;
    }
    let right = |name: &mut StringRef| *name = wrong.get(name).copied().unwrap_or(*name);
    for id in ids {
        let ty = btf.get_mut(id);
        if has_identifier(&ty.kind) {
            right(&mut ty.name);
        }
        match &mut ty.kind {
            Kind::Struct(it) | Kind::Union(it) => it.members.iter_mut().for_each(|member| right(&mut member.name)),
            Kind::Enum(it) => it.values.iter_mut().for_each(|(name, _)| right(name)),
            Kind::FuncProto { params, .. } => params.iter_mut().for_each(|param| right(&mut param.name)),
            _ => {}
        }
    }
}

/// Returns the names in a type that must be C identifiers.
fn names(btf: &Btf, id: TypeId) -> Vec<StringRef> {
    let ty = btf.get(id);
    let mut names: Vec<StringRef> = match &ty.kind {
        Kind::Struct(it) | Kind::Union(it) => it.members.iter().map(|member| member.name).collect(),
        Kind::Enum(it) => it.values.iter().map(|(name, _)| *name).collect(),
        Kind::FuncProto { params, .. } => params.iter().map(|param| param.name).collect(),
        _ => Vec::new(),
    };
    names.extend(has_identifier(&ty.kind).then_some(ty.name));
    names
}

fn has_identifier(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Struct(_)
            | Kind::Union(_)
            | Kind::Enum(_)
            | Kind::Fwd { .. }
            | Kind::Typedef(_)
            | Kind::Func { .. }
            | Kind::Var { .. }
    )
}

/// Returns whether the text is a C identifier or empty.
fn is_name(name: &str) -> bool {
    name.chars().all(is_part) && !name.starts_with(|first: char| first.is_ascii_digit())
}

fn identifier(name: &str) -> String {
    let text: String = name.chars().map(|c| if is_part(c) { c } else { '_' }).collect();
    if text.starts_with(|first: char| first.is_ascii_digit()) { format!("_{text}") } else { text }
}

/// Returns whether a name may contain the character. Compilers generate names with dots.
fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.'
}
