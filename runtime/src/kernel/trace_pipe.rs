//! The trace pipe: the lines that programs print with `bpf_printk`, and the lines of other enabled trace events.
//!
//! This module has the pipe and its lines as text; `trace_line.rs` has their format.

use std::borrow::Cow;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use super::trace_line::TraceLine;
use super::{causes, tracefs};
use crate::error::{Error, ErrorKind, Result, Step, Subject};
use crate::sys::descriptor;
use crate::sys::elem::{Readiness, poll};

const NAME: &str = "trace_pipe";

/// The path of the pipe on current systems, for errors.
const PATH: &str = "/sys/kernel/tracing/trace_pipe";

/// The size of a read in bytes. The kernel returns at most two pages at a time.
const CHUNK: usize = 64 << 10;

/// The maximum length of a line in bytes. The kernel's lines have at most two pages; a longer one is split.
const LONGEST: usize = 1 << 20;

/// The longest single wait for the pipe. The kernel can miss the first event after a wait began (see the comment in its
/// `ring_buffer_poll_wait`), so longer waits are divided.
const SLICE: Duration = Duration::from_millis(500);

/// The pause before the next wait if the kernel reported the pipe as readable, but it has no line.
const PAUSE: Duration = Duration::from_millis(10);

/// A reader of the kernel's trace pipe: the lines that programs print with `bpf_printk`.
///
/// All programs of the system print to this pipe, and reading a line removes it for all readers. Newer kernels permit
/// one reader at a time. The pipe also contains the lines of other trace events that are enabled in tracefs. The pipe
/// is for debugging; to send data to this process, use a [ring buffer](crate::map::RingBuf).
///
/// # Examples
/// ```no_run
/// use skelgen_runtime::kernel::{TraceLine, TracePipe};
///
/// # fn main() -> skelgen_runtime::Result<()> {
/// let mut pipe = TracePipe::open()?;
/// loop {
///     pipe.poll(None)?; // or use its `AsFd` in an event loop
///     pipe.drain(|line| match line {
///         TraceLine::Event(event) => println!("{}: {} [{}]", event.nanoseconds, event.message, event.task),
///         TraceLine::Lost { cpu, .. } => println!("events of CPU {cpu} were lost"),
///         other => println!("{other}"),
///     })?;
/// }
/// # }
/// ```
pub struct TracePipe {
    file: File,
    /// Bytes that were read and are not returned yet.
    bytes: Vec<u8>,
    /// The offset of the next line.
    at: usize,
}

impl TracePipe {
    /// Opens the pipe: `trace_pipe` in `/sys/kernel/tracing` or `/sys/kernel/debug/tracing`.
    ///
    /// # Errors
    /// If tracefs is not mounted, the process has no permission to read it (usually only root has), or another process
    /// reads the pipe (`EBUSY`).
    pub fn open() -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        match tracefs::open_with(&options, NAME) {
            Ok(file) => Ok(Self { file, bytes: Vec::new(), at: 0 }),
            Err(error) => {
                let failed = Error::io("cannot open the trace pipe", &error)
                    .during(Step::Open)
                    .about(Subject::Path(PATH.as_ref()));
                Err(match error.raw_os_error() {
                    Some(libc::EBUSY) => {
                        failed.with_help("another process is reading the trace pipe, which allows one reader at a time")
                    }
                    _ => failed.note(causes::no_tracing_file(&error, "CONFIG_TRACING")),
                })
            }
        }
    }

    /// Waits until there is a line, for at most `timeout` if it is set. Returns `false` after the timeout or a signal.
    ///
    /// # Errors
    /// If the kernel rejects the wait, or the pipe cannot be read.
    pub fn poll(&mut self, timeout: Option<Duration>) -> Result<bool> {
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if self.line_end().is_some() || self.fill()? {
                return Ok(true);
            }
            let left = end.map_or(SLICE, |end| end.saturating_duration_since(Instant::now()).min(SLICE));
            if left.is_zero() {
                return Ok(false);
            }
            // Rounded up, so that a short wait does not become a busy one.
            let milliseconds = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
            match poll(self.as_fd(), Readiness::ToRead, milliseconds) {
                // With the trace option `block`, the pipe is always reported as readable.
                Ok(true) if !self.fill()? => std::thread::sleep(left.min(PAUSE)),
                Ok(_) => {}
                Err(errno) if errno.raw() == libc::EINTR => return Ok(false),
                Err(errno) => {
                    return Err(Error::refused("cannot wait for the trace pipe", errno).during(Step::ReadKernel));
                }
            }
        }
    }

    /// Passes all available lines to `each` and returns their number. Does not wait.
    ///
    /// # Errors
    /// If the pipe cannot be read.
    pub fn drain(&mut self, mut each: impl FnMut(TraceLine<'_>)) -> Result<usize> {
        let mut count = 0;
        loop {
            while let Some(line) = self.take_line() {
                // A message that ends with a line feed is followed by an empty line.
                if !line.is_empty() {
                    each(TraceLine::parse(&text(line)));
                    count += 1;
                }
            }
            if !self.fill()? {
                return Ok(count);
            }
        }
    }

    /// Removes the next whole line from the buffer, without its line feed.
    fn take_line(&mut self) -> Option<&[u8]> {
        let (begin, end) = (self.at, self.line_end()?);
        self.at = end;
        let line = &self.bytes[begin..end];
        Some(line.strip_suffix(b"\n").unwrap_or(line))
    }

    /// Returns the end of the next line in the buffer.
    fn line_end(&self) -> Option<usize> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
        len.or_else(|| (rest.len() >= LONGEST).then_some(rest.len())).map(|len| self.at + len)
    }

    /// Reads until the buffer has a whole line. Returns `false` if the pipe has none.
    fn fill(&mut self) -> Result<bool> {
        self.bytes.drain(..self.at);
        self.at = 0;
        loop {
            let have = self.bytes.len();
            self.bytes.resize(have + CHUNK, 0);
            let read = self.file.read(&mut self.bytes[have..]);
            self.bytes.truncate(have + read.as_ref().map_or(0, |&count| count.min(CHUNK)));
            match read {
                // The end of the file is reported while tracing is switched off.
                Ok(0) => return Ok(false),
                Ok(_) if self.line_end().is_some() => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let failed = Error::io("cannot read the trace pipe", &error).during(Step::ReadKernel);
                    return Err(match error.raw_os_error() {
                        Some(libc::EBUSY) => failed.with_kind(ErrorKind::Busy),
                        _ => failed,
                    });
                }
            }
        }
    }
}

/// Returns a line as text, with `?` in place of each byte that is not UTF-8. The text has the length of the line, so
/// that the columns stay the same.
fn text(line: &[u8]) -> Cow<'_, str> {
    let replaced =
        || line.utf8_chunks().map(|chunk| chunk.valid().to_owned() + &"?".repeat(chunk.invalid().len())).collect();
    std::str::from_utf8(line).map_or_else(|_| Cow::Owned(replaced()), Cow::Borrowed)
}

descriptor!([] TracePipe: self => self.file);

impl fmt::Debug for TracePipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracePipe").field("file", &self.file).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe(bytes: &[u8]) -> TracePipe {
        TracePipe { file: File::open("/dev/null").unwrap(), bytes: bytes.to_vec(), at: 0 }
    }

    #[test]
    fn lines_end_with_a_line_feed() {
        let mut pipe = pipe(b"first\n\nsecond\xff\xfe\nrest");
        let mut lines = Vec::new();
        assert_eq!(pipe.drain(|line| lines.push(line.to_string())).unwrap(), 2);
        assert_eq!(lines, ["first", "second??"]);
        // The beginning of a line stays until the rest is there.
        assert!(!pipe.poll(Some(Duration::ZERO)).unwrap());
        pipe.bytes.extend_from_slice(b" of it\n");
        assert!(pipe.poll(None).unwrap());
        pipe.drain(|line| assert_eq!(line.to_string(), "rest of it")).unwrap();
    }

    #[test]
    fn endless_lines_are_split() {
        let mut pipe = pipe(&vec![b'x'; LONGEST + 3]);
        let mut count = 0;
        assert_eq!(pipe.drain(|line| count += line.to_string().len()).unwrap(), 1);
        assert_eq!(count, LONGEST + 3);
    }
}
