//! Changes to a rejected program for older kernels: features that the kernel lacks and the program does not need are
//! removed.
//!
//! Features are probed only after a request was rejected, so kernels that accept the program are never probed.

use super::Executor;
use super::programs::Form;
use crate::error::{Errno, Result};
use crate::helper;
use crate::kernel::features;
use crate::opcode::{self, INSN_SIZE};
use crate::open::LoadEvent;
use crate::uapi::AttachType;

/// Helpers that read only user or only kernel memory (Linux 5.5), each with the older helper that reads both:
/// `bpf_probe_read_user`, `bpf_probe_read_kernel`, and the same for strings.
const READS: [(i32, i32); 4] = [
    (helper::PROBE_READ_USER, helper::PROBE_READ),
    (helper::PROBE_READ_KERNEL, helper::PROBE_READ),
    (helper::PROBE_READ_USER_STR, helper::PROBE_READ_STR),
    (helper::PROBE_READ_KERNEL_STR, helper::PROBE_READ_STR),
];

impl Executor {
    /// Changes a rejected program. Returns whether something changed, so that another attempt to load it can succeed.
    pub(super) fn fix_up(&mut self, index: u32, form: &mut Form, errno: Errno, log: Option<&str>) -> Result<bool> {
        if let Some(core) = self.parts.core.filter(|_| !form.code.core_relos.is_empty()) {
            if (core.is_cause)(errno, log)? {
                (core.relocate)(self, index, form)?;
                return Ok(true);
            }
        }
        // `E2BIG` means that the kernel does not support a field of the request.
        if errno.raw() == libc::E2BIG && !form.name.is_empty() && !features::names()? {
            form.name = "";
            self.emit_changed(index, "its name is left out");
            return Ok(true);
        }
        // Kernels without this field never need it, because all program types that require an attach type were added
        // later.
        let has_attach_type = form.attach_type != AttachType(0);
        if errno.raw() == libc::E2BIG && has_attach_type && !features::attach_types()? {
            form.attach_type = AttachType(0);
            self.emit_changed(index, "its attach type is left out");
            return Ok(true);
        }
        if errno.raw() == libc::EINVAL && has_separate_reads(&form.code.insns) && !features::separate_reads()? {
            use_older_reads(form.code.insns.to_mut());
            self.emit_changed(index, "helpers replaced by bpf_probe_read and bpf_probe_read_str");
            return Ok(true);
        }
        // Support for the tags (6.8) is not probed: a kernel that supports them rejects the program with the changed
        // types as well.
        if let (Some(part), None, false) = (self.parts.sanitizing, &form.btf, form.code.func_info().is_empty()) {
            form.btf = (part.with_contexts)(self, index)?;
            if form.btf.is_some() {
                self.emit_changed(index, "arguments with the tag `arg:ctx` have the context type of the program");
            }
            return Ok(form.btf.is_some());
        }
        Ok(false)
    }

    /// Emits the event that a program was changed.
    pub(super) fn emit_changed(&self, index: u32, what: &str) {
        if let Some(open) = super::at(&self.programs, index).map(|program| &program.open) {
            self.emit(&LoadEvent::ProgramChanged { name: open.name(), what });
        }
    }
}

fn has_separate_reads(insns: &[u8]) -> bool {
    insns.chunks_exact(INSN_SIZE).any(|insn| older_read(insn).is_some())
}

/// Replaces calls of the newer helpers by calls of the older ones.
fn use_older_reads(insns: &mut [u8]) {
    for insn in insns.chunks_exact_mut(INSN_SIZE) {
        if let Some(older) = older_read(insn) {
            insn[4..8].copy_from_slice(&older.to_ne_bytes());
        }
    }
}

/// Returns the older helper in place of the one that an instruction calls.
fn older_read(insn: &[u8]) -> Option<i32> {
    // In a helper call, both registers are 0; a different source register makes it a different kind of call.
    let helper =
        insn.strip_prefix(&[opcode::CALL, 0])?.get(2..)?.first_chunk().map(|&helper| i32::from_ne_bytes(helper))?;
    READS.iter().find(|(newer, _)| *newer == helper).map(|(_, older)| *older)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_of_helpers_change() {
        let call = |registers: u8, number: i32| {
            let mut insn = [0x85, registers, 0, 0, 0, 0, 0, 0];
            insn[4..].copy_from_slice(&number.to_ne_bytes());
            insn
        };
        // Calls of a helper, of a function of the program and of a kfunc, other helpers, and a move.
        let mut insns = [call(0, 113), call(0x10, 113), call(0x20, 112), call(0, 115), call(0, 114), call(0, 5)];
        insns[5][0] = 0xb7;
        assert!(has_separate_reads(insns.as_flattened()) && !has_separate_reads(insns[1..3].as_flattened()));
        use_older_reads(insns.as_flattened_mut());
        let numbers = insns.map(|insn| i32::from_ne_bytes([insn[4], insn[5], insn[6], insn[7]]));
        assert_eq!(numbers, [4, 113, 112, 45, 45, 5]);
    }
}
