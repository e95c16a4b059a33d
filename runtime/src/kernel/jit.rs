//! Whether the running kernel has a JIT compiler, or interprets programs, as Debian's does on s390x. Without a JIT the kernel rejects many
//! requests, mostly without a message.

use std::path::Path;

use crate::error::Errno;

/// `ENOTSUPP`, an error number that is internal to the kernel.
const NOT_SUPPORTED: i32 = 524;

/// Returns a note if a missing JIT may be why the request was rejected.
pub(crate) fn explain(errno: Errno, log: Option<&str>) -> Option<String> {
    (may_lack(errno.raw(), log.unwrap_or_default()) && is_missing(Path::new("/proc/sys/net/core"))).then(|| {
        "this kernel has no JIT compiler (CONFIG_BPF_JIT, or net.core.bpf_jit_enable is 0), which fentry and similar programs, struct_ops, \
        extension programs (freplace), kfuncs, callbacks and arenas require"
            .to_owned()
    })
}

/// Returns whether a kernel without a JIT can return this error: it rejects the request before the verifier examines an instruction, or
/// the log mentions the JIT.
fn may_lack(errno: i32, log: &str) -> bool {
    [libc::EINVAL, libc::ENOMEM, libc::EOPNOTSUPP, NOT_SUPPORTED].contains(&errno)
        && (log.is_empty() || log.contains("processed 0 insns") || log.contains("JIT"))
}

/// Returns whether the directory of network settings (`/proc/sys/net/core`) shows that the JIT is missing.
/// `bpf_jit_enable` exists only in the initial network namespace. If it does not exist, `netdev_max_backlog`, which
/// also exists only there, must exist: otherwise this is a different namespace.
fn is_missing(settings: &Path) -> bool {
    match std::fs::read(settings.join("bpf_jit_enable")) {
        Ok(text) => text.starts_with(b"0"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => settings.join("netdev_max_backlog").exists(),
        // A setting that cannot be read proves nothing.
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_a_missing_jit() {
        assert!(may_lack(libc::ENOMEM, "processed 0 insns (limit 1000000)") && may_lack(NOT_SUPPORTED, ""));
        assert!(may_lack(libc::EINVAL, "callbacks are not allowed in non-JITed programs\nprocessed 45 insns"));
        assert!(!may_lack(libc::EINVAL, "R1 invalid mem access\nprocessed 3 insns") && !may_lack(libc::EPERM, ""));
    }

    #[test]
    fn settings_of_other_namespaces_show_nothing() {
        let directory = std::env::temp_dir().join(format!("skelgen-jit-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let with = |name: &str, text: &str| {
            std::fs::write(directory.join(name), text).unwrap();
            is_missing(&directory)
        };
        assert!(!is_missing(&directory) && with("netdev_max_backlog", "1000\n"));
        assert!(!with("bpf_jit_enable", "1\n") && with("bpf_jit_enable", "0\n"));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
