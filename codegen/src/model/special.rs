//! What the kernel keeps out of memory that is mapped: variables with locks, timers, lists and the like.
//!
//! A section with a visible variable is mapped, and the kernel refuses to map a map that has such a field anywhere (`ENOTSUPP`, 524). Which
//! types these are is `btf_parse_fields` of Linux 7.3.4; 6.18 was seen to refuse each.

use skelgen_runtime::uapi::map_flags;

use super::Map;
use crate::btf::{Btf, Kind, TypeId};
use crate::error::{Code, Diagnostic, Reporter};

/// Structs that only programs may touch.
const STRUCTS: [&str; 8] = [
    "bpf_spin_lock",
    "bpf_res_spin_lock",
    "bpf_timer",
    "bpf_wq",
    "bpf_task_work",
    "bpf_list_head",
    "bpf_rb_root",
    "bpf_refcount",
];

/// Tags of types that pointers to kernel objects point to.
const TAGS: [&str; 4] = ["kptr", "kptr_untrusted", "percpu_kptr", "uptr"];

/// How deep structs are looked into.
const DEPTH: u32 = 8;

/// Reports each section that would be mapped and has something of this kind in it.
pub(super) fn check(btf: &Btf, maps: &[Map], reporter: &mut Reporter) {
    for map in maps.iter().filter(|map| map.def.flags & map_flags::MMAPABLE != 0) {
        let Some(section) = &map.section else { continue };
        let found = section.variables.iter().find_map(|it| Some((it, special(btf, it.ty, DEPTH)?)));
        let Some((variable, what)) = found else { continue };
        let message = format!(
            "section {}: `{}` has a {what} and shares the section with variables that user space sees; the kernel does not map such a \
             section (ENOTSUPP, 524)",
            map.name, variable.name
        );
        let others: Vec<_> = section
            .variables
            .iter()
            .filter(|other| other.visible && special(btf, other.ty, DEPTH).is_none())
            .map(|other| format!("`{}`", other.name))
            .collect();
        let is_hidden = if variable.visible { "declare it `static` or `__hidden` and " } else { "" };
        let note = match others.is_empty() {
            true => format!("declare `{}` and its like in the section `static` or `__hidden`", variable.name),
            false => format!(
                "{is_hidden}put it into a section of its own where nothing is visible, such as SEC(\".data.{}\"), or hide {}",
                variable.name,
                shown(&others)
            ),
        };
        reporter.report(Diagnostic::new(Code::BadData, message).section(&map.name).note(note));
    }
}

fn shown(names: &[String]) -> String {
    const SHOWN: usize = 5;
    match names.len() {
        more if more > SHOWN => format!("{} and {} more", names[..SHOWN].join(", "), more - SHOWN),
        _ => names.join(", "),
    }
}

/// What of a type the kernel keeps to programs: itself, or a member or element of it.
fn special(btf: &Btf, ty: TypeId, depth: u32) -> Option<String> {
    let ty = btf.resolve(ty);
    match &btf.get(ty).kind {
        Kind::Struct(_) if STRUCTS.contains(&btf.name(ty)) => Some(format!("`struct {}`", btf.name(ty))),
        Kind::Struct(composite) if depth > 0 => {
            composite.members.iter().find_map(|member| special(btf, member.ty, depth - 1))
        }
        Kind::Array { element, len: 1.., .. } if depth > 0 => special(btf, *element, depth - 1),
        Kind::Ptr(to) => match btf.get(*to).kind {
            Kind::TypeTag { attribute: false, .. } if TAGS.contains(&btf.name(*to)) => {
                Some(format!("pointer of kind `{}`", btf.name(*to)))
            }
            _ => None,
        },
        _ => None,
    }
}
