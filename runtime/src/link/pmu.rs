//! The kernel's perf event sources (PMUs) in sysfs, and attaching to perf events.

use std::fs::read_to_string;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Link;
use super::undo::Attachment;
use crate::abi::TargetKind;
use crate::error::{Errno, Error, Result, Step, Subject};
use crate::kernel::{causes, tracefs};
use crate::sys::{link as sys, perf};

/// The directory of the event sources.
pub(super) const DEVICES: &str = "/sys/bus/event_source/devices";

/// The perf event source for kprobes or uprobes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probes {
    /// The event type of the event source.
    pub(super) event_type: u32,
    /// The bit in an event's configuration for a return probe.
    pub(super) return_bit: u64,
    /// The bit offset of the reference counter in the configuration, if the kernel supports it.
    pub(super) counter_shift: Option<u32>,
}

impl Probes {
    /// Reads the event source with this name, `kprobe` or `uprobe`.
    pub(super) fn of(name: &str) -> Result<Self> {
        let text = |file: &str| read_to_string(format!("{DEVICES}/{name}/{file}"));
        let unreadable = |file: &str, error: &std::io::Error| {
            Error::io(format_args!("cannot read {DEVICES}/{name}/{file}"), error)
                .note(causes::no_event_source(name, error))
        };
        let read = |file: &str| text(file).map_err(|error| unreadable(file, &error));
        let bad = |file: &str| {
            let path = format!("{DEVICES}/{name}/{file}");
            Error::malformed(format_args!("cannot parse {path}"))
                .during(Step::ReadKernel)
                .about(Subject::Path(path.as_ref()))
        };
        let event_type = read("type")?.trim().parse().map_err(|_| bad("type"))?;
        let format = read("format/retprobe")?;
        let bit: Option<u32> = format.trim().strip_prefix("config:").and_then(|bit| bit.parse().ok());
        let return_bit = bit.and_then(|bit| 1_u64.checked_shl(bit)).ok_or_else(|| bad("format/retprobe"))?;
        // Only a missing file means a kernel without reference counters (before 4.20).
        let counter = match text("format/ref_ctr_offset") {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(unreadable("format/ref_ctr_offset", &error)),
        };
        let counter_shift = counter
            .as_deref()
            .and_then(|format| format.trim().strip_prefix("config:"))
            .and_then(|bits| bits.split('-').next()?.parse().ok());
        Ok(Self { event_type, return_bit, counter_shift })
    }
}

/// Returns the id of a tracepoint.
pub(super) fn tracepoint_id(category: &str, name: &str) -> Result<u64> {
    let context = || format!("cannot read the id of tracepoint `{category}/{name}`");
    // The names become path components, so they must not contain `/` or `..`.
    TargetKind::Tracepoint
        .parse(&format!("{category}/{name}"))
        .map_err(|malformed| Error::invalid(format_args!("{}: {malformed}", context())))?;
    let missing = |error: Error| error.during(Step::FindSymbol).about(Subject::Symbol(name));
    let text = tracefs::open(&format!("events/{category}/{name}/id")).and_then(std::io::read_to_string);
    let text = text
        .map_err(|error| missing(Error::io(context(), &error)).note(causes::no_tracepoint(category, name, &error)))?;
    text.trim().parse().map_err(|_| Error::malformed(format_args!("{}: not a number", context())))
}

/// A program with its name.
pub(super) type Named<'a> = (BorrowedFd<'a>, &'a str);

/// Attaches to a perf event. Uses a link if the kernel supports it (5.15), otherwise attaches to the event itself.
pub(super) fn attach(program: Named<'_>, event: OwnedFd, cookie: u64) -> Result<Link, Errno> {
    match attach_with_cookie(program, event.as_fd(), cookie) {
        // Kernels without perf links have no cookies either, so an attachment without a link requires cookie 0.
        Err(error) if error.raw() == libc::EINVAL && cookie == 0 => {
            let (program, name) = program;
            perf::attach(event.as_fd(), program)?;
            Ok(Link::without_link(event, name, Event))
        }
        result => result,
    }
}

/// Attaches to a perf event by a link (5.15), which passes the cookie to the program even if it is 0.
pub(super) fn attach_with_cookie(
    (program, name): Named<'_>,
    event: BorrowedFd<'_>,
    cookie: u64,
) -> Result<Link, Errno> {
    let link = sys::create_perf(program, event, cookie)?;
    perf::enable(event)?;
    Ok(Link::new(link, name))
}

/// Adds help about permissions to the error of an event that cannot be opened.
pub(super) fn refused_event(error: Error, errno: Errno) -> Error {
    match errno.raw() {
        libc::EPERM | libc::EACCES => error.note(causes::no_perf_rights(errno.raw())),
        libc::ENOSYS => error.note("the kernel is built without perf events (CONFIG_PERF_EVENTS)"),
        _ => error,
    }
}

/// A perf event without a link (before Linux 5.15): the kernel detaches the program when the event is closed.
#[derive(Debug)]
struct Event;

impl Attachment for Event {
    fn detach(&self) -> Result<(), Errno> {
        Ok(())
    }

    fn links(&self) -> Option<&'static str> {
        Some("perf events have links since Linux 5.15")
    }
}
