//! The rights of a load: those of this process, or also those of a BPF token; and the help for errors if they are not enough.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;

use super::{Executor, advise};
use crate::error::{Error, Result};
use crate::kernel::probe::ProbeRequest;
use crate::kernel::token::{self, Delegated};
use crate::open::BPFFS;
use crate::uapi::{AttachType, Command, MapType, ProgramType};

/// The environment variable that names the bpffs to create a token from, as for libbpf.
const VARIABLE: &str = "LIBBPF_BPF_TOKEN_PATH";

/// A request that a token can delegate.
#[derive(Clone, Copy, Debug)]
pub(super) enum Delegable {
    Btf,
    Map(MapType),
    Program(ProgramType, AttachType),
}

impl Executor {
    /// Chooses the token of the load. A token that the user set must be one. A bpffs that only may delegate, in a user namespace, need not.
    pub(super) fn choose_token(&mut self) -> Result<()> {
        if let Some(token) = &self.options.token {
            return match Delegated::of(token.as_fd()) {
                Ok(None) => Err(Error::invalid(
                    "the file descriptor passed to `LoadOptions::set_token` is not a BPF token",
                )
                .with_help(
                    "pass the result of BPF_TOKEN_CREATE (Linux 6.9), or the path of a bpffs to `set_token_path`",
                )),
                // If /proc does not show it, the kernel decides.
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

    /// Returns how to load the programs of feature probes: with the first of some program types that the token, if there is one, delegates.
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

    /// Adds help to an `EPERM`: what this request requires.
    pub(super) fn advise(&self, error: Error, request: Delegable) -> Error {
        if error.errno().is_none_or(|errno| errno.raw() != libc::EPERM) {
            return error;
        }
        match self.token().map(Delegated::of) {
            Some(Ok(Some(delegated))) => error.with_help(match request.missing(&delegated) {
                Some(missing) => format!("the BPF token does not delegate {missing}: mount the bpffs of the token with that option"),
                None => "the BPF token delegates this, but the process also needs the capabilities in the token's user namespace: CAP_BPF \
                and, depending on the program, CAP_PERFMON or CAP_NET_ADMIN; a security module can forbid it as well"
                    .to_owned(),
            }),
            None if token::in_user_namespace().unwrap_or(false) => error.with_help(format_args!(
                "in a user namespace, capabilities do not give the right to load: a BPF token is required (Linux 6.9), created from a bpffs that was \
                mounted with delegation (such as `delegate_cmds=any`) at {BPFFS}, at the path of `LoadOptions::set_token_path`, or at the path in \
                the environment variable {VARIABLE}"
            )),
            _ => advise(error),
        }
    }
}

impl Delegable {
    /// Returns what of this request the token does not delegate.
    fn missing(self, delegated: &Delegated) -> Option<String> {
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
