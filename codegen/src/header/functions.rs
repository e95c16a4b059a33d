//! The kernel's functions that BPF programs can call (kfuncs), as declarations.
//!
//! BTF marks them by the tag `bpf_kfunc`, since Linux 6.10 and pahole 1.26. The declarations are weak, so that a
//! program also loads on a kernel without the function, if it tests the function's address before the call.

use std::collections::{HashMap, HashSet};

use super::write::Writer;
use super::{names, too_long};
use crate::btf::{Btf, Kind, TypeId};
use crate::error::Result;

/// The tag of functions that programs can call.
const CALLABLE: &str = "bpf_kfunc";

/// The tag of functions that preserve caller-saved registers.
const FAST: &str = "bpf_fastcall";

/// A function that programs can call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Function<'btf> {
    pub(super) name: &'btf str,
    pub(super) proto: TypeId,
    fast: bool,
}

impl<'btf> Function<'btf> {
    /// Returns the kfuncs with ids from `first` on, in the order of their ids. Of kfuncs with the same name, returns
    /// only the first.
    pub(super) fn all(btf: &'btf Btf, first: TypeId) -> Vec<Self> {
        let mut tags: HashMap<TypeId, (bool, bool)> = HashMap::new();
        for (id, ty) in btf.iter() {
            if let Kind::DeclTag { ty, component: None, attribute: false } = ty.kind {
                let (callable, fast) = tags.entry(ty).or_default();
                *callable |= btf.name(id) == CALLABLE;
                *fast |= btf.name(id) == FAST;
            }
        }
        let mut seen = HashSet::new();
        let function = |(id, ty): (TypeId, &crate::btf::Type)| {
            let Kind::Func { proto, .. } = ty.kind else { return None };
            let &(callable, fast) = tags.get(&id)?;
            let name = btf.name(id);
            // The kernel finds the function by its name, so a name that is not a C identifier cannot be replaced.
            (id >= first && callable && names::is_identifier(name) && seen.insert(name)).then_some(Function {
                name,
                proto,
                fast,
            })
        };
        btf.iter().filter_map(function).collect()
    }
}

/// Writes the declarations.
///
/// # Errors
/// [`Code::BadBtf`](crate::error::Code::BadBtf) if a declaration exceeds a limit.
pub(super) fn write(writer: &mut Writer<'_>, functions: &[Function<'_>], out: &mut String) -> Result<()> {
    if functions.is_empty() {
        return Ok(());
    }
    out.push_str("#ifndef BPF_NO_KFUNC_PROTOTYPES\n");
    let fast = functions.iter().any(|function| function.fast);
    if fast {
        out.push_str(
            "#if __has_attribute(bpf_fastcall)\n#define __vmlinux_fastcall __attribute__((bpf_fastcall))\n#else\n\
             #define __vmlinux_fastcall\n#endif\n",
        );
    }
    for function in functions {
        let mut attributes = "__attribute__((weak, section(\".ksyms\")))".to_owned();
        if function.fast {
            attributes.push_str(" __vmlinux_fastcall");
        }
        writer.budget.begin();
        writer.budget.bytes(function.name.len() + attributes.len());
        let declared = writer.declaration(function.proto, function.name.to_owned());
        if writer.budget.is_exceeded() {
            return Err(too_long(&format!("function `{}`", function.name)));
        }
        out.push_str(&format!("extern {declared} {attributes};\n"));
    }
    if fast {
        out.push_str("#undef __vmlinux_fastcall\n");
    }
    out.push_str("#endif\n\n");
    Ok(())
}
