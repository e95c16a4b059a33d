//! The kernel's event sources in sysfs, and attaching to their events.

use std::fs::read_to_string;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::abi::TargetKind;
use crate::error::{Errno, Error, Result, Step, Subject};
use crate::kernel::causes::{self, TRACEFS};
use crate::sys::{link as sys, perf};

/// The directory of the event sources.
const DEVICES: &str = "/sys/bus/event_source/devices";

/// An event source of probes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probes {
    /// Its event type.
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
        let bad = |file: &str| Error::malformed(format_args!("cannot parse {DEVICES}/{name}/{file}"));
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
    // The names become part of a path.
    TargetKind::Tracepoint
        .parse(&format!("{category}/{name}"))
        .map_err(|malformed| Error::invalid(format_args!("{}: {malformed}", context())))?;
    let missing = |error: Error| error.during(Step::FindSymbol).about(Subject::Symbol(name));
    let mut failed = None;
    for root in TRACEFS {
        match read_to_string(format!("{root}/events/{category}/{name}/id")) {
            Ok(text) => {
                return text.trim().parse().map_err(|_| Error::malformed(format_args!("{}: not a number", context())));
            }
            Err(error) => failed = Some(failed.unwrap_or(error)),
        }
    }
    Err(match failed {
        Some(error) => missing(Error::io(context(), &error)).note(causes::no_tracepoint(category, name, &error)),
        None => missing(Error::not_found(context())),
    })
}

/// Opens a file of tracefs; from the second mount point only if the first does not have it.
pub(super) fn open_tracefs(file: &str) -> std::io::Result<std::fs::File> {
    let [first, second] = TRACEFS;
    match std::fs::File::open(format!("{first}/{file}")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => std::fs::File::open(format!("{second}/{file}")),
        result => result,
    }
}

/// Attaches to a perf event. Uses a link if the kernel supports it (5.15), otherwise attaches to the event itself and
/// returns it.
pub(super) fn attach(program: BorrowedFd<'_>, event: OwnedFd, cookie: u64) -> Result<OwnedFd, Errno> {
    match attach_with_cookie(program, event.as_fd(), cookie) {
        // Kernels without such links do not have cookies either.
        Err(error) if error.raw() == libc::EINVAL && cookie == 0 => {
            perf::attach(event.as_fd(), program)?;
            Ok(event)
        }
        result => result,
    }
}

/// Attaches to a perf event by a link (5.15), so that the program reads the cookie, even if it is 0.
pub(super) fn attach_with_cookie(
    program: BorrowedFd<'_>,
    event: BorrowedFd<'_>,
    cookie: u64,
) -> Result<OwnedFd, Errno> {
    let link = sys::create_perf(program, event, cookie)?;
    perf::enable(event)?;
    Ok(link)
}

/// Adds help about permissions to the error of an event that cannot be opened.
pub(super) fn refused_event(error: Error, errno: Errno) -> Error {
    match errno.raw() {
        libc::EPERM | libc::EACCES => error.note(causes::no_perf_rights(errno.raw())),
        libc::ENOSYS => error.note("the kernel is built without perf events (CONFIG_PERF_EVENTS)"),
        _ => error,
    }
}
