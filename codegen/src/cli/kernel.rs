//! The kernel that a command refers to: a version, a file with types, or the running kernel.

use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::build::kernel::{KernelFile, RUNNING, running_release};
use crate::check::{self, Finding, Kernel, Unchecked};
use crate::cli::relocations::resolve;
use crate::error::{Code, Error, Result};
use crate::generate;
use crate::model::BpfObject;
use crate::model::needs::release;

/// A kernel as an argument names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// The version at the beginning of a release, such as `6.1` or `6.1.0-27-amd64`.
    Version(u16, u16),
    /// A file: raw BTF, or a kernel image with a section `.BTF`.
    Btf(PathBuf),
    /// A directory with the types of a kernel and of all its modules.
    Directory(PathBuf),
}

/// The kernel to check objects against.
#[derive(Debug)]
pub struct CheckedKernel {
    kernel: Kernel,
    /// The file or directory with its types.
    named: Option<PathBuf>,
    /// The file with its types as raw BTF, which the runtime's relocation reads.
    raw: Option<Raw>,
}

#[derive(Debug)]
enum Raw {
    Named(PathBuf),
    Extracted(NamedTempFile),
}

impl Raw {
    /// Returns a file with the raw BTF in `bytes`, which are the contents of `file` or its decompressed contents.
    fn of(file: &Path, bytes: &[u8]) -> Result<Self> {
        let raw = generate::raw_btf(bytes)?.1;
        let failed = |error| Error::new(Code::Io, format!("cannot write a temporary file: {error}"));
        Ok(match std::fs::read(file).is_ok_and(|contents| contents == raw) {
            true => Self::Named(file.to_owned()),
            false => {
                let extracted = NamedTempFile::new().map_err(failed)?;
                std::fs::write(extracted.path(), raw).map_err(failed)?;
                Self::Extracted(extracted)
            }
        })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Named(path) => path,
            Self::Extracted(file) => file.path(),
        }
    }
}

impl CheckedKernel {
    /// Reads the version and types of the kernel that `names` names, or of the running kernel if it is empty.
    ///
    /// # Errors
    /// [`Code::Io`], and all problems of the types.
    pub fn read(names: &[Named]) -> Result<Self> {
        let running;
        let names = match names {
            [] => {
                running = running_kernel()?;
                &running[..]
            }
            names => names,
        };
        let mut checked = Self { kernel: Kernel::default(), named: None, raw: None };
        let mut version = None;
        for name in names {
            match name {
                Named::Version(major, minor) => version = Some((*major, *minor)),
                Named::Btf(file) => checked.read_types(file)?,
                Named::Directory(directory) => {
                    checked.read_types(&directory.join(VMLINUX))?;
                    checked.read_modules(directory)?;
                }
            }
        }
        // A version that is given overrides that of an image.
        checked.kernel.version = version.or(checked.kernel.version);
        Ok(checked)
    }

    fn read_types(&mut self, file: &Path) -> Result<()> {
        if !file.exists() {
            let why = format!("cannot read {}: it is neither a version such as 6.1 nor a file", file.display());
            return Err(Error::new(Code::Io, why));
        }
        let KernelFile { bytes, release } = KernelFile::read(file)?;
        if let Some(Named::Version(major, minor)) = release.as_deref().and_then(version) {
            self.kernel.version = Some((major, minor));
        }
        let in_file = |error: Error| error.in_file(file);
        self.kernel.btf = Some(generate::raw_types(&bytes).map_err(in_file)?);
        self.raw = Some(Raw::of(file, &bytes).map_err(in_file)?);
        self.named = Some(file.to_owned());
        Ok(())
    }

    /// Reads the types of modules, which are relative to those of the kernel.
    fn read_modules(&mut self, directory: &Path) -> Result<()> {
        let Some(base) = &self.kernel.btf else { return Ok(()) };
        let failed = |error| Error::new(Code::Io, format!("cannot read {}: {error}", directory.display()));
        let mut complete = true;
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name() != VMLINUX {
                let file = entry.path();
                let bytes = crate::build::read(&file)?;
                match generate::raw_btf(&bytes).and_then(|(endian, data)| base.parse_split(data, endian)) {
                    Ok(module) => self.kernel.modules.add(&module, base.len()),
                    // The module may have any symbol.
                    Err(_) => complete = false,
                }
            }
        }
        self.kernel.modules.complete = complete;
        self.named = Some(directory.to_owned());
        Ok(())
    }

    /// Returns the version, if it is known.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        self.kernel.version.map(release)
    }

    /// Returns the file or directory with the types, if there is one.
    #[must_use]
    pub fn types(&self) -> Option<&Path> {
        self.named.as_deref()
    }

    /// Returns what [`Self::check`] does not check of an object.
    pub(crate) fn unchecked(&self, object: &BpfObject) -> Vec<Unchecked> {
        check::unchecked(object, &self.kernel)
    }

    /// Returns the problems of an object on this kernel.
    ///
    /// # Errors
    /// [`Code::Io`] if the types can no longer be read.
    pub fn check(&self, object: &BpfObject) -> Result<Vec<Finding>> {
        let resolved = self.raw.as_ref().map(|raw| resolve(object, raw.path())).transpose()?;
        Ok(check::check(object, &self.kernel, resolved.as_ref()))
    }
}

/// The name of the file with the kernel's own types.
const VMLINUX: &str = "vmlinux";

impl From<&str> for Named {
    /// Parses an argument that names a kernel. An argument that is not a version, or is the path of a file or directory,
    /// names that.
    fn from(text: &str) -> Self {
        let path = Path::new(text);
        let version = version(text).filter(|_| !path.exists());
        version.unwrap_or_else(|| if path.is_dir() { Self::Directory(text.into()) } else { Self::Btf(text.into()) })
    }
}

/// Returns the version at the beginning of a kernel's release.
fn version(release: &str) -> Option<Named> {
    let release = release.strip_prefix('v').unwrap_or(release);
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u16>().ok());
    Some(Named::Version(numbers.next()??, numbers.next()??))
}

fn running_kernel() -> Result<Vec<Named>> {
    let release = running_release()
        .map_err(|error| Error::new(Code::Io, format!("cannot read the version of the running kernel: {error}")))?;
    let running = Path::new(RUNNING);
    let directory = running.parent().filter(|_| running.exists());
    let btf = directory.map(|directory| Named::Directory(directory.to_owned()));
    Ok(version(&release).into_iter().chain(btf).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_named_as_people_do() {
        let texts = ["6.1", "5.10.0-33-amd64", "7.3-rc1", "v6.1", "vmlinux", "6", "/boot/vmlinux-6.1"];
        let named = texts.map(Named::from);
        let btf = |path: &str| Named::Btf(path.into());
        assert_eq!(
            named,
            [
                Named::Version(6, 1),
                Named::Version(5, 10),
                Named::Version(7, 3),
                Named::Version(6, 1),
                btf("vmlinux"),
                btf("6"),
                btf("/boot/vmlinux-6.1")
            ]
        );
    }
}
