//! The machine that a build is for, as BPF compilers need to know it: its byte order, the macro that names it to
//! `bpf_tracing.h`, and its header directories.
//!
//! Cargo states the machine to build scripts. This module does not know sources or how a compiler is run. To add a
//! machine, add a row to [`MACHINES`].

use std::ffi::OsString;

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The architecture as Rust names it.
    arch: String,
    is_big_endian: bool,
}

/// An architecture.
struct Machine {
    /// The architecture's names in Rust (`target_arch`).
    names: &'static [&'static str],
    /// The architecture's name in the kernel's sources and in the macro `__TARGET_ARCH_*`.
    kernel: &'static str,
    /// The names of Debian's multiarch directories on little-endian systems.
    little: &'static [&'static str],
    /// The names of Debian's multiarch directories on big-endian systems.
    big: &'static [&'static str],
}

const MACHINES: &[Machine] = &[
    Machine { names: &["x86_64"], kernel: "x86", little: &["x86_64-linux-gnu"], big: &[] },
    Machine { names: &["x86"], kernel: "x86", little: &["i386-linux-gnu"], big: &[] },
    Machine { names: &["aarch64"], kernel: "arm64", little: &["aarch64-linux-gnu"], big: &[] },
    Machine { names: &["arm"], kernel: "arm", little: &["arm-linux-gnueabihf", "arm-linux-gnueabi"], big: &[] },
    Machine { names: &["s390x"], kernel: "s390", little: &[], big: &["s390x-linux-gnu"] },
    Machine { names: &["riscv64"], kernel: "riscv", little: &["riscv64-linux-gnu"], big: &[] },
    Machine { names: &["riscv32"], kernel: "riscv", little: &[], big: &[] },
    Machine { names: &["loongarch64"], kernel: "loongarch", little: &["loongarch64-linux-gnu"], big: &[] },
    Machine {
        names: &["powerpc64"],
        kernel: "powerpc",
        little: &["powerpc64le-linux-gnu"],
        big: &["powerpc64-linux-gnu"],
    },
    Machine { names: &["powerpc"], kernel: "powerpc", little: &[], big: &["powerpc-linux-gnu"] },
    Machine {
        names: &["mips64", "mips64r6"],
        kernel: "mips",
        little: &["mips64el-linux-gnuabi64"],
        big: &["mips64-linux-gnuabi64"],
    },
    Machine { names: &["mips", "mips32r6"], kernel: "mips", little: &["mipsel-linux-gnu"], big: &["mips-linux-gnu"] },
    Machine { names: &["sparc64"], kernel: "sparc", little: &[], big: &["sparc64-linux-gnu"] },
    Machine { names: &["sparc"], kernel: "sparc", little: &[], big: &[] },
];

impl Target {
    /// Returns the machine that cargo builds for; without cargo, this machine.
    pub(super) fn of_build() -> Self {
        Self::of(|name| std::env::var(name).ok())
    }

    /// Returns the machine that these environment variables of cargo describe.
    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        match variable("CARGO_CFG_TARGET_ARCH") {
            Some(arch) => {
                Self { arch, is_big_endian: variable("CARGO_CFG_TARGET_ENDIAN").is_some_and(|order| order == "big") }
            }
            None => Self { arch: std::env::consts::ARCH.to_owned(), is_big_endian: cfg!(target_endian = "big") },
        }
    }

    /// Returns the compiler's arguments for the target: its byte order, the macro `__TARGET_ARCH_*`, and the
    /// directories of headers that depend on the machine (`asm/types.h`, which `linux/bpf.h` includes).
    ///
    /// clang searches these directories for native programs only. There are two for each name of the system: that of
    /// Debian's packages for the machine, and that of cross compilers. Both are below `--sysroot`, if the user sets one,
    /// and a compiler skips a directory that does not exist.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec![if self.is_big_endian { "--target=bpfeb" } else { "--target=bpfel" }.into()];
        if let Some(machine) = MACHINES.iter().find(|machine| machine.names.contains(&&*self.arch)) {
            arguments.push(format!("-D__TARGET_ARCH_{}", machine.kernel).into());
            let systems = if self.is_big_endian { machine.big } else { machine.little };
            for directory in systems.iter().flat_map(|name| [format!("include/{name}"), format!("{name}/include")]) {
                arguments.push(format!("-iwithsysroot/usr/{directory}").into());
            }
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arch: &str, endian: &str, expected: &[&str]) {
        let target = Target::of(|name| match name {
            "CARGO_CFG_TARGET_ARCH" => Some(arch.to_owned()),
            "CARGO_CFG_TARGET_ENDIAN" => Some(endian.to_owned()),
            _ => None,
        });
        assert_eq!(target.arguments(), expected);
    }

    #[test]
    fn cargo_states_the_machine() {
        check(
            "x86_64",
            "little",
            &[
                "--target=bpfel",
                "-D__TARGET_ARCH_x86",
                "-iwithsysroot/usr/include/x86_64-linux-gnu",
                "-iwithsysroot/usr/x86_64-linux-gnu/include",
            ],
        );
        check(
            "aarch64",
            "little",
            &[
                "--target=bpfel",
                "-D__TARGET_ARCH_arm64",
                "-iwithsysroot/usr/include/aarch64-linux-gnu",
                "-iwithsysroot/usr/aarch64-linux-gnu/include",
            ],
        );
        check(
            "s390x",
            "big",
            &[
                "--target=bpfeb",
                "-D__TARGET_ARCH_s390",
                "-iwithsysroot/usr/include/s390x-linux-gnu",
                "-iwithsysroot/usr/s390x-linux-gnu/include",
            ],
        );
    }

    #[test]
    fn byte_order_selects_the_directories() {
        let of = |is_big_endian| Target { arch: "powerpc64".to_owned(), is_big_endian }.arguments();
        assert!(of(false).contains(&"-iwithsysroot/usr/include/powerpc64le-linux-gnu".into()));
        assert!(of(true).contains(&"-iwithsysroot/usr/include/powerpc64-linux-gnu".into()));
        check("aarch64", "big", &["--target=bpfeb", "-D__TARGET_ARCH_arm64"]);
        check("wasm32", "little", &["--target=bpfel"]);
    }

    #[test]
    fn without_cargo_it_is_this_machine() {
        let host = Target::of(|_| None);
        assert_eq!(host.arch, std::env::consts::ARCH);
        assert_eq!(host.is_big_endian, cfg!(target_endian = "big"));
    }
}
