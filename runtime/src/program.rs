//! Handles of loaded programs. How they attach is in `link`.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use crate::abi;
use crate::error::{Error, ErrorKind, Result, Step, Subject};
use crate::open::{self, OpenProgram};
use crate::pins;
use crate::sys;
use crate::uapi::{AttachType, ProgramType};
use crate::usdt_specs::Specs as UsdtSpecs;

/// A program of an object that was loaded; it itself may have been left out.
pub struct Program {
    definition: &'static abi::Program,
    program_type: ProgramType,
    attach_type: AttachType,
    attach: abi::Attach<&'static str>,
    fd: Option<OwnedFd>,
    autoattach: bool,
    target: Option<String>,
    log: Option<String>,
    /// Where the object's programs find the arguments of USDT probes.
    usdt_specs: Option<Arc<UsdtSpecs>>,
}

impl Program {
    /// The program that was opened with these settings.
    pub(crate) fn new(open: OpenProgram, fd: Option<OwnedFd>, log: Option<String>) -> Self {
        let attach = open::way(&open);
        let OpenProgram { definition, program_type, attach_type, autoattach, target, .. } = open;
        Self { definition, program_type, attach_type, attach, fd, autoattach, target, log, usdt_specs: None }
    }

    /// Returns the name of the program's function.
    #[must_use]
    pub fn name(&self) -> &'static str {
        &self.definition.name
    }

    /// Returns the name of the program's section.
    #[must_use]
    pub fn section(&self) -> &'static str {
        &self.definition.section
    }

    /// Returns the program's type.
    #[must_use]
    pub fn program_type(&self) -> ProgramType {
        self.program_type
    }

    /// Returns where the program attaches, as it was loaded; `None` for types of programs that are loaded without saying where.
    #[must_use]
    pub fn attach_type(&self) -> Option<AttachType> {
        // Zero means nothing, but of these programs, which attach to ingress unless they say otherwise.
        let means_something = self.attach_type != AttachType(0) || self.program_type == ProgramType::CGROUP_SKB;
        means_something.then_some(self.attach_type)
    }

    /// Returns where the program attaches as requests state it: 0 is nowhere in particular.
    pub(crate) fn expected_attach_type(&self) -> AttachType {
        self.attach_type
    }

    /// How it attaches by itself.
    pub(crate) fn way(&self) -> abi::Attach<&'static str> {
        self.attach
    }

    /// The same program, which finds the arguments of USDT probes there.
    pub(crate) fn with_usdt_specs(self, usdt_specs: Option<Arc<UsdtSpecs>>) -> Self {
        Self { usdt_specs, ..self }
    }

    /// Where it finds the arguments of USDT probes.
    pub(crate) fn usdt_specs(&self) -> Option<&Arc<UsdtSpecs>> {
        self.usdt_specs.as_ref()
    }

    /// What the user chose for it to attach to by itself.
    pub(crate) fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// Whether the skeleton's `attach` attaches it.
    pub(crate) fn autoattaches(&self) -> bool {
        self.autoattach
    }

    /// Returns whether the program was loaded: not if auto-load was off.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.fd.is_some()
    }

    /// Returns the program's file descriptor.
    ///
    /// # Errors
    /// If it was not loaded.
    pub fn fd(&self) -> Result<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd).ok_or_else(|| {
            Error::not_loaded(format_args!("program `{}` was not loaded", self.name()))
                .about(Subject::Program(self.name()))
                .with_help("its auto-load was off; `set_autoload(true)` before loading switches it on")
        })
    }

    /// Returns the verifier's log, if a log level was set; and the kernel's log of the object's BTF, if it was rejected and the program was
    /// loaded without.
    #[must_use]
    pub fn verifier_log(&self) -> Option<&str> {
        self.log.as_deref()
    }

    /// Returns the instructions as the verifier left them, eight bytes each: relocated, without unreachable ones, maps and functions by
    /// their ids.
    ///
    /// # Errors
    /// If it was not loaded, or the kernel does not show them to this process (that takes CAP_PERFMON and CAP_SYSLOG, or root).
    pub fn translated(&self) -> Result<Vec<u8>> {
        let hidden = || {
            Error::of(
                ErrorKind::NotPermitted,
                format_args!("the kernel hides the instructions of program `{}`", self.name()),
            )
            .during(Step::ReadInfo)
            .about(Subject::Program(self.name()))
        };
        sys::prog::translated(self.fd()?)
            .map_err(|errno| {
                Error::refused(format_args!("reading the instructions of program `{}`", self.name()), errno)
                    .during(Step::ReadInfo)
                    .about(Subject::Program(self.name()))
            })?
            .ok_or_else(hidden)
    }

    /// Runs the program once or more without attaching it (`BPF_PROG_TEST_RUN`).
    ///
    /// # Errors
    /// If it was not loaded, is of a type that cannot be run so, or the kernel refuses the input.
    pub fn test_run(&self, run: TestRun<'_>) -> Result<TestRunResult> {
        let TestRun { data, data_out, context, context_out, repeat, cpu } = run;
        // BPF_F_TEST_RUN_ON_CPU
        let flags = u32::from(cpu.is_some());
        let cpu = cpu.unwrap_or(0);
        // The kernel writes what a syscall program leaves of its context back to where it came from.
        let mut own = context.to_vec();
        let syscall = self.program_type == ProgramType::SYSCALL;
        let (out, back): (&mut [u8], &mut [u8]) = if syscall { (&mut [], context_out) } else { (context_out, &mut []) };
        let mut request = sys::prog::Run { data, data_out, context: &mut own, context_out: out, repeat, flags, cpu };
        let outcome = sys::prog::test_run(self.fd()?, &mut request).map_err(|errno| {
            Error::refused(format_args!("running program `{}`", self.name()), errno)
                .during(Step::RunProgram)
                .about(Subject::Program(self.name()))
        })?;
        for (to, from) in back.iter_mut().zip(&own) {
            *to = *from;
        }
        Ok(TestRunResult {
            return_value: outcome.return_value,
            nanoseconds: outcome.nanoseconds,
            data_len: outcome.data_size,
            context_len: if syscall { u32::try_from(own.len()).unwrap_or(u32::MAX) } else { outcome.context_size },
        })
    }

    /// Pins it to a path in a bpffs: it stays loaded until the file is removed.
    ///
    /// # Errors
    /// If it was not loaded, or the path is in no bpffs or taken.
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let doing = format!("pinning program `{}` to {}", self.name(), path.display());
        pins::pin(self.fd()?, path, doing).map_err(|error| error.about(Subject::Program(self.name())))
    }

    /// Returns the program's file descriptor alone, or `None` if it was not loaded.
    #[must_use]
    pub fn into_fd(self) -> Option<OwnedFd> {
        self.fd
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("name", &self.name())
            .field("section", &self.section())
            .field("fd", &self.fd)
            .finish_non_exhaustive()
    }
}

/// The input of [`Program::test_run`], and where it puts the output.
///
/// ```no_run
/// use skelgen_runtime::TestRun;
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// let result = program.test_run(TestRun::new().data(&[0; 64]).repeat(1000))?;
/// println!("returned {} in {} ns", result.return_value, result.nanoseconds);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct TestRun<'a> {
    data: &'a [u8],
    data_out: &'a mut [u8],
    context: &'a [u8],
    context_out: &'a mut [u8],
    repeat: u32,
    cpu: Option<u32>,
}

impl<'a> TestRun<'a> {
    /// Creates a single run without packet and context, on the current CPU.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the packet, for programs that see one; empty by default.
    pub fn data(self, data: &'a [u8]) -> Self {
        Self { data, ..self }
    }

    /// Sets where the packet is written after the run; by default nowhere.
    pub fn data_out(self, data_out: &'a mut [u8]) -> Self {
        Self { data_out, ..self }
    }

    /// Sets the context, in the form of the program's type (such as `struct xdp_md`); empty by default.
    pub fn context(self, context: &'a [u8]) -> Self {
        Self { context, ..self }
    }

    /// Sets where the context is written after the run; by default nowhere.
    pub fn context_out(self, context_out: &'a mut [u8]) -> Self {
        Self { context_out, ..self }
    }

    /// Sets how many times the program runs; 0, the default, runs it once.
    pub fn repeat(self, times: u32) -> Self {
        Self { repeat: times, ..self }
    }

    /// Sets the CPU that the program runs on, of raw tracepoint programs (Linux 5.10); `None`, the default, is the current one.
    pub fn cpu(self, cpu: impl Into<Option<u32>>) -> Self {
        Self { cpu: cpu.into(), ..self }
    }
}

/// The output of [`Program::test_run`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TestRunResult {
    /// What the program returned in the last run.
    pub return_value: u32,
    /// The mean time of a run in nanoseconds, where the kernel measures it.
    pub nanoseconds: u32,
    /// The length of the packet after the run, in bytes.
    pub data_len: u32,
    /// The length of the context after the run, in bytes.
    pub context_len: u32,
}
