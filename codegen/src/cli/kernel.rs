//! The kernel that a command refers to: a version, a file with types, or the running kernel.

use std::path::{Path, PathBuf};

use crate::build;
use crate::build::kernel::{RUNNING, running_release};
use crate::check::Kernel;
use crate::error::{Code, Error, Result};
use crate::generate;

/// A kernel as an argument names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// The version at the beginning of a release, such as `6.1` or `6.1.0-27-amd64`.
    Version(u16, u16),
    /// A file: raw BTF, or a kernel image with a section `.BTF`.
    Btf(PathBuf),
}

/// Parses an argument that names a kernel. An argument that is not a version, or is the path of a file, names that
/// file.
#[allow(clippy::unnecessary_wraps, reason = "the signature is that of clap's value parsers")]
pub(super) fn named(text: &str) -> Result<Named, std::convert::Infallible> {
    let version = version(text).filter(|_| !Path::new(text).exists());
    Ok(version.unwrap_or_else(|| Named::Btf(text.into())))
}

/// Returns the version at the beginning of a kernel's release.
fn version(release: &str) -> Option<Named> {
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u16>().ok());
    Some(Named::Version(numbers.next()??, numbers.next()??))
}

/// Reads the version and types of the kernel that `names` names, or of the running kernel if it is empty. Also returns
/// the path of the kernel's raw BTF, for CO-RE relocations.
///
/// # Errors
/// [`Code::Io`], and all problems of the types.
pub(super) fn read(names: &[Named]) -> Result<(Kernel, Option<PathBuf>)> {
    let running;
    let names = match names {
        [] => {
            running = running_kernel()?;
            &running[..]
        }
        names => names,
    };
    let (mut kernel, mut path) = (Kernel::default(), None);
    for name in names {
        match name {
            Named::Version(major, minor) => kernel.version = Some((*major, *minor)),
            Named::Btf(file) => {
                let bytes = build::read(file)?;
                kernel.btf = Some(generate::raw_types(&bytes).map_err(|error| error.in_file(file))?);
                // The runtime's relocation reads only raw BTF.
                path = matches!(bytes[..], [0x9f, 0xeb, ..] | [0xeb, 0x9f, ..]).then(|| file.clone());
            }
        }
    }
    Ok((kernel, path))
}

fn running_kernel() -> Result<Vec<Named>> {
    let release = running_release()
        .map_err(|error| Error::new(Code::Io, format!("cannot read the version of the running kernel: {error}")))?;
    let btf = Path::new(RUNNING).exists().then(|| Named::Btf(RUNNING.into()));
    Ok(version(&release).into_iter().chain(btf).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_named_as_people_do() {
        let texts = ["6.1", "5.10.0-33-amd64", "7.3-rc1", "vmlinux", "6", "/boot/vmlinux-6.1"];
        let named = texts.map(|text| named(text).expect("any text names one"));
        let btf = |path: &str| Named::Btf(path.into());
        assert_eq!(
            named,
            [
                Named::Version(6, 1),
                Named::Version(5, 10),
                Named::Version(7, 3),
                btf("vmlinux"),
                btf("6"),
                btf("/boot/vmlinux-6.1")
            ]
        );
    }
}
