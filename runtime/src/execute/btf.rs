//! The step that loads the object's BTF, sanitized if the kernel rejects it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::parts::Sanitizing;
use super::{Executor, at, log};
use crate::btf::Types;
use crate::error::{Errno, Error, Result};
use crate::kernel::features;
use crate::kernel::token::Delegable;
use crate::kernel::types;
use crate::open::LoadEvent;
use crate::sanitize::{Feature, sanitized, with_contexts};
use crate::sys;

/// The part of the executor for objects with newer kinds of BTF.
pub(super) static PART: Sanitizing = Sanitizing {
    sanitized: Executor::sanitized,
    accepts_functions: Executor::accepts_functions,
    with_contexts: Executor::btf_with_contexts,
};

impl Executor {
    pub(super) fn load_btf(&mut self) -> Result<()> {
        let Some(span) = self.object.btf else {
            return Ok(());
        };
        let bytes = self.bytes(span)?;
        let errno = match self.try_btf(bytes)? {
            Ok(fd) => {
                self.btf = Some(fd);
                self.emit(&LoadEvent::BtfLoaded { bytes: bytes.len(), is_sanitized: false });
                return Ok(());
            }
            Err(errno) => errno,
        };
        if is_verdict(errno) {
            let older = self.parts.sanitizing.map(|part| (part.sanitized)(self, bytes)).transpose()?;
            if let Some(older) = older.flatten() {
                self.btf_sanitized = true;
                match self.try_btf(&older)? {
                    Ok(fd) => {
                        self.btf = Some(fd);
                        self.emit(&LoadEvent::BtfLoaded { bytes: older.len(), is_sanitized: true });
                        return Ok(());
                    }
                    Err(errno) if !is_verdict(errno) => return Err(self.advise(refused(errno), Delegable::Btf)),
                    Err(_) => {}
                }
            }
        }
        let error = self.advise(refused(errno), Delegable::Btf);
        let error = error.log(log::whole(self.options.log_size, |log| sys::btf::load(bytes, self.token(), log)));
        if !is_verdict(errno) || self.needs_btf() {
            return Err(error);
        }
        let text = error.to_string();
        self.emit(&LoadEvent::BtfLeftOut { error: &text });
        self.btf_refused = Some(text);
        Ok(())
    }

    /// Loads BTF for one program in which arguments with the tag `arg:ctx` have the type that the kernel requires. Returns `None` if no
    /// argument has the tag, or the kernel rejects this BTF, too.
    fn btf_with_contexts(&mut self, program: u32) -> Result<Option<OwnedFd>> {
        let (Some(span), Some(open)) = (self.object.btf, at(&self.programs, program).map(|program| &program.open))
        else {
            return Ok(None);
        };
        let (bytes, program_type) = (self.bytes(span)?, open.program_type);
        let older = if self.btf_sanitized { self.sanitized(bytes)? } else { None };
        match with_contexts(bytes, older.as_deref().unwrap_or(bytes), program_type) {
            Some(changed) => Ok(self.try_btf(&changed)?.ok()),
            None => Ok(None),
        }
    }

    /// Returns the object's BTF without the features that this kernel rejects; `None` if the BTF has no such features.
    fn sanitized(&self, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut unknown = None;
        let older = sanitized(bytes, |feature| match features::btf(feature, self.token()) {
            Ok(accepts) => !accepts,
            Err(error) => {
                unknown.get_or_insert(error);
                false
            }
        });
        unknown.map_or(Ok(older), Err)
    }

    fn try_btf(&mut self, bytes: &[u8]) -> Result<Result<OwnedFd, Errno>> {
        let (result, _) = sys::btf::load(bytes, self.token(), &mut []).map_err(refused)?;
        match result {
            Err(errno) if errno.raw() == libc::EPERM && sys::lift_memlock_once(&mut self.memlock) => {
                self.emit_memlock(false);
                Ok(sys::btf::load(bytes, self.token(), &mut []).map_err(refused)?.0)
            }
            result => Ok(result),
        }
    }

    /// Returns whether the load requires the object's BTF, because the object has struct_ops maps. All other objects can be loaded
    /// without BTF; tools such as bpftool then show less.
    fn needs_btf(&self) -> bool {
        self.maps.iter().any(|map| map.open.autocreate && map.open.definition.struct_ops.is_some())
    }

    /// Returns whether the object's BTF was loaded and the kernel accepts function and line records, which refer to it.
    pub(super) fn accepts_program_btf(&self) -> Result<bool> {
        // The first kernel that accepts functions in BTF is also the first that accepts BTF for programs.
        match self.parts.sanitizing.filter(|_| self.btf_sanitized && self.btf.is_some()) {
            Some(part) => (part.accepts_functions)(self),
            None => Ok(self.btf.is_some()),
        }
    }

    fn accepts_functions(&self) -> Result<bool> {
        features::btf(Feature::Functions, self.token())
    }

    /// Returns the types of the running kernel. They are read once per load.
    pub(super) fn kernel_types(&mut self) -> Result<Arc<Types>> {
        if let Some(types) = &self.kernel_types {
            return Ok(Arc::clone(types));
        }
        let types = types::kernel(None)?;
        Ok(Arc::clone(self.kernel_types.insert(types)))
    }
}

/// Returns whether the error means that the kernel rejects the BTF itself. Any other error can be transient, and ends
/// the load.
fn is_verdict(errno: Errno) -> bool {
    [libc::EINVAL, libc::E2BIG, libc::EOPNOTSUPP, libc::ENOSYS, 524].contains(&errno.raw())
}

fn refused(errno: Errno) -> Error {
    Error::refused("cannot load the object's BTF", errno)
}
