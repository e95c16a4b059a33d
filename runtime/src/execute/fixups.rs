//! Changes to a rejected program, for older kernels that lack a feature which the program can do without.
//!
//! Nothing is probed before a request was rejected, so newer kernels are never probed.

use super::Executor;
use super::programs::Form;
use crate::error::{Errno, Result};
use crate::helper;
use crate::kernel::features;
use crate::opcode::{self, INSN_SIZE};
use crate::uapi::AttachType;

/// Helpers that read either user or kernel memory (5.5), and the older helper that reads both: `bpf_probe_read_user`,
/// `bpf_probe_read_kernel` and those for strings. Numbers of `linux/bpf.h`.
const READS: [(i32, i32); 4] = [
    (helper::PROBE_READ_USER, helper::PROBE_READ),
    (helper::PROBE_READ_KERNEL, helper::PROBE_READ),
    (helper::PROBE_READ_USER_STR, helper::PROBE_READ_STR),
    (helper::PROBE_READ_KERNEL_STR, helper::PROBE_READ_STR),
];

impl Executor {
    /// Changes a rejected program. Returns whether something changed, so that the load is worth another attempt.
    pub(super) fn fix_up(&mut self, index: u32, form: &mut Form, errno: Errno, log: Option<&str>) -> Result<bool> {
        if !form.code.core_relos.is_empty() && self.kernel_cannot_relocate(errno, log)? {
            self.relocate(form)?;
            return Ok(true);
        }
        // Kernels return this for unknown fields of a request.
        if errno.raw() == libc::E2BIG && !form.name.is_empty() && !features::names()? {
            form.name = "";
            return Ok(true);
        }
        // Programs that require an attach type are newer than the field, so others can do without.
        let has_attach_type = form.attach_type != AttachType(0);
        if errno.raw() == libc::E2BIG && has_attach_type && !features::attach_types()? {
            form.attach_type = AttachType(0);
            return Ok(true);
        }
        if errno.raw() == libc::EINVAL && has_separate_reads(&form.code.insns) && !features::separate_reads()? {
            use_older_reads(form.code.insns.to_mut());
            return Ok(true);
        }
        // Kernels that support the tags (6.8) reject the program with these types as well, so the feature is not probed.
        if form.btf.is_none() && !form.code.func_info.is_empty() {
            form.btf = self.btf_with_contexts(index)?;
            return Ok(form.btf.is_some());
        }
        Ok(false)
    }

    /// Returns whether relocations are why the kernel rejected a program: it does not support them, or not this kind (`TYPE_MATCHES` before
    /// 5.19), or it failed before it verified the first instruction.
    fn kernel_cannot_relocate(&self, errno: Errno, log: Option<&str>) -> Result<bool> {
        let gave_up = |log: &str| log.contains("relo #") && log.contains("processed 0 insns");
        Ok(match errno.raw() {
            libc::E2BIG => !features::find_core()?,
            libc::EOPNOTSUPP => true,
            _ => log.is_some_and(gave_up),
        })
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
    // A helper call has no registers; a source register would make it another kind of call.
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
