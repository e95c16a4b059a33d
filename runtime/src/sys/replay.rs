//! Makes recorded bpf() calls again, with nothing between them: what a load costs at the least.
//!
//! # Safety
//! A replay owns copies of all memory that its requests point to, and writes their addresses into the requests just before each call.
//! File descriptors are those that the replay itself was given where the recording got them. An element operation is about a map that
//! the replay creates by a recorded request, so that request decides how much memory the kernel uses, not what the recorder saw at the
//! file descriptor's number: a number that was closed can have been another map's by then. Operations whose memory is not as long as
//! that, or whose map was another one when recorded, are refused; so are commands whose pointers the recorder does not know.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Instant;

use crate::error::{Errno, Error, Result};
use crate::sys::call::Call;
use crate::sys::cpus;
use crate::sys::elem;
use crate::uapi::{Command, MapType};

/// Recorded calls, ready to be made again.
#[derive(Debug)]
pub struct Replay {
    calls: Vec<Prepared>,
}

/// The places of addresses in the requests that can be replayed; all of them must have been recorded.
fn addresses(command: Command) -> Option<&'static [usize]> {
    Some(match command {
        Command::MAP_CREATE | Command::MAP_FREEZE | Command::PROG_BIND_MAP => &[],
        Command::MAP_UPDATE_ELEM | Command::MAP_LOOKUP_ELEM => &[8, 16],
        Command::OBJ_GET_INFO_BY_FD => &[8],
        Command::BTF_LOAD => &[0, 8],
        Command::PROG_LOAD => &[8, 16, 32, 80, 96, 120, 128],
        _ => return None,
    })
}

/// Where an element operation has the addresses of key and value.
const KEY: usize = 8;
const VALUE: usize = 16;

/// How long the kernel takes key and value of an element operation to be, by the request that created its map.
fn lengths(created: &Call, call: &Call) -> Result<Option<(usize, usize)>> {
    // `map_type`, `key_size` and `value_size` of `BPF_MAP_CREATE`.
    let (map_type, key, value) = (MapType(created.u32_at(0)), created.u32_at(4), created.u32_at(8));
    let cpus = match elem::is_percpu(map_type) {
        true => cpus::count()?,
        false => cpus::Count { cpus: 1, confirmed: true },
    };
    let (key, value) = (usize::try_from(key).ok(), usize::try_from(value).ok());
    let value = value.filter(|_| cpus.confirmed).and_then(|value| {
        let full = elem::full_len(map_type, value, cpus.cpus)?;
        elem::value_len(map_type, (value, full), call.flags())
    });
    Ok(key.zip(value))
}

/// Whether a command that succeeds gives a file descriptor.
fn gives_fd(command: Command) -> bool {
    matches!(command, Command::MAP_CREATE | Command::BTF_LOAD | Command::PROG_LOAD)
}

#[derive(Debug)]
struct Prepared {
    command: Command,
    /// The request in whole words, as aligned as it was.
    attr: Vec<u64>,
    len: usize,
    /// Where the request has a file descriptor that an earlier call gave, and which call.
    fds: Vec<(usize, usize)>,
    /// Where the request has an address, and the memory for it.
    buffers: Vec<(usize, Box<[u8]>)>,
    succeeded: bool,
}

impl Replay {
    /// Prepares calls that were recorded whole.
    ///
    /// # Errors
    /// If one of them cannot be made again.
    pub(crate) fn new(calls: &[Call]) -> Result<Self> {
        let mut known = HashMap::new();
        let mut prepared = Vec::new();
        for (number, call) in calls.iter().enumerate() {
            prepared.push(Prepared::new(call, calls, &known)?);
            if let (true, Ok(fd)) = (gives_fd(call.command), call.result) {
                known.insert(fd, number);
            }
        }
        Ok(Self { calls: prepared })
    }

    /// Repeats the calls; returns the time that they took in nanoseconds, without closing what they opened.
    ///
    /// # Errors
    /// If a call fails that succeeded when it was recorded, or the other way round.
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
                let errno = result.err().unwrap_or(Errno::from_raw(0));
                return Err(Error::refused(format_args!("making call {number} ({}) again", call.command), errno));
            }
            if let (true, Ok(fd)) = (gives_fd(call.command), result) {
                // SAFETY: the command succeeded and gives a new file descriptor, which nobody else owns.
                given[number] = Some(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
        Ok(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Prepared {
    /// Prepares a call among `calls`; `known` has the number of the call that gave each file descriptor.
    fn new(call: &Call, calls: &[Call], known: &HashMap<i32, usize>) -> Result<Self> {
        let refuse = |why: &str| Error::invalid(format_args!("`{call}` cannot be made again: {why}"));
        let addresses = addresses(call.command).ok_or_else(|| refuse("its command is not known here"))?;
        let mut buffers = Vec::new();
        for &offset in addresses.iter().filter(|&&offset| call.u64_at(offset) != 0) {
            let buffer = call.buffers.iter().find(|buffer| buffer.offset == offset);
            let buffer = buffer.ok_or_else(|| refuse("what it points to was not recorded"))?;
            let bytes = buffer.bytes.clone().unwrap_or_else(|| vec![0; buffer.len]);
            if bytes.len() != buffer.len {
                return Err(refuse("what it points to was not recorded whole"));
            }
            buffers.push((offset, bytes.into_boxed_slice()));
        }
        if matches!(call.command, Command::MAP_UPDATE_ELEM | Command::MAP_LOOKUP_ELEM) {
            let fd = i32::from_ne_bytes(call.u32_at(0).to_ne_bytes());
            let created = known.get(&fd).and_then(|&number| calls.get(number));
            let created = created.filter(|created| created.command == Command::MAP_CREATE);
            let created = created.ok_or_else(|| refuse("its map was not created while recording"))?;
            if call.map.as_ref().map(|map| map.id) != created.created || created.created.is_none() {
                return Err(refuse("its map is not the one that was created by this file descriptor's number"));
            }
            let (key, value) = lengths(created, call)?.ok_or_else(|| refuse("the sizes of its map are not known"))?;
            let len = |at| buffers.iter().find(|(offset, _)| *offset == at).map_or(0, |(_, bytes)| bytes.len());
            if len(KEY) != key || len(VALUE) != value {
                return Err(refuse("its key or value is not as long as those of its map"));
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

    /// Writes into the request.
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
            // Whole requests are made of whole words, and so are the addresses in them.
            if let Some(word) = self.attr.get_mut(*offset / 8) {
                *word = super::address_mut(buffer);
            }
        }
        // SAFETY: every address in the request is that of memory which this value owns, as long as the request itself says or, of
        // elements, as the request says that creates their map; see the module's `# Safety`.
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

    /// A number that was closed and taken by a map with smaller values: the lookup has room for these alone, and the replay would make
    /// it in the map that it creates.
    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel")]
    fn a_file_descriptor_that_became_another_map_is_refused() {
        for (before, since) in [(1 << 16, 8), (8, 1 << 16), (8, 8)] {
            let Some(other) = create(MapType::ARRAY, 4, since, 1, 0) else { return };
            let mut replay = None;
            // Another thread may take the number first.
            for _ in 0..100 {
                let (taken, recorded) = record::replay(|| {
                    let first = create(MapType::ARRAY, 4, before, 1, 0).unwrap();
                    let number = first.as_raw_fd();
                    drop(first);
                    let mut held = Vec::new();
                    while held.last().is_none_or(|fd: &OwnedFd| fd.as_raw_fd() < number) {
                        held.push(other.try_clone().unwrap());
                    }
                    let taken = held.pop().filter(|fd| fd.as_raw_fd() == number)?;
                    let map = Map::new(taken).unwrap();
                    map.lookup(&[0; 4], &mut vec![0; map.full_len()], 0).unwrap();
                    Some(())
                });
                if taken.is_some() {
                    replay = Some(recorded);
                    break;
                }
            }
            let Some(replay) = replay else { return };
            let error = replay.expect_err("it is another map").to_string();
            assert!(error.contains("its map is not the one that was created"), "{error}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel")]
    fn elements_of_maps_that_were_created_are_made_again() {
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
