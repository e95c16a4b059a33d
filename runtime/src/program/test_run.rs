//! Test runs: programs that run without being attached.

use std::num::NonZeroU32;

use super::Program;
use crate::error::{Errno, Error, LinuxVersion, Result, Step, Subject};
use crate::kernel::causes;
use crate::sys;
use crate::uapi::ProgramType;

impl Program {
    /// Runs the program once or more without attaching it (`BPF_PROG_TEST_RUN`).
    ///
    /// # Errors
    /// If the program was not loaded, its type does not support test runs, a run with [live
    /// frames](TestRun::live_frames) has an output buffer, or the kernel rejects the input.
    pub fn test_run(&self, run: TestRun<'_>) -> Result<TestRunResult> {
        let TestRun { data, data_out, context, context_out, repeat, cpu, live } = run;
        if live.is_some() && !(data_out.is_empty() && context_out.is_empty()) {
            let error = format!("cannot run program `{}`: a run with live frames has no output", self.name());
            return Err(Error::invalid(error).during(Step::RunProgram).about(Subject::Program(self.name())));
        }
        let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
        let flags = flag(cpu.is_some(), sys::prog::RUN_ON_CPU) | flag(live.is_some(), sys::prog::LIVE_FRAMES);
        let (cpu, batch_size) = (cpu.unwrap_or(0), live.map_or(0, NonZeroU32::get));
        // The kernel writes the context of a syscall program back to the input buffer.
        let mut own = context.to_vec();
        let syscall = self.program_type == ProgramType::SYSCALL;
        let (out, back): (&mut [u8], &mut [u8]) = if syscall { (&mut [], context_out) } else { (context_out, &mut []) };
        let mut request =
            sys::prog::Run { data, data_out, context: &mut own, context_out: out, repeat, flags, cpu, batch_size };
        let outcome = sys::prog::test_run(self.fd()?, &mut request).map_err(|errno| {
            let error = Error::refused(format_args!("cannot run program `{}`", self.name()), errno)
                .during(Step::RunProgram)
                .about(Subject::Program(self.name()));
            if live.is_some() { self.not_live(error, errno) } else { error }
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

    /// Explains why a run with live frames was rejected.
    fn not_live(&self, error: Error, errno: Errno) -> Error {
        match errno.raw() {
            libc::EINVAL if self.program_type != ProgramType::XDP => {
                error.with_help("only XDP programs have live frames")
            }
            libc::EINVAL => causes::since(
                error,
                LinuxVersion::new(5, 18),
                "live frames need Linux 5.18, and a whole Ethernet frame of at most a page",
            ),
            libc::E2BIG => error.note("a batch has at most 256 frames"),
            _ => error,
        }
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
///
/// ```
/// use skelgen_runtime::{Program, TestRun};
///
/// fn pass(program: &Program, packet: &[u8]) -> skelgen_runtime::Result<u32> {
///     let (mut packet_after, mut context_after) = ([0; 1500], [0; 24]);
///     let run = TestRun::new().data(packet).data_out(&mut packet_after).context(&[0; 24]).context_out(&mut context_after);
///     Ok(program.test_run(run)?.return_value)
/// }
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
    /// The size of a batch of live frames.
    live: Option<NonZeroU32>,
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

    /// Makes the kernel execute the action that an XDP program returns, as for a frame that arrived on an interface: it
    /// passes the frame to the network stack, transmits, redirects or drops it (`BPF_F_TEST_XDP_LIVE_FRAMES`, Linux
    /// 5.18). Each run has a frame of its own. By default, and for other program types, a run has no effect outside of
    /// the program.
    ///
    /// The kernel runs the program in batches of `batch` frames and passes on the frames of each batch at once: `None`
    /// and 0 are 64, the maximum is 256. The interface is the loopback device of this process's network namespace, or
    /// that of the field `ingress_ifindex` of the [context](Self::context) (`struct xdp_md`). `XDP_TX` and redirects
    /// need an interface whose driver transmits XDP frames (`ndo_xdp_xmit`).
    ///
    /// The run has no output: [`data_out`](Self::data_out) and [`context_out`](Self::context_out) are an error, and
    /// [`TestRunResult::return_value`] is 0. If the program changes a frame, a later run can see the changed frame,
    /// because the kernel reuses the memory of frames. `Documentation/bpf/bpf_prog_run.rst` has the details.
    ///
    /// ```no_run
    /// use skelgen_runtime::{TestRun, link::IntoInterface as _};
    ///
    /// /// Sends a million copies of a frame through a program that returns `XDP_TX`: out of the interface.
    /// fn send(program: &skelgen_runtime::Program, frame: &[u8]) -> skelgen_runtime::Result<()> {
    ///     let len = u32::try_from(frame.len()).expect("frames are small");
    ///     let ifindex = "eth0".into_interface()?.index();
    ///     // `data`, `data_end`, `data_meta`, `ingress_ifindex`, `rx_queue_index`, `egress_ifindex`.
    ///     let context = [0, len, 0, ifindex, 0, 0].map(u32::to_ne_bytes).concat();
    ///     let run = TestRun::new().data(frame).context(&context).repeat(1_000_000).live_frames(256);
    ///     program.test_run(run).map(drop)
    /// }
    /// ```
    pub fn live_frames(self, batch: impl Into<Option<u32>>) -> Self {
        /// The kernel's default batch size (`NAPI_POLL_WEIGHT`). It is set in each request, because kernels before 5.18
        /// ignore the flag for live frames, but reject a batch size.
        const DEFAULT: NonZeroU32 = NonZeroU32::new(64).unwrap();
        Self { live: Some(batch.into().and_then(NonZeroU32::new).unwrap_or(DEFAULT)), ..self }
    }
}

/// The output of [`Program::test_run`].
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::TestRun;
///
/// let mut packet = [0; 1500];
/// let result = program.test_run(TestRun::new().data(&[0; 64]).data_out(&mut packet))?;
/// println!("{}: {:?}", result.return_value, &packet[..result.data_len as usize]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TestRunResult {
    /// The return value of the last run.
    pub return_value: u32,
    /// The mean duration of a run in nanoseconds; 0 for program types for which the kernel does not measure it.
    pub nanoseconds: u32,
    /// The length of the packet after the run, in bytes.
    pub data_len: u32,
    /// The length of the context after the run, in bytes.
    pub context_len: u32,
}
