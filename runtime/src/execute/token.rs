//! The permissions of a load: those of this process and of its BPF token, if one is used; and the help for errors about
//! missing permissions.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;

use super::{Executor, is_eperm};
use crate::error::{Error, Result};
use crate::kernel::probe::ProbeRequest;
use crate::kernel::token::{self, Delegable, Delegated};
use crate::open::BPFFS;
use crate::uapi::{AttachType, ProgramType};

/// The environment variable with the path of the bpffs to create a token from, as in libbpf.
const VARIABLE: &str = "LIBBPF_BPF_TOKEN_PATH";

impl Executor {
    /// Creates or checks the token that the user set. It must be usable.
    pub(super) fn choose_token(&mut self) -> Result<()> {
        if let Some(token) = &self.options.token {
            return match Delegated::of(token.as_fd()) {
                Ok(None) => Err(Error::invalid(
                    "the file descriptor passed to `LoadOptions::set_token` is not a BPF token",
                )
                .with_help(
                    "pass the result of BPF_TOKEN_CREATE (Linux 6.9), or the path of a bpffs to `set_token_path`",
                )),
                // If /proc does not show the kind of the file descriptor, the kernel checks it.
                Ok(Some(_)) | Err(_) => Ok(()),
            };
        }
        let variable = || std::env::var_os(VARIABLE).filter(|path: &OsString| !path.is_empty());
        let token = if let Some(path) = &self.options.token_path {
            Some(token::create(path)?)
        } else if let Some(path) = variable() {
            Some(
                token::create(Path::new(&path))
                    .map_err(|error| error.within(format_args!("environment variable {VARIABLE}")))?,
            )
        } else {
            self.may_find_token = true;
            None
        };
        self.options.token = token;
        Ok(())
    }

    /// Makes a request. If it fails with `EPERM` and the user set no token, creates one from `/sys/fs/bpf` and makes the request again. This
    /// is attempted once, and only in a user namespace. Most loads need no token, so they are not delayed by looking for one.
    pub(super) fn permitted<T>(&mut self, mut request: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        match request(self) {
            result if is_eperm(&result) && self.find_token()? => request(self),
            result => result,
        }
    }

    /// Creates a token from `/sys/fs/bpf` unless that was attempted before. Returns whether there is one now.
    fn find_token(&mut self) -> Result<bool> {
        if !std::mem::take(&mut self.may_find_token) || !token::in_user_namespace()? {
            return Ok(false);
        }
        self.options.token = token::create_if_delegated(Path::new(BPFFS))?;
        Ok(self.options.token.is_some())
    }

    /// Returns the request for the programs of feature probes. Its program type is the first of the possible types that
    /// the token delegates; without a token, the first possible type.
    pub(super) fn probe_request(&self) -> Result<ProbeRequest<'_>> {
        const WAYS: [(ProgramType, AttachType); 8] = [
            (ProgramType::SOCKET_FILTER, AttachType(0)),
            (ProgramType::XDP, AttachType(0)),
            (ProgramType::XDP, AttachType::XDP),
            (ProgramType::SCHED_CLS, AttachType(0)),
            (ProgramType::SCHED_CLS, AttachType::TCX_INGRESS),
            (ProgramType::KPROBE, AttachType(0)),
            (ProgramType::TRACEPOINT, AttachType(0)),
            (ProgramType::RAW_TRACEPOINT, AttachType(0)),
        ];
        let token = self.token();
        let delegated = token.map(Delegated::of_visible).transpose()?.flatten();
        let is_delegated = |&(program_type, attach_type): &(ProgramType, AttachType)| {
            delegated.is_none_or(|all| all.program(program_type) && all.attachment(attach_type))
        };
        let (program_type, attach_type) = WAYS.into_iter().find(is_delegated).unwrap_or(WAYS[0]);
        Ok(ProbeRequest { program_type, attach_type, token })
    }

    /// Adds help to an `EPERM`: the rights that this request requires.
    pub(super) fn advise(&self, error: Error, request: Delegable) -> Error {
        token::advise(
            error,
            self.token(),
            request,
            format_args!(
                " at {BPFFS}, at the path of `LoadOptions::set_token_path`, or at the path in the environment variable {VARIABLE}"
            ),
        )
    }
}
