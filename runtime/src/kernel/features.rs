//! What older kernels lack of what every newer one has, found out by trials: each once a process, and only after a request that
//! may have been refused for it.
//!
//! The questions and what answers them are those of libbpf's `features.c` (Linux 7.3.4). What cannot be tried, for want of rights,
//! counts as there: then the request that was refused says why better. So no trial of what is older than BPF tokens needs one: a kernel
//! that has tokens (6.9) has it. Knows no object.

use std::os::fd::BorrowedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::probe::{self, insn};
use crate::adjust::Feature;
use crate::error::Errno;
use crate::sys;
use crate::uapi::{AttachType, ProgramType};

/// `r0 = 0; exit`.
const NOTHING: [[u8; 8]; 2] = [insn(0xb7, (0, 0), 0), insn(0x95, (0, 0), 0)];

/// `r0 = 1; exit`.
const ALLOW: [[u8; 8]; 2] = [insn(0xb7, (0, 0), 1), NOTHING[1]];

/// Whether a trial has shown that the kernel does not fit programs to its types.
static NO_CORE: AtomicBool = AtomicBool::new(false);

/// Whether it is known already that the kernel does not fit programs to its types (it does since 5.17).
pub(crate) fn lacks_core() -> bool {
    NO_CORE.load(Ordering::Relaxed)
}

/// The same, to find out: a kernel that does not know where relocations are in a request refuses one that has any, whatever they
/// are.
pub(crate) fn find_core() -> bool {
    if !lacks_core() {
        let request = sys::prog::Request {
            core_relos: &[0; 16],
            ..probe::request("", ProgramType::SOCKET_FILTER, NOTHING.as_flattened())
        };
        let lacks = matches!(sys::prog::load(&request, 0, &mut []),
            Ok(attempt) if attempt.result.as_ref().is_err_and(|errno| errno.raw() == libc::E2BIG));
        NO_CORE.store(lacks, Ordering::Relaxed);
    }
    !lacks_core()
}

/// Whether programs and maps may have names (4.15).
pub(crate) fn names() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    let load = |name| load(&probe::request(name, ProgramType::SOCKET_FILTER, NOTHING.as_flattened()));
    *KNOWN.get_or_init(|| load("name_probe") || !load(""))
}

/// Whether a program may say where it will attach (4.17).
pub(crate) fn attach_types() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    let load = |expected_attach_type| {
        load(&sys::prog::Request {
            expected_attach_type,
            ..probe::request("", ProgramType::CGROUP_SOCK, ALLOW.as_flattened())
        })
    };
    *KNOWN.get_or_init(|| load(AttachType::CGROUP_INET_SOCK_CREATE) || !load(AttachType(0)))
}

/// Whether there are helpers that read memory of the kernel and of processes by different names (5.5).
pub(crate) fn separate_reads() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    let load = |helper: i32| {
        let insns = [
            insn(0xbf, (1, 10), 0),     // r1 = r10
            insn(0x07, (1, 0), -8),     // r1 += -8
            insn(0xb7, (2, 0), 8),      // r2 = 8
            insn(0xb7, (3, 0), 0),      // r3 = 0
            insn(0x85, (0, 0), helper), // call of a helper
            insn(0x95, (0, 0), 0),      // exit
        ];
        load(&probe::request("", ProgramType::TRACEPOINT, insns.as_flattened()))
    };
    // Where not even the old one may be called, it is something else that is wrong.
    *KNOWN.get_or_init(|| load(113) || !load(4))
}

/// Whether the kernel takes this in BTF.
pub(crate) fn btf(feature: Feature, token: Option<BorrowedFd<'_>>) -> bool {
    static KNOWN: [OnceLock<bool>; Feature::ALL.len()] = [const { OnceLock::new() }; Feature::ALL.len()];
    let take = |bytes: &[u8]| match sys::btf::load(bytes, token, &mut []) {
        Ok((result, _)) => result.map(drop),
        Err(errno) => Err(errno),
    };
    let refuses = |errno: Errno| errno.raw() != libc::EPERM;
    let Some(known) = KNOWN.get(feature as usize) else { return true };
    *known.get_or_init(|| !take(&feature.example()).is_err_and(refuses))
}

fn load(request: &sys::prog::Request<'_>) -> bool {
    sys::prog::load(request, 0, &mut []).is_ok_and(|attempt| attempt.result.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_upstream_has_this_kernel_has() {
        // Where nothing may be tried, nothing is found missing either.
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
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
            assert!(running < since(feature) || btf(feature, None), "{feature:?} on {release}");
        }
        assert!(running < (5, 17) || find_core() && !lacks_core(), "{release}");
        assert!(running < (4, 15) || names(), "{release}");
        assert!(running < (4, 17) || attach_types(), "{release}");
        assert!(running < (5, 5) || separate_reads(), "{release}");
    }
}
