//! The kernel functions that implement system calls: their names, and where their arguments are.
//!
//! A kernel with `CONFIG_ARCH_HAS_SYSCALL_WRAPPER` passes these functions one argument, a pointer to the registers
//! (`struct pt_regs`) with the arguments of the system call. Other kernels pass the arguments themselves. To add an
//! architecture, add the prefix that its `asm/syscall_wrapper.h` gives to the functions.

use std::io::BufRead;

use super::kallsyms::{self, Line};
use crate::error::Result;

/// The wrappers of system calls on an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrappers {
    /// No kernel for the architecture has wrappers.
    Never,
    /// The names of wrappers have a prefix that no other function has.
    Prefixed(&'static str),
    /// Wrappers have the names that the functions have in kernels without wrappers (powerpc, since Linux 6.1).
    Unprefixed,
}

const WRAPPERS: Wrappers = if cfg!(target_arch = "x86_64") {
    Wrappers::Prefixed("__x64_")
} else if cfg!(target_arch = "x86") {
    Wrappers::Prefixed("__ia32_")
} else if cfg!(target_arch = "aarch64") {
    Wrappers::Prefixed("__arm64_")
} else if cfg!(target_arch = "s390x") {
    Wrappers::Prefixed("__s390x_")
} else if cfg!(any(target_arch = "riscv64", target_arch = "riscv32")) {
    Wrappers::Prefixed("__riscv_")
} else if cfg!(any(target_arch = "powerpc64", target_arch = "powerpc")) {
    Wrappers::Unprefixed
} else {
    Wrappers::Never
};

/// Returns the names that the function of a system call can have: that of a wrapper first, then those of kernels without
/// wrappers.
pub(crate) fn names(call: &str) -> [String; 3] {
    let prefix = if let Wrappers::Prefixed(prefix) = WRAPPERS { prefix } else { "" };
    [format!("{prefix}sys_{call}"), format!("__se_sys_{call}"), format!("sys_{call}")]
}

/// Returns whether the functions of system calls have a pointer to the registers as their argument.
pub(crate) fn has_wrappers() -> Result<bool> {
    match WRAPPERS {
        Wrappers::Never => Ok(false),
        wrappers => kallsyms::open().and_then(|lines| has(wrappers, lines)),
    }
}

/// Returns whether a kernel with these lines of `/proc/kallsyms` has wrappers.
fn has(wrappers: Wrappers, lines: impl BufRead) -> Result<bool> {
    let (mut wrapper, mut other) = (false, false);
    let visit = |line: Line<'_>| match wrappers {
        Wrappers::Never => {}
        Wrappers::Prefixed(prefix) => wrapper |= line.name.strip_prefix(prefix.as_bytes()) == Some(b"sys_bpf"),
        Wrappers::Unprefixed => {
            wrapper |= line.name == b"sys_bpf";
            // `sys_bpf` is another name for this function in a kernel without wrappers. With them, it is a part of the
            // wrapper, inlined or local.
            other |= line.name == b"__se_sys_bpf" && line.kind == b'T';
        }
    };
    kallsyms::each_of(lines, visit).map_err(|error| kallsyms::unread(&error))?;
    Ok(wrapper && !other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_are_found_by_their_names() {
        let of = |wrappers, text: &str| has(wrappers, text.as_bytes()).expect("the text can be read");
        let arm = Wrappers::Prefixed("__arm64_");
        assert!(of(arm, "0 T __arm64_sys_bpf\n0 t __do_sys_bpf\n"));
        assert!(!of(arm, "0 T __x64_sys_bpf\n0 T __arm64_sys_bpf2\n0 T sys_bpf\n"));
        assert!(of(Wrappers::Unprefixed, "0 T sys_bpf\n"));
        assert!(of(Wrappers::Unprefixed, "0 t __se_sys_bpf\n0 T sys_bpf\n"));
        assert!(!of(Wrappers::Unprefixed, "0 T sys_bpf\n0 T __se_sys_bpf\n"));
        assert!(!of(Wrappers::Unprefixed, "0 T sys_read\n"));
        assert!(!of(Wrappers::Never, "0 T sys_bpf\n"));
    }

    #[test]
    fn the_wrapper_is_the_first_name() {
        let [first, ..] = names("openat");
        assert!(first.ends_with("sys_openat"), "{first}");
        if cfg!(target_arch = "x86_64") {
            assert_eq!(names("bpf"), ["__x64_sys_bpf", "__se_sys_bpf", "sys_bpf"]);
        }
    }
}
