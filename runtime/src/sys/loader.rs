//! Runs a loader program: it executes a step table in the kernel, and leaves file descriptors in the slots of the table.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use super::elem::Map;
use super::map::Request;
use super::{address, address_mut, cpus, len32, own, prog};
use crate::abi;
use crate::error::Errno;
use crate::uapi::{MapType, ProgramType, elem_flags, prog_flags};
use skelgen_abi::loader::{Context, Failure, Layout, State};

/// A loader program that is loaded, with the step table in its map.
#[derive(Debug)]
pub(crate) struct Loader {
    map: Map,
    program: OwnedFd,
    layout: Layout,
    value_size: usize,
}

/// The parts of a loader program and its table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image<'a> {
    /// The instructions of the program.
    pub(crate) insns: &'a [u8],
    /// The step table without zeros at its end.
    pub(crate) table: &'a [u8],
    /// The size of the map's value.
    pub(crate) value_size: u32,
    pub(crate) layout: Layout,
}

/// The part of the preparation that the kernel rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Map,
    Program,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum End {
    /// All steps were executed. For each slot its file descriptor, if it has one.
    Finished(Vec<Option<OwnedFd>>),
    /// A step failed. Nothing stays open.
    Failed(Failure),
    /// The kernel ended the program, or the program rejected its table.
    Aborted,
}

/// A buffer for the log of one step's request.
#[derive(Debug)]
pub(crate) struct StepLog<'a> {
    pub(crate) step: u32,
    pub(crate) level: u32,
    pub(crate) buffer: &'a mut [u8],
}

impl Loader {
    /// Creates the map, writes the table into it, and loads the program. If the kernel rejects the program, `log` gets the verifier's log.
    pub(crate) fn new(image: Image<'_>, log: &mut [u8]) -> Result<Self, (Part, Errno)> {
        const NAME: &str = "loader";
        let of_map = |errno| (Part::Map, errno);
        let einval = Errno::from_raw(libc::EINVAL);
        let row = abi::Map::new(NAME, MapType::ARRAY).key_size(4).value_size(image.value_size).max_entries(1);
        let map = super::map::Map::create(&Request { map: row, ..Request::for_probe(NAME, MapType::ARRAY) });
        let map = map.map_err(of_map)?;
        let value_size = usize::try_from(image.value_size).map_err(|_| of_map(einval))?;
        let mut value = vec![0; value_size];
        value.get_mut(..image.table.len()).ok_or(of_map(einval))?.copy_from_slice(image.table);
        map.update(&0_u32.to_ne_bytes(), &value, elem_flags::ANY).map_err(of_map)?;
        // No other process changes the table before the run.
        map.freeze().map_err(of_map)?;
        let fd = map.as_fd().try_clone_to_owned();
        let fd = fd.map_err(|error| of_map(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EMFILE))))?;
        let fds = [fd.as_raw_fd()];
        let request = prog::Request {
            flags: prog_flags::SLEEPABLE,
            fd_array: &fds,
            ..prog::Request::plain(NAME, ProgramType::SYSCALL, image.insns)
        };
        let level = u32::from(!log.is_empty());
        let program = prog::load(&request, level, log).and_then(|attempt| attempt.result);
        let program = program.map_err(|errno| (Part::Program, errno))?;
        let map = Map::of(map, cpus::count).map_err(|error| of_map(error.errno().unwrap_or(einval)))?;
        Ok(Self { map, program, layout: image.layout, value_size })
    }

    /// Executes the table with values of the process.
    pub(crate) fn run(self, host: &[u8], log: Option<StepLog<'_>>) -> Result<End, Errno> {
        let mut context = Context { host: address(host), ..Context::default() };
        if let Some(StepLog { step, level, buffer }) = log {
            context.log_level = level;
            context.log_size = len32(buffer.len())?;
            context.log_step = step;
            context.log_buffer = address_mut(buffer);
        }
        // The program passes the addresses to the kernel, which copies `host` as from any pointer of the process, and writes at most
        // `log_size` bytes to the log. Both outlive the run.
        let mut bytes = context.to_bytes();
        let mut run = prog::Run { context: &mut bytes, ..prog::Run::default() };
        let outcome = prog::test_run(self.program.as_fd(), &mut run)?;
        match State::of(outcome.return_value) {
            Some(State::Failed) => Ok(End::Failed(Failure::from_bytes(&bytes))),
            Some(State::Finished) => self.slots().map(End::Finished),
            // The file descriptors in slots are closed.
            Some(State::Interrupted) => self.slots().map(|_| End::Aborted),
            Some(State::Rejected) | None => Ok(End::Aborted),
        }
    }

    /// Takes the file descriptors out of the slots.
    fn slots(self) -> Result<Vec<Option<OwnedFd>>, Errno> {
        let mut value = vec![0; self.value_size];
        self.map.lookup(&0_u32.to_ne_bytes(), &mut value, 0)?;
        let fd = |slot: u32| {
            let at = usize::try_from(self.layout.slot_at(slot)).ok()?;
            let fd = i32::from_ne_bytes(*value.get(at..)?.first_chunk()?);
            // SAFETY: the tables are trusted, so the program wrote to its slots only file descriptors that requests of this run have
            // returned to this process. The map is closed, so they are taken once.
            (fd > 0).then(|| unsafe { own(fd) })
        };
        (0..self.layout.slots).map(|slot| fd(slot).transpose()).collect()
    }
}
