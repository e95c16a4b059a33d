//! BPF tokens: where one is to be had, and what it delegates.
//!
//! Knows what the kernel shows of tokens and user namespaces; not what is loaded with them.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, LinuxVersion, Result};
use crate::sys;
use crate::uapi::{AttachType, Command, MapType, ProgramType};

/// The number of the first user namespace (`USER_NS_INIT_INO` of linux/nsfs.h, Linux 7.3.4).
const FIRST_NAMESPACE: u64 = 0xefff_fffd;

/// Whether this process is in another user namespace than the first, as far as can be seen. Only there can a token be, and only there
/// do capabilities not count for loading.
///
/// # Errors
/// If the namespace cannot be looked at although it can be seen.
pub(crate) fn in_user_namespace() -> Result<bool> {
    const PATH: &str = "/proc/self/ns/user";
    match std::fs::metadata(PATH) {
        Ok(namespace) => Ok(namespace.ino() != FIRST_NAMESPACE),
        Err(error) if is_hidden(&error) => Ok(false),
        Err(error) => Err(Error::io(format_args!("looking at {PATH}"), &error)),
    }
}

/// Whether a file of /proc is not there or not for this process: that is how a process is kept from seeing it.
fn is_hidden(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied)
}

/// Creates a token from this bpffs if it delegates anything to this process; `None` if it does not, or is none.
pub(crate) fn create_if_delegated(path: &Path) -> Result<Option<OwnedFd>> {
    // In the order of `create` and of `bpf_token_create`: no such path, no bpffs or no tokens, nothing delegated, not to this process,
    // not in this namespace.
    const NOT: [i32; 7] =
        [libc::ENOENT, libc::ENOTDIR, libc::EACCES, libc::EINVAL, libc::EPERM, libc::EOPNOTSUPP, libc::EBADF];
    match create(path) {
        Ok(token) => Ok(Some(token)),
        Err(error) if error.errno().is_some_and(|errno| NOT.contains(&errno.raw())) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates a BPF token from the bpffs that is mounted at this path, for [`LoadOptions::set_token`](crate::LoadOptions::set_token) of
/// several loads. For one, [`set_token_path`](crate::LoadOptions::set_token_path) does the same.
///
/// # Errors
/// If nothing is delegated there, this process is in another user namespace than the bpffs or in the first one, or the kernel has no
/// tokens (before Linux 6.9).
pub fn create(path: impl AsRef<Path>) -> Result<OwnedFd> {
    let path = path.as_ref();
    let what = format!("creating a BPF token from the bpffs at {}", path.display());
    let directory = File::open(path).map_err(|error| Error::io(&what, &error))?;
    sys::token::create(directory.as_fd()).map_err(|errno| {
        let error = Error::refused(what, errno);
        match errno.raw() {
            libc::ENOENT => error.with_help(
                "it delegates nothing: whoever mounts it must be privileged and give options like `delegate_cmds=any,delegate_maps=any,\
                 delegate_progs=any,delegate_attachs=any`",
            ),
            libc::EINVAL => super::causes::since(error, LinuxVersion::new(6, 9), "this is not where a bpffs is mounted, or the kernel has no BPF tokens (Linux has them since 6.9)"),
            libc::EOPNOTSUPP => error.note("tokens are for user namespaces, and this process is in the first one: it loads by capabilities"),
            libc::EPERM => error.with_help("the bpffs must be of this process's user namespace, and the process needs CAP_BPF there"),
            _ => error,
        }
    })
}

/// What a token delegates: bit n stands for number n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delegated {
    commands: u64,
    maps: u64,
    programs: u64,
    attachments: u64,
}

impl Delegated {
    /// What a token delegates. `Ok(None)` if this is no token, or the process does not get to see that.
    pub(crate) fn of_visible(fd: BorrowedFd<'_>) -> Result<Option<Self>> {
        match Self::of(fd) {
            Err(error) if !is_hidden(&error) => Err(Error::io("looking at what a BPF token delegates", &error)),
            result => Ok(result.ok().flatten()),
        }
    }

    /// What a token delegates. `Ok(None)` if this is no token; an error if the process does not get to see that.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> std::io::Result<Option<Self>> {
        // A thread may have file descriptors of its own.
        let shown = std::fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", fd.as_raw_fd()))?;
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
    fn what_the_kernel_shows_is_read() {
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
