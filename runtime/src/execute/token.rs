//! Whose rights a load has: those of this process alone, or also those of a BPF token; and what to say if they are not enough.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;

use super::{Executor, advise};
use crate::error::{Error, Result};
use crate::kernel::probe::ProbeRequest;
use crate::kernel::token::{self, Delegated};
use crate::open::BPFFS;
use crate::uapi::{AttachType, Command, MapType, ProgramType};

/// Where libbpf too is told of a bpffs to create a token from.
const VARIABLE: &str = "LIBBPF_BPF_TOKEN_PATH";

/// A request for which a token can give rights.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    Btf,
    Map(MapType),
    Program(ProgramType, AttachType),
}

impl Executor {
    /// Finds the token that is loaded with. One that was given must be one; one that may be there, in a user namespace, need not.
    pub(super) fn choose_token(&mut self) -> Result<()> {
        if let Some(token) = &self.options.token {
            return match Delegated::of(token.as_fd()) {
                Ok(None) => Err(Error::invalid("what was given as a BPF token is none").with_help(
                    "`LoadOptions::set_token` takes what BPF_TOKEN_CREATE gives (Linux 6.9); `set_token_path` creates one from a bpffs",
                )),
                // What cannot be looked at the kernel will judge.
                Ok(Some(_)) | Err(_) => Ok(()),
            };
        }
        let variable = || std::env::var_os(VARIABLE).filter(|path: &OsString| !path.is_empty());
        let token = if let Some(path) = &self.options.token_path {
            Some(token::create(path)?)
        } else if let Some(path) = variable() {
            Some(token::create(Path::new(&path)).map_err(|error| error.within(format_args!("{VARIABLE} is set")))?)
        } else if token::in_user_namespace()? {
            token::create_if_delegated(Path::new(BPFFS))?
        } else {
            None
        };
        self.options.token = token;
        Ok(())
    }

    /// How to load a trial: as the first of some that the token, if there is one, delegates.
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

    /// Says what a lack of rights for such a request may come from.
    pub(super) fn advise(&self, error: Error, asked: Asked) -> Error {
        if error.errno().is_none_or(|errno| errno.raw() != libc::EPERM) {
            return error;
        }
        match self.token().map(Delegated::of) {
            Some(Ok(Some(delegated))) => error.with_help(match asked.lacks(&delegated) {
                Some(lacks) => format!("the BPF token does not delegate {lacks}: the bpffs that it was created from must be mounted so"),
                None => "the BPF token delegates this, but the process needs the capabilities too, in the token's user namespace: CAP_BPF \
                         and, by what the program does, CAP_PERFMON or CAP_NET_ADMIN; security policy can forbid it too"
                    .to_owned(),
            }),
            None if token::in_user_namespace().unwrap_or(false) => error.with_help(format_args!(
                "in a user namespace capabilities do not count for this: it needs a BPF token (Linux 6.9), created from a bpffs that was \
                 mounted with delegation (`delegate_cmds=any` and the like) at {BPFFS}, where `LoadOptions::set_token_path` says, or where \
                 the environment variable {VARIABLE} does"
            )),
            _ => advise(error),
        }
    }
}

impl Asked {
    /// What of this the token does not delegate.
    fn lacks(self, delegated: &Delegated) -> Option<String> {
        let command = match self {
            Self::Btf => Command::BTF_LOAD,
            Self::Map(_) => Command::MAP_CREATE,
            Self::Program(..) => Command::PROG_LOAD,
        };
        match self {
            _ if !delegated.command(command) => Some(format!("the command `{command}` (`delegate_cmds`)")),
            Self::Map(map_type) if !delegated.map(map_type) => {
                Some(format!("maps of type {map_type} (`delegate_maps`)"))
            }
            Self::Program(program_type, _) if !delegated.program(program_type) => {
                Some(format!("programs of type {program_type} (`delegate_progs`)"))
            }
            Self::Program(_, attach_type) if !delegated.attachment(attach_type) => {
                Some(format!("attach type {attach_type} (`delegate_attachs`)"))
            }
            _ => None,
        }
    }
}
