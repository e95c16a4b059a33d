//! Whether the running kernel gives programs direct access to a percpu array's value, which `.percpu` sections need.
//!
//! Linux does since 7.3, where the JIT knows percpu instructions; there is no version to ask, so a program that does it is loaded
//! for trial: two bpf() calls, once in a process. Knows no object.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::OnceLock;

use crate::error::Errno;
use crate::sys;
use crate::uapi::{AttachType, MapType, ProgramType};

/// Whether the running kernel has direct access, or why that cannot be found out (no rights, mostly).
///
/// # Errors
/// What the kernel said, if that does not tell.
pub(crate) fn direct_access(token: Option<BorrowedFd<'_>>) -> Result<bool, Errno> {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    if let Some(&known) = KNOWN.get() {
        return Ok(known);
    }
    let found = probe(token)?;
    Ok(*KNOWN.get_or_init(|| found))
}

fn probe(token: Option<BorrowedFd<'_>>) -> Result<bool, Errno> {
    let map = sys::map::Map::create(&sys::map::Request {
        name: "percpu_probe",
        map_type: MapType::PERCPU_ARRAY,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        flags: if token.is_some() { crate::uapi::map_flags::TOKEN_FD } else { 0 },
        numa_node: 0,
        extra: 0,
        inner: None,
        btf: None,
        kernel_value: None,
        token,
    })?;
    let fd = map.as_fd().as_raw_fd().to_ne_bytes();
    let registers = |dst: u8, src: u8| if cfg!(target_endian = "little") { dst | src << 4 } else { dst << 4 | src };
    // r0 = the address of the map's value; r0 = *(u32 *)(r0 + 0); exit
    let insns = [
        [0x18, registers(0, 2), 0, 0, fd[0], fd[1], fd[2], fd[3]],
        [0; 8],
        [0x61, registers(0, 0), 0, 0, 0, 0, 0, 0],
        [0x95, 0, 0, 0, 0, 0, 0, 0],
    ];
    let request = sys::prog::Request {
        name: "percpu_probe",
        program_type: ProgramType::SOCKET_FILTER,
        expected_attach_type: AttachType(0),
        flags: if token.is_some() { crate::uapi::prog_flags::TOKEN_FD } else { 0 },
        license: c"",
        kernel_version: 0,
        insns: insns.as_flattened(),
        btf: None,
        func_info: &[],
        line_info: &[],
        core_relos: &[],
        attach_btf_id: 0,
        attach_btf: None,
        fd_array: &[],
        ifindex: 0,
        token,
    };
    match sys::prog::load(&request, 0, &mut [])?.result {
        Ok(_) => Ok(true),
        // The verifier says EINVAL, a JIT without percpu instructions ENOTSUPP (524).
        Err(errno) if [libc::EINVAL, libc::EACCES, libc::EOPNOTSUPP, 524].contains(&errno.raw()) => Ok(false),
        Err(errno) => Err(errno),
    }
}
