//! Attached programs.
//!
//! A link is what holds a program to the place where it runs; it is a file descriptor, and the place is free again when the last
//! one is closed. What a program attaches to is a file of its own here, with the methods of [`Program`] that attach so;
//! what follows from a section alone is in `attach`. Knows nothing of objects or plans.

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

/// A program attached. Dropping it detaches, unless it was pinned.
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let link = program.attach()?;
/// println!("link {} of program {:?}", link.info()?.id, link.info()?.program_id);
/// // From here on it outlives this process, until the file is removed.
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
    /// What undoes an attachment that the kernel has no link for.
    undo: Option<Undo>,
    /// The links of other places where the program is attached to the same thing: of a USDT probe that has several.
    others: Vec<OwnedFd>,
    /// What it has taken of its object's maps, given back after all of the above are closed: fields are dropped in their order.
    taken: Option<Taken>,
}

impl Link {
    pub(crate) fn new(fd: OwnedFd, program: impl Into<Cow<'static, str>>) -> Self {
        Self { fd, program: program.into(), undo: None, others: Vec::new(), taken: None }
    }

    /// A table of functions without a link of the kernel's, by its map.
    pub(crate) fn registered(map: OwnedFd, table: &'static str) -> Result<Self> {
        let other = map
            .try_clone()
            .map_err(|error| Error::io(format_args!("attaching struct_ops `{table}`"), &error))
            .map_err(|error| error.during(Step::Attach).about(Subject::Map(table)))?;
        Ok(Self::undone(map, table, How::Table(other)))
    }

    /// Something that the kernel has no link for, and what undoes it.
    fn undone(fd: OwnedFd, program: &'static str, how: How) -> Self {
        Self { fd, program: program.into(), undo: Some(Undo::new(how)), others: Vec::new(), taken: None }
    }

    /// Returns the link, which gives back what it has taken of its object's maps when it is dropped.
    fn holding(self, taken: Taken) -> Self {
        Self { taken: Some(taken), ..self }
    }

    /// Takes in the link of another place.
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
    /// If nothing is pinned there, or what is pinned is no link.
    pub fn open_pinned(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let opening = || format!("opening the link pinned at {}", path.display());
        let of_path = |error: Error| error.during(Step::Open).about(Subject::Path(path));
        let fd = sys::open_pinned(&c_path(path)?).map_err(|errno| of_path(Error::refused(opening(), errno)))?;
        // The kernel gives no file descriptor away that is not named after what it is.
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

    /// Pins the link to a path in a bpffs: the program stays attached until the file is removed.
    ///
    /// # Errors
    /// If the path is in no bpffs, is taken, or the way of attaching is an old one without a link (perf events before 5.15).
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let doing = format!("pinning the link of `{}` to {}", self.program, path.display());
        self.kernel_link(Step::Pin, &doing)?;
        pins::pin(self.fd.as_fd(), path, doing).map_err(|error| error.about(Subject::Program(&self.program)))?;
        // Its programs read that for as long as the pin is there.
        self.taken.iter().for_each(Taken::keep);
        Ok(())
    }

    /// Pins the link to a path in a bpffs, and closes it.
    ///
    /// # Errors
    /// As for [`pin`](Self::pin); the program is detached then.
    pub fn into_pinned(self, path: impl AsRef<Path>) -> Result<()> {
        self.pin(path)
    }

    /// Leaves the program attached until this process ends; an attachment without a link, until its target is gone.
    pub fn leak(self) {
        if let Some(undo) = self.undo {
            undo.forget();
        }
        self.taken.iter().for_each(Taken::keep);
        std::mem::forget((self.fd, self.others));
    }

    /// Detaches the program, also if the link is pinned or others hold it, where the kernel can do that (Linux 5.9, and not for probes,
    /// tracing programs and perf events): those it detaches when the last of the others lets go.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn detach(self) -> Result<()> {
        let result = match self.undo {
            Some(undo) => undo.run(),
            None => sys::detach_link(self.fd.as_fd()).or_else(|errno| match errno.raw() {
                libc::EOPNOTSUPP | libc::EINVAL => Ok(()),
                _ => Err(errno),
            }),
        };
        result.map_err(|errno| {
            let error = Error::refused(format_args!("detaching `{}`", self.program), errno);
            error.during(Step::Detach).about(Subject::Program(&self.program))
        })
    }

    /// Puts another program in the place of the one that is attached, without a moment between them in which there is none: of XDP, tcx,
    /// netkit, cgroups, namespaces, maps of sockets and iterators.
    ///
    /// # Errors
    /// If the program was not loaded, is of another type, or links of this kind cannot change their program.
    pub fn update(&self, program: &Program) -> Result<()> {
        self.change(program, None)
    }

    /// Replaces the attached program without a moment in which none is attached, if `old` is the attached one.
    ///
    /// # Errors
    /// As for [`update`](Self::update), and if the link has another program.
    pub fn replace(&self, old: &Program, program: &Program) -> Result<()> {
        self.change(program, Some(old))
    }

    fn change(&self, program: &Program, old: Option<&Program>) -> Result<()> {
        let doing = format!("putting program `{}` in the place of `{}`", program.name(), self.program);
        self.kernel_link(Step::UpdateLink, &doing)?;
        let old = old.map(Program::fd).transpose()?;
        sys::update(self.fd.as_fd(), program.fd()?, old).map_err(|errno| {
            let error = Error::refused(doing, errno).during(Step::UpdateLink).about(Subject::Program(program.name()));
            match errno.raw() {
                libc::EINVAL => error.with_help(
                    "the program must be of the same type for the same place, and links of some kinds (probes, tracepoints, tracing \
                     programs) keep their program: attach it beside the other and drop that",
                ),
                libc::EPERM => error.note("the link has another program than the one that was to be replaced"),
                _ => error,
            }
        })
    }

    /// Returns what the kernel reports about the link (Linux 5.8; about some targets later).
    ///
    /// # Errors
    /// If it is no link of the kernel's or the kernel does not say.
    pub fn info(&self) -> Result<LinkInfo> {
        let doing = format!("looking at the link of `{}`", self.program);
        self.kernel_link(Step::ReadInfo, &doing)?;
        LinkInfo::of(self.fd.as_fd())
            .map_err(|errno| Error::refused(doing, errno).during(Step::ReadInfo).about(Subject::Program(&self.program)))
    }

    /// Runs an attached iterator: what it writes is what the file holds. Every call is a new run.
    ///
    /// # Errors
    /// If the program is no iterator.
    pub fn read_iter(&self) -> Result<File> {
        sys::open_iter(self.fd.as_fd()).map(File::from).map_err(|errno| {
            let error = Error::refused(format_args!("opening an instance of iterator `{}`", self.program), errno);
            error.during(Step::RunProgram).about(Subject::Program(&self.program))
        })
    }

    /// That the kernel has a link for it.
    fn kernel_link(&self, step: Step, doing: &str) -> Result<()> {
        let of_link = |error: Error| error.during(step).about(Subject::Program(&self.program));
        if !self.others.is_empty() {
            let count = self.others.len() + 1;
            let error =
                Error::unsupported(format_args!("{doing}: it is attached to {count} places, by a link for each"));
            return Err(of_link(causes::since(
                error,
                LinuxVersion::new(6, 6),
                "it is one link if the program is loaded with the attach type TRACE_UPROBE_MULTI (`set_type`), since Linux 6.6",
            )));
        }
        if self.undo.is_none() && is_link(self.fd.as_fd()) {
            return Ok(());
        }
        let error =
            Error::unsupported(format_args!("{doing}: it was attached in a way that the kernel has no links for"));
        Err(of_link(error.note(
            "newer kernels have them for most: perf events since 5.15, cgroups since 5.7, socket maps since 6.10",
        )))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Link> for OwnedFd {
    /// The link's file descriptor. What has none stays attached; the file descriptor is that of its program or map then. So do the
    /// other places of a link that is attached to several.
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
    /// A link that was opened elsewhere.
    fn from(fd: OwnedFd) -> Self {
        Self::new(fd, "a link from elsewhere")
    }
}

/// Pins links to the files of their names in a directory of a bpffs, which is made if it is not there; for the skeleton's `pin`.
///
/// # Errors
/// The first link that cannot be pinned; those that were are not pinned any more then.
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

/// Whether a file descriptor is a link's: the kernel calls them `anon_inode:bpf_link` and `anon_inode:bpf-link`.
fn is_link(fd: BorrowedFd<'_>) -> bool {
    match std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())) {
        Ok(name) => [&b"anon_inode:bpf_link"[..], b"anon_inode:bpf-link"].contains(&name.as_os_str().as_bytes()),
        // Without /proc it is up to the kernel to say so.
        Err(_) => true,
    }
}

/// The error of a program that the kernel does not attach.
fn refused(program: &str, to: impl std::fmt::Display, errno: Errno) -> Error {
    let error = Error::refused(format_args!("attaching program `{program}` to {to}"), errno)
        .during(Step::Attach)
        .about(Subject::Program(program));
    match errno.raw() {
        libc::EPERM | libc::EACCES => error.general_help(
            "that takes CAP_BPF with CAP_PERFMON or CAP_NET_ADMIN, or root; a program that is attached exclusively also keeps others out",
        ),
        _ => error,
    }
}

/// A name as the kernel takes it.
fn c_string(name: &str) -> Result<CString> {
    CString::new(name).map_err(|_| Error::invalid(format_args!("the name {name:?} holds a zero byte")))
}
