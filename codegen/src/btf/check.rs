//! Validity checks of a type table: every id exists and refers to a type of the right kind, and no type contains
//! itself.

use super::parse::invalid;
use super::{Btf, Kind, StringRef, TypeId};
use crate::error::Result;

/// The maximum nesting of types. The kernel's limit is 32; this limit only keeps recursion from overflowing the stack.
const MAX_DEPTH: u16 = 256;

/// The maximum total length of all names, as a multiple of the size of the string table. In a kernel's BTF, it is 2.
const REPEATED: usize = 64;

impl Btf {
    /// Returns the table if it is valid.
    ///
    /// # Errors
    /// `BadBtf`.
    pub(crate) fn checked(self) -> Result<Self> {
        check(&self).map_err(|message| invalid(&message))?;
        Ok(self)
    }
}

fn check(btf: &Btf) -> Result<(), String> {
    for (id, ty) in btf.iter() {
        check_ids(btf, &ty.kind).map_err(|message| format!("type {id} `{}`: {message}", btf.str(ty.name)))?;
    }
    check_names(btf)?;
    check_containment(btf)
}

/// Checks that the total length of all names is not much larger than the string table. Otherwise generated text, which
/// contains every name, could be huge: many names can be suffixes of one long string.
fn check_names(btf: &Btf) -> Result<(), String> {
    let mut left = (1 << 20) + REPEATED * btf.strings.len();
    let mut name = |name: StringRef| match left.checked_sub(btf.str(name).len()) {
        Some(rest) => {
            left = rest;
            Ok(())
        }
        None => Err("its names together are too long: they repeat long strings".to_owned()),
    };
    for (_, ty) in btf.iter() {
        name(ty.name)?;
        match &ty.kind {
            Kind::Struct(composite) | Kind::Union(composite) => {
                composite.members.iter().try_for_each(|member| name(member.name))?;
            }
            Kind::Enum(enumeration) => enumeration.values.iter().try_for_each(|(value, _)| name(*value))?,
            Kind::FuncProto { params, .. } => params.iter().try_for_each(|param| name(param.name))?,
            _ => {}
        }
    }
    Ok(())
}

fn check_ids(btf: &Btf, kind: &Kind) -> Result<(), String> {
    // Accepts `void` and every type that values can have; rejects declarations, such as variables and functions.
    let any = |id: TypeId| match btf.try_get(id).map(|ty| &ty.kind) {
        None => Err(format!("type {id} does not exist")),
        Some(Kind::Func { .. } | Kind::Var { .. } | Kind::Datasec(_) | Kind::DeclTag { .. }) => {
            Err(format!("{id} is a declaration, not a type"))
        }
        Some(_) => Ok(()),
    };
    let value = |id: TypeId| if id == TypeId::VOID { Err("void is not a value type".to_owned()) } else { any(id) };
    match kind {
        Kind::Void | Kind::Int(_) | Kind::Enum(_) | Kind::Fwd { .. } | Kind::Float(_) | Kind::Unknown(_) => Ok(()),
        Kind::Ptr(id) | Kind::Typedef(id) | Kind::Volatile(id) | Kind::Const(id) | Kind::Restrict(id) => any(*id),
        Kind::TypeTag { ty, .. } => any(*ty),
        Kind::Array { element, index, .. } => value(*element).and_then(|()| value(*index)),
        Kind::Struct(composite) | Kind::Union(composite) => {
            composite.members.iter().try_for_each(|member| value(member.ty))
        }
        Kind::Func { proto, .. } => match btf.try_get(*proto).map(|ty| &ty.kind) {
            Some(Kind::FuncProto { .. }) => Ok(()),
            _ => Err(format!("{proto} is not a function type")),
        },
        Kind::FuncProto { returns, params } => {
            any(*returns).and_then(|()| params.iter().try_for_each(|param| any(param.ty)))
        }
        // Ksyms without a type are of type `const void`.
        Kind::Var { ty, .. } => any(*ty),
        Kind::Datasec(section) => {
            section.vars.iter().try_for_each(|var| match btf.try_get(var.ty).map(|ty| &ty.kind) {
                Some(Kind::Var { .. } | Kind::Func { .. }) => Ok(()),
                _ => Err(format!("{} is not a variable", var.ty)),
            })
        }
        Kind::DeclTag { ty, .. } => match btf.try_get(*ty).map(|ty| &ty.kind) {
            Some(Kind::Datasec(_) | Kind::DeclTag { .. }) => Err(format!("type {ty} cannot have declaration tags")),
            Some(_) => Ok(()),
            None => Err(format!("type {ty} does not exist")),
        },
    }
}

/// Returns the `index`th type that a value of this kind contains. A pointer contains no type.
fn contained(kind: &Kind, index: usize) -> Option<TypeId> {
    match kind {
        Kind::Struct(composite) | Kind::Union(composite) => composite.members.get(index).map(|member| member.ty),
        Kind::Array { element: id, .. }
        | Kind::Typedef(id)
        | Kind::Volatile(id)
        | Kind::Const(id)
        | Kind::Restrict(id)
        | Kind::TypeTag { ty: id, .. } => (index == 0).then_some(*id),
        _ => None,
    }
}

/// Visits each type once. The stack is explicit, because the input determines the nesting depth and recursion could
/// overflow the stack.
fn check_containment(btf: &Btf) -> Result<(), String> {
    // The nesting depth of each visited type; 0 before its visit.
    let mut depths = vec![0_u16; btf.len()];
    let mut open = vec![false; btf.len()];
    let mut stack: Vec<(TypeId, usize)> = Vec::new();
    for (root, _) in btf.iter() {
        if depths[root.index()] == 0 {
            stack.push((root, 0));
        }
        while let Some(&mut (id, ref mut next)) = stack.last_mut() {
            let kind = &btf.get(id).kind;
            open[id.index()] = true;
            if let Some(child) = contained(kind, *next) {
                *next += 1;
                if open[child.index()] {
                    return Err(format!("type {child} `{}` contains itself", btf.name(child)));
                }
                if depths[child.index()] == 0 {
                    stack.push((child, 0));
                }
                continue;
            }
            let deepest =
                (0..*next).filter_map(|index| contained(kind, index)).map(|child| depths[child.index()]).max();
            let depth = deepest.unwrap_or(0).saturating_add(1);
            if depth > MAX_DEPTH {
                return Err(format!("type {id} `{}` nests more than {MAX_DEPTH} types", btf.name(id)));
            }
            depths[id.index()] = depth;
            open[id.index()] = false;
            stack.pop();
        }
    }
    Ok(())
}
