//! Trials for feature probes: small programs and maps that are loaded and closed again.
//!
//! Must not know objects or plans.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::error::Errno;
use crate::opcode;
use crate::sys;
pub(crate) use crate::sys::probe::{Probe, compare, verdict, without_rights};
use crate::uapi::{AttachType, MapType, ProgramType, pseudo};

/// Loads a program and closes it again.
pub(super) fn load(request: &sys::prog::Request<'_>) -> Result<(), Errno> {
    sys::prog::load(request, 0, &mut [])?.result.map(drop)
}

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
    name: &'static str,
    (map_type, offset): (MapType, u32),
    rest: &[[u8; 8]],
    trial: Trial<'_>,
    log: &mut [u8],
) -> Result<Result<OwnedFd, Errno>, Errno> {
    let map =
        sys::map::Map::create(&sys::map::Request { token: trial.token, ..sys::map::Request::trial(name, map_type) })?;
    let mut insns = vec![
        insn(opcode::LD_IMM64, (0, pseudo::MAP_VALUE), map.as_fd().as_raw_fd()),
        insn(0, (0, 0), 0_i32.wrapping_add_unsigned(offset)),
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

/// An instruction as this machine has it: its code, the registers that it writes and reads, its number.
pub(super) const fn insn(code: u8, (dst, src): (u8, u8), number: i32) -> [u8; 8] {
    let registers = if cfg!(target_endian = "little") { dst | src << 4 } else { dst << 4 | src };
    let [a, b, c, d] = number.to_ne_bytes();
    [code, registers, 0, 0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine's `struct bpf_insn`: registers are bit fields, and the number is in its order.
    #[test]
    fn instructions_are_in_the_order_of_the_machine() {
        let expected = if cfg!(target_endian = "big") {
            [0x07, 0x12, 0, 0, 0xff, 0xff, 0xff, 0xf8]
        } else {
            [0x07, 0x21, 0, 0, 0xf8, 0xff, 0xff, 0xff]
        };
        assert_eq!(insn(0x07, (1, 2), -8), expected);
    }
}
