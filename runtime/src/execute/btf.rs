//! The step that loads the object's BTF, sanitized if the kernel rejects it.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::token::Delegable;
use super::{Executor, at, lift_memlock, log};
use crate::btf::Types;
use crate::error::{Errno, Error, Result};
use crate::kernel::features;
use crate::kernel::types;
use crate::sanitize::{Feature, sanitized, with_contexts};
use crate::sys;

impl Executor {
    pub(super) fn load_btf(&mut self) -> Result<()> {
        let Some(span) = self.object.btf else {
            return Ok(());
        };
        let bytes = self.bytes(span)?;
        let errno = match self.try_btf(bytes)? {
            Ok(fd) => {
                self.btf = Some(fd);
                return Ok(());
            }
            Err(errno) => errno,
        };
        if is_verdict(errno) {
            if let Some(older) = self.sanitized(bytes)? {
                self.btf_sanitized = true;
                match self.try_btf(&older)? {
                    Ok(fd) => {
                        self.btf = Some(fd);
                        return Ok(());
                    }
                    Err(errno) if !is_verdict(errno) => return Err(self.advise(refused(errno), Delegable::Btf)),
                    Err(_) => {}
                }
            }
        }
        let error = self.advise(refused(errno), Delegable::Btf);
        let error = match log::whole(self.options.log_size, |log| sys::btf::load(bytes, self.token(), log)) {
            Some(log) => error.log(log),
            None => error,
        };
        if !is_verdict(errno) || self.needs_btf() {
            return Err(error);
        }
        self.btf_refused = Some(error.to_string());
        Ok(())
    }

    /// Returns BTF for one program in which tagged context arguments have the type that the kernel requires. `None` if nothing is tagged,
    /// or the kernel rejects that BTF too.
    pub(super) fn btf_with_contexts(&mut self, program: u32) -> Result<Option<OwnedFd>> {
        let (Some(span), Some(open)) = (self.object.btf, at(&self.open_programs, program)) else {
            return Ok(None);
        };
        let (bytes, program_type) = (self.bytes(span)?, open.program_type);
        let older = if self.btf_sanitized { self.sanitized(bytes)? } else { None };
        match with_contexts(bytes, older.as_deref().unwrap_or(bytes), program_type) {
            Some(changed) => Ok(self.try_btf(&changed)?.ok()),
            None => Ok(None),
        }
    }

    /// Returns the object's BTF without what this kernel rejects; `None` if nothing changes.
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
            Err(errno) if errno.raw() == libc::EPERM && lift_memlock(&mut self.memlock) => {
                Ok(sys::btf::load(bytes, self.token(), &mut []).map_err(refused)?.0)
            }
            result => Ok(result),
        }
    }

    /// Returns whether a load cannot succeed without the object's BTF, because it has struct_ops maps. All other objects load without it,
    /// with less information for tools.
    fn needs_btf(&self) -> bool {
        self.open_maps.iter().any(|open| open.autocreate && open.definition.struct_ops.is_some())
    }

    /// Returns whether the kernel has the object's BTF and accepts function and line records with it.
    pub(super) fn accepts_program_btf(&self) -> Result<bool> {
        // Kernels accept BTF of programs only since they know functions in BTF.
        Ok(self.btf.is_some() && (!self.btf_sanitized || features::btf(Feature::Functions, self.token())?))
    }

    /// Returns the types of the running kernel, which are read once a load.
    pub(super) fn kernel_types(&mut self) -> Result<Rc<Types>> {
        if let Some(types) = &self.kernel_types {
            return Ok(Rc::clone(types));
        }
        let types = types::kernel(None)?;
        Ok(Rc::clone(self.kernel_types.insert(types)))
    }
}

/// Returns whether the error means that the kernel does not accept the BTF. After any other error a later attempt could succeed, so that
/// one is the error of the load.
fn is_verdict(errno: Errno) -> bool {
    [libc::EINVAL, libc::E2BIG, libc::EOPNOTSUPP, libc::ENOSYS, 524].contains(&errno.raw())
}

fn refused(errno: Errno) -> Error {
    Error::refused("cannot load the object's BTF", errno)
}
