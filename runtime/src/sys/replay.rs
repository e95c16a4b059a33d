//! Repeats recorded bpf() calls without other work between them, to measure the least time that a load can take.
//!
//! # Safety
//! A replay owns copies of all memory that its requests point to, and writes pointers to the copies into each request
//! just before the call. Its file descriptors are those that the replay's own calls returned in place of the recorded
//! ones. An element operation uses a map that the replay creates by a recorded request. That request determines how
//! much memory the kernel uses. The map that the recorder saw at the file descriptor's number does not, because the
//! number can have been closed and reused for another map. An operation is rejected if its memory does not have the
//! length that the request determines, or if it used a different map when it was recorded. A command whose pointers the
//! recorder does not know is rejected too.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Instant;

use crate::error::{Errno, Error, Result};
use crate::sys::call::Call;
use crate::sys::cpus;
use crate::sys::elem;
use crate::uapi::{Command, MapType};

/// Recorded calls that can be repeated.
///
/// ```no_run
/// let (result, replay) = skelgen_runtime::record::replay(|| { /* load something */ });
/// let mut replay = replay?;
/// for _ in 0..10 {
///     println!("{} ns", replay.run()?);
/// }
/// # Ok::<(), skelgen_runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct Replay {
    calls: Vec<Prepared>,
}

/// Returns the offsets of the pointers in a request of this command, or `None` if the command cannot be replayed. The
/// memory behind each pointer must have been recorded.
fn addresses(command: Command) -> Option<&'static [usize]> {
    Some(match command {
        Command::MAP_CREATE => &[80],
        Command::MAP_FREEZE | Command::PROG_BIND_MAP => &[],
        Command::MAP_UPDATE_ELEM | Command::MAP_LOOKUP_ELEM => &[8, 16],
        Command::OBJ_GET_INFO_BY_FD => &[8],
        Command::BTF_LOAD => &[0, 8],
        Command::PROG_LOAD => &[8, 16, 32, 80, 96, 120, 128],
        _ => return None,
    })
}

/// The offsets of the pointers to the key and the value in an element operation.
const KEY: usize = 8;
const VALUE: usize = 16;

/// Returns the lengths of key and value in an element operation, from the request that created its map.
fn lengths(created: &Call, call: &Call) -> Result<Option<(usize, usize)>> {
    // `map_type`, `key_size` and `value_size` of `BPF_MAP_CREATE`.
    let (map_type, key, value) = (MapType(created.u32_at(0)), created.u32_at(4), created.u32_at(8));
    let cpus = match elem::is_percpu(map_type) {
        true => cpus::count()?,
        false => cpus::Count::ONE,
    };
    let (key, value) = (usize::try_from(key).ok(), usize::try_from(value).ok());
    let value = value.filter(|_| cpus.confirmed).and_then(|value| {
        let full = elem::full_len(map_type, value, cpus.cpus)?;
        elem::value_len(map_type, (value, full), call.flags())
    });
    Ok(key.zip(value))
}

/// Returns whether a command returns a file descriptor.
fn returns_fd(command: Command) -> bool {
    matches!(command, Command::MAP_CREATE | Command::BTF_LOAD | Command::PROG_LOAD)
}

#[derive(Debug)]
struct Prepared {
    command: Command,
    /// The request in whole words, which keeps its alignment.
    attr: Vec<u64>,
    len: usize,
    /// The offsets of file descriptors in the request, with the index of the call that returned each.
    fds: Vec<(usize, usize)>,
    /// The offsets of pointers in the request, with the memory for each.
    buffers: Vec<(usize, Box<[u8]>)>,
    succeeded: bool,
}

impl Replay {
    /// Prepares calls that were recorded with all contents.
    ///
    /// # Errors
    /// If a call cannot be repeated.
    pub(crate) fn new(calls: &[Call]) -> Result<Self> {
        let mut known = HashMap::new();
        let mut prepared = Vec::new();
        for (number, call) in calls.iter().enumerate() {
            prepared.push(Prepared::new(call, calls, &known)?);
            if let (true, Ok(fd)) = (returns_fd(call.command), call.result) {
                known.insert(fd, number);
            }
        }
        Ok(Self { calls: prepared })
    }

    /// Repeats the calls. Returns the duration of the calls in nanoseconds, without the time for closing the file
    /// descriptors that they opened.
    ///
    /// # Errors
    /// If a call fails that succeeded when it was recorded, or succeeds although it failed.
    pub fn run(&mut self) -> Result<u64> {
        let mut given: Vec<Option<OwnedFd>> = self.calls.iter().map(|_| None).collect();
        let begin = Instant::now();
        for (number, call) in self.calls.iter_mut().enumerate() {
            for index in 0..call.fds.len() {
                let (offset, from) = call.fds[index];
                let fd = given.get(from).and_then(Option::as_ref).map_or(-1, AsRawFd::as_raw_fd);
                call.put(offset, &fd.to_ne_bytes());
            }
            let result = call.make();
            if result.is_ok() != call.succeeded {
                let command = call.command;
                return Err(match result {
                    Err(errno) => Error::refused(
                        format_args!(
                            "bpf() call {number} ({command}) failed in the replay, but succeeded when it was recorded"
                        ),
                        errno,
                    ),
                    Ok(_) => Error::mismatch(format_args!(
                        "bpf() call {number} ({command}) succeeded in the replay, but failed when it was recorded"
                    )),
                });
            }
            if let (true, Ok(fd)) = (returns_fd(call.command), result) {
                // SAFETY: the command succeeded and returns a new file descriptor, which has no other owner.
                given[number] = Some(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
        Ok(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Prepared {
    /// Prepares one of `calls`. `known` has the index of the call that returned each file descriptor.
    fn new(call: &Call, calls: &[Call], known: &HashMap<i32, usize>) -> Result<Self> {
        let unsupported = |why: &str| Error::invalid(format_args!("cannot repeat `{call}`: {why}"));
        let addresses = addresses(call.command).ok_or_else(|| unsupported("the command is not supported"))?;
        let mut buffers = Vec::new();
        for &offset in addresses.iter().filter(|&&offset| call.u64_at(offset) != 0) {
            let buffer = call.buffers.iter().find(|buffer| buffer.offset == offset);
            let buffer = buffer.ok_or_else(|| unsupported("the memory that the request points to was not recorded"))?;
            let bytes = buffer.bytes.clone().unwrap_or_else(|| vec![0; buffer.len]);
            if bytes.len() != buffer.len {
                return Err(unsupported("the memory that the request points to was recorded only in part"));
            }
            buffers.push((offset, bytes.into_boxed_slice()));
        }
        if matches!(call.command, Command::MAP_UPDATE_ELEM | Command::MAP_LOOKUP_ELEM) {
            let fd = i32::from_ne_bytes(call.u32_at(0).to_ne_bytes());
            let created = known.get(&fd).and_then(|&number| calls.get(number));
            let created = created.filter(|created| created.command == Command::MAP_CREATE);
            let created = created.ok_or_else(|| unsupported("the map was not created while recording"))?;
            if call.map.as_ref().map(|map| map.id) != created.created || created.created.is_none() {
                return Err(unsupported("the number of the map's file descriptor was reused for a different map"));
            }
            let (key, value) =
                lengths(created, call)?.ok_or_else(|| unsupported("the sizes of the map are unknown"))?;
            let len = |at| buffers.iter().find(|(offset, _)| *offset == at).map_or(0, |(_, bytes)| bytes.len());
            if len(KEY) != key || len(VALUE) != value {
                return Err(unsupported("the key or value does not have the size that the map requires"));
            }
        }
        let mut fds = Vec::new();
        for &offset in call.fd_offsets() {
            let fd = i32::from_ne_bytes(call.u32_at(offset).to_ne_bytes());
            if let Some(&from) = known.get(&fd) {
                fds.push((offset, from));
            }
        }
        let mut this = Self {
            command: call.command,
            attr: vec![0; call.attr.len().div_ceil(8)],
            len: call.attr.len(),
            fds,
            buffers,
            succeeded: call.result.is_ok(),
        };
        this.put(0, &call.attr);
        Ok(this)
    }

    /// Writes bytes into the request.
    fn put(&mut self, offset: usize, bytes: &[u8]) {
        for (at, &byte) in (offset..).zip(bytes) {
            if let Some(word) = self.attr.get_mut(at / 8) {
                let mut whole = word.to_ne_bytes();
                whole[at % 8] = byte;
                *word = u64::from_ne_bytes(whole);
            }
        }
    }

    fn make(&mut self) -> std::result::Result<i32, Errno> {
        for (offset, buffer) in &mut self.buffers {
            // Requests consist of whole words, and pointers are aligned words in them.
            if let Some(word) = self.attr.get_mut(*offset / 8) {
                *word = super::address_mut(buffer);
            }
        }
        // SAFETY: every pointer in the request is that of memory that this value owns. The memory has the length that
        // the request itself states or, for elements, that the request that creates their map determines; see the
        // module's `# Safety`.
        let result = unsafe { libc::syscall(libc::SYS_bpf, self.command.0, self.attr.as_mut_ptr(), self.len) };
        i32::try_from(result).ok().filter(|&result| result >= 0).ok_or_else(Errno::last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record;
    use crate::sys::elem::Map;
    use crate::sys::elem::testing::create;

    /// A number that was closed and reused for a map with smaller values: the lookup has room for these only, but the replay would make it
    /// on the map that it creates.
    #[test]
    #[cfg_attr(miri, ignore = "calls the kernel")]
    fn a_file_descriptor_that_became_another_map_is_rejected() {
        for (before, since) in [(1 << 16, 8), (8, 1 << 16), (8, 8)] {
            let Some(other) = create(MapType::ARRAY, 4, since, 1, 0) else { return };
            let mut replay = None;
            // Another thread may reuse the number first.
            for _ in 0..100 {
                let (reused, recorded) = record::replay(|| {
                    let first = create(MapType::ARRAY, 4, before, 1, 0).unwrap();
                    let number = first.as_raw_fd();
                    drop(first);
                    let mut duplicates = Vec::new();
                    while duplicates.last().is_none_or(|fd: &OwnedFd| fd.as_raw_fd() < number) {
                        duplicates.push(other.try_clone().unwrap());
                    }
                    let reused = duplicates.pop().filter(|fd| fd.as_raw_fd() == number)?;
                    let map = Map::new(reused).unwrap();
                    map.lookup(&[0; 4], &mut vec![0; map.full_len()], 0).unwrap();
                    Some(())
                });
                if reused.is_some() {
                    replay = Some(recorded);
                    break;
                }
            }
            let Some(replay) = replay else { return };
            let error = replay.expect_err("it is another map").to_string();
            assert!(error.contains("was reused for a different map"), "{error}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "calls the kernel")]
    fn element_operations_are_repeated() {
        for map_type in [MapType::ARRAY, MapType::PERCPU_ARRAY] {
            if create(map_type, 4, 8, 1, 0).is_none() {
                return;
            }
            let ((), replay) = record::replay(|| {
                let map = Map::new(create(map_type, 4, 12, 1, 0).unwrap()).unwrap();
                map.lookup(&[0; 4], &mut vec![0; map.full_len()], 0).unwrap();
            });
            replay.unwrap().run().unwrap();
        }
    }
}
