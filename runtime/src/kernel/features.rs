//! Probes of features that only older kernels lack. Each runs once per process, and only after a request that the kernel may have
//! rejected because it lacks the feature.
//!
//! The probes are those of libbpf's `features.c` (Linux 7.3.4). Functions whose names begin with `has_` return the
//! answer, or the error that the process has no permission to probe. The other functions are for loads: if the process
//! has no permission to probe, the feature counts as present, so that the error of the rejected request is returned,
//! which is more helpful. Features that are older than BPF tokens (6.9) are probed without a token, because every
//! kernel with tokens has them.

use std::os::fd::BorrowedFd;

use super::probe::{self, Probe, insn};
use crate::error::Result;
use crate::opcode::EXIT;
use crate::sanitize::Feature;
use crate::sys;
use crate::uapi::{AttachType, ProgramType};
use crate::{helper, opcode};

/// The opcode of a 64-bit move.
const MOV: u8 = opcode::ALU64 | opcode::MOV;

/// `r0 = 0; exit`.
const NOTHING: [[u8; 8]; 2] = [insn(MOV, (0, 0), 0), insn(EXIT, (0, 0), 0)];

/// `r0 = 1; exit`.
const ALLOW: [[u8; 8]; 2] = [insn(MOV, (0, 0), 1), NOTHING[1]];

static CORE: Probe = Probe::new("supports CO-RE relocation");

/// Returns whether an earlier probe found that the kernel does not support CO-RE relocation (before 5.17). Does not run
/// the probe.
pub(crate) fn lacks_core() -> bool {
    CORE.known() == Some(false)
}

/// Probes whether the kernel supports CO-RE relocation. A kernel without it rejects the field of the request with `E2BIG`.
pub(crate) fn find_core() -> Result<bool> {
    probe::without_rights(has_core(), true)
}

/// Returns whether the kernel supports CO-RE relocation, or the error that the process has no permission to probe.
pub(crate) fn has_core() -> Result<bool> {
    let plain = sys::prog::Request::plain("", ProgramType::SOCKET_FILTER, NOTHING.as_flattened());
    CORE.run(|| match probe::load(&sys::prog::Request { core_relos: &[0; 16], ..plain }) {
        // The relocation is invalid, and its BTF file descriptor (0) is not BTF or not open. A kernel that returns one
        // of these errors supports CO-RE relocation.
        Err(errno) if [libc::EINVAL, libc::EBADF, libc::EACCES].contains(&errno.raw()) => Ok(true),
        result => probe::compare(result, &[libc::E2BIG], || probe::load(&plain)),
    })
}

/// Probes whether programs and maps can have names (4.15).
pub(crate) fn names() -> Result<bool> {
    probe::without_rights(has_names(), true)
}

/// Returns whether programs and maps can have names, or the error that the process has no permission to probe.
pub(crate) fn has_names() -> Result<bool> {
    static PROBE: Probe = Probe::new("accepts names of maps and programs");
    let load = |name| probe::load(&sys::prog::Request::plain(name, ProgramType::SOCKET_FILTER, NOTHING.as_flattened()));
    PROBE.run(|| probe::compare(load("name_probe"), &[libc::E2BIG], || load("")))
}

/// Probes whether a load can state the program's attach type (4.17).
pub(crate) fn attach_types() -> Result<bool> {
    probe::without_rights(has_attach_types(), true)
}

/// Returns whether a load can state the program's attach type, or the error that the process has no permission to
/// probe.
pub(crate) fn has_attach_types() -> Result<bool> {
    static PROBE: Probe = Probe::new("accepts the attach type of a program at load");
    let load = |expected_attach_type| {
        probe::load(&sys::prog::Request {
            expected_attach_type,
            ..sys::prog::Request::plain("", ProgramType::CGROUP_SOCK, ALLOW.as_flattened())
        })
    };
    let with = || load(AttachType::CGROUP_INET_SOCK_CREATE);
    PROBE.run(|| match with() {
        // The kernel accepts the field, but was built without cgroup programs.
        Err(errno) if errno.raw() == libc::EINVAL => Ok(true),
        result => probe::compare(result, &[libc::E2BIG], || load(AttachType(0))),
    })
}

/// Probes whether the kernel has separate helpers to read kernel memory and user memory (5.5).
pub(crate) fn separate_reads() -> Result<bool> {
    static PROBE: Probe = Probe::new("has bpf_probe_read_kernel");
    let load = |helper: i32| {
        let insns = [
            insn(MOV | opcode::X, (1, 10), 0),             // r1 = r10
            insn(opcode::ALU64 | opcode::ADD, (1, 0), -8), // r1 += -8
            insn(MOV, (2, 0), 8),                          // r2 = 8
            insn(MOV, (3, 0), 0),                          // r3 = 0
            insn(opcode::CALL, (0, 0), helper),
            insn(EXIT, (0, 0), 0),
        ];
        probe::load(&sys::prog::Request::plain("", ProgramType::TRACEPOINT, insns.as_flattened()))
    };
    let answer = PROBE.run(|| match probe::verdict(&load(helper::PROBE_READ_KERNEL), &[libc::EINVAL])? {
        // If the older helper is rejected as well, the cause is not the missing helper but, for example, lockdown.
        false => probe::verdict(&load(helper::PROBE_READ), &[libc::EINVAL]).map(|old| !old),
        true => Ok(true),
    });
    probe::without_rights(answer, true)
}

/// Probes whether the kernel accepts a feature of BTF. Kernels reject unknown BTF with `EINVAL`.
pub(crate) fn btf(feature: Feature, token: Option<BorrowedFd<'_>>) -> Result<bool> {
    probe::without_rights(has_btf(feature, token), true)
}

/// Returns whether the kernel accepts a feature of BTF, or the error that the process has no permission to probe.
pub(crate) fn has_btf(feature: Feature, token: Option<BorrowedFd<'_>>) -> Result<bool> {
    // In the order of `Feature::ALL`.
    static PROBES: [Probe; Feature::ALL.len()] = [
        Probe::new("accepts functions in BTF"),
        Probe::new("accepts sections in BTF"),
        Probe::new("accepts global functions in BTF"),
        Probe::new("accepts floating-point types in BTF"),
        Probe::new("accepts empty sections in BTF"),
        Probe::new("accepts declaration tags in BTF"),
        Probe::new("accepts type tags in BTF"),
        Probe::new("accepts 64-bit enumerations in BTF"),
        Probe::new("accepts section names that begin with `?` in BTF"),
        Probe::new("accepts tags for arbitrary attributes in BTF"),
    ];
    let Some(probe) = PROBES.get(feature as usize) else { return Ok(true) };
    let example = feature.example();
    let load = || sys::btf::load(&example, token, &mut [])?.0.map(drop);
    probe.run(|| probe::verdict(&load(), &[libc::EINVAL]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::uname::Uname;

    #[test]
    fn this_kernel_has_the_features_of_its_version() {
        // Without rights to probe, every feature counts as present.
        let kernel = Uname::running();
        let release = kernel.release();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
        let running = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let since = |feature| match feature {
            Feature::Functions => (5, 0),
            Feature::Sections => (5, 2),
            Feature::GlobalFunctions => (5, 6),
            Feature::Floats => (5, 13),
            Feature::EmptySections => (5, 14),
            Feature::DeclarationTags => (5, 16),
            Feature::TypeTags => (5, 17),
            Feature::Enumerations => (6, 0),
            Feature::OddNames => (6, 10),
            Feature::Attributes => (6, 15),
        };
        for feature in Feature::ALL {
            assert!(running < since(feature) || btf(feature, None).unwrap(), "{feature:?} on {release}");
        }
        assert!(running < (5, 17) || find_core().unwrap() && !lacks_core(), "{release}");
        assert!(running < (4, 15) || names().unwrap(), "{release}");
        assert!(running < (4, 17) || attach_types().unwrap(), "{release}");
        assert!(running < (5, 5) || separate_reads().unwrap(), "{release}");
    }
}
