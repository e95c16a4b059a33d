//! Attaching iterators with a target.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::Link;
use super::attach::no_process;
use crate::error::Result;
use crate::program::Program;
use crate::sys::link as sys;

/// The objects that an iterator visits.
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::link::IterTarget;
///
/// let link = program.attach_iter(IterTarget::Process(std::process::id()))?;
/// std::io::copy(&mut link.read_iter()?, &mut std::io::stdout()).ok();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum IterTarget<'a> {
    /// The elements of this map (`iter/bpf_map_elem`, `iter/sockmap`, `iter/bpf_sk_storage_map`; Linux 5.9).
    Map(BorrowedFd<'a>),
    /// The cgroups that the order selects, relative to this one (`iter/cgroup`, Linux 6.1).
    Cgroup(BorrowedFd<'a>, CgroupOrder),
    /// One thread, by its id (`iter/task`, `iter/task_file`, `iter/task_vma`; Linux 6.1).
    Thread(u32),
    /// The threads of one process, by its id (Linux 6.1).
    Process(u32),
    /// The threads of the process that this pidfd refers to (Linux 6.1).
    Pidfd(BorrowedFd<'a>),
}

/// The order in which cgroups are visited (`enum bpf_cgroup_iter_order`).
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> Result<(), Box<dyn std::error::Error>> {
/// use std::os::fd::AsFd;
///
/// use skelgen_runtime::link::{CgroupOrder, IterTarget};
///
/// let cgroup = std::fs::File::open("/sys/fs/cgroup/system.slice")?;
/// let link = program.attach_iter(IterTarget::Cgroup(cgroup.as_fd(), CgroupOrder::DescendantsPre))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum CgroupOrder {
    /// This cgroup only.
    SelfOnly = 1,
    /// This cgroup and its descendants, parents first.
    DescendantsPre = 2,
    /// This cgroup and its descendants, children first.
    DescendantsPost = 3,
    /// This cgroup and its ancestors.
    AncestorsUp = 4,
    /// The children of this cgroup. Not all kernels with cgroup iterators support this order.
    Children = 5,
}

impl CgroupOrder {
    /// All orders.
    pub(super) const ALL: [Self; 5] =
        [Self::SelfOnly, Self::DescendantsPre, Self::DescendantsPost, Self::AncestorsUp, Self::Children];
}

impl IterTarget<'_> {
    /// Returns `union bpf_iter_link_info`, 16 bytes. All variants start at offset 0.
    fn info(self) -> [u8; 16] {
        let bits = |fd: BorrowedFd<'_>| u32::from_ne_bytes(fd.as_raw_fd().to_ne_bytes());
        let words: [u32; 4] = match self {
            Self::Map(map) => [bits(map), 0, 0, 0],
            Self::Cgroup(cgroup, order) => [order as u32, bits(cgroup), 0, 0],
            Self::Thread(id) => [id, 0, 0, 0],
            Self::Process(id) => [0, id, 0, 0],
            Self::Pidfd(fd) => [0, 0, bits(fd), 0],
        };
        let mut bytes = [0; 16];
        for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}

impl Program {
    /// Attaches an iterator that visits only the objects of this target. Iterators over map elements require a map as
    /// the target.
    ///
    /// ```no_run
    /// # fn f(program: &skelgen_runtime::Program) -> Result<(), Box<dyn std::error::Error>> {
    /// use skelgen_runtime::link::IterTarget;
    /// let link = program.attach_iter(IterTarget::Process(std::process::id()))?;
    /// let text = std::io::read_to_string(link.read_iter()?)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded, the id of a thread or process is 0, the iterator does not accept this kind of
    /// target, or the kernel rejects the attachment.
    pub fn attach_iter(&self, target: IterTarget<'_>) -> Result<Link> {
        // The kernel treats 0 as every thread or process.
        if let IterTarget::Thread(0) | IterTarget::Process(0) = target {
            return Err(self.attaching(no_process()));
        }
        sys::create_iter(self.fd()?, &target.info()).map(|fd| Link::new(fd, self.name())).map_err(|errno| {
            let error = self.refused("its iterator with this target", errno);
            match errno.raw() {
                libc::EINVAL | libc::EBADF | libc::E2BIG => error.note(
                    "pass a target of the kind that the program's section iterates over, on a kernel that supports it: maps since Linux 5.9, \
                     tasks and cgroups since 6.1",
                ),
                libc::ESRCH => error.note("the thread or process does not exist"),
                _ => error,
            }
        })
    }
}
