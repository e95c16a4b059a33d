//! Small programs and maps for feature probes. A probe loads or creates one, and closes it.
//!
//! This module does not depend on objects or plans.

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

/// How the program of a feature probe is loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbeRequest<'a> {
    /// A program type that accepts any return value.
    pub(crate) program_type: ProgramType,
    /// The attach type of the load.
    pub(crate) attach_type: AttachType,
    /// The BPF token to load with.
    pub(crate) token: Option<BorrowedFd<'a>>,
}

/// Loads a program that begins with a 64-bit immediate load of the address of a map's value plus `offset`, followed by `rest`. The map has
/// this type and one element of eight bytes. The outer `Err` means that the map could not be created.
pub(super) fn load_with_value(
    name: &'static str,
    (map_type, offset): (MapType, u32),
    rest: &[[u8; 8]],
    how: ProbeRequest<'_>,
    log: &mut [u8],
) -> Result<Result<OwnedFd, Errno>, Errno> {
    let map =
        sys::map::Map::create(&sys::map::Request { token: how.token, ..sys::map::Request::for_probe(name, map_type) })?;
    let mut insns = vec![
        insn(opcode::LD_IMM64, (0, pseudo::MAP_VALUE), map.as_fd().as_raw_fd()),
        insn(0, (0, 0), 0_i32.wrapping_add_unsigned(offset)),
    ];
    insns.extend_from_slice(rest);
    let request = sys::prog::Request {
        expected_attach_type: how.attach_type,
        token: how.token,
        ..sys::prog::Request::plain(name, how.program_type, insns.as_flattened())
    };
    let level = u32::from(!log.is_empty());
    sys::prog::load(&request, level, log).map(|attempt| attempt.result)
}

/// Encodes an instruction in native byte order: opcode, destination and source register, immediate.
pub(super) const fn insn(code: u8, (dst, src): (u8, u8), number: i32) -> [u8; 8] {
    let registers = if cfg!(target_endian = "little") { dst | src << 4 } else { dst << 4 | src };
    let [a, b, c, d] = number.to_ne_bytes();
    [code, registers, 0, 0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In `struct bpf_insn`, the registers are bit fields and the immediate is in native byte order.
    #[test]
    fn instructions_are_in_native_byte_order() {
        let expected = if cfg!(target_endian = "big") {
            [0x07, 0x12, 0, 0, 0xff, 0xff, 0xff, 0xf8]
        } else {
            [0x07, 0x21, 0, 0, 0xf8, 0xff, 0xff, 0xff]
        };
        assert_eq!(insn(0x07, (1, 2), -8), expected);
    }
}
