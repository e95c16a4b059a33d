//! Variables that the kernel does not map into user space: locks, timers, pointers to kernel objects, and similar
//! types.
//!
//! A section with a visible variable is mapped into user space. The kernel refuses to map it if any of its variables
//! has a field of such a type (`ENOTSUPP`, 524). The types are those of `btf_parse_fields` in Linux 7.3.4; tests show
//! that Linux 6.18 and 7.3 refuse each of them. If the kernel rejects the BTF itself, such as two timers in one
//! section, the runtime creates the map without BTF. That map can be mapped, so nothing is reported.

use std::collections::BTreeSet;
use std::fmt;

use skelgen_abi::uapi::map_flags;

use super::Map;
use super::pass::{Notes, Pass};
use crate::btf::{Btf, Kind, TypeId};
use crate::error::{Code, Diagnostic};

/// Structs that only programs may access. A map value can contain at most one of each. Lists and trees are missing here
/// because they require a lock in the same section.
const STRUCTS: [&str; 6] =
    ["bpf_spin_lock", "bpf_res_spin_lock", "bpf_timer", "bpf_wq", "bpf_task_work", "bpf_refcount"];

/// Type tags of pointers to kernel objects.
const TAGS: [&str; 4] = ["kptr", "kptr_untrusted", "percpu_kptr", "uptr"];

/// The maximum nesting of structs in the search.
const DEPTH: u32 = 8;

/// The maximum number of types in the search of a section. A damaged object can have very many types.
const TYPES: u32 = 10_000;

/// Reports each section that would be mapped into user space and has such a variable.
pub(super) fn check(btf: &Btf, maps: &[Map]) -> Pass<()> {
    let mut notes = Notes::default();
    for map in maps.iter().filter(|map| map.def.flags & map_flags::MMAPABLE != 0) {
        let Some(section) = &map.section else { continue };
        let (mut found, mut left) = (Vec::new(), TYPES);
        for variable in &section.variables {
            special(btf, variable.ty, (DEPTH, &mut left), &mut |what| found.push((variable, what)));
        }
        let mut structs = BTreeSet::new();
        if !found.iter().all(|(_, what)| matches!(what, Special::Pointer(_)) || structs.insert(what)) {
            continue;
        }
        let Some((variable, what)) = found.first() else { continue };
        let message = format!(
            "section {}: `{}` has a {what}, but the section has visible variables, so it is mapped into user space, \
             which the kernel rejects for such a type (ENOTSUPP, 524)",
            map.def.name, variable.name
        );
        let special: BTreeSet<_> = found.iter().map(|(variable, _)| &variable.name).collect();
        let others = section.variables.iter().filter(|other| other.visible && !special.contains(&other.name));
        let others: Vec<_> = others.map(|other| format!("`{}`", other.name)).collect();
        let is_hidden = if variable.visible { "declare it `static` or `__hidden` and " } else { "" };
        let help = match others.is_empty() {
            true => format!(
                "declare `{}` and all other visible variables of the section `static` or `__hidden`",
                variable.name
            ),
            false => format!(
                "{is_hidden}move it to a section without visible variables, such as SEC(\".data.{}\"), or declare {} \
                 `static` or `__hidden`",
                variable.name,
                shown(&others)
            ),
        };
        notes.report(Diagnostic::new(Code::BadData, message).section(&*map.def.name).with_help(help));
    }
    notes.with(())
}

fn shown(names: &[String]) -> String {
    const SHOWN: usize = 5;
    match names.len() {
        more if more > SHOWN => format!("{} and {} more", names[..SHOWN].join(", "), more - SHOWN),
        _ => names.join(", "),
    }
}

/// A field that only programs may access.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Special {
    Struct(String),
    Pointer(String),
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Struct(name) => write!(f, "`struct {name}`"),
            Self::Pointer(tag) => write!(f, "pointer of kind `{tag}`"),
        }
    }
}

/// Finds the fields in a type that only programs may access: the type itself, its members and its array elements.
fn special(btf: &Btf, ty: TypeId, (depth, left): (u32, &mut u32), found: &mut dyn FnMut(Special)) {
    let Some(rest) = left.checked_sub(1) else { return };
    *left = rest;
    let ty = btf.resolve(ty);
    match &btf.get(ty).kind {
        Kind::Struct(_) if STRUCTS.contains(&btf.name(ty)) => found(Special::Struct(btf.name(ty).to_owned())),
        Kind::Struct(composite) if depth > 0 => {
            composite.members.iter().for_each(|member| special(btf, member.ty, (depth - 1, left), found));
        }
        Kind::Array { element, len, .. } if depth > 0 => {
            // Two array elements suffice to find a repeated field.
            (0..(*len).min(2)).for_each(|_| special(btf, *element, (depth - 1, left), found));
        }
        Kind::Ptr(to) => match btf.get(*to).kind {
            Kind::TypeTag { attribute: false, ty }
                if TAGS.contains(&btf.name(*to)) && matches!(btf.get(btf.resolve(ty)).kind, Kind::Struct(_)) =>
            {
                found(Special::Pointer(btf.name(*to).to_owned()));
            }
            _ => {}
        },
        _ => {}
    }
}
