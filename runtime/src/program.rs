//! Handles of loaded programs. The module `link` attaches them.

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

/// A program of a loaded object. The program itself is not loaded if its auto-load is off.
pub struct Program {
    definition: &'static abi::Program,
    program_type: ProgramType,
    attach_type: AttachType,
    attach: abi::Attach<&'static str>,
    fd: Option<OwnedFd>,
    autoattach: bool,
    target: Option<String>,
    log: Option<String>,
    /// The specifications of USDT probes that the object's programs read their arguments with.
    usdt_specs: Option<Arc<UsdtSpecs>>,
}

impl Program {
    /// Creates the handle of the program that was opened with these settings.
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

    /// Returns the program's attach type, as it was loaded, or `None` if it was loaded without one.
    #[must_use]
    pub fn attach_type(&self) -> Option<AttachType> {
        // Zero is a valid attach type only for these programs: they attach to ingress by default.
        let means_something = self.attach_type != AttachType(0) || self.program_type == ProgramType::CGROUP_SKB;
        means_something.then_some(self.attach_type)
    }

    /// Returns the program's expected attach type as requests contain it: 0 if it has none.
    pub(crate) fn expected_attach_type(&self) -> AttachType {
        self.attach_type
    }

    /// Returns how the program attaches automatically.
    pub(crate) fn way(&self) -> abi::Attach<&'static str> {
        self.attach
    }

    /// Returns the program with the specifications of USDT probes for its arguments.
    pub(crate) fn with_usdt_specs(self, usdt_specs: Option<Arc<UsdtSpecs>>) -> Self {
        Self { usdt_specs, ..self }
    }

    /// Returns the specifications of USDT probes for its arguments.
    pub(crate) fn usdt_specs(&self) -> Option<&Arc<UsdtSpecs>> {
        self.usdt_specs.as_ref()
    }

    /// Returns the attach target that the user set.
    pub(crate) fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// Returns whether the skeleton's `attach` attaches the program.
    pub(crate) fn autoattaches(&self) -> bool {
        self.autoattach
    }

    /// Returns whether the program was loaded. It is not if auto-load is off.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.fd.is_some()
    }

    /// Returns the program's file descriptor.
    ///
    /// # Errors
    /// If the program was not loaded.
    pub fn fd(&self) -> Result<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd).ok_or_else(|| {
            Error::not_loaded(format_args!("program `{}` was not loaded", self.name()))
                .about(Subject::Program(self.name()))
                .with_help("its auto-load is off; call `set_autoload(true)` before loading")
        })
    }

    /// Returns the verifier's log, if a log level was set. If the kernel rejected the object's BTF and the program was
    /// loaded without it, the log of the BTF is included.
    #[must_use]
    pub fn verifier_log(&self) -> Option<&str> {
        self.log.as_deref()
    }

    /// Returns the instructions after verification, 8 bytes each: they are relocated, dead code is removed, and maps
    /// and functions are referenced by id.
    ///
    /// # Errors
    /// If the program was not loaded, or this process may not read the instructions (that requires CAP_PERFMON and
    /// CAP_SYSLOG, or root).
    pub fn translated(&self) -> Result<Vec<u8>> {
        let unreadable = || {
            Error::of(
                ErrorKind::NotPermitted,
                format_args!("cannot read the instructions of program `{}`: the kernel hides them", self.name()),
            )
            .during(Step::ReadInfo)
            .about(Subject::Program(self.name()))
        };
        sys::prog::translated(self.fd()?)
            .map_err(|errno| {
                Error::refused(format_args!("cannot read the instructions of program `{}`", self.name()), errno)
                    .during(Step::ReadInfo)
                    .about(Subject::Program(self.name()))
            })?
            .ok_or_else(unreadable)
    }

    /// Runs the program once or more without attaching it (`BPF_PROG_TEST_RUN`).
    ///
    /// # Errors
    /// If the program was not loaded, its type does not support test runs, or the kernel rejects the input.
    pub fn test_run(&self, run: TestRun<'_>) -> Result<TestRunResult> {
        let TestRun { data, data_out, context, context_out, repeat, cpu } = run;
        // BPF_F_TEST_RUN_ON_CPU
        let flags = u32::from(cpu.is_some());
        let cpu = cpu.unwrap_or(0);
        // The kernel writes the context of a syscall program back to the input buffer.
        let mut own = context.to_vec();
        let syscall = self.program_type == ProgramType::SYSCALL;
        let (out, back): (&mut [u8], &mut [u8]) = if syscall { (&mut [], context_out) } else { (context_out, &mut []) };
        let mut request = sys::prog::Run { data, data_out, context: &mut own, context_out: out, repeat, flags, cpu };
        let outcome = sys::prog::test_run(self.fd()?, &mut request).map_err(|errno| {
            Error::refused(format_args!("cannot run program `{}`", self.name()), errno)
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

    /// Pins the program to a path in a bpffs. It stays loaded until the file is removed.
    ///
    /// # Errors
    /// If the program was not loaded, the path is not in a bpffs, or the file exists.
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let doing = format!("cannot pin program `{}` to {}", self.name(), path.display());
        pins::pin(self.fd()?, path, doing).map_err(|error| error.about(Subject::Program(self.name())))
    }

    /// Returns the program's file descriptor and drops the rest, or returns `None` if it was not loaded.
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

/// The input of [`Program::test_run`] and the buffers for its output.
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
    /// Creates the input of a single run without packet and context, on the current CPU.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the packet, for programs whose input is a packet; empty by default.
    pub fn data(self, data: &'a [u8]) -> Self {
        Self { data, ..self }
    }

    /// Sets the buffer that the packet is written to after the run; by default it is not written.
    pub fn data_out(self, data_out: &'a mut [u8]) -> Self {
        Self { data_out, ..self }
    }

    /// Sets the context in the layout of the program's type (such as `struct xdp_md`); empty by default.
    pub fn context(self, context: &'a [u8]) -> Self {
        Self { context, ..self }
    }

    /// Sets the buffer that the context is written to after the run; by default it is not written.
    pub fn context_out(self, context_out: &'a mut [u8]) -> Self {
        Self { context_out, ..self }
    }

    /// Sets the number of runs; 0, the default, is one run.
    pub fn repeat(self, times: u32) -> Self {
        Self { repeat: times, ..self }
    }

    /// Sets the CPU to run on, for raw tracepoint programs (Linux 5.10); `None`, the default, is the current CPU.
    pub fn cpu(self, cpu: impl Into<Option<u32>>) -> Self {
        Self { cpu: cpu.into(), ..self }
    }
}

/// The output of [`Program::test_run`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TestRunResult {
    /// The return value of the last run.
    pub return_value: u32,
    /// The mean duration of a run in nanoseconds, for program types of which the kernel measures it.
    pub nanoseconds: u32,
    /// The length of the packet after the run, in bytes.
    pub data_len: u32,
    /// The length of the context after the run, in bytes.
    pub context_len: u32,
}
