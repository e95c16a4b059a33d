//! BPF tokens: how they are created, and what they delegate.
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

/// The inode number of the initial user namespace (`USER_NS_INIT_INO` of linux/nsfs.h, Linux 7.3.4).
const INITIAL_NAMESPACE: u64 = 0xefff_fffd;

/// Returns whether this process is in a user namespace other than the initial one, as far as /proc shows. Only there do tokens exist, and
/// only there do capabilities not give the right to load.
///
/// # Errors
/// If the namespace cannot be examined although /proc shows it.
pub(crate) fn in_user_namespace() -> Result<bool> {
    const PATH: &str = "/proc/self/ns/user";
    match std::fs::metadata(PATH) {
        Ok(namespace) => Ok(namespace.ino() != INITIAL_NAMESPACE),
        Err(error) if is_hidden(&error) => Ok(false),
        Err(error) => Err(Error::io(format_args!("cannot examine {PATH}"), &error)),
    }
}

/// Returns whether a file of /proc is missing or not readable, which is how sandboxes hide it from a process.
fn is_hidden(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied)
}

/// Creates a token from this bpffs; `None` if the path is not a bpffs, or it does not delegate anything to this process.
pub(crate) fn create_if_delegated(path: &Path) -> Result<Option<OwnedFd>> {
    // In the order of `create` and of `bpf_token_create`: no such path; not a bpffs, or a kernel without tokens; nothing delegated; not to
    // this process; not in this namespace.
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
/// If the bpffs does not delegate anything, belongs to another user namespace or to the initial one, or the kernel has no tokens (before
/// Linux 6.9).
pub fn create(path: impl AsRef<Path>) -> Result<OwnedFd> {
    let path = path.as_ref();
    let what = format!("cannot create a BPF token from the bpffs at {}", path.display());
    let directory = File::open(path).map_err(|error| Error::io(&what, &error))?;
    sys::token::create(directory.as_fd()).map_err(|errno| {
        let error = Error::refused(what, errno);
        match errno.raw() {
            libc::ENOENT => error.with_help(
                "the bpffs delegates nothing: mount it, as a privileged process, with options such as `delegate_cmds=any,delegate_maps=any,\
                delegate_progs=any,delegate_attachs=any`",
            ),
            libc::EINVAL => super::causes::since(error, LinuxVersion::new(6, 9), "this is not where a bpffs is mounted, or the kernel has no BPF tokens (added in Linux 6.9)"),
            libc::EOPNOTSUPP => error.note("this process is in the initial user namespace, where capabilities are required and tokens do not exist"),
            libc::EPERM => error.with_help("the bpffs must be of this process's user namespace, and the process needs CAP_BPF there"),
            _ => error,
        }
    })
}

/// What a token delegates: bit n of each mask stands for the number n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delegated {
    commands: u64,
    maps: u64,
    programs: u64,
    attachments: u64,
}

impl Delegated {
    /// Returns what a token delegates. `Ok(None)` if the file descriptor is not a token, or /proc does not show it.
    pub(crate) fn of_visible(fd: BorrowedFd<'_>) -> Result<Option<Self>> {
        match Self::of(fd) {
            Err(error) if !is_hidden(&error) => Err(Error::io("cannot read what a BPF token delegates", &error)),
            result => Ok(result.ok().flatten()),
        }
    }

    /// Returns what a token delegates. `Ok(None)` if the file descriptor is not a token; an error if /proc does not show it.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> std::io::Result<Option<Self>> {
        // Threads can have separate file descriptor tables.
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
