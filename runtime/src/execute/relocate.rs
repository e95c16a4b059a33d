//! CO-RE relocation in user space, for kernels that cannot relocate and for types that are not the running kernel's.
//!
//! Linux 5.17 and later relocate programs themselves, in less time and with less memory, so relocation is left to the kernel where
//! possible. It is not possible if the user set a BTF file other than the running kernel's, or if the object's BTF was sanitized or not
//! loaded.

use std::collections::BTreeSet;

use super::assemble::{Assembled, Piece};
use super::parts::CoRe;
use super::programs::Form;
use super::{Executor, at, no_such};
use crate::abi::Program;
use crate::btf::Types;
use crate::error::{Errno, Error, Result};
use crate::kernel::btf_set::{self, BtfSet};
use crate::kernel::features;
use crate::kernel::types;
use crate::relocate::{Relocator, unresolved};

/// The part of the executor for objects with CO-RE relocations.
pub(super) static PART: CoRe = CoRe {
    is_required: Executor::must_relocate,
    is_cause: kernel_cannot_relocate,
    relocate: Executor::relocate,
    unresolved: Executor::unresolved,
};

impl Executor {
    /// Returns whether this program must be relocated in user space before the first attempt.
    fn must_relocate(&self, index: u32, form: &Form) -> bool {
        // Kernels can skip the relocation of a program without function and line records.
        let alone = form.code.func_info().is_empty() && form.code.line_info().is_empty();
        let other_types = self.options.kernel_btf.is_some() || self.btf_sanitized || self.btf_set().is_some();
        let hashed = self.hashed.contains(&index);
        !form.code.core_relos.is_empty() && (alone || other_types || hashed || features::lacks_core())
    }

    /// Relocates a program's instructions, and removes the records so that the kernel does not.
    fn relocate(&mut self, index: u32, form: &mut Form) -> Result<()> {
        if self.relocator.is_none() {
            self.relocator = Some(Box::new(self.new_relocator()?));
        }
        let Assembled { insns, core_relos, .. } = &mut form.code;
        if let Some(relocator) = self.relocator.as_mut().and_then(|relocator| relocator.downcast_mut::<Relocator>()) {
            relocator.relocate(insns.to_mut(), core_relos)?;
        }
        core_relos.set(&[]);
        self.emit_changed(index, "relocated in user space");
        Ok(())
    }

    fn new_relocator(&mut self) -> Result<Relocator> {
        let local = self.object_types()?;
        // The BTF of modules is split BTF on that of the running kernel: its ids are not valid with a different base.
        let other = self.options.kernel_btf.as_deref().filter(|path| !types::is_running(path));
        let (kernel, modules) = match (other, self.btf_set()) {
            (Some(path), _) => (types::kernel(Some(path))?, false),
            (None, Some(set)) => (btf_set::kernel(set)?, false),
            (None, None) => (self.kernel_types()?, true),
        };
        let loaded = self.programs.iter().map(|program| &program.open).filter(|open| open.autoload);
        let functions: BTreeSet<u32> = loaded.flat_map(|open| open.definition.functions.iter().copied()).collect();
        let records = functions.iter().map(|&function| {
            let function = at(&self.object.functions, function).ok_or_else(|| no_such("function", function))?;
            self.bytes(self.body(function).core_relos)
        });
        let records: Vec<_> = records.collect::<Result<_>>()?;
        Ok(Relocator::new(local, &kernel, modules, &records))
    }

    /// Returns the BTF set if the load uses it: if the kernel has no BTF of its own and the user did not set a BTF file.
    fn btf_set(&self) -> Option<BtfSet> {
        self.options.btf_set.filter(|_| self.options.kernel_btf.is_none() && btf_set::is_needed())
    }

    fn object_types(&self) -> Result<Types> {
        let span = self.object.btf.ok_or_else(|| Error::malformed("the object has CO-RE relocations but no BTF"))?;
        Types::of_object(self.bytes(span)?)
    }

    /// Returns a description of the type or field that an instruction needs and the kernel's types do not have.
    fn unresolved(&self, program: &'static Program, insn: usize) -> Option<String> {
        let mut records = Piece::default();
        self.core_relos(program, &mut records).ok()?;
        let what = unresolved(&self.object_types().ok()?, &records, insn)?;
        let unread = self
            .relocator
            .as_ref()
            .and_then(|relocator| relocator.downcast_ref())
            .map(Relocator::unread)
            .unwrap_or_default();
        Some(match unread.is_empty() {
            true => what,
            false => format!("{what} ({})", unread.join("; ")),
        })
    }
}

/// Returns whether CO-RE relocations may be the reason why the kernel rejected a program: the kernel does not support CO-RE relocation or
/// one of the kinds (`TYPE_MATCHES` before 5.19), or it rejected the program before it verified the first instruction.
fn kernel_cannot_relocate(errno: Errno, log: Option<&str>) -> Result<bool> {
    let gave_up = |log: &str| log.contains("relo #") && log.contains("processed 0 insns");
    Ok(match errno.raw() {
        libc::E2BIG => !features::find_core()?,
        libc::EOPNOTSUPP => true,
        _ => log.is_some_and(gave_up),
    })
}
