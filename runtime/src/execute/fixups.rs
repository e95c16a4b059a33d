//! What is changed about a program that the kernel refused, if the kernel is one that lacks something the program can do without.
//!
//! Nothing is found out before a request was refused, so newer kernels are asked nothing.

use super::Executor;
use super::programs::Form;
use crate::error::{Errno, Result};
use crate::helper;
use crate::kernel::features;
use crate::opcode::{self, INSN_SIZE};
use crate::uapi::AttachType;

/// Helpers that read memory of one kind (5.5), and those before them that read either: `bpf_probe_read_user`,
/// `bpf_probe_read_kernel` and the same for strings; numbers of `linux/bpf.h`.
const READS: [(i32, i32); 4] = [
    (helper::PROBE_READ_USER, helper::PROBE_READ),
    (helper::PROBE_READ_KERNEL, helper::PROBE_READ),
    (helper::PROBE_READ_USER_STR, helper::PROBE_READ_STR),
    (helper::PROBE_READ_KERNEL_STR, helper::PROBE_READ_STR),
];

impl Executor {
    /// Changes a program that was refused; whether there is something changed to try again with.
    pub(super) fn fix_up(&mut self, index: u32, form: &mut Form, errno: Errno, log: Option<&str>) -> Result<bool> {
        if !form.code.core_relos.is_empty() && self.kernel_cannot_relocate(errno, log)? {
            self.relocate(form)?;
            return Ok(true);
        }
        // A kernel says so to fields of a request that it does not know.
        if errno.raw() == libc::E2BIG && !form.name.is_empty() && !features::names()? {
            form.name = "";
            return Ok(true);
        }
        // Programs that must say where they attach are younger than the field, so these need not.
        let said = form.attach_type != AttachType(0);
        if errno.raw() == libc::E2BIG && said && !features::attach_types()? {
            form.attach_type = AttachType(0);
            return Ok(true);
        }
        if errno.raw() == libc::EINVAL && has_separate_reads(&form.code.insns) && !features::separate_reads()? {
            unite_reads(form.code.insns.to_mut());
            return Ok(true);
        }
        // A kernel that goes by the tags (6.8) says the same to the other types, so it is not asked whether it does.
        if form.btf.is_none() && !form.code.func_info.is_empty() {
            form.btf = self.btf_with_contexts(index)?;
            return Ok(form.btf.is_some());
        }
        Ok(false)
    }

    /// Whether relocations are why the kernel refused a program: it does not know of them, or not of their kind (`TYPE_MATCHES`
    /// before 5.19), or it gave up before it looked at the first instruction.
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

/// Replaces calls of helpers by calls of those before them.
fn unite_reads(insns: &mut [u8]) {
    for insn in insns.chunks_exact_mut(INSN_SIZE) {
        if let Some(older) = older_read(insn) {
            insn[4..8].copy_from_slice(&older.to_ne_bytes());
        }
    }
}

/// The helper before the one that an instruction calls.
fn older_read(insn: &[u8]) -> Option<i32> {
    // A call of a helper: no registers, which would make it a call of another kind.
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
        // A helper, a function of the program, a function of the kernel, a number.
        let mut insns = [call(0, 113), call(0x10, 113), call(0x20, 112), call(0, 115), call(0, 114), call(0, 5)];
        insns[5][0] = 0xb7;
        assert!(has_separate_reads(insns.as_flattened()) && !has_separate_reads(insns[1..3].as_flattened()));
        unite_reads(insns.as_flattened_mut());
        let numbers = insns.map(|insn| i32::from_ne_bytes([insn[4], insn[5], insn[6], insn[7]]));
        assert_eq!(numbers, [4, 113, 112, 45, 45, 5]);
    }
}
