//! Programs that are loaded for trial, to find out what the running kernel can do where there is no version to ask.
//!
//! Knows no object.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::error::Errno;
use crate::sys;
use crate::uapi::{AttachType, MapType, ProgramType};

/// How a trial is loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial<'a> {
    /// As what: a type that takes any result.
    pub(crate) program_type: ProgramType,
    /// For where.
    pub(crate) attach_type: AttachType,
    /// With whose rights.
    pub(crate) token: Option<BorrowedFd<'a>>,
}

/// Loads these instructions; the first is a wide load of the value of a map of this type, one element of eight bytes, at this offset.
/// The outer error is that of creating the map.
pub(super) fn load_with_value(
    name: &str,
    (map_type, offset): (MapType, u32),
    rest: &[[u8; 8]],
    trial: Trial<'_>,
    log: &mut [u8],
) -> Result<Result<OwnedFd, Errno>, Errno> {
    let map = sys::map::Map::create(&sys::map::Request {
        name,
        map_type,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        flags: 0,
        numa_node: 0,
        extra: 0,
        inner: None,
        btf: None,
        kernel_value: None,
        token: trial.token,
    })?;
    let fd = map.as_fd().as_raw_fd().to_ne_bytes();
    let offset = offset.to_ne_bytes();
    let mut insns = vec![
        [0x18, registers(0, 2), 0, 0, fd[0], fd[1], fd[2], fd[3]],
        [0, 0, 0, 0, offset[0], offset[1], offset[2], offset[3]],
    ];
    insns.extend_from_slice(rest);
    let request = sys::prog::Request {
        expected_attach_type: trial.attach_type,
        token: trial.token,
        ..request(name, trial.program_type, insns.as_flattened())
    };
    let level = u32::from(!log.is_empty());
    sys::prog::load(&request, level, log).map(|attempt| attempt.result)
}

/// A request to load instructions and nothing else.
pub(super) fn request<'a>(name: &'a str, program_type: ProgramType, insns: &'a [u8]) -> sys::prog::Request<'a> {
    sys::prog::Request {
        name,
        program_type,
        expected_attach_type: AttachType(0),
        flags: 0,
        // Helpers that trials call are for programs under the GPL only.
        license: c"GPL",
        kernel_version: 0,
        insns,
        btf: None,
        func_info: &[],
        line_info: &[],
        core_relos: &[],
        attach_btf_id: 0,
        attach_program: None,
        attach_btf: None,
        fd_array: &[],
        ifindex: 0,
        token: None,
    }
}

/// The byte of an instruction that holds its two registers.
pub(super) const fn registers(dst: u8, src: u8) -> u8 {
    if cfg!(target_endian = "little") { dst | src << 4 } else { dst << 4 | src }
}
