//! The streams that a program prints to.

use std::io;

use super::Program;
use crate::error::{Error, LinuxVersion, Result, Step, Subject};
use crate::kernel::causes;
use crate::sys;

/// A stream of a program (`BPF_STREAM_STDOUT` and `BPF_STREAM_STDERR` of `linux/bpf.h`). See [`Program::read_stream`].
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::Stream;
///
/// let mut buffer = [0; 4096];
/// let printed = program.read_stream(Stream::Stdout, &mut buffer)?;
/// println!("{}", String::from_utf8_lossy(&buffer[..printed]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stream {
    /// The output of `bpf_stream_printk(BPF_STDOUT, …)`.
    Stdout = 1,
    /// The output of `bpf_stream_printk(BPF_STDERR, …)`, and the kernel's reports about faults of the program: an arena
    /// page that does not exist, a lock that is not free, a loop that takes too long.
    Stderr = 2,
}

impl Program {
    /// Moves the output of a program from a stream to `buffer`, and returns the number of bytes (Linux 6.17). Does not
    /// wait: 0 means that the stream is empty now. A stream stores less than 100,000 bytes (Linux 7.3); output beyond
    /// that is lost.
    ///
    /// All readers of a program share its streams. [`stream`](Self::stream) returns a stream as a [`Read`](io::Read).
    ///
    /// ```no_run
    /// # fn f(program: &skelgen_runtime::Program) -> skelgen_runtime::Result<()> {
    /// use skelgen_runtime::Stream;
    /// let mut buffer = [0; 4096];
    /// let len = program.read_stream(Stream::Stdout, &mut buffer)?;
    /// print!("{}", String::from_utf8_lossy(&buffer[..len]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the program was not loaded, or the kernel has no streams.
    pub fn read_stream(&self, stream: Stream, buffer: &mut [u8]) -> Result<usize> {
        sys::prog::read_stream(self.fd()?, stream as u32, buffer).map_err(|errno| {
            let name = match stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            };
            let error = Error::refused(format_args!("cannot read {name} of program `{}`", self.name()), errno)
                .during(Step::ReadStream)
                .about(Subject::Program(self.name()));
            match errno.raw() {
                libc::EINVAL => causes::since(error, LinuxVersion::new(6, 17), "streams of programs need Linux 6.17"),
                _ => error,
            }
        })
    }

    /// Returns a stream of the program to read from (Linux 6.17). A read returns 0 bytes if the stream is empty now;
    /// more can follow after the program has run again.
    ///
    /// ```no_run
    /// # fn f(program: &skelgen_runtime::Program) -> std::io::Result<()> {
    /// use skelgen_runtime::Stream;
    /// std::io::copy(&mut program.stream(Stream::Stderr), &mut std::io::stderr())?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn stream(&self, stream: Stream) -> ProgramStream<'_> {
        ProgramStream { program: self, stream }
    }
}

/// A stream of a program, as a [`Read`](io::Read). Returned by [`Program::stream`].
///
/// ```no_run
/// # fn f(program: &skelgen_runtime::Program) -> std::io::Result<()> {
/// use skelgen_runtime::Stream;
///
/// let text = std::io::read_to_string(program.stream(Stream::Stderr))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ProgramStream<'p> {
    program: &'p Program,
    stream: Stream,
}

impl io::Read for ProgramStream<'_> {
    /// Reads as [`Program::read_stream`] does. The [`io::Error`] contains the [`Error`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.program.read_stream(self.stream, buffer).map_err(io::Error::from)
    }
}
