//! The selection of types and functions for a header: all, or those with given names.

use super::Contents;
use super::functions::Function;
use super::names::is_declaration;
use crate::btf::{Btf, Kind, TypeId};
use crate::error::{Code, Diagnostic, Result};

/// Returns the types to define and the functions to declare.
///
/// # Errors
/// [`Code::NoSuchType`] if no type or function has one of the names.
pub(super) fn select<'btf>(
    btf: &'btf Btf,
    contents: &Contents<'_>,
    mut functions: Vec<Function<'btf>>,
) -> Result<(Vec<TypeId>, Vec<Function<'btf>>)> {
    let is_item = |kind: &Kind| {
        matches!(kind, Kind::Struct(_) | Kind::Union(_) | Kind::Enum(_) | Kind::Typedef(_) | Kind::Fwd { .. })
    };
    let items = btf.iter().filter(|(id, ty)| *id >= contents.first && is_item(&ty.kind));
    if contents.only.is_empty() {
        let named = |id: TypeId, kind: &Kind| !btf.name(id).is_empty() || matches!(kind, Kind::Enum(_));
        let all = items.filter(|(id, ty)| named(*id, &ty.kind)).map(|(id, _)| id).collect();
        return Ok((all, functions));
    }
    let wanted: Vec<(Option<&str>, &str)> = contents.only.iter().map(|name| words(name)).collect();
    let mut found = vec![false; wanted.len()];
    let mut meant = |keyword: &str, name: &str| {
        let mut any = false;
        for (index, (kind, wanted)) in wanted.iter().enumerate() {
            if *wanted == name && kind.is_none_or(|kind| kind == keyword) {
                (found[index], any) = (true, true);
            }
        }
        any
    };
    let types = items
        .filter(|(id, ty)| !is_declaration(&ty.kind) && meant(keyword(&ty.kind), btf.name(*id)))
        .map(|(id, _)| id)
        .collect();
    functions.retain(|function| meant("function", function.name));
    let missing = contents.only.iter().zip(&found).filter(|(_, found)| !**found);
    let missing: Vec<String> = missing.map(|(name, _)| format!("`{name}`")).collect();
    if missing.is_empty() {
        Ok((types, functions))
    } else {
        let message = format!("the BTF has no struct, union, enum, typedef or kfunc named {}", missing.join(", "));
        Err(Diagnostic::new(Code::NoSuchType, message)
            .with_help("the types of a kernel module are in its own file, such as /sys/kernel/btf/nf_tables")
            .into())
    }
}

/// Splits the C name of a type, such as `struct event`, into keyword and name. Returns a name that no type has if there
/// are more words.
fn words(name: &str) -> (Option<&str>, &str) {
    let mut words = name.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(keyword), Some(name), None) => (Some(keyword), name),
        (Some(name), None, None) => (None, name),
        // No type has a name with spaces.
        _ => (None, " "),
    }
}

const fn keyword(kind: &Kind) -> &'static str {
    match kind {
        Kind::Struct(_) => "struct",
        Kind::Union(_) => "union",
        Kind::Enum(_) => "enum",
        _ => "typedef",
    }
}
