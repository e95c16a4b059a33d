//! Context arguments (`arg:ctx`) for kernels before 6.8, which ignore the tag and recognize a context by its type.
//!
//! The type that such a kernel requires depends on the program type, so each program is loaded with its own BTF. The
//! names of the context types, and which types are accepted in their place, are those of libbpf 1.8.

use std::collections::BTreeMap;

use super::{Record, records, sections};
use crate::btf::format::written;
use crate::btf::{Types, kind};
use crate::uapi::ProgramType;

const TAG: &str = "arg:ctx";
/// `BTF_FUNC_GLOBAL`, the linkage of global functions. Static functions need no types, because the verifier follows
/// their calls.
const GLOBAL: u32 = 1;

/// Returns BTF in which tagged arguments have the context type of `program_type`, or `None` if nothing changes. `original` is the object's
/// own BTF, which has the tags; `accepted` is the BTF that the kernel accepted.
pub(crate) fn with_contexts(original: &[u8], accepted: &[u8], program_type: ProgramType) -> Option<Vec<u8>> {
    let context = context(program_type)?;
    let tagged = tagged(original, program_type, context)?;
    let sections = sections(accepted)?;
    let all = records(&sections)?;
    let begins: Vec<usize> = all
        .iter()
        .scan(0, |at, record| {
            let begin = *at;
            *at += record.bytes.len();
            Some(begin)
        })
        .collect();
    let (mut types, mut strings) = (sections.types.to_vec(), sections.strings.to_vec());
    let first = u32::try_from(all.len()).ok()?.checked_add(1)?;
    let (structure, pointer) = (first, first.checked_add(1)?);
    let name = u32::try_from(strings.len()).ok()?;
    strings.extend_from_slice(context.as_bytes());
    strings.push(0);
    for word in [name, kind::STRUCT << 24, 0, 0, kind::PTR << 24, structure] {
        types.extend_from_slice(&word.to_ne_bytes());
    }
    // Functions can share a prototype although only one of them changes, so that function gets a new prototype.
    // Functions keep their ids.
    for (id, (function, parameters)) in (pointer.checked_add(1)?..).zip(tagged) {
        let record = at(&all, function).filter(|record| record.kind == kind::FUNC)?;
        let prototype = at(&all, record.size_or_type).filter(|record| record.kind == kind::FUNC_PROTO)?;
        let mut bytes = prototype.bytes.to_vec();
        for parameter in parameters {
            let offset = 12 + parameter * 8 + 4;
            bytes.get_mut(offset..offset + 4)?.copy_from_slice(&pointer.to_ne_bytes());
        }
        types.extend_from_slice(&bytes);
        let offset = *begins.get(usize::try_from(function).ok()?.checked_sub(1)?)? + 8;
        types.get_mut(offset..offset + 4)?.copy_from_slice(&id.to_ne_bytes());
    }
    written(&types, &strings)
}

/// Returns the global functions with tagged arguments whose types must be changed, and the indices of these arguments;
/// `None` if there are no such functions.
fn tagged(btf: &[u8], program_type: ProgramType, context: &str) -> Option<BTreeMap<u32, Vec<usize>>> {
    let all = records(&sections(btf)?)?;
    // Most objects have no tags: return before the types are indexed.
    all.iter().find(|record| record.kind == kind::DECL_TAG)?;
    let types = Types::of_program(btf.to_vec()).ok()?;
    let mut found: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for tag in all.iter().filter(|record| record.kind == kind::DECL_TAG && types.string(record.name) == TAG) {
        let function = at(&all, tag.size_or_type).filter(|record| record.kind == kind::FUNC && record.count == GLOBAL);
        let Some(function) = function else { continue };
        let parameter = tag.word(0).and_then(|parameter| usize::try_from(parameter).ok());
        let ty = parameter.and_then(|parameter| types.parameters(function.size_or_type).nth(parameter));
        if let (Some(parameter), Some(ty)) = (parameter, ty) {
            if changes(&types, ty, program_type, context) {
                found.entry(tag.size_or_type).or_default().push(parameter);
            }
        }
    }
    (!found.is_empty()).then_some(found)
}

/// Returns whether an argument must change: it is a context, but does not have the type that the kernel requires.
fn changes(types: &Types, argument: u32, program_type: ProgramType, context: &str) -> bool {
    let Some(to) = types.referenced(types.resolve(argument), kind::PTR) else { return false };
    let is_registers = matches!(program_type, ProgramType::KPROBE | ProgramType::PERF_EVENT)
        && types.typedefs(to).any(|name| name == "bpf_user_pt_regs_t");
    if is_registers {
        return false;
    }
    let to = types.resolve(to);
    let (kind, name) = (types.kind(to), types.name(to));
    match program_type {
        _ if kind == kind::VOID => true,
        _ if kind == kind::STRUCT && name == context => false,
        ProgramType::KPROBE => kind == kind::STRUCT && name == "pt_regs",
        ProgramType::PERF_EVENT => kind == kind::STRUCT && name == REGISTERS,
        ProgramType::RAW_TRACEPOINT | ProgramType::RAW_TRACEPOINT_WRITABLE => {
            kind == kind::INT && types.size(to) == Some(8)
        }
        _ => false,
    }
}

/// The name of the struct for which `bpf_user_pt_regs_t` is a typedef on this architecture.
const REGISTERS: &str = if cfg!(any(target_arch = "x86_64", target_arch = "x86")) {
    "pt_regs"
} else if cfg!(any(target_arch = "riscv64", target_arch = "riscv32")) {
    "user_regs_struct"
} else {
    "user_pt_regs"
};

/// Returns the name of the context type for a program type; `None` if the context has no named type.
fn context(program_type: ProgramType) -> Option<&'static str> {
    Some(match program_type {
        ProgramType::CGROUP_DEVICE => "bpf_cgroup_dev_ctx",
        ProgramType::CGROUP_SKB
        | ProgramType::FLOW_DISSECTOR
        | ProgramType::LWT_IN
        | ProgramType::LWT_OUT
        | ProgramType::LWT_SEG6LOCAL
        | ProgramType::LWT_XMIT
        | ProgramType::SCHED_ACT
        | ProgramType::SCHED_CLS
        | ProgramType::SK_SKB
        | ProgramType::SOCKET_FILTER => "__sk_buff",
        ProgramType::CGROUP_SOCK => "bpf_sock",
        ProgramType::CGROUP_SOCK_ADDR => "bpf_sock_addr",
        ProgramType::CGROUP_SOCKOPT => "bpf_sockopt",
        ProgramType::CGROUP_SYSCTL => "bpf_sysctl",
        ProgramType::KPROBE => "bpf_user_pt_regs_t",
        ProgramType::NETFILTER => "bpf_nf_ctx",
        ProgramType::PERF_EVENT => "bpf_perf_event_data",
        ProgramType::RAW_TRACEPOINT | ProgramType::RAW_TRACEPOINT_WRITABLE => "bpf_raw_tracepoint_args",
        ProgramType::SK_LOOKUP => "bpf_sk_lookup",
        ProgramType::SK_MSG => "sk_msg_md",
        ProgramType::SK_REUSEPORT => "sk_reuseport_md",
        ProgramType::SOCK_OPS => "bpf_sock_ops",
        ProgramType::XDP => "xdp_md",
        _ => return None,
    })
}

/// Returns the record of a type id.
fn at<'a, 'b>(all: &'a [Record<'b>], id: u32) -> Option<&'a Record<'b>> {
    all.get(usize::try_from(id).ok()?.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::testing::Btf;

    /// `int shared(void *ctx)` and `int tagged(void *ctx __arg_ctx)` with one prototype, and two tags that must be ignored.
    fn object() -> Btf {
        let mut btf = Btf::new();
        let int = btf.int("int", 4, true);
        let pointer = btf.pointer(0);
        let prototype = btf.function_type(int, &[pointer, int]);
        btf.add("shared", kind::FUNC, false, 1, prototype, &[]);
        let tagged = btf.add("tagged", kind::FUNC, false, 1, prototype, &[]);
        btf.add(TAG, kind::DECL_TAG, false, 0, tagged, &[0]);
        // A number cannot be a context, and a static function needs no types.
        btf.add(TAG, kind::DECL_TAG, false, 0, tagged, &[1]);
        let hidden = btf.add("hidden", kind::FUNC, false, 0, prototype, &[]);
        btf.add(TAG, kind::DECL_TAG, false, 0, hidden, &[0]);
        btf
    }

    #[test]
    fn tagged_arguments_get_the_context_type() {
        let bytes = object().bytes();
        let sanitized =
            super::super::sanitized(&bytes, |feature| feature == super::super::Feature::DeclarationTags).unwrap();
        for accepted in [&bytes, &sanitized] {
            let types = Types::of_program(with_contexts(&bytes, accepted, ProgramType::XDP).unwrap()).unwrap();
            let parameters = |function| {
                let prototype = types.referenced(function, kind::FUNC).unwrap();
                types.parameters(prototype).collect::<Vec<_>>()
            };
            assert_eq!((parameters(4), parameters(8)), (vec![2, 1], vec![2, 1]));
            let [context, number] = parameters(5)[..] else { panic!("it has two") };
            assert_eq!((types.name(5), number), ("tagged", 1));
            let context = types.pointee(context).unwrap();
            assert_eq!((types.kind(context), types.name(context)), (kind::STRUCT, "xdp_md"));
        }
        assert_eq!(with_contexts(&bytes, &bytes, ProgramType::TRACING), None, "its context has no name");
    }

    #[test]
    fn arguments_with_an_accepted_type_stay() {
        let of = |name, program_type| {
            let mut btf = Btf::new();
            let int = btf.int("long long", 8, false);
            let to = if name == "u64" { int } else { btf.structure(name, 8, &[]) };
            let pointer = btf.pointer(to);
            let prototype = btf.function_type(int, &[pointer]);
            let function = btf.add("f", kind::FUNC, false, 1, prototype, &[]);
            btf.add(TAG, kind::DECL_TAG, false, 0, function, &[0]);
            with_contexts(&btf.bytes(), &btf.bytes(), program_type).is_some()
        };
        assert!(!of("xdp_md", ProgramType::XDP) && !of("other", ProgramType::XDP));
        assert!(of("pt_regs", ProgramType::KPROBE) && of("u64", ProgramType::RAW_TRACEPOINT));
        assert!(!of("u64", ProgramType::XDP));
    }
}
