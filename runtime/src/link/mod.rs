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
mod detach;
mod elf;
mod event_source;
mod file_symbols;
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
mod tc_attached;
mod trace_multi;
mod undo;
mod unfound;
mod usdt;
mod usdt_arguments;
mod user_probe;
#[doc(hidden)]
pub mod ways;
mod xdp;
mod xdp_features;

pub use self::attached::Attached;
pub use self::auto::Left;
#[doc(hidden)]
pub use self::auto::{Attaching, nothing_left};
pub use self::counters::{BreakpointAccess, Cache, CacheAccess, CacheResult, HardwareCounter, SoftwareCounter};
pub use self::detach::{detach_from, detach_from_cgroup, detach_from_interface};
pub use self::file_symbols::{FileFunction, FileLocation, FileSymbols};
pub(crate) use self::freplace::function_id;
pub use self::info::{IterScope, LinkInfo, LinkTarget};
pub use self::iter::{CgroupOrder, IterTarget};
pub use self::kernel_probe::{Kprobe, KprobeMulti, Ksyscall};
pub use self::netfilter::Netfilter;
pub use self::order::{Order, Other, Place};
pub use self::perf::{OpenEvent, PerfEvent, Sample};
pub use self::raw::{RawTracepoint, Trace, Tracepoint};
pub use self::route::Route;
pub use self::socket::{detach_reuseport, detach_socket_filter};
pub use self::struct_ops::StructOps;
pub use self::tc::{TcDirection, TcFilter};
pub use self::tc_attached::{TcAttached, detach_tc, remove_clsact};
pub use self::trace_multi::TraceMulti;
pub use self::usdt::Usdt;
pub use self::user_probe::{Uprobe, UprobeMulti};
pub use self::xdp::{XdpAttached, XdpMode, XdpReplace, detach_xdp};
pub use self::xdp_features::XdpFeatures;
pub use crate::cgroup::{Cgroup, IntoCgroup};
pub use crate::interface::{Interface, IntoInterface};

use std::ffi::CString;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use self::undo::{Attachment, Entries, Registered, Undo};
use crate::data::{Plain, from_bytes};
use crate::error::{Errno, Error, ErrorKind, LinuxVersion, Result, Step, Subject};
use crate::kernel::causes;
use crate::opened::Kind;
use crate::pins::{PinPath, PinSet};
use crate::program::Program;
use crate::sys::{descriptor, link as sys};

/// An attached program. Dropping the link detaches the program, unless the link was pinned.
///
/// Bind it to a name for as long as the program must stay attached: `let _link = program.attach()?` keeps it to the end
/// of the block. `let _ = program.attach()?` binds nothing: the link is dropped at the end of the statement, and the
/// program detached at once. The compiler warns about an unused link, but not about `let _ =`; the lint
/// `clippy::let_underscore_must_use` does. To keep a program attached without a value, [`pin`](Self::into_pinned) or
/// [`leak`](Self::leak) its link.
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
#[must_use = "dropping a link detaches the program: bind it to a name (`let _link = …`; `let _ = …` drops it)"]
pub struct Link {
    fd: OwnedFd,
    /// The program's name, for messages.
    program: String,
    /// How to detach an attachment without a BPF link; `None` if there is a BPF link.
    undo: Option<Undo>,
    /// For a USDT probe with several locations or a perf event of several CPUs, the links of all but the first.
    others: Vec<OwnedFd>,
    /// The USDT specifications that the attachment uses in the maps of its object. They are released after the links
    /// above are closed, because fields are dropped in order.
    taken: Option<Box<dyn Entries>>,
}

impl Link {
    pub(crate) fn new(fd: OwnedFd, program: impl Into<String>) -> Self {
        Self { fd, program: program.into(), undo: None, others: Vec::new(), taken: None }
    }

    /// Creates a `Link` for a struct_ops map that was registered without a BPF link. `undoing` is another file
    /// descriptor of the map, with which the map is unregistered.
    pub(crate) fn registered(map: OwnedFd, undoing: OwnedFd, name: &str) -> Self {
        Self::without_link(map, name, Registered(undoing))
    }

    /// Creates a `Link` for an attachment without a BPF link.
    fn without_link(fd: OwnedFd, program: &str, attachment: impl Attachment + 'static) -> Self {
        Self { fd, program: program.into(), undo: Some(Undo::new(attachment)), others: Vec::new(), taken: None }
    }

    /// Adds USDT specifications, which are released when the link is dropped.
    fn with_taken(self, taken: impl Entries + 'static) -> Self {
        Self { taken: Some(Box::new(taken)), ..self }
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
    /// If nothing is pinned at the path, or the pinned object is not a link.
    pub fn open_pinned(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Ok(Self::new(Kind::Link.pinned(path)?, path.display().to_string()))
    }

    /// Opens a link that is pinned at a path relative to the descriptor of a directory in a bpffs (Linux 6.5).
    ///
    /// ```no_run
    /// # fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// use skelgen_runtime::Link;
    ///
    /// let dir = std::fs::File::open("/sys/fs/bpf/service")?;
    /// Link::open_pinned_at(&dir, "firewall")?.detach()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Self::open_pinned`]. Also if `dir` is not a directory, or the kernel is older than Linux 6.5.
    pub fn open_pinned_at(dir: impl AsFd, path: impl AsRef<Path>) -> Result<Self> {
        let pin = PinPath::at(dir.as_fd(), path.as_ref());
        let fd = Kind::Link.pinned_at(&pin).map_err(causes::relative_pin)?;
        Ok(Self::new(fd, pin.shown().display().to_string()))
    }

    /// Opens the link with this id (Linux 5.8). [`LinkInfo::id`] and `bpftool link` show ids. When the returned value is
    /// dropped, the program stays attached as long as the link has a pin or another file descriptor.
    ///
    /// ```no_run
    /// # fn f() -> skelgen_runtime::Result<()> {
    /// use skelgen_runtime::{Link, link::LinkTarget, system};
    ///
    /// // Detaches all XDP programs that were attached with links.
    /// for link in system::links() {
    ///     let link = link?;
    ///     if let LinkTarget::Xdp { .. } = link.target {
    ///         Link::from_id(link.id)?.detach()?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If no link has this id, the process does not have `CAP_SYS_ADMIN`, or the kernel is older than Linux 5.8.
    pub fn from_id(id: u32) -> Result<Self> {
        Ok(Self::new(Kind::Link.of_id(id).map_err(without_ids)?, format!("id {id}")))
    }

    /// Returns the name of the program or struct_ops map. For a link that was opened from a pin, returns the path; for a
    /// link that was opened by its id, `id N`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.program
    }

    /// Pins the link to a path in a bpffs. The program stays attached until the file is removed.
    ///
    /// # Errors
    /// If the path is not in a bpffs, the file exists, or the attachment has no BPF link (perf events before 5.15).
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<()> {
        self.pin_to(&PinPath::new(path.as_ref()))
    }

    /// Pins the link to a path relative to the descriptor of a directory in a bpffs (Linux 6.5). The descriptor stays
    /// valid if the directory is renamed. The bpffs need not be mounted in this mount namespace.
    ///
    /// ```no_run
    /// # fn f(link: &skelgen_runtime::Link) -> Result<(), Box<dyn std::error::Error>> {
    /// let dir = std::fs::File::open("/sys/fs/bpf/service")?;
    /// link.pin_at(&dir, "firewall")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Self::pin`]. Also if `dir` is not a directory, or the kernel is older than Linux 6.5.
    pub fn pin_at(&self, dir: impl AsFd, path: impl AsRef<Path>) -> Result<()> {
        self.pin_to(&PinPath::at(dir.as_fd(), path.as_ref())).map_err(causes::relative_pin)
    }

    fn pin_to(&self, pin: &PinPath<'_>) -> Result<()> {
        let doing = format!("cannot pin the link of `{}` to {}", self.program, pin.shown().display());
        self.kernel_link(Step::Pin, &doing)?;
        pin.pin(self.fd.as_fd(), doing).map_err(|error| error.about(Subject::Program(&self.program)))?;
        // The attached programs read the specifications as long as the pin exists.
        self.taken.iter().for_each(|taken| taken.keep());
        Ok(())
    }

    /// Pins the link to a path in a bpffs and closes it.
    ///
    /// # Errors
    /// Those of [`pin`](Self::pin). On error, the program is detached.
    pub fn into_pinned(self, path: impl AsRef<Path>) -> Result<()> {
        self.pin(path)
    }

    /// Leaves the program attached until this process ends. An attachment without a BPF link stays until its target is
    /// removed.
    pub fn leak(self) {
        if let Some(undo) = self.undo {
            undo.forget();
        }
        self.taken.iter().for_each(|taken| taken.keep());
        std::mem::forget((self.fd, self.others));
    }

    /// Detaches the program, even if the link is pinned or other file descriptors of it are open (Linux 5.9). For
    /// probes, tracing programs and perf events, and on older kernels, this only closes the link: the kernel detaches
    /// the program after the last pin is removed and the last other file descriptor is closed.
    ///
    /// # Errors
    /// If the kernel rejects the request, or the link was created from a file descriptor of a different object.
    pub fn detach(self) -> Result<()> {
        let doing = format!("cannot detach `{}`", self.program);
        let about = |error: Error| error.during(Step::Detach).about(Subject::Program(&self.program));
        let refused = |errno| about(Error::refused(&doing, errno));
        if let Some(undo) = self.undo {
            return undo.run().map_err(refused);
        }
        let Err(errno) = sys::detach_link(self.fd.as_fd()) else { return Ok(()) };
        match errno.raw() {
            // Links of this kind detach when they are closed.
            libc::EOPNOTSUPP => Ok(()),
            libc::EINVAL if !sys::is_link(self.fd.as_fd()).map_err(refused)? => {
                Err(refused(errno).note("the file descriptor is not a link"))
            }
            // The kernel does not have the command.
            libc::EINVAL if !sys::can_detach().map_err(|error| about(error.within(&doing)))? => Ok(()),
            _ => Err(refused(errno)),
        }
    }

    /// Replaces the attached program atomically, for links of XDP, tcx, netkit, cgroups, namespaces, sockmaps,
    /// sockhashes and iterators.
    ///
    /// # Errors
    /// If the program was not loaded or has the wrong type, or the program of a link of this kind cannot be replaced.
    pub fn update(&self, program: &Program) -> Result<()> {
        self.change(program, None)
    }

    /// Replaces the attached program atomically if it is `old`.
    ///
    /// # Errors
    /// Those of [`update`](Self::update). Also if the link has a different program (kind [`ErrorKind::Mismatch`]).
    pub fn replace(&self, old: &Program, program: &Program) -> Result<()> {
        self.change(program, Some(old))
    }

    fn change(&self, program: &Program, old: Option<&Program>) -> Result<()> {
        let doing = format!("cannot replace program `{}` with `{}`", self.program, program.name());
        self.kernel_link(Step::UpdateLink, &doing)?;
        let old_fd = old.map(Program::fd).transpose()?;
        sys::update(self.fd.as_fd(), program.fd()?, old_fd).map_err(|errno| {
            let error = Error::refused(doing, errno).during(Step::UpdateLink).about(Subject::Program(program.name()));
            match errno.raw() {
                libc::EINVAL => error.with_help(
                    "the program must have the same type and attach type; links of some kinds (probes, tracepoints, tracing \
                     programs) cannot change their program: attach the new one, then drop the old link",
                ),
                // `EPERM` also means a missing capability. A process without it cannot read the link's information
                // either.
                libc::EPERM if old.is_some() && self.info().is_ok() => error
                    .with_kind(ErrorKind::Mismatch)
                    .note("the link has a different program than the one to replace"),
                _ => error,
            }
        })
    }

    /// Returns the information that the kernel reports about the link (Linux 5.8; the target of some links only since
    /// later versions).
    ///
    /// # Errors
    /// If the attachment is not exactly one BPF link, or the kernel rejects the query.
    pub fn info(&self) -> Result<LinkInfo> {
        let doing = format!("cannot read information about the link of `{}`", self.program);
        self.kernel_link(Step::ReadInfo, &doing)?;
        LinkInfo::of(self.fd.as_fd())
            .map_err(|errno| Error::refused(doing, errno).during(Step::ReadInfo).about(Subject::Program(&self.program)))
    }

    /// Returns the id of the attached program; `None` for a struct_ops map (Linux 5.8).
    ///
    /// ```no_run
    /// # fn f(link: &skelgen_runtime::Link, program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// assert_eq!(link.program_id()?, Some(program.id()?));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`info`](Self::info).
    pub fn program_id(&self) -> Result<Option<u32>> {
        Ok(self.info()?.program_id)
    }

    /// Runs an attached iterator, and returns its output as values of this type: the values that the program passed to
    /// `bpf_seq_write`, one after another.
    ///
    /// ```no_run
    /// # fn f(link: &skelgen_runtime::Link) -> skelgen_runtime::Result<()> {
    /// let pids: Vec<u32> = link.read_iter_as()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program is not an iterator, the output cannot be read, or its length is not a multiple of the type's size
    /// ([`ErrorKind::Malformed`]).
    pub fn read_iter_as<T: Plain>(&self) -> Result<Vec<T>> {
        let about = |error: Error| error.during(Step::RunProgram).about(Subject::Program(&self.program));
        let mut bytes = Vec::new();
        self.read_iter()?.read_to_end(&mut bytes).map_err(|error| {
            about(Error::io(format_args!("cannot read the output of iterator `{}`", self.program), &error))
        })?;
        let size = size_of::<T>();
        let values = (size != 0 && bytes.len() % size == 0).then(|| bytes.chunks_exact(size).map_while(from_bytes));
        values.map(Iterator::collect).ok_or_else(|| {
            about(Error::malformed(format_args!(
                "iterator `{}` wrote {} bytes, not a multiple of the record size, {size} bytes",
                self.program,
                bytes.len()
            )))
        })
    }

    /// Starts an attached iterator and returns a file with its output. Every call is a new iteration.
    ///
    /// # Errors
    /// If the program is not an iterator.
    pub fn read_iter(&self) -> Result<File> {
        sys::open_iter(self.fd.as_fd()).map(File::from).map_err(|errno| {
            let error = Error::refused(format_args!("cannot start iterator `{}`", self.program), errno);
            error.during(Step::RunProgram).about(Subject::Program(&self.program))
        })
    }

    /// Returns an error unless the attachment consists of exactly one BPF link.
    fn kernel_link(&self, step: Step, doing: &str) -> Result<()> {
        let of_link = |error: Error| error.during(step).about(Subject::Program(&self.program));
        if !self.others.is_empty() {
            let count = self.others.len() + 1;
            let error =
                Error::unsupported(format_args!("{doing}: the attachment has {count} links, one for each location"));
            return Err(of_link(match self.taken {
                Some(_) => causes::since(
                    error,
                    LinuxVersion::new(6, 6),
                    "load the program with the attach type TRACE_UPROBE_MULTI (`set_type`) for one link (Linux 6.6)",
                ),
                None => error.with_help("to get one link per CPU, call `attach_perf` for each CPU"),
            }));
        }
        // If this query fails, the caller's request fails as well, and its error is reported.
        if self.undo.is_none() && sys::is_link(self.fd.as_fd()).unwrap_or(true) {
            return Ok(());
        }
        let Some(undo) = &self.undo else {
            return Err(of_link(Error::unsupported(format_args!("{doing}: the file descriptor is not a link"))));
        };
        let error = of_link(Error::unsupported(format_args!("{doing}: the attachment has no BPF link")));
        Err(match undo.links() {
            Some(how) => error.with_help(how),
            None => error.note("the kernel has no links for attachments of this kind"),
        })
    }
}

descriptor!([] Link: self => self.fd);

impl From<Link> for OwnedFd {
    /// Returns the link's file descriptor; for an attachment without a BPF link, the file descriptor of its program or
    /// map. The program stays attached at all its locations. File descriptors of further locations are leaked.
    fn from(link: Link) -> Self {
        link.taken.iter().for_each(|taken| taken.keep());
        std::mem::forget(link.others);
        if let Some(undo) = link.undo {
            undo.forget();
        }
        link.fd
    }
}

impl From<OwnedFd> for Link {
    /// Creates a link from a file descriptor that this crate did not open.
    fn from(fd: OwnedFd) -> Self {
        Self::new(fd, "link from a file descriptor")
    }
}

/// Pins links by their names in a directory of a bpffs, which is created if it does not exist; for the skeleton's
/// `pin`. If the process is killed during the call, some of the pins can remain.
///
/// # Errors
/// If the directory cannot be created or a link cannot be pinned. On error, the pins of this call are removed.
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

/// Explains the error of a request for the id of a link.
pub(crate) fn without_ids(error: Error) -> Error {
    match error.errno() {
        Some(errno) if errno.raw() == libc::EINVAL => {
            causes::since(error, LinuxVersion::new(5, 8), "links have ids since Linux 5.8")
        }
        _ => error,
    }
}

/// Creates the error for an attachment that the kernel rejected.
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
