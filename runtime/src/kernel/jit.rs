//! Whether the running kernel compiles programs or interprets them, as Debian's does on s390x. Without a compiler it refuses much, mostly
//! without a word. Knows no object.

use std::path::Path;

use crate::error::Errno;

/// ENOTSUPP, which the kernel has for itself.
const NOT_SUPPORTED: i32 = 524;

/// What there is to say of a refused request if it may be for want of a compiler.
pub(crate) fn explain(errno: Errno, log: Option<&str>) -> Option<String> {
    (may_lack(errno.raw(), log.unwrap_or_default()) && is_missing(Path::new("/proc/sys/net/core"))).then(|| {
        "this kernel compiles no programs (CONFIG_BPF_JIT, or net.core.bpf_jit_enable is 0): without that there are no tracing of \
         functions (fentry and its like), tables of functions, replaced functions, calls of the kernel's functions, callbacks, arenas"
            .to_owned()
    })
}

/// Whether it is so that a kernel without a compiler refuses: before the verifier has looked at an instruction, or saying so.
fn may_lack(errno: i32, log: &str) -> bool {
    [libc::EINVAL, libc::ENOMEM, libc::EOPNOTSUPP, NOT_SUPPORTED].contains(&errno)
        && (log.is_empty() || log.contains("processed 0 insns") || log.contains("JIT"))
}

/// Whether the directory of the network's settings says so. Only the first network namespace has all of them, so another one that only it
/// has must be there.
fn is_missing(settings: &Path) -> bool {
    match std::fs::read(settings.join("bpf_jit_enable")) {
        Ok(text) => text.starts_with(b"0"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => settings.join("netdev_max_backlog").exists(),
        // What cannot be read says nothing.
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_that_a_compiler_would_have_spared() {
        assert!(may_lack(libc::ENOMEM, "processed 0 insns (limit 1000000)") && may_lack(NOT_SUPPORTED, ""));
        assert!(may_lack(libc::EINVAL, "callbacks are not allowed in non-JITed programs\nprocessed 45 insns"));
        assert!(!may_lack(libc::EINVAL, "R1 invalid mem access\nprocessed 3 insns") && !may_lack(libc::EPERM, ""));
    }

    #[test]
    fn settings_that_are_elsewhere_say_nothing() {
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
