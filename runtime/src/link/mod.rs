//! Attached programs.
//!
//! A link keeps a program attached. It is a file descriptor; the kernel detaches the program when the last descriptor
//! is closed. Each kind of attach target has a file here, with the methods of [`Program`] that attach to it; `attach`
//! attaches programs by their sections. This module does not depend on objects or plans.

mod addresses;
mod attach;
mod attached;
mod auto;
mod cgroup;
mod counters;
mod elf;
mod freplace;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod info;
mod iter;
mod kernel_probe;
mod lirc;
mod netfilter;
mod network;
mod notes;
mod order;
mod pattern;
mod perf;
mod pmu;
mod raw;
mod route;
mod search;
mod socket;
mod struct_ops;
mod symbols;
mod tc;
mod trace_multi;
mod undo;
mod unfound;
mod usdt;
mod usdt_arguments;
mod user_probe;

pub use self::attached::Attached;
pub use self::auto::Left;
#[doc(hidden)]
pub use self::auto::{Attaching, nothing_left};
pub use self::counters::{HardwareCounter, SoftwareCounter};
pub(crate) use self::freplace::function_id;
pub use self::info::{LinkInfo, LinkTarget};
pub use self::iter::{CgroupOrder, IterTarget};
pub use self::kernel_probe::{Kprobe, KprobeMulti, Ksyscall};
pub use self::netfilter::Netfilter;
pub use self::order::{Order, Other, Place};
pub use self::perf::{PerfEvent, Sample};
pub use self::route::Route;
pub use self::socket::{detach_reuseport, detach_socket_filter};
pub use self::struct_ops::StructOps;
pub use self::tc::{TcDirection, TcFilter};
pub use self::usdt::Usdt;
pub use self::user_probe::{Uprobe, UprobeMulti};

use std::borrow::Cow;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use self::undo::{How, Undo};
use crate::error::{Errno, Error, LinuxVersion, Result, Step, Subject};
use crate::kernel::causes;
use crate::pins::{self, PinSet};
use crate::program::Program;
use crate::sys::{c_path, link as sys};
use crate::usdt_specs::Taken;

/// An attached program. Dropping the link detaches the program, unless the link was pinned.
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let link = program.attach()?;
/// println!("link {} of program {:?}", link.info()?.id, link.info()?.program_id);
/// // The pinned link outlives this process, until the file is removed.
/// link.into_pinned("/sys/fs/bpf/my-link")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping a link detaches the program"]
pub struct Link {
    fd: OwnedFd,
    /// The program's name, for messages.
    program: Cow<'static, str>,
    /// The way to detach, if the kernel has no link for the attachment.
    undo: Option<Undo>,
    /// The links of the other attach points, for a USDT probe with several.
    others: Vec<OwnedFd>,
    /// The USDT specifications that it uses in its object's maps. They are released after the links above are closed,
    /// because fields are dropped in order.
    taken: Option<Taken>,
}

impl Link {
    pub(crate) fn new(fd: OwnedFd, program: impl Into<Cow<'static, str>>) -> Self {
        Self { fd, program: program.into(), undo: None, others: Vec::new(), taken: None }
    }

    /// Creates a link for a struct_ops map without a BPF link, from the map, and from another descriptor of it for
    /// unregistering.
    pub(crate) fn registered(map: OwnedFd, undoing: OwnedFd, name: &'static str) -> Self {
        Self::without_link(map, name, How::StructOps(undoing))
    }

    /// Creates a link for an attachment that the kernel has no link for, and how to detach it.
    fn without_link(fd: OwnedFd, program: &'static str, how: How) -> Self {
        Self { fd, program: program.into(), undo: Some(Undo::new(how)), others: Vec::new(), taken: None }
    }

    /// Returns the link, which releases the specifications in its object's maps when it is dropped.
    fn with_taken(self, taken: Taken) -> Self {
        Self { taken: Some(taken), ..self }
    }

    /// Adds the link of another attach point.
    fn add(&mut self, other: Self) {
        self.others.push(other.fd);
    }

    /// Opens a link that is pinned at a path in a bpffs.
    ///
    /// ```no_run
    /// # fn f() -> skelgen_runtime::Result<()> {
    /// use skelgen_runtime::Link;
    /// println!("{:?}", Link::open_pinned("/sys/fs/bpf/my-link")?.info()?.target);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If nothing is pinned there, or the pinned object is not a link.
    pub fn open_pinned(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let opening = || format!("cannot open the link pinned at {}", path.display());
        let of_path = |error: Error| error.during(Step::Open).about(Subject::Path(path));
        let fd = sys::open_pinned(&c_path(path)?).map_err(|errno| of_path(Error::refused(opening(), errno)))?;
        // BPF file descriptors are anonymous inodes whose link names their kind.
        if !is_link(fd.as_fd()) {
            return Err(of_path(Error::mismatch(format_args!("{}: it is a map or a program", opening()))));
        }
        Ok(Self::new(fd, path.display().to_string()))
    }

    /// Returns the name of the program or struct_ops map; of a link that was opened from a pin, its path.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.program
    }

    /// Pins the link to a path in a bpffs. The program stays attached until the file is removed.
    ///
    /// # Errors
    /// If the path is not in a bpffs, the file exists, or the attachment has no BPF link (perf events before 5.15).
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let doing = format!("cannot pin the link of `{}` to {}", self.program, path.display());
        self.kernel_link(Step::Pin, &doing)?;
        pins::pin(self.fd.as_fd(), path, doing).map_err(|error| error.about(Subject::Program(&self.program)))?;
        // The attached programs read the specifications as long as the pin exists.
        self.taken.iter().for_each(Taken::keep);
        Ok(())
    }

    /// Pins the link to a path in a bpffs and closes it.
    ///
    /// # Errors
    /// As [`pin`](Self::pin); the program is detached then.
    pub fn into_pinned(self, path: impl AsRef<Path>) -> Result<()> {
        self.pin(path)
    }

    /// Leaves the program attached until this process ends; an attachment without a link, until its target is removed.
    pub fn leak(self) {
        if let Some(undo) = self.undo {
            undo.forget();
        }
        self.taken.iter().for_each(Taken::keep);
        std::mem::forget((self.fd, self.others));
    }

    /// Detaches the program, even if the link is pinned or has other descriptors, if the kernel supports that (Linux
    /// 5.9, and not for probes, tracing programs and perf events). Otherwise the kernel detaches the program when the
    /// last of the others is closed.
    ///
    /// # Errors
    /// If the kernel rejects the request.
    pub fn detach(self) -> Result<()> {
        let result = match self.undo {
            Some(undo) => undo.run(),
            None => sys::detach_link(self.fd.as_fd()).or_else(|errno| match errno.raw() {
                libc::EOPNOTSUPP | libc::EINVAL => Ok(()),
                _ => Err(errno),
            }),
        };
        result.map_err(|errno| {
            let error = Error::refused(format_args!("cannot detach `{}`", self.program), errno);
            error.during(Step::Detach).about(Subject::Program(&self.program))
        })
    }

    /// Replaces the attached program atomically, for links of XDP, tcx, netkit, cgroups, namespaces, maps of sockets
    /// and iterators.
    ///
    /// # Errors
    /// If the program was not loaded, is of another type, or the link does not support it.
    pub fn update(&self, program: &Program) -> Result<()> {
        self.change(program, None)
    }

    /// Replaces the attached program atomically if it is `old`.
    ///
    /// # Errors
    /// As [`update`](Self::update), and if the link has another program.
    pub fn replace(&self, old: &Program, program: &Program) -> Result<()> {
        self.change(program, Some(old))
    }

    fn change(&self, program: &Program, old: Option<&Program>) -> Result<()> {
        let doing = format!("cannot replace program `{}` with `{}`", self.program, program.name());
        self.kernel_link(Step::UpdateLink, &doing)?;
        let old = old.map(Program::fd).transpose()?;
        sys::update(self.fd.as_fd(), program.fd()?, old).map_err(|errno| {
            let error = Error::refused(doing, errno).during(Step::UpdateLink).about(Subject::Program(program.name()));
            match errno.raw() {
                libc::EINVAL => error.with_help(
                    "the program must have the same type and attach type; links of some kinds (probes, tracepoints, tracing \
                     programs) cannot change their program: attach the new one, then drop the old link",
                ),
                libc::EPERM => error.note("the link has another program than the one to be replaced"),
                _ => error,
            }
        })
    }

    /// Returns the information that the kernel reports about the link (Linux 5.8; about some targets later).
    ///
    /// # Errors
    /// If it is not a BPF link, or the kernel rejects the query.
    pub fn info(&self) -> Result<LinkInfo> {
        let doing = format!("cannot read information about the link of `{}`", self.program);
        self.kernel_link(Step::ReadInfo, &doing)?;
        LinkInfo::of(self.fd.as_fd())
            .map_err(|errno| Error::refused(doing, errno).during(Step::ReadInfo).about(Subject::Program(&self.program)))
    }

    /// Starts an attached iterator and returns a file with its output. Every call is a new iteration.
    ///
    /// # Errors
    /// If the program is not an iterator.
    pub fn read_iter(&self) -> Result<File> {
        sys::open_iter(self.fd.as_fd()).map(File::from).map_err(|errno| {
            let error = Error::refused(format_args!("cannot create an instance of iterator `{}`", self.program), errno);
            error.during(Step::RunProgram).about(Subject::Program(&self.program))
        })
    }

    /// Fails if the attachment is not one BPF link.
    fn kernel_link(&self, step: Step, doing: &str) -> Result<()> {
        let of_link = |error: Error| error.during(step).about(Subject::Program(&self.program));
        if !self.others.is_empty() {
            let count = self.others.len() + 1;
            let error =
                Error::unsupported(format_args!("{doing}: it is attached to {count} locations, with a link for each"));
            return Err(of_link(causes::since(
                error,
                LinuxVersion::new(6, 6),
                "load the program with the attach type TRACE_UPROBE_MULTI (`set_type`) for one link (Linux 6.6)",
            )));
        }
        if self.undo.is_none() && is_link(self.fd.as_fd()) {
            return Ok(());
        }
        let error = Error::unsupported(format_args!("{doing}: the kernel has no link for this attachment"));
        Err(of_link(error.note(
            "newer kernels have links for most: cgroups since 5.7, perf events since 5.15, socket maps since 6.10",
        )))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Link> for OwnedFd {
    /// Returns the link's file descriptor. An attachment without a link stays attached; the file descriptor is that of
    /// its program or map. The other attach points of a link stay attached too.
    fn from(link: Link) -> Self {
        link.taken.iter().for_each(Taken::keep);
        std::mem::forget(link.others);
        if let Some(undo) = link.undo {
            undo.forget();
        }
        link.fd
    }
}

impl From<OwnedFd> for Link {
    /// Creates a link from a file descriptor that was opened elsewhere.
    fn from(fd: OwnedFd) -> Self {
        Self::new(fd, "a link of unknown origin")
    }
}

/// Pins links by their names in a directory of a bpffs, which is created if it does not exist; for the skeleton's
/// `pin`.
///
/// # Errors
/// If a link cannot be pinned; the pins of the others are removed then.
#[doc(hidden)]
pub fn pin_all(links: &[(&'static str, &Link)], dir: &Path) -> Result<()> {
    let mut pins = PinSet::default();
    pins.directory(dir)?;
    for (name, link) in links {
        let path = dir.join(name);
        link.pin(&path)?;
        pins.add(path);
    }
    pins.keep();
    Ok(())
}

/// Returns whether a file descriptor is a link: the kernel names them `anon_inode:bpf_link` and `anon_inode:bpf-link`.
fn is_link(fd: BorrowedFd<'_>) -> bool {
    match std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())) {
        Ok(name) => [&b"anon_inode:bpf_link"[..], b"anon_inode:bpf-link"].contains(&name.as_os_str().as_bytes()),
        // Without /proc the kernel reports a wrong descriptor later.
        Err(_) => true,
    }
}

/// Creates the error of a program that the kernel rejected.
fn refused(program: &str, to: impl std::fmt::Display, errno: Errno) -> Error {
    let error = Error::refused(format_args!("cannot attach program `{program}` to {to}"), errno)
        .during(Step::Attach)
        .about(Subject::Program(program));
    match errno.raw() {
        libc::EPERM | libc::EACCES => error.general_help(
            "run with CAP_BPF and CAP_PERFMON or CAP_NET_ADMIN, or as root; a program attached without BPF_F_ALLOW_MULTI also prevents this",
        ),
        _ => error,
    }
}

/// Returns a name as a C string.
fn c_string(name: &str) -> Result<CString> {
    CString::new(name).map_err(|_| Error::invalid(format_args!("name {name:?} contains a NUL byte")))
}
