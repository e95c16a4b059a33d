//! Cgroups by path or open directory: the argument of methods that attach to a cgroup.
//!
//! The mount points of cgroup2 are read from `/proc/thread-self/mountinfo`. This module does not depend on programs.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Errno, Error, Result, Step, Subject};
use crate::sys::descriptor;
use crate::sys::mount::{Kind, kind_of};

/// An open cgroup: a directory of cgroup v2.
///
/// Methods that attach to a cgroup accept a path, an open directory or this type; see [`IntoCgroup`].
///
/// ```no_run
/// use skelgen_runtime::link::Cgroup;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let cgroup = Cgroup::of_process(std::process::id())?;
/// println!("cgroup {} at {:?}", cgroup.id()?, cgroup.path()?);
/// let link = program.attach_cgroup(&cgroup)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Cgroup(File);

/// What identifies a cgroup: the path of its directory, the open directory, or a [`Cgroup`].
///
/// ```no_run
/// use std::fs::File;
/// use skelgen_runtime::link::Cgroup;
/// # fn f(program: &skelgen_runtime::Program) -> Result<(), Box<dyn std::error::Error>> {
/// let by_path = program.attach_cgroup("/sys/fs/cgroup/my.service")?;
/// let by_file = program.attach_cgroup(&File::open("/sys/fs/cgroup/my.service")?)?;
/// let of_all_processes = program.attach_cgroup(Cgroup::root()?)?;
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not identify a cgroup",
    label = "neither a path nor an open directory",
    note = "pass a path (`\"/sys/fs/cgroup/x\"`), an open directory (`File`, `OwnedFd`, `BorrowedFd`), or a `Cgroup`"
)]
pub trait IntoCgroup {
    /// The open directory.
    type Directory: AsFd;

    /// Returns the open directory.
    ///
    /// # Errors
    /// If `self` is a path that is not a cgroup; see [`Cgroup::open`].
    fn into_cgroup(self) -> Result<Self::Directory>;
}

impl Cgroup {
    /// Opens the cgroup whose directory has this path.
    ///
    /// # Errors
    /// If the path does not exist, cannot be opened, is not a directory, or is not in a cgroup2 file system. Programs
    /// cannot be attached to cgroups of version 1.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let context = || format!("cannot open cgroup {}", path.display());
        let about = |error: Error| error.during(Step::Open).about(Subject::Path(path));
        let directory = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path);
        let directory = directory.map_err(|error| match error.raw_os_error() {
            Some(libc::ENOTDIR) => {
                about(Error::io(context(), &error)).with_help("pass the directory of a cgroup, not a file")
            }
            _ => about(Error::io(context(), &error)),
        })?;
        match why_not(directory.as_fd()) {
            Ok(Some(why)) => {
                Err(about(Error::mismatch(format_args!("{}: {why}", context()))).with_help(where_mounted()))
            }
            Ok(None) => Ok(Self(directory)),
            Err(errno) => Err(about(Error::refused(
                format_args!("{}: the kernel does not report its file system", context()),
                errno,
            ))),
        }
    }

    /// Opens the root cgroup, which contains all processes. In a cgroup namespace, it is the root of the namespace.
    ///
    /// # Errors
    /// If cgroup2 is not mounted, or its mount point cannot be opened.
    pub fn root() -> Result<Self> {
        let doing = "cannot open the root cgroup";
        let mounts = mounts(doing)?;
        let root = mounts.iter().find(|mount| mount.root == Path::new("/"));
        match root {
            Some(mount) => Self::open(&mount.point),
            None => Err(Error::not_found(format_args!(
                "{doing}: the root of the cgroup2 hierarchy is not mounted in this mount namespace"
            ))
            .during(Step::Open)
            .with_help(where_mounted())),
        }
    }

    /// Opens the cgroup of a process, by its id. The process can move to another cgroup later.
    ///
    /// # Errors
    /// If the process does not exist, cgroup2 is not mounted, or the process's cgroup is not in a mounted part of it.
    pub fn of_process(id: u32) -> Result<Self> {
        let doing = format!("cannot open the cgroup of process {id}");
        let about = |error: Error| error.during(Step::Open).about(Subject::Process(id));
        let list = std::fs::read(format!("/proc/{id}/cgroup")).map_err(|error| about(Error::io(&doing, &error)))?;
        // The line of cgroup2 has hierarchy 0 and no controllers.
        let path = list.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"));
        let Some(path) = path.map(|path| Path::new(OsStr::from_bytes(path))) else {
            return Err(about(Error::not_found(format_args!("{doing}: the kernel has no cgroup2 hierarchy"))));
        };
        let directory = mounts(&doing).map_err(about)?.iter().find_map(|mount| mount.directory(path));
        let directory = directory.ok_or_else(|| {
            about(
                Error::not_found(format_args!(
                    "{doing}: no cgroup2 mount in this mount namespace contains cgroup {}",
                    path.display()
                ))
                .with_help(where_mounted()),
            )
        })?;
        Self::open(directory).map_err(|error| about(error.within(doing)))
    }

    /// Returns the cgroup's id: the number that `bpf_get_current_cgroup_id` returns and that cgroup links report.
    ///
    /// # Errors
    /// If the kernel does not report the id.
    pub fn id(&self) -> Result<u64> {
        let metadata = self.0.metadata();
        metadata
            .map(|metadata| metadata.ino())
            .map_err(|error| Error::io("cannot read the id of a cgroup", &error).during(Step::ReadInfo))
    }

    /// Returns the current path of the directory, from `/proc`.
    ///
    /// # Errors
    /// If `/proc` is not mounted.
    pub fn path(&self) -> Result<PathBuf> {
        path_of(self.0.as_fd())
            .map_err(|error| Error::io("cannot read the path of a cgroup", &error).during(Step::ReadInfo))
    }
}

descriptor!([] Cgroup: self => self.0);

impl From<Cgroup> for OwnedFd {
    fn from(cgroup: Cgroup) -> Self {
        cgroup.0.into()
    }
}

/// Returns the path of the directory as text, for the first line of an error message.
pub(crate) fn label(directory: BorrowedFd<'_>) -> String {
    path_of(directory).map_or_else(|_| "a cgroup".to_owned(), |path| format!("cgroup {}", path.display()))
}

/// Adds a note to an error if the open file is not the directory of a cgroup v2.
pub(crate) fn explain(error: Error, directory: BorrowedFd<'_>) -> Error {
    match why_not(directory) {
        Ok(Some(why)) => error.note(why).with_help(where_mounted()),
        Ok(None) | Err(_) => error,
    }
}

fn path_of(directory: BorrowedFd<'_>) -> std::io::Result<PathBuf> {
    std::fs::read_link(crate::sys::shown("fd", directory))
}

/// Returns why an open file is not a directory of cgroup v2; `None` if it is one.
fn why_not(directory: BorrowedFd<'_>) -> Result<Option<&'static str>, Errno> {
    Ok(match kind_of(directory)? {
        Kind::Cgroup2 => None,
        Kind::Cgroup1 => Some("the directory is a cgroup of version 1, to which programs cannot be attached"),
        Kind::Other => Some("the directory is not in a cgroup2 file system"),
    })
}

/// Returns help that lists the mount points of cgroup2.
fn where_mounted() -> String {
    let points: Vec<String> =
        mounts("").unwrap_or_default().iter().map(|mount| mount.point.display().to_string()).collect();
    match points.is_empty() {
        true => "mount cgroup2 (`mount -t cgroup2 none DIRECTORY`)".to_owned(),
        false => format!("cgroup2 is mounted at {}", points.join(", ")),
    }
}

/// A mount of cgroup2.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// The path of the mounted cgroup, in this thread's cgroup namespace.
    root: PathBuf,
    /// The mount point.
    point: PathBuf,
}

impl Mount {
    /// Returns the directory of the cgroup with this path in the hierarchy, if it is in the mounted part.
    fn directory(&self, path: &Path) -> Option<PathBuf> {
        let inside = path.strip_prefix(&self.root).ok()?;
        // The path of a cgroup outside of the cgroup namespace begins with `/..`.
        let is_below = inside.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        is_below.then(|| self.point.join(inside))
    }
}

/// Returns the mounts of cgroup2 in this thread's mount namespace.
fn mounts(doing: &str) -> Result<Vec<Mount>> {
    // Threads can be in separate mount namespaces.
    const PATH: &str = "/proc/thread-self/mountinfo";
    let list = std::fs::read(PATH)
        .map_err(|error| Error::io(format_args!("{doing}: cannot read {PATH}"), &error).during(Step::ReadKernel))?;
    Ok(parse(&list))
}

/// Parses `/proc/PID/mountinfo`: `ID PARENT DEVICE ROOT POINT OPTIONS [OPTIONAL ...] - TYPE SOURCE OPTIONS`.
fn parse(list: &[u8]) -> Vec<Mount> {
    let line = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        (kind == b"cgroup2").then(|| Mount { root: unescape(root), point: unescape(point) })
    };
    list.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// Replaces the octal escapes that the kernel writes for white space and backslashes.
fn unescape(field: &[u8]) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::with_capacity(field.len()), field);
    while let [first, after @ ..] = rest {
        let octal = after.first_chunk::<3>().filter(|_| *first == b'\\');
        let octal = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        let (byte, left) = match octal {
            Some(byte) => (byte, after.get(3..).unwrap_or(&[])),
            None => (*first, after),
        };
        bytes.push(byte);
        rest = left;
    }
    OsString::from_vec(bytes).into()
}

impl IntoCgroup for Cgroup {
    type Directory = Self;

    fn into_cgroup(self) -> Result<Self> {
        Ok(self)
    }
}

impl<'a> IntoCgroup for &'a Cgroup {
    type Directory = BorrowedFd<'a>;

    fn into_cgroup(self) -> Result<BorrowedFd<'a>> {
        Ok(self.as_fd())
    }
}

impl IntoCgroup for BorrowedFd<'_> {
    type Directory = Self;

    fn into_cgroup(self) -> Result<Self> {
        Ok(self)
    }
}

macro_rules! open_cgroups {
    ($($name:ty),*) => {
        $(
            impl IntoCgroup for $name {
                type Directory = Self;

                fn into_cgroup(self) -> Result<Self> {
                    Ok(self)
                }
            }

            impl<'a> IntoCgroup for &'a $name {
                type Directory = BorrowedFd<'a>;

                fn into_cgroup(self) -> Result<BorrowedFd<'a>> {
                    Ok(self.as_fd())
                }
            }
        )*
    };
}

open_cgroups!(File, OwnedFd);

macro_rules! cgroup_paths {
    ($($name:ty),*) => {
        $(
            impl IntoCgroup for $name {
                type Directory = Cgroup;

                fn into_cgroup(self) -> Result<Cgroup> {
                    Cgroup::open(self)
                }
            }
        )*
    };
}

cgroup_paths!(&str, String, &String, &Path, PathBuf, &PathBuf, &OsStr, OsString, &OsString);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn mounts_are_parsed() {
        let list = b"24 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n\
            31 24 0:26 /a\\040b /mnt\\011x\\134y rw master:1 propagate_from:2 - cgroup2 none rw\n\
            32 24 0:27 / /mnt/- rw - cgroup cgroup2 rw\n32 24\n\n33 24 0:28 /only /x rw - cgroup2";
        let mount = |root: &str, point: &str| Mount { root: root.into(), point: point.into() };
        assert_eq!(parse(list), [mount("/", "/sys/fs/cgroup"), mount("/a b", "/mnt\tx\\y"), mount("/only", "/x")]);
        (0..list.len()).for_each(|cut| drop(parse(&list[..cut])));
    }

    #[test]
    fn invalid_escapes_are_not_replaced() {
        for (text, result) in [("\\", "\\"), ("\\04", "\\04"), ("\\089", "\\089"), ("\\777", "\\777"), ("a\\040", "a ")]
        {
            assert_eq!(unescape(text.as_bytes()), Path::new(result));
        }
    }

    #[test]
    fn directories_are_in_the_mounted_part() {
        let directory = |root: &str, path: &str| {
            let mount = Mount { root: root.into(), point: "/mnt".into() };
            mount.directory(Path::new(path)).map(|path| path.display().to_string())
        };
        assert_eq!(directory("/", "/a/b").as_deref(), Some("/mnt/a/b"));
        assert_eq!(directory("/", "/").as_deref(), Some("/mnt/"));
        assert_eq!(directory("/a", "/a/b").as_deref(), Some("/mnt/b"));
        for (root, path) in [("/a", "/ab"), ("/a", "/"), ("/", "/../x"), ("/", "/a/../../etc"), ("/", "")] {
            assert_eq!(directory(root, path), None, "{root} {path}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "calls the kernel")]
    fn paths_and_processes_without_a_cgroup_are_errors() {
        let error = Cgroup::open("/proc/version").unwrap_err();
        assert_eq!((error.kind(), error.step()), (ErrorKind::NotFound, Step::Open), "{error}");
        assert!(error.help().is_some_and(|help| help.contains("the directory of a cgroup")), "{error}");
        let error = Cgroup::open("/proc").unwrap_err();
        assert_eq!((error.kind(), error.subject()), (ErrorKind::Mismatch, Some(Subject::Path(Path::new("/proc")))));
        assert!(error.to_string().contains("not in a cgroup2 file system"), "{error}");
        for path in ["", "/there/is\0no", "/there/is/no"] {
            assert!(Cgroup::open(path).is_err());
        }
        let error = Cgroup::of_process(u32::MAX).unwrap_err();
        assert_eq!((error.kind(), error.subject()), (ErrorKind::NotFound, Some(Subject::Process(u32::MAX))), "{error}");
    }
}
