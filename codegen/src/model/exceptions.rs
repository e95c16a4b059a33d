//! Exception callbacks: a declaration tag `exception_callback:NAME` on a program names the function that the kernel
//! calls when the program throws (`bpf_throw`, Linux 6.7).
//!
//! No instruction of the program refers to that function, so linking adds it explicitly.

use std::collections::BTreeMap;

use crate::btf::{Btf, Kind};

/// The prefix of the tag.
const TAG: &str = "exception_callback:";

/// Returns, for each function with the tag, the name of its callback.
pub(super) fn callbacks(btf: &Btf) -> BTreeMap<&str, &str> {
    let tags = btf.iter().filter_map(|(id, ty)| match ty.kind {
        Kind::DeclTag { ty, component: None, .. } if matches!(btf.get(ty).kind, Kind::Func { .. }) => {
            Some((btf.name(ty), btf.name(id).strip_prefix(TAG)?))
        }
        _ => None,
    });
    tags.collect()
}
