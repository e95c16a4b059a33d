//! The lines of the trace pipe, as `trace_print_context` of kernel/trace/trace_output.c writes them (Linux 5.10 to 7.3).
//!
//! Trace options and clocks change the format. A line in a different format is returned unchanged. This module does not
//! read files.

use std::fmt;

use crate::escape;

/// A line of the trace pipe. Its `Display` is the line, with invisible characters escaped.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::kernel::{TraceLine, TracePipe};
///
/// TracePipe::open()?.drain(|line| match line {
///     TraceLine::Event(event) => println!("{}", event.message),
///     TraceLine::Lost { cpu, .. } => println!("events of CPU {cpu} were lost"),
///     other => println!("{other}"),
/// })?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceLine<'a> {
    /// A trace event, such as a `bpf_printk`.
    Event(TraceEvent<'a>),
    /// Events of a CPU were overwritten before they were read.
    Lost {
        /// The CPU.
        cpu: u32,
        /// The number of events; `None` if the kernel does not know it.
        events: Option<u64>,
    },
    /// A line in a different format: a further line of a message, or one that trace options or a different trace clock
    /// changed.
    Other(&'a str),
}

/// A trace event.
///
/// A message can contain line feeds. Then this event is its first line, and the other lines are [`TraceLine::Other`],
/// unless they have the format of an event.
///
/// ```no_run
/// # fn f() -> skelgen_runtime::Result<()> {
/// use skelgen_runtime::kernel::{TraceLine, TracePipe};
///
/// TracePipe::open()?.drain(|line| {
///     if let TraceLine::Event(event) = line {
///         println!("{}: {} on CPU {}", event.task, event.message, event.cpu);
///     }
/// })?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceEvent<'a> {
    /// The name of the thread in which the event occurred; `<...>` if the kernel no longer stores it, `<idle>` for an
    /// idle CPU.
    pub task: &'a str,
    /// The id of the thread; 0 for an idle CPU.
    pub pid: u32,
    /// The CPU.
    pub cpu: u32,
    /// The time in nanoseconds on the kernel's trace clock, in whole microseconds. The clock counts from the boot of the system by default.
    pub nanoseconds: u64,
    /// The name of the event: `bpf_trace_printk` for `bpf_printk`.
    pub event: &'a str,
    /// The text of `bpf_printk`, or the fields of another event.
    pub message: &'a str,
    /// The whole line.
    pub line: &'a str,
}

impl<'a> TraceLine<'a> {
    /// Parses a line without its line feed.
    pub(super) fn parse(line: &'a str) -> Self {
        lost(line).or_else(|| event(line).map(Self::Event)).unwrap_or(Self::Other(line))
    }
}

impl fmt::Display for TraceLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(TraceEvent { line, .. }) | Self::Other(line) => write!(f, "{}", escape::Line(line)),
            Self::Lost { cpu, events: Some(events) } => write!(f, "CPU:{cpu} [LOST {events} EVENTS]"),
            Self::Lost { cpu, events: None } => write!(f, "CPU:{cpu} [LOST EVENTS]"),
        }
    }
}

/// The width of a thread's name, which is padded on the left. Names are shorter than that (`TASK_COMM_LEN`).
const NAME: usize = 16;

/// Parses `NAME-PID [(TGID)] [CPU] [FLAGS] SECONDS.MICROSECONDS: EVENT: MESSAGE`. The name is found by its width, because it can contain any
/// character.
fn event(line: &str) -> Option<TraceEvent<'_>> {
    let (task, rest) = (line.get(..NAME)?.trim_start(), line.get(NAME..)?.strip_prefix('-')?);
    let (pid, rest) = rest.split_once(' ')?;
    let mut rest = rest.trim_start();
    // The process id, with the option `record-tgid`.
    if let Some(after) = rest.strip_prefix('(') {
        rest = after.split_once(')')?.1.trim_start();
    }
    let (cpu, rest) = rest.strip_prefix('[')?.split_once("] ")?;
    let (before, rest) = rest.split_once(": ")?;
    // The flags come first, unless the option `irq-info` is off.
    let (seconds, microseconds) = before.split_ascii_whitespace().next_back()?.split_once('.')?;
    let (event, message) = rest.split_once(':')?;
    let message = message.strip_prefix(' ').unwrap_or(message);
    if microseconds.len() != 6 || event.contains(' ') {
        return None;
    }
    let microseconds = seconds.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(microseconds.parse().ok()?)?;
    let nanoseconds = microseconds.checked_mul(1000)?;
    Some(TraceEvent { task, pid: pid.parse().ok()?, cpu: cpu.parse().ok()?, nanoseconds, event, message, line })
}

/// Parses `CPU:NUMBER [LOST COUNT EVENTS]`, where the count can be missing.
fn lost(line: &str) -> Option<TraceLine<'static>> {
    let (cpu, rest) = line.strip_prefix("CPU:")?.split_once(" [LOST ")?;
    let count = rest.strip_suffix("EVENTS]")?.trim_end();
    let events = if count.is_empty() { None } else { Some(count.parse().ok()?) };
    Some(TraceLine::Lost { cpu: cpu.parse().ok()?, events })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> (&str, u32, u32, u64, &str, &str) {
        match TraceLine::parse(line) {
            TraceLine::Event(TraceEvent { task, pid, cpu, nanoseconds, event, message, line: whole }) => {
                assert_eq!(whole, line);
                (task, pid, cpu, nanoseconds, event, message)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn events_of_all_formats() {
        let printk = "bpf_trace_printk";
        let line = "            bash-1234    [003] d..21  1234.567890: bpf_trace_printk: a: b [000] c";
        assert_eq!(parsed(line), ("bash", 1234, 3, 1_234_567_890_000, printk, "a: b [000] c"));
        let line = "     a] [0-1 (x)-1234567 (  12345) [1023] ....1 98765.000001: bpf_trace_printk: ";
        assert_eq!(parsed(line), ("a] [0-1 (x)", 1_234_567, 1023, 98_765_000_001_000, printk, ""));
        let line = "          <idle>-0       (-------) [000]     0.000010: bpf_trace_printk: hi";
        assert_eq!(parsed(line), ("<idle>", 0, 0, 10_000, printk, "hi"));
        let line = "           <...>-17      [001] d.h1.   12.500000: sched_switch: prev_comm=a prev_pid=1";
        assert_eq!(parsed(line).4, "sched_switch");
    }

    #[test]
    fn other_lines_are_kept() {
        for line in [
            "",
            "the second line of a message: with 1.000001: in it",
            "two lines: name [000] d..1 1.000001: x",
            "            bash-1234    [003] d..21  1234567890: bpf_trace_printk: a clock that counts",
            "            bash-1234    [003] d..21  1234.567: bpf_trace_printk: no microseconds",
            "            bash-99999999999 [003] d..21  1234.567890: bpf_trace_printk: a long number",
            "            bash-1    [003] d..21  99999999999999999999.567890: bpf_trace_printk: late",
            "           \u{fffd}sh-1    [003]",
            "123456789012345\u{fffd}-1 [003] d..21  1234.567890: bpf_trace_printk: not cut inside of a character",
        ] {
            assert_eq!(TraceLine::parse(line), TraceLine::Other(line), "{line}");
        }
    }

    #[test]
    fn lost_events() {
        assert_eq!(TraceLine::parse("CPU:3 [LOST 27 EVENTS]"), TraceLine::Lost { cpu: 3, events: Some(27) });
        assert_eq!(TraceLine::parse("CPU:3 [LOST EVENTS]").to_string(), "CPU:3 [LOST EVENTS]");
        assert_eq!(TraceLine::parse("CPU:3 [LOST x EVENTS]"), TraceLine::Other("CPU:3 [LOST x EVENTS]"));
    }
}
