//! How a program attaches, given the user's settings before the load.
//!
//! This module does not attach anything.

use super::OpenProgram;
use crate::abi::{Attach, TargetKind};
use crate::uapi::{AttachType, ProgramType};

/// Returns how a program attaches according to its section. A target that the user set with `set_attach_target` is not
/// taken into account.
pub(crate) fn way(open: &OpenProgram) -> Attach<&'static str> {
    let attach = open.definition.attach.map(|name| &**name);
    let is_given = open.target.is_some() || open.target_program.is_some();
    match open.program_type {
        ProgramType::TRACING | ProgramType::LSM | ProgramType::EXT if is_given => match open.attach_type {
            AttachType::TRACE_ITER => Attach::Target(TargetKind::Iter),
            // The attach type of the load determines the hook, but not the cgroup.
            AttachType::LSM_CGROUP => attach,
            AttachType::TRACE_FENTRY_MULTI | AttachType::TRACE_FEXIT_MULTI | AttachType::TRACE_FSESSION_MULTI => {
                Attach::Target(TargetKind::TracingMulti)
            }
            _ if open.target.is_none() => Attach::Tracing,
            _ => Attach::Target(TargetKind::Function),
        },
        kind if attach.target_kind().is_some() && fits(attach, kind) => attach,
        kind if kind == open.definition.program_type => attach,
        ProgramType::RAW_TRACEPOINT | ProgramType::RAW_TRACEPOINT_WRITABLE => Attach::Target(TargetKind::RawTracepoint),
        ProgramType::TRACEPOINT => Attach::Target(TargetKind::Tracepoint),
        _ => Attach::Needs(
            "an attach target: the section does not match the type set with `set_type`; call the `attach_*` method for this type",
        ),
    }
}

/// Returns whether programs of this type can attach to this kind of target. The user may have set a different type than
/// that of the section.
fn fits(attach: Attach<&str>, kind: ProgramType) -> bool {
    match attach {
        Attach::RawTracepoint(_) => {
            matches!(kind, ProgramType::RAW_TRACEPOINT | ProgramType::RAW_TRACEPOINT_WRITABLE)
        }
        Attach::TracingMulti { .. } => kind == ProgramType::TRACING,
        Attach::Tracing | Attach::Iter => matches!(kind, ProgramType::TRACING | ProgramType::LSM | ProgramType::EXT),
        Attach::Tracepoint { .. } => kind == ProgramType::TRACEPOINT,
        Attach::Kprobe { .. }
        | Attach::KprobeMulti { .. }
        | Attach::Ksyscall { .. }
        | Attach::Uprobe { .. }
        | Attach::UprobeMulti { .. }
        | Attach::Usdt { .. } => kind == ProgramType::KPROBE,
        Attach::Target(way) => match way {
            TargetKind::RawTracepoint => {
                matches!(kind, ProgramType::RAW_TRACEPOINT | ProgramType::RAW_TRACEPOINT_WRITABLE)
            }
            TargetKind::Tracepoint => kind == ProgramType::TRACEPOINT,
            TargetKind::TracingMulti => kind == ProgramType::TRACING,
            TargetKind::BtfTracepoint | TargetKind::Function | TargetKind::Lsm | TargetKind::Iter => {
                matches!(kind, ProgramType::TRACING | ProgramType::LSM | ProgramType::EXT)
            }
            TargetKind::Kprobe { .. }
            | TargetKind::KprobeMulti { .. }
            | TargetKind::Ksyscall { .. }
            | TargetKind::Uprobe { .. }
            | TargetKind::UprobeMulti { .. }
            | TargetKind::Usdt => kind == ProgramType::KPROBE,
        },
        Attach::Needs(_) | Attach::Never(_) => false,
    }
}
