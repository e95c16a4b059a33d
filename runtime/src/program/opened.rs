//! Programs that no skeleton defines: they are opened from a pin, an id or a file descriptor.
//!
//! The kernel reports a program's type, but neither its section nor its attach type. The attach type is known if the
//! program type has only one. Otherwise the requests of `link` try the attach types that the kernel distinguishes, or
//! the user sets the attach type.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::{Program, ProgramInfo};
use crate::abi::{Attach, TargetKind};
use crate::error::{Error, Result, Step, Subject};
use crate::kernel::causes;
use crate::opened::Kind;
use crate::pins::PinPath;
use crate::uapi::{AttachType, ProgramType};

impl Program {
    /// Opens a program that is pinned at a path in a bpffs. The methods for its program type attach it, as a program of a
    /// skeleton; [`attach`](Self::attach) attaches programs that were loaded for a target (`fentry`, `tp_btf`, `lsm`,
    /// `iter` and others).
    ///
    /// ```no_run
    /// # fn f() -> skelgen_runtime::Result<()> {
    /// use skelgen_runtime::{Program, link::XdpMode};
    /// let program = Program::open_pinned("/sys/fs/bpf/firewall")?;
    /// let link = program.attach_xdp("eth0", XdpMode::Auto)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If nothing is pinned at the path, or the pinned object is not a program.
    pub fn open_pinned(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::opened(Kind::Program.pinned(path)?).map_err(|error| error.about(Subject::Path(path)))
    }

    /// Opens a program that is pinned at a path relative to the descriptor of a directory in a bpffs (Linux 6.5).
    ///
    /// ```no_run
    /// # fn f() -> Result<(), Box<dyn std::error::Error>> {
    /// use skelgen_runtime::Program;
    ///
    /// let dir = std::fs::File::open("/sys/fs/bpf/service")?;
    /// let program = Program::open_pinned_at(&dir, "firewall")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Self::open_pinned`]. Also if `dir` is not a directory, or the kernel is older than Linux 6.5.
    pub fn open_pinned_at(dir: impl AsFd, path: impl AsRef<Path>) -> Result<Self> {
        let pin = PinPath::at(dir.as_fd(), path.as_ref());
        let fd = Kind::Program.pinned_at(&pin).map_err(causes::relative_pin)?;
        Self::opened(fd).map_err(|error| error.about(Subject::Path(pin.shown())))
    }

    /// Opens the program with this id (Linux 4.13). [`ProgramInfo::id`](super::ProgramInfo::id) and `bpftool prog` show ids.
    ///
    /// ```no_run
    /// # fn f(link: &skelgen_runtime::Link) -> skelgen_runtime::Result<()> {
    /// use skelgen_runtime::Program;
    /// if let Some(id) = link.info()?.program_id {
    ///     println!("{} runs", Program::from_id(id)?.name());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If no program has this id, or the process does not have `CAP_SYS_ADMIN`.
    pub fn from_id(id: u32) -> Result<Self> {
        Self::opened(Kind::Program.of_id(id)?).map_err(|error| error.about(Subject::Id(id)))
    }

    /// Sets the attach type that the program was loaded with, if no skeleton defines the program. The kernel does not
    /// report attach types. Usually this crate finds the attach type when it attaches the program. You must set it for
    /// three kinds of attachment: programs of type `cgroup_skb` to cgroups, programs of type `sk_skb` to sockmaps and
    /// sockhashes, and programs to netkit interfaces.
    ///
    /// ```no_run
    /// # fn f() -> skelgen_runtime::Result<()> {
    /// use skelgen_runtime::{Program, uapi::AttachType};
    /// let mut program = Program::open_pinned("/sys/fs/bpf/egress")?;
    /// program.set_attach_type(AttachType::CGROUP_INET_EGRESS)?;
    /// let link = program.attach_cgroup("/sys/fs/cgroup/my.service")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program is known to have a different attach type. If the attach type is unknown, the kernel rejects a wrong
    /// one when the program is attached, except in the three cases above.
    pub fn set_attach_type(&mut self, attach_type: AttachType) -> Result<&mut Self> {
        if let Some(own) = self.attach_type.filter(|own| *own != attach_type) {
            let own = if own == AttachType(0) { "no attach type".to_owned() } else { format!("attach type {own}") };
            let error = format!("program `{}` has {own}, not {attach_type}", self.name());
            return Err(Error::invalid(error).about(Subject::Program(self.name())));
        }
        self.attach_type = Some(attach_type);
        self.attach = way(self.program_type, self.attach_type);
        Ok(self)
    }

    /// Creates the handle of a program that no skeleton defines.
    fn opened(fd: OwnedFd) -> Result<Self> {
        let info = ProgramInfo::of(fd.as_fd()).map_err(|errno| match errno.raw() {
            libc::E2BIG => Error::mismatch("the file descriptor is not a program").during(Step::Open),
            _ => Error::refused("cannot read the description of a program", errno).during(Step::Open),
        })?;
        let name = if info.name.is_empty() { format!("id {}", info.id) } else { info.name };
        let attach_type = only_attach_type(info.program_type);
        Ok(Self {
            name: name.into(),
            section: None,
            program_type: info.program_type,
            attach_type,
            attach: way(info.program_type, attach_type),
            fd: Some(fd),
            optional: false,
            autoattach: false,
            target: None,
            log: None,
            #[cfg(feature = "exclusive-maps")]
            hash: None,
            load_error: None,
            usdt_specs: None,
            parts: Vec::new(),
        })
    }
}

/// Creates a program from a file descriptor, regardless of its origin.
///
/// ```no_run
/// # fn f(received: std::os::fd::OwnedFd) -> skelgen_runtime::Result<()> {
/// let program = skelgen_runtime::Program::try_from(received)?;
/// println!("{}", program.info()?.name);
/// # Ok(())
/// # }
/// ```
impl TryFrom<OwnedFd> for Program {
    type Error = Error;

    /// Fails if the file descriptor is not a program.
    fn try_from(fd: OwnedFd) -> Result<Self> {
        Self::opened(Kind::Program.check(fd)?)
    }
}

/// Returns the attach type that all programs of a type have, 0 if they have none; `None` if it depends on the program.
///
/// The types are those of `attach_type_to_prog_type` in `kernel/bpf/syscall.c` (Linux 7.3.4). Several have programs
/// with and without an attach type, such as kprobes.
const fn only_attach_type(program_type: ProgramType) -> Option<AttachType> {
    Some(match program_type {
        ProgramType::SOCK_OPS => AttachType::CGROUP_SOCK_OPS,
        ProgramType::CGROUP_DEVICE => AttachType::CGROUP_DEVICE,
        ProgramType::CGROUP_SYSCTL => AttachType::CGROUP_SYSCTL,
        ProgramType::SK_MSG => AttachType::SK_MSG_VERDICT,
        ProgramType::SK_LOOKUP => AttachType::SK_LOOKUP,
        ProgramType::FLOW_DISSECTOR => AttachType::FLOW_DISSECTOR,
        ProgramType::LIRC_MODE2 => AttachType::LIRC_MODE2,
        ProgramType::NETFILTER => AttachType::NETFILTER,
        ProgramType::SOCKET_FILTER
        | ProgramType::SCHED_ACT
        | ProgramType::TRACEPOINT
        | ProgramType::PERF_EVENT
        | ProgramType::RAW_TRACEPOINT
        | ProgramType::RAW_TRACEPOINT_WRITABLE
        | ProgramType::LWT_IN
        | ProgramType::LWT_OUT
        | ProgramType::LWT_XMIT
        | ProgramType::LWT_SEG6LOCAL
        | ProgramType::EXT
        | ProgramType::SYSCALL => AttachType(0),
        _ => return None,
    })
}

/// Returns how a program without a section attaches.
const fn way(program_type: ProgramType, attach_type: Option<AttachType>) -> Attach<&'static str> {
    match (program_type, attach_type) {
        (ProgramType::TRACING, Some(AttachType::TRACE_ITER)) => Attach::Iter,
        (
            ProgramType::TRACING,
            Some(AttachType::TRACE_FENTRY_MULTI | AttachType::TRACE_FEXIT_MULTI | AttachType::TRACE_FSESSION_MULTI),
        ) => Attach::Target(TargetKind::TracingMulti),
        (ProgramType::LSM, Some(AttachType::LSM_CGROUP)) => Attach::Needs("a cgroup"),
        (ProgramType::TRACING | ProgramType::LSM | ProgramType::EXT, _) => Attach::Tracing,
        (ProgramType::STRUCT_OPS, _) => Attach::Never("as a member of a struct_ops map"),
        (ProgramType::SYSCALL, _) => Attach::Never("with `test_run`"),
        _ => Attach::Needs("an attach target"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "opens files")]
    fn other_file_descriptors_are_not_programs() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let error = Program::try_from(OwnedFd::from(file)).unwrap_err();
        assert_eq!((error.kind(), error.step()), (crate::ErrorKind::Mismatch, Step::Open), "{error}");
    }
}
