//! Probes for program types, and for the helpers and kfuncs that programs of a type can call: loads the smallest
//! program and closes it.

use super::ask;
use crate::abi::SymbolKind;
use crate::error::{Errno, Error, ErrorKind, Result, Step, Subject};
use crate::helper;
use crate::kernel::btf::{self, Wanted};
use crate::kernel::kconfig;
use crate::kernel::probe::{self, insn};
use crate::opcode::{self, EXIT};
use crate::sys::prog::{self, Request};
use crate::uapi::{AttachType, Helper, ProgramType, prog_flags, pseudo};

/// `r0 = 0; exit`.
pub(super) const NOTHING: [[u8; 8]; 2] = [insn(opcode::ALU64 | opcode::MOV, (0, 0), 0), insn(EXIT, (0, 0), 0)];

/// Returns whether the running kernel can load programs of this type.
///
/// Each call loads a program that does nothing, and closes it. The configuration of a kernel can leave types out, for example LSM
/// (CONFIG_BPF_LSM), LIRC_MODE2 (CONFIG_BPF_LIRC_MODE2) and NETFILTER (CONFIG_NETFILTER_BPF_LINK).
///
/// | Linux | program types |
/// |---|---|
/// | 4.15 | CGROUP_DEVICE |
/// | 4.17 | CGROUP_SOCK_ADDR, RAW_TRACEPOINT, SK_MSG |
/// | 4.18 | LIRC_MODE2, LWT_SEG6LOCAL |
/// | 4.19 | SK_REUSEPORT |
/// | 4.20 | FLOW_DISSECTOR |
/// | 5.2 | CGROUP_SYSCTL, RAW_TRACEPOINT_WRITABLE |
/// | 5.3 | CGROUP_SOCKOPT |
/// | 5.5 | TRACING |
/// | 5.6 | EXT, STRUCT_OPS |
/// | 5.7 | LSM |
/// | 5.9 | SK_LOOKUP |
/// | 5.14 | SYSCALL |
/// | 6.4 | NETFILTER |
///
/// # Examples
/// ```no_run
/// use skelgen_runtime::kernel;
/// use skelgen_runtime::uapi::ProgramType;
///
/// # fn f(open: &mut impl skelgen_runtime::OpenObject) -> skelgen_runtime::Result<()> {
/// let has_lsm = kernel::has_program_type(ProgramType::LSM)?;
/// for program in open.programs_mut().filter(|program| program.program_type() == ProgramType::LSM) {
///     program.set_autoload(has_lsm);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the probe fails: the process has no permission to load such programs (`ErrorKind::NotPermitted`), or memory or
/// file descriptors are exhausted.
pub fn has_program_type(program_type: ProgramType) -> Result<bool> {
    let version = kernel_version(program_type)?;
    ask(format_args!("has programs of type {program_type}"), || {
        attempt(&Request { kernel_version: version, ..request(program_type, &NOTHING) })?.has_program_type()
    })
}

/// Returns whether programs of this type can call the helper on the running kernel.
///
/// The answer is `false` if the kernel does not have the helper, has it for other program types only, or lacks the program type;
/// [`helper_support`] distinguishes these.
///
/// # Examples
/// ```no_run
/// use skelgen_runtime::kernel;
/// use skelgen_runtime::uapi::{Helper, ProgramType};
///
/// # fn f() -> skelgen_runtime::Result<()> {
/// // Linux 5.17; before, loops need a bound that the verifier sees.
/// let has_loop = kernel::has_helper(Helper::LOOP, ProgramType::KPROBE)?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`helper_support`].
pub fn has_helper(helper: Helper, program_type: ProgramType) -> Result<bool> {
    Ok(helper_support(helper, program_type)? == HelperSupport::Supported)
}

/// Whether programs of a type can call a helper. Returned by [`helper_support`].
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::kernel::{self, HelperSupport};
/// use skelgen_runtime::uapi::{Helper, ProgramType};
///
/// if kernel::helper_support(Helper::LOOP, ProgramType::XDP)? == HelperSupport::Unknown {
///     println!("this kernel does not have bpf_loop()");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HelperSupport {
    /// Programs of the type can call the helper.
    Supported,
    /// The kernel knows the helper, but programs of this type cannot call it: it is for other types, this kernel was built without it, or
    /// the process lacks the right to load programs that call it (CAP_PERFMON for helpers that read kernel memory).
    NotForProgramType,
    /// The kernel does not have the helper.
    Unknown,
    /// The kernel does not have the program type.
    NoProgramType,
}

/// Returns whether programs of this type can call the helper on the running kernel, and if not, why.
///
/// A helper that may sleep is supported if programs of the type can be loaded as sleepable. For TRACING the answer is that of `fentry`
/// programs, for LSM that of programs for the hook `file_open`. The kernel prints a warning to its log if a program with
/// [`Helper::PROBE_WRITE_USER`] or [`Helper::TRACE_PRINTK`] is verified, also if a probe does that.
///
/// # Examples
/// ```no_run
/// use skelgen_runtime::kernel::{HelperSupport, helper_support};
/// use skelgen_runtime::uapi::{Helper, ProgramType};
///
/// # fn f() -> skelgen_runtime::Result<()> {
/// match helper_support(Helper::GET_STACKID, ProgramType::XDP)? {
///     HelperSupport::Supported => println!("supported"),
///     HelperSupport::Unknown => println!("the kernel is too old"),
///     _ => println!("not in XDP programs"),
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the probe fails, as for [`has_program_type`]. Also for EXT and STRUCT_OPS, whose helpers depend on the attach
/// target, and for TRACING and LSM if the kernel's BTF cannot be read.
pub fn helper_support(helper: Helper, program_type: ProgramType) -> Result<HelperSupport> {
    let target = target(program_type)?;
    let version = kernel_version(program_type)?;
    let insns = [insn(opcode::CALL, (0, 0), helper::immediate(helper)), insn(EXIT, (0, 0), 0)];
    ask(format_args!("has {helper} in programs of type {program_type}"), || {
        let request = Request { attach_btf_id: target, kernel_version: version, ..request(program_type, &insns) };
        let attempt = attempt(&request)?;
        if !attempt.has_program_type()? {
            return Ok(HelperSupport::NoProgramType);
        }
        // Linux 6.14 has a different message than older kernels for a helper that is not for the program type.
        let reports = |message: &str| attempt.log.contains(message);
        Ok(if reports("invalid func ") {
            HelperSupport::Unknown
        } else if reports("unknown func ") || reports("program of this type cannot use helper ") {
            HelperSupport::NotForProgramType
        } else {
            // The verifier examined the call, and rejected its arguments unless there are none.
            HelperSupport::Supported
        })
    })
}

/// Returns whether programs of this type can call the kfunc (kernel function) with this name on the running kernel
/// (Linux 5.13).
///
/// The answer is `false` if neither the kernel nor a loaded module has such a function, or programs of the type cannot
/// call it. The rules for TRACING and LSM are those of [`helper_support`]. To look at a function without loading a
/// program, see [`Types::kfunc`](crate::kernel::Types::kfunc).
///
/// # Examples
/// ```no_run
/// use skelgen_runtime::kernel;
/// use skelgen_runtime::uapi::ProgramType;
///
/// # fn f() -> skelgen_runtime::Result<()> {
/// // Linux 6.2.
/// println!("{}", kernel::has_kfunc("bpf_task_from_pid", ProgramType::TRACING)?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the probe fails, or the kernel's BTF cannot be read.
pub fn has_kfunc(name: &str, program_type: ProgramType) -> Result<bool> {
    let target = target(program_type)?;
    let mut wanted = [Wanted::new(name, SymbolKind::Function)];
    btf::find(&mut wanted)?;
    let modules = btf::find_in_modules(&mut wanted)?;
    let Some(id) = wanted[0].id else { return Ok(false) };
    let module = match modules.position(0).and_then(|position| modules.modules.into_iter().nth(position)) {
        Some((_, opened)) => Some(opened?),
        None => None,
    };
    let mut call = insn(opcode::CALL, (0, pseudo::KFUNC_CALL), i32::from_ne_bytes(id.to_ne_bytes()));
    let mut fds = Vec::new();
    if let Some(module) = &module {
        // The offset of a call is an index into the array of BTF file descriptors; index 0 means the BTF of vmlinux.
        call[2..4].copy_from_slice(&1_i16.to_ne_bytes());
        fds = vec![0, std::os::fd::AsRawFd::as_raw_fd(module)];
    }
    let insns = [call, insn(EXIT, (0, 0), 0)];
    let version = kernel_version(program_type)?;
    ask(format_args!("has the kernel function `{}` in programs of type {program_type}", name.escape_debug()), || {
        let request =
            Request { attach_btf_id: target, kernel_version: version, fd_array: &fds, ..request(program_type, &insns) };
        let attempt = attempt(&request)?;
        // The messages of kernels without kfuncs (before 5.13), for functions that are not for programs of the type, and of kernels whose JIT
        // cannot call functions.
        let no =
            ["BPF_CALL uses reserved fields", "is not allowed", "calling kernel function", "is not a kernel function"];
        Ok(attempt.has_program_type()? && !no.iter().any(|no| attempt.log.contains(no)))
    })
}

/// The outcome of a load with a log.
pub(super) struct Attempt {
    pub(super) result: Result<(), Errno>,
    pub(super) log: String,
}

impl Attempt {
    /// Returns whether the verifier reports why it rejected the program. Before Linux 7.0, every log ends with a line
    /// of statistics.
    pub(super) fn has_reason(&self) -> bool {
        self.log.lines().any(|line| !line.starts_with("processed "))
    }

    /// Returns whether the verifier started, which it does only for program types that the kernel has.
    fn has_program_type(&self) -> Result<bool, Errno> {
        match self.log.is_empty() {
            true => probe::verdict(&self.result, &[libc::EINVAL, libc::E2BIG]),
            false => Ok(true),
        }
    }
}

/// Loads a program and closes it again.
///
/// # Errors
/// If the load fails for a reason that may be temporary.
pub(super) fn attempt(request: &Request<'_>) -> Result<Attempt, Errno> {
    let mut log = vec![0; 4096];
    let result = prog::load(request, 1, &mut log)?.result.map(drop);
    match result {
        Err(errno) if [libc::EPERM, libc::ENOMEM, libc::EAGAIN, libc::EINTR].contains(&errno.raw()) => Err(errno),
        result => {
            let len = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
            Ok(Attempt { result, log: String::from_utf8_lossy(&log[..len]).into_owned() })
        }
    }
}

/// Returns a request for a program of this type. Every kernel with the program type supports its attach type.
pub(super) fn request<'a>(program_type: ProgramType, insns: &'a [[u8; 8]]) -> Request<'a> {
    use ProgramType as P;
    let expected_attach_type = match program_type {
        P::CGROUP_SOCK_ADDR => AttachType::CGROUP_INET4_CONNECT,
        P::CGROUP_SOCKOPT => AttachType::CGROUP_GETSOCKOPT,
        P::SK_LOOKUP => AttachType::SK_LOOKUP,
        P::NETFILTER => AttachType::NETFILTER,
        P::TRACING => AttachType::TRACE_FENTRY,
        P::LSM => AttachType::LSM_MAC,
        _ => AttachType(0),
    };
    let flags = if program_type == P::SYSCALL { prog_flags::SLEEPABLE } else { 0 };
    Request { expected_attach_type, flags, ..Request::plain("", program_type, insns.as_flattened()) }
}

/// Returns the kernel version that a load must state: before Linux 5.0, kprobe programs had to be compiled for the running kernel.
fn kernel_version(program_type: ProgramType) -> Result<u32> {
    if program_type == ProgramType::KPROBE { kconfig::version() } else { Ok(0) }
}

/// Returns the BTF id of a function that programs of this type can be loaded for; 0 if the type needs none.
pub(super) fn target(program_type: ProgramType) -> Result<u32> {
    let name = match program_type {
        // A function that exists for tests of programs, since Linux 5.5.
        ProgramType::TRACING => "bpf_fentry_test1",
        ProgramType::LSM => "bpf_lsm_file_open",
        ProgramType::EXT | ProgramType::STRUCT_OPS => {
            return Err(Error::invalid(format_args!(
                "cannot probe programs of type {program_type}: what they can call depends on the attach target"
            ))
            .during(Step::Probe));
        }
        _ => return Ok(0),
    };
    let mut wanted = [Wanted::new(name, SymbolKind::Function)];
    let note = btf::find(&mut wanted)?;
    wanted[0].id.ok_or_else(|| {
        let error = Error::of(ErrorKind::Unsupported, format_args!("the kernel has no function `{name}`"));
        let error = error.during(Step::Probe).about(Subject::Symbol(name));
        note.into_iter().fold(error, Error::note)
    })
}
