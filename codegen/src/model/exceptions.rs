//! Exception callbacks: a declaration tag `exception_callback:NAME` on a program names the function that the kernel calls when it
//! throws (`bpf_throw`, Linux 6.7).
//!
//! Nothing in the program's instructions refers to the function, so it has to be added to it.

use std::collections::BTreeMap;

use crate::btf::{Btf, Kind};

/// What the tag's text begins with.
const TAG: &str = "exception_callback:";

/// The callbacks by the name of the function that they are for.
pub(super) fn callbacks(btf: &Btf) -> BTreeMap<&str, &str> {
    let tags = btf.iter().filter_map(|(id, ty)| match ty.kind {
        Kind::DeclTag { ty, component: None, .. } if matches!(btf.get(ty).kind, Kind::Func { .. }) => {
            Some((btf.name(ty), btf.name(id).strip_prefix(TAG)?))
        }
        _ => None,
    });
    tags.collect()
}
