//! BPF tokens: their creation, the rights that they delegate, and help for requests that lack rights.
//!
//! This module does not depend on the maps and programs that are loaded with tokens.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::causes;
use crate::error::{Error, LinuxVersion, Result, Step, Subject};
use crate::sys;
use crate::uapi::{AttachType, Command, MapType, ProgramType};

/// The inode number of the initial user namespace (`USER_NS_INIT_INO` of linux/nsfs.h, Linux 7.3.4).
const INITIAL_NAMESPACE: u64 = 0xefff_fffd;

/// Returns whether this process is in a user namespace other than the initial one; `false` if /proc does not show the
/// namespace. Tokens exist only in user namespaces other than the initial one; capabilities in these do not permit
/// loading without a token.
///
/// # Errors
/// If the namespace cannot be examined although /proc shows it.
pub(crate) fn in_user_namespace() -> Result<bool> {
    const PATH: &str = "/proc/thread-self/ns/user";
    match std::fs::metadata(PATH) {
        Ok(namespace) => Ok(namespace.ino() != INITIAL_NAMESPACE),
        Err(error) if is_hidden(&error) => Ok(false),
        Err(error) => Err(Error::io(format_args!("cannot examine {PATH}"), &error)
            .during(Step::ReadKernel)
            .about(Subject::Path(PATH.as_ref()))),
    }
}

/// Returns whether a file of /proc is missing or not readable, which is how sandboxes hide it from a process.
fn is_hidden(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied)
}

/// Creates a token from this bpffs; `None` if the path is not a bpffs, or it does not delegate anything to this process.
pub(crate) fn create_if_delegated(path: &Path) -> Result<Option<OwnedFd>> {
    // In the order of the checks in `create` and `bpf_token_create`: the path does not exist; it is not a bpffs, or the kernel has no
    // tokens; the bpffs delegates nothing; it does not delegate to this process; it belongs to another user namespace.
    const NOT: [i32; 7] =
        [libc::ENOENT, libc::ENOTDIR, libc::EACCES, libc::EINVAL, libc::EPERM, libc::EOPNOTSUPP, libc::EBADF];
    match create(path) {
        Ok(token) => Ok(Some(token)),
        Err(error) if error.errno().is_some_and(|errno| NOT.contains(&errno.raw())) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates a BPF token from the bpffs that is mounted at this path, for [`LoadOptions::set_token`](crate::LoadOptions::set_token). One
/// token can serve several loads. For a single load, use [`set_token_path`](crate::LoadOptions::set_token_path).
///
/// # Errors
/// If the path cannot be opened or is not the mount point of a bpffs, the bpffs does not delegate anything or belongs
/// to a different user namespace, this process is in the initial user namespace or does not have `CAP_BPF`, or the
/// kernel has no tokens (before Linux 6.9).
pub fn create(path: impl AsRef<Path>) -> Result<OwnedFd> {
    let path = path.as_ref();
    let what = format!("cannot create a BPF token from the bpffs at {}", path.display());
    let about = |error: Error| error.during(Step::UseToken).about(Subject::Path(path));
    let directory = File::open(path).map_err(|error| about(Error::io(&what, &error)))?;
    sys::token::create(directory.as_fd()).map_err(|errno| {
        let error = about(Error::refused(&what, errno));
        match errno.raw() {
            libc::ENOENT => error.with_help(
                "the bpffs delegates nothing: mount it, from a privileged process, with options such as `delegate_cmds=any,delegate_maps=any,\
                delegate_progs=any,delegate_attachs=any`",
            ),
            libc::EINVAL => causes::since(error, LinuxVersion::new(6, 9), "the path is not the mount point of a bpffs, or the kernel has no BPF tokens (Linux 6.9)"),
            libc::EOPNOTSUPP => error.note("this process is in the initial user namespace, which has no BPF tokens: load without a token, with capabilities"),
            libc::EPERM => error.with_help("the bpffs must have been created in this process's user namespace, and the process needs CAP_BPF there"),
            _ => error,
        }
    })
}

/// A request that a token can delegate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Delegable {
    Btf,
    Map(MapType),
    Program(ProgramType, AttachType),
}

/// Adds help to an `EPERM` of this request: the rights that the request requires. `token` is the token that the request
/// was made with. `how` is appended to the text about the bpffs: its possible mount points, or where to pass the token.
pub(crate) fn advise(
    error: Error,
    token: Option<BorrowedFd<'_>>,
    request: Delegable,
    how: impl std::fmt::Display,
) -> Error {
    if error.errno().is_none_or(|errno| errno.raw() != libc::EPERM) {
        return error;
    }
    match token.map(Delegated::of) {
        Some(Ok(Some(delegated))) => error.with_help(match request.missing(&delegated) {
            Some(missing) => format!("the BPF token does not delegate {missing}: mount the bpffs of the token with that option"),
            None => "the BPF token delegates this request, but the process also needs capabilities in the token's user namespace: CAP_BPF \
            and, depending on the program or map, CAP_PERFMON or CAP_NET_ADMIN; a security module can forbid it as well"
                .to_owned(),
        }),
        None if in_user_namespace().unwrap_or(false) => error.with_help(format_args!(
            "in a user namespace, capabilities do not give the right to load: a BPF token is required (Linux 6.9), created from a bpffs that was \
            mounted with delegation (such as `delegate_cmds=any`){how}"
        )),
        _ => causes::advise(error),
    }
}

impl Delegable {
    /// Returns the part of this request that the token does not delegate.
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

/// The rights that a token delegates. In each mask, bit n stands for the command or type with the number n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delegated {
    commands: u64,
    maps: u64,
    programs: u64,
    attachments: u64,
}

impl Delegated {
    /// Returns the rights that a token delegates; `Ok(None)` if the file descriptor is not a token, or /proc is not
    /// readable.
    pub(crate) fn of_visible(fd: BorrowedFd<'_>) -> Result<Option<Self>> {
        match Self::of(fd) {
            Err(error) if !is_hidden(&error) => {
                Err(Error::io("cannot read the rights that a BPF token delegates", &error).during(Step::UseToken))
            }
            result => Ok(result.ok().flatten()),
        }
    }

    /// Returns the rights that a token delegates; `Ok(None)` if the file descriptor is not a token, and an error if /proc is
    /// not readable.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> std::io::Result<Option<Self>> {
        let shown = std::fs::read_to_string(sys::shown("fdinfo", fd))?;
        Ok(Self::parse(&shown))
    }

    fn parse(shown: &str) -> Option<Self> {
        let mask = |name: &str| {
            let value = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.trim();
            match value.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).ok(),
                None => (value == "any").then_some(u64::MAX),
            }
        };
        Some(Self {
            commands: mask("allowed_cmds")?,
            maps: mask("allowed_maps")?,
            programs: mask("allowed_progs")?,
            attachments: mask("allowed_attachs")?,
        })
    }

    pub(crate) fn command(&self, command: Command) -> bool {
        has(self.commands, command.0)
    }

    pub(crate) fn map(&self, map_type: MapType) -> bool {
        has(self.maps, map_type.0)
    }

    pub(crate) fn program(&self, program_type: ProgramType) -> bool {
        has(self.programs, program_type.0)
    }

    pub(crate) fn attachment(&self, attach_type: AttachType) -> bool {
        has(self.attachments, attach_type.0)
    }
}

fn has(mask: u64, number: u32) -> bool {
    mask.checked_shr(number).is_some_and(|rest| rest & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delegated_masks_are_parsed() {
        let shown = "pos:\t0\nflags:\t02000002\nmnt_id:\t30\nallowed_cmds:\t0x21\nallowed_maps:\tany\nallowed_progs:\t0x40\n\
                     allowed_attachs:\t0x0\n";
        let delegated = Delegated::parse(shown).unwrap();
        assert!(delegated.command(Command::MAP_CREATE) && delegated.command(Command::PROG_LOAD));
        assert!(!delegated.command(Command::BTF_LOAD) && delegated.map(MapType::RINGBUF));
        assert!(delegated.program(ProgramType::XDP) && !delegated.program(ProgramType::KPROBE));
        assert!(!delegated.attachment(AttachType(0)) && !has(u64::MAX, 64));
        assert_eq!(Delegated::parse("pos:\t0\nflags:\t02000002\nmnt_id:\t30\n"), None);
        assert_eq!(Delegated::of(File::open("/dev/null").unwrap().as_fd()).unwrap(), None);
    }
}
