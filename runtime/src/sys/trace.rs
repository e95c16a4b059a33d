//! Records bpf() calls while [`crate::record`] is recording.
//!
//! # Safety
//! A request is read as bytes, and the memory that it points to only as far as the kernel itself would read it.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::OnceLock;
use std::time::Instant;

use super::attr::{GetInfo, MapInfo};
use super::elem;
use crate::error::Errno;
use crate::sys::call::{Buffer, Call as Recorded, MapOf};
use crate::sys::cpus;
use crate::uapi::{Command, MapType};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Off,
    Sizes,
    Whole,
}

thread_local! {
    static MODE: Cell<Mode> = const { Cell::new(Mode::Off) };
    static CALLS: RefCell<Vec<Recorded>> = const { RefCell::new(Vec::new()) };
}

/// Makes a bpf() call with a command, a pointer to the request, and the size of the request in bytes.
pub(super) type Call = unsafe fn(Command, *mut u8, usize) -> Result<i32, Errno>;

/// The functions of the recorder, which [`super::bpf`] calls.
pub(super) struct Recorder {
    pub(super) call: Call,
    pub(super) moved: fn(&OwnedFd),
}

/// The recorder, which the first recording of this process sets. It is set at run time so that an executable that never
/// records does not contain the recorder's code.
pub(super) static RECORDER: OnceLock<Recorder> = OnceLock::new();

/// Returns whether this thread is recording.
fn on() -> bool {
    MODE.get() != Mode::Off
}

/// Runs `work` and returns the calls that it made. The calls of an outer recording are kept separately.
pub(crate) fn during<R>(mode: Mode, work: impl FnOnce() -> R) -> (R, Vec<Recorded>) {
    /// Restores the outer recording when dropped, also if `work` panics.
    struct Restore(Mode, Vec<Recorded>);
    impl Drop for Restore {
        fn drop(&mut self) {
            MODE.set(self.0);
            CALLS.replace(std::mem::take(&mut self.1));
        }
    }
    RECORDER.get_or_init(|| Recorder { call: bpf, moved });
    let _restore = Restore(MODE.replace(mode), CALLS.take());
    let result = work();
    let calls = CALLS.take();
    (result, calls)
}

/// Makes the call, and records it if this thread is recording.
///
/// # Safety
/// The requirements of [`super::bpf_raw`] apply.
unsafe fn bpf(command: Command, attr: *mut u8, size: usize) -> Result<i32, Errno> {
    if !on() {
        // SAFETY: the caller's contract is the same.
        return unsafe { super::call(command, attr, size) };
    }
    let whole = MODE.get() == Mode::Whole;
    // SAFETY: the request is valid for reads of its size, and has no padding, so all its bytes are initialized.
    let before = unsafe { std::slice::from_raw_parts(attr, size) }.to_vec();
    let map = map_of(command, &before);
    let buffers = extents(command, &before, map.as_ref())
        .into_iter()
        .map(|Extent { field, offset, len, input }| {
            let address = word(&before, offset);
            // SAFETY: the kernel is about to read exactly these bytes, which the caller promises to be valid.
            let bytes = (whole && input).then(|| unsafe { copy(address, len) });
            Buffer { field, offset, len, bytes }
        })
        .collect();
    let begin = Instant::now();
    // SAFETY: the caller's contract is the same.
    let result = unsafe { super::call(command, attr, size) };
    let nanoseconds = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let created = match (command, result) {
        (Command::MAP_CREATE, Ok(fd)) => info_of(fd).map(|info| info.id),
        _ => None,
    };
    let call = Recorded { command, attr: before, map, buffers, result, nanoseconds, created };
    CALLS.with_borrow_mut(|calls| calls.push(call));
    result
}

/// Records the new number of the file descriptor that the last call returned, after it was moved.
fn moved(to: &OwnedFd) {
    if on() {
        CALLS.with_borrow_mut(|calls| {
            if let Some(call) = calls.last_mut() {
                call.result = Ok(to.as_raw_fd());
            }
        });
    }
}

/// Copies memory that a request points to.
///
/// # Safety
/// The address must be zero or valid for reads of `len` bytes.
unsafe fn copy(address: u64, len: usize) -> Vec<u8> {
    let Some(address) = usize::try_from(address).ok().filter(|&address| address != 0) else {
        return Vec::new();
    };
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts(std::ptr::with_exposed_provenance::<u8>(address), len) }.to_vec()
}

/// Memory that a request points to.
struct Extent {
    field: &'static str,
    /// The offset of the pointer to this memory in the request.
    offset: usize,
    len: usize,
    /// Whether the kernel reads it.
    input: bool,
}

/// Returns the memory that a request points to; empty if the recorder does not support the command.
fn extents(command: Command, attr: &[u8], map: Option<&MapOf>) -> Vec<Extent> {
    let counted = |field, offset, count, size: usize| Extent {
        field,
        offset,
        len: usize::try_from(half(attr, count)).unwrap_or(0).saturating_mul(size),
        input: true,
    };
    let text = |field, offset| Extent { field, offset, len: text_len(word(attr, offset)), input: true };
    let mut extents = match command {
        Command::MAP_CREATE => vec![counted("excl_prog_hash", 80, 88, 1)],
        Command::PROG_LOAD => vec![
            counted("insns", 8, 4, 8),
            text("license", 16),
            counted("func_info", 80, 88, 8),
            counted("line_info", 96, 104, 16),
            counted("core_relos", 128, 116, 16),
            Extent { input: false, ..counted("log", 32, 28, 1) },
        ],
        Command::BTF_LOAD => vec![counted("btf", 0, 16, 1), Extent { input: false, ..counted("log", 8, 20, 1) }],
        Command::OBJ_GET_INFO_BY_FD => vec![Extent { input: false, ..counted("info", 8, 4, 1) }],
        Command::OBJ_PIN | Command::OBJ_GET => vec![text("path", 0)],
        Command::RAW_TRACEPOINT_OPEN => vec![text("name", 0)],
        Command::PROG_TEST_RUN => vec![counted("data", 16, 8, 1), counted("context", 48, 40, 1)],
        Command::MAP_UPDATE_ELEM | Command::MAP_LOOKUP_ELEM | Command::MAP_DELETE_ELEM => {
            map.map_or_else(Vec::new, |map| {
                let value = Extent {
                    field: "value",
                    offset: 16,
                    len: map.value_len,
                    input: command == Command::MAP_UPDATE_ELEM,
                };
                let key = Extent { field: "key", offset: 8, len: map.key_len, input: true };
                if command == Command::MAP_DELETE_ELEM { vec![key] } else { vec![key, value] }
            })
        }
        _ => Vec::new(),
    };
    extents.retain(|extent| word(attr, extent.offset) != 0);
    extents
}

/// Returns the length of a C string that a request points to, with its NUL.
fn text_len(address: u64) -> usize {
    let Some(address) = usize::try_from(address).ok().filter(|&address| address != 0) else {
        return 0;
    };
    let text = std::ptr::with_exposed_provenance::<std::ffi::c_char>(address);
    // SAFETY: these fields are pointers to C strings, as the caller that makes the request promises.
    unsafe { std::ffi::CStr::from_ptr(text) }.count_bytes() + 1
}

/// Returns the map of a request: its name, and the lengths of its keys and values in this request.
fn map_of(command: Command, attr: &[u8]) -> Option<MapOf> {
    let about_map = matches!(
        command,
        Command::MAP_UPDATE_ELEM
            | Command::MAP_LOOKUP_ELEM
            | Command::MAP_DELETE_ELEM
            | Command::MAP_GET_NEXT_KEY
            | Command::MAP_FREEZE
    );
    if !about_map {
        return None;
    }
    let info = info_of(i32::try_from(half(attr, 0)).ok()?)?;
    let (map_type, one) = (MapType(info.map_type), usize::try_from(info.value_size).ok()?);
    // `count` cannot be used here, because it makes such a request itself.
    let cpus = if elem::is_percpu(map_type) { cpus::possible().ok()?.len() } else { 1 };
    let value_len = elem::value_len(map_type, (one, elem::full_len(map_type, one, cpus)?), word(attr, 24))?;
    Some(MapOf { name: info.name(), id: info.id, key_len: usize::try_from(info.key_size).ok()?, value_len })
}

/// Reads the kernel's description of a map, without recording the call.
fn info_of(fd: i32) -> Option<MapInfo> {
    let mut info = MapInfo::default();
    let mut request = GetInfo {
        bpf_fd: fd,
        info_len: u32::try_from(size_of::<MapInfo>()).ok()?,
        info: super::address_mut(std::slice::from_mut(&mut info)),
    };
    // SAFETY: the kernel writes at most `info_len` bytes, the size of `info`, for which every bit pattern is valid.
    unsafe { super::call(Command::OBJ_GET_INFO_BY_FD, (&raw mut request).cast(), size_of::<GetInfo>()) }.ok()?;
    Some(info)
}

/// Returns a 64-bit field of a request, zero beyond its end.
fn word(attr: &[u8], offset: usize) -> u64 {
    attr.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |&bytes| u64::from_ne_bytes(bytes))
}

/// Returns a 32-bit field of a request, zero beyond its end.
fn half(attr: &[u8], offset: usize) -> u32 {
    attr.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |&bytes| u32::from_ne_bytes(bytes))
}
