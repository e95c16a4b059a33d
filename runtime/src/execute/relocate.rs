//! CO-RE relocation in user space, if the kernel cannot or must not relocate.
//!
//! Kernels relocate since 5.17, in less time and with less memory, so it is left to them wherever possible. It is not possible if the user
//! set types other than the running kernel's, or if the kernel does not have the object's BTF as the compiler wrote it.

use std::collections::BTreeSet;

use super::programs::Form;
use super::{Executor, at, no_such};
use crate::btf::Types;
use crate::error::{Error, Result};
use crate::kernel::features;
use crate::kernel::types;
use crate::relocate::{Relocator, unresolved};

impl Executor {
    /// Returns whether it is known before the first attempt that the kernel cannot relocate this program.
    pub(super) fn must_relocate(&self, form: &Form) -> bool {
        // Kernels can skip the relocation of a program without function and line records.
        let alone = form.code.func_info.is_empty() && form.code.line_info.is_empty();
        let other_types = self.options.kernel_btf.is_some() || self.btf_sanitized;
        !form.code.core_relos.is_empty() && (alone || other_types || features::lacks_core())
    }

    /// Relocates a program's instructions, and removes the records so that the kernel does not.
    pub(super) fn relocate(&mut self, form: &mut Form) -> Result<()> {
        if self.relocator.is_none() {
            self.relocator = Some(self.new_relocator()?);
        }
        let records = std::mem::take(&mut form.code.core_relos);
        match &mut self.relocator {
            Some(relocator) => relocator.relocate(form.code.insns.to_mut(), &records),
            None => Ok(()),
        }
    }

    fn new_relocator(&mut self) -> Result<Relocator> {
        let local = self.object_types()?;
        // The BTF of modules is split BTF on that of the running kernel: its ids are not valid with another base.
        let other = self.options.kernel_btf.as_deref().filter(|path| !types::is_running(path));
        let (kernel, modules) = match other {
            Some(path) => (types::kernel(Some(path))?, false),
            None => (self.kernel_types()?, true),
        };
        let loaded = self.open_programs.iter().filter(|open| open.autoload);
        let functions: BTreeSet<u32> = loaded.flat_map(|open| open.definition.functions.iter().copied()).collect();
        let records = functions.iter().map(|&function| {
            let function = at(&self.object.functions, function).ok_or_else(|| no_such("function", function))?;
            self.bytes(self.body(function).core_relos)
        });
        let records: Vec<_> = records.collect::<Result<_>>()?;
        Ok(Relocator::new(local, &kernel, modules, &records))
    }

    fn object_types(&self) -> Result<Types> {
        let span = self.object.btf.ok_or_else(|| Error::malformed("the object has CO-RE relocations but no BTF"))?;
        Types::of_object(self.bytes(span)?)
    }

    /// Returns what an instruction needs from the kernel's types that they do not have.
    pub(super) fn unresolved(&self, records: &[u8], insn: usize) -> Option<String> {
        let what = unresolved(&self.object_types().ok()?, records, insn)?;
        let unread = self.relocator.as_ref().map(Relocator::unread).unwrap_or_default();
        Some(match unread.is_empty() {
            true => what,
            false => format!("{what} ({})", unread.join("; ")),
        })
    }
}
