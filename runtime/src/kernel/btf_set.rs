//! BTF files that are embedded in an executable for kernels without BTF. The running kernel determines which file is
//! used.
//!
//! Files are named as in the BTFHub archive: by distribution, version, architecture and kernel release. This module
//! does not depend on the use of the types.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::btf::DIRECTORY;
use super::types;
use crate::btf::{Bytes, Types};
use crate::error::{Error, ErrorKind, Result, Step};
use crate::sys::uname::Uname;

/// Files of BTF with their names, such as `debian/12/x86_64/6.1.0-50-cloud-amd64`.
#[derive(Clone, Copy)]
pub(crate) struct BtfSet(pub(crate) &'static [(&'static str, &'static [u8])]);

impl fmt::Debug for BtfSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Returns whether the running kernel has no BTF of its own.
pub(crate) fn is_needed() -> bool {
    !Path::new(DIRECTORY).join("vmlinux").exists()
}

/// Reads the types of the running kernel from the file of the set that is for this kernel.
///
/// # Errors
/// `NotFound` if the set has no file for the kernel, `Malformed` if the file is not valid BTF.
pub(crate) fn kernel(set: BtfSet) -> Result<Arc<Types>> {
    let system = System::running();
    let Some((name, bytes)) = find(set, &system) else {
        let message = format!("the kernel has no BTF, and the BTF set has no file `{system}`");
        return Err(Error::of(ErrorKind::NotFound, message)
            .during(Step::ReadKernel)
            .with_help("add the file that `skelgen min-btf OBJECT --btf FILE` writes for this kernel to the set"));
    };
    let types = Types::new(Bytes::Constant(bytes), None, types::pointer());
    types.map(Arc::new).map_err(|why| {
        Error::malformed(format_args!("`{name}` of the BTF set is malformed: {why}")).during(Step::ReadKernel)
    })
}

/// The properties of a system that identify its kernel.
#[derive(Debug, Default, PartialEq, Eq)]
struct System {
    /// The distribution (`ID` of os-release(5)).
    distribution: String,
    /// The version of the distribution (`VERSION_ID`).
    version: String,
    /// The architecture as the BTFHub archive names it.
    architecture: &'static str,
    /// The release (`uname -r`).
    release: String,
}

impl System {
    fn running() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let os = read("/etc/os-release").or_else(|| read("/usr/lib/os-release")).unwrap_or_default();
        Self {
            distribution: value(&os, "ID").to_owned(),
            version: value(&os, "VERSION_ID").to_owned(),
            architecture: if cfg!(target_arch = "aarch64") { "arm64" } else { std::env::consts::ARCH },
            release: Uname::running().release().to_owned(),
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { distribution, version, architecture, release } = self;
        write!(f, "{distribution}/{version}/{architecture}/{release}")
    }
}

/// Returns a value of os-release(5), without quotes; empty if there is none.
fn value<'a>(os: &'a str, key: &str) -> &'a str {
    let mut lines = os.lines();
    let found = lines.find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
    found.unwrap_or_default().trim_matches(['"', '\''])
}

/// Returns the file for a system. The kernel's release is decisive, because os-release in a container does not describe
/// the kernel. If several files have the release, the distribution decides.
fn find(set: BtfSet, system: &System) -> Option<(&'static str, &'static [u8])> {
    let name = |name: &'static str| name.strip_suffix(".btf").unwrap_or(name);
    let whole = system.to_string();
    let kernel = format!("{}/{}", system.architecture, system.release);
    let of_kernel =
        |found: &str| found.strip_suffix(&kernel).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
    let exact = set.0.iter().find(|(found, _)| name(found) == whole);
    exact.or_else(|| set.0.iter().find(|(found, _)| of_kernel(name(found)))).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_chosen_by_kernel_and_distribution() {
        static SET: &[(&str, &[u8])] = &[
            ("debian/12/x86_64/6.1.0-50-amd64.btf", b"a"),
            ("ubuntu/22.04/x86_64/5.15.0-1-generic", b"b"),
            ("debian/11/x86_64/6.1.0-50-amd64", b"c"),
            ("x86_64/4.18.0", b"d"),
        ];
        let system = |distribution: &str, version: &str, release: &str| System {
            distribution: distribution.to_owned(),
            version: version.to_owned(),
            architecture: "x86_64",
            release: release.to_owned(),
        };
        let found = |system| find(BtfSet(SET), &system).map(|(_, bytes)| bytes);
        assert_eq!(found(system("debian", "11", "6.1.0-50-amd64")), Some(&b"c"[..]));
        assert_eq!(found(system("debian", "12", "6.1.0-50-amd64")), Some(&b"a"[..]));
        // A container of another distribution.
        assert_eq!(found(system("alpine", "3.20", "5.15.0-1-generic")), Some(&b"b"[..]));
        assert_eq!(found(system("debian", "12", "4.18.0")), Some(&b"d"[..]));
        assert_eq!(found(system("debian", "12", "0-1-generic")), None);
        assert_eq!(found(system("debian", "12", "6.1.0-50")), None);
    }

    #[test]
    fn values_of_os_release() {
        let os = "NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\nID_LIKE='x'\n";
        assert_eq!((value(os, "ID"), value(os, "VERSION_ID"), value(os, "ID_LIKE")), ("debian", "12", "x"));
        assert_eq!(value(os, "BUILD_ID"), "");
    }
}
