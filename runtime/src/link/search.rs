//! The search for executables and shared libraries whose path is a file name without a directory.
//!
//! The search order is that of libbpf 1.8. This module does not read the content of files.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, Subject};

/// Returns the path of a file: unchanged if it contains a directory, otherwise the first match in the directories for
/// libraries or programs.
///
/// # Errors
/// If no directory contains the file, or it is in an archive (`base.apk!/lib/libx.so`), which is not supported.
pub(super) fn resolve(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().as_bytes().contains(&b'/') {
        return in_directory(path);
    }
    let kind = if is_library(path.as_os_str()) { &LIBRARIES } else { &PROGRAMS };
    let given = std::env::var_os(kind.variable).unwrap_or_default();
    find(path, kind, &given).ok_or_else(|| {
        Error::not_found(format_args!("file {} not found", path.display())).about(Subject::Path(path)).with_help(
            format_args!(
                "searched {0} and the directories in the environment variable {1} for {2}; pass a path",
                kind.usual.join(", "),
                kind.variable,
                if kind.is_run { "an executable file" } else { "a readable file" },
            ),
        )
    })
}

fn in_directory(path: &Path) -> Result<PathBuf> {
    let bytes = path.as_os_str().as_bytes();
    if let Some(at) = bytes.windows(2).position(|part| part == b"!/") {
        let archive = Path::new(OsStr::from_bytes(&bytes[..at]));
        if !path.exists() && archive.is_file() {
            return Err(Error::unsupported(format_args!(
                "{} is in an archive, which is not supported",
                path.display()
            ))
            .about(Subject::Path(path))
            .with_help(format_args!("attach to {} at the offset of the function in the archive", archive.display())));
        }
    }
    Ok(path.to_owned())
}

/// A kind of file: the directories to search and the required permission.
struct Kind {
    variable: &'static str,
    usual: &'static [&'static str],
    is_run: bool,
}

const LIBRARIES: Kind = Kind { variable: "LD_LIBRARY_PATH", usual: LIBRARY_DIRECTORIES, is_run: false };
const PROGRAMS: Kind = Kind { variable: "PATH", usual: &["/usr/bin", "/usr/sbin", "/bin", "/sbin"], is_run: true };

/// Returns whether this is the name of a library, such as `libc.so` or `libc.so.6`.
fn is_library(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.")
}

fn find(name: &Path, kind: &Kind, given: &OsStr) -> Option<PathBuf> {
    // An empty path in the variable means the current directory, in which any user may have created a file.
    let given = std::env::split_paths(given).filter(|directory| !directory.as_os_str().is_empty());
    let mut directories = given.chain(kind.usual.iter().map(PathBuf::from));
    directories.find_map(|directory| Some(directory.join(name)).filter(|file| is_usable(file, kind)))
}

fn is_usable(path: &Path, kind: &Kind) -> bool {
    let Ok(metadata) = path.metadata() else { return false };
    metadata.is_file() && (!kind.is_run || metadata.permissions().mode() & 0o111 != 0) && File::open(path).is_ok()
}

/// Debian and related distributions install libraries in a directory named after the architecture.
macro_rules! directories {
    ($name:literal) => {
        &["/usr/lib64", "/usr/lib", concat!("/lib/", $name), concat!("/usr/lib/", $name), "/lib64", "/lib"]
    };
}

const LIBRARY_DIRECTORIES: &[&str] = if cfg!(target_arch = "x86_64") {
    directories!("x86_64-linux-gnu")
} else if cfg!(target_arch = "x86") {
    directories!("i386-linux-gnu")
} else if cfg!(target_arch = "aarch64") {
    directories!("aarch64-linux-gnu")
} else if cfg!(all(target_arch = "arm", target_abi = "eabihf")) {
    directories!("arm-linux-gnueabihf")
} else if cfg!(target_arch = "arm") {
    directories!("arm-linux-gnueabi")
} else if cfg!(target_arch = "riscv64") {
    directories!("riscv64-linux-gnu")
} else if cfg!(target_arch = "s390x") {
    directories!("s390x-linux-gnu")
} else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
    directories!("powerpc64le-linux-gnu")
} else if cfg!(target_arch = "powerpc64") {
    directories!("ppc64-linux-gnu")
} else if cfg!(target_arch = "sparc64") {
    directories!("sparc64-linux-gnu")
} else if cfg!(target_arch = "loongarch64") {
    directories!("loongarch64-linux-gnu")
} else if cfg!(all(target_arch = "mips64", target_endian = "little")) {
    directories!("mips64el-linux-gnuabi64")
} else {
    &["/usr/lib64", "/usr/lib", "/lib64", "/lib"]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_by_their_names() {
        for (name, expected) in [("libc.so.6", true), ("x.so", true), ("bash", false), ("x.sold", false), ("so", false)]
        {
            assert_eq!(is_library(OsStr::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn the_first_usable_file() {
        let base = std::env::temp_dir().join(format!("skelgen-search-{}", std::process::id()));
        let [first, second, third] = ["a", "b", "c"].map(|name| base.join(name));
        for directory in [&first, &second, &third] {
            std::fs::create_dir_all(directory).unwrap();
        }
        // A directory with the name and a file that is not executable are skipped.
        std::fs::create_dir_all(first.join("tool")).unwrap();
        std::fs::write(second.join("tool"), "").unwrap();
        std::fs::write(third.join("tool"), "").unwrap();
        std::fs::set_permissions(third.join("tool"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let given = std::env::join_paths([Path::new(""), &first, &second, &third]).unwrap();
        assert_eq!(find(Path::new("tool"), &PROGRAMS, &given), Some(third.join("tool")));
        assert_eq!(find(Path::new("tool"), &LIBRARIES, &given), Some(second.join("tool")));
        assert_eq!(find(Path::new("nobody-has-this"), &LIBRARIES, &given), None);
        std::fs::remove_dir_all(base).unwrap();
    }

    #[test]
    fn directories_of_this_machine() {
        if cfg!(target_arch = "x86_64") {
            let all = LIBRARY_DIRECTORIES;
            assert!(all.contains(&"/lib/x86_64-linux-gnu") && all.contains(&"/usr/lib/x86_64-linux-gnu"), "{all:?}");
        }
    }

    #[test]
    fn archives_are_named() {
        let archive = std::env::temp_dir().join(format!("skelgen-search-{}.apk", std::process::id()));
        std::fs::write(&archive, "").unwrap();
        let error = resolve(Path::new(&format!("{}!/lib/libx.so", archive.display()))).unwrap_err();
        assert_eq!((error.kind(), error.help().is_some()), (crate::ErrorKind::Unsupported, true), "{error}");
        std::fs::remove_file(archive).unwrap();
        assert_eq!(resolve(Path::new("/a!/b")).unwrap(), Path::new("/a!/b"));
    }
}
