//! Checked-in skeletons: files among the sources of a package, for builds without a compiler, such as those of docs.rs.
//!
//! A build writes these files only on request; otherwise it writes to `OUT_DIR`. This module does not know how
//! skeletons are generated.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Code, Diagnostic, Error, Result};
use crate::output;

/// The environment variable that selects the mode.
pub(super) const VARIABLE: &str = "SKELGEN_CHECKED_IN";

/// How a build uses checked-in skeletons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Skeletons are generated; the checked-in files are not read.
    Ignore,
    /// Skeletons are generated; checked-in files that differ are replaced.
    Write,
    /// Skeletons are generated; a checked-in file that differs is an error.
    Verify,
    /// Nothing is generated; the checked-in files are used as the skeletons.
    Use,
}

impl Mode {
    /// Returns the mode that this value of [`VARIABLE`] selects. Without a value, skeletons are generated if
    /// `can_generate` returns true; otherwise the checked-in files are used.
    ///
    /// # Errors
    /// [`Code::BadOptions`] for an unknown value.
    pub(super) fn of(value: Option<&str>, can_generate: impl FnOnce() -> bool) -> Result<Self> {
        Ok(match value {
            Some("write") => Self::Write,
            Some("verify") => Self::Verify,
            Some("use") => Self::Use,
            None | Some("") => {
                if can_generate() {
                    Self::Ignore
                } else {
                    Self::Use
                }
            }
            Some(other) => {
                let message = format!("cannot use the value `{other}` of {VARIABLE}");
                return Err(Diagnostic::new(Code::BadOptions, message)
                    .with_help("set it to `write`, `verify` or `use`")
                    .into());
            }
        })
    }
}

/// The checked-in skeleton of one module.
pub(super) struct CheckedIn(PathBuf);

impl CheckedIn {
    /// Returns the checked-in skeleton of this module in a directory of the package.
    pub(super) fn new(directory: &Path, name: &str) -> Self {
        Self(directory.join(format!("{name}.skel.rs")))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Copies the file to the output directory, as the skeleton of the module.
    ///
    /// # Errors
    /// [`Code::Io`].
    pub(super) fn use_as(&self, skeleton: &Path) -> Result<()> {
        let text = fs::read_to_string(&self.0).map_err(|error| {
            Diagnostic::new(Code::Io, format!("cannot read {}: {error}", self.0.display())).with_help(format!(
                "write it with `{VARIABLE}=write cargo build` on a machine with clang, or install clang here"
            ))
        })?;
        write(skeleton, &text)
    }

    /// Compares the file with a generated skeleton, or replaces it, as `mode` requires.
    ///
    /// # Errors
    /// [`Code::Io`], and [`Code::OutOfDate`] if the file differs.
    pub(super) fn update(&self, mode: Mode, skeleton: &Path) -> Result<()> {
        let generated = || read(skeleton);
        match mode {
            Mode::Ignore | Mode::Use => Ok(()),
            Mode::Write => write(&self.0, &generated()?),
            Mode::Verify if fs::read_to_string(&self.0).ok() == Some(generated()?) => Ok(()),
            Mode::Verify => {
                let message = format!("{} differs from the skeleton that its input generates", self.0.display());
                Err(Diagnostic::new(Code::OutOfDate, message).into())
            }
        }
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| Error::new(Code::Io, format!("cannot read {}: {error}", path.display())))
}

fn write(path: &Path, text: &str) -> Result<()> {
    output::to_file(path, |out| output::put(out, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_selects() {
        let mode = |value, can_generate| Mode::of(value, || can_generate).expect("it is known");
        assert_eq!(mode(None, true), Mode::Ignore);
        assert_eq!(mode(None, false), Mode::Use);
        for (value, expected) in [("write", Mode::Write), ("verify", Mode::Verify), ("use", Mode::Use)] {
            assert_eq!(mode(Some(value), true), expected);
            assert_eq!(mode(Some(value), false), expected);
        }
        let error = Mode::of(Some("yes"), || true).expect_err("it is unknown");
        assert_eq!(error.code(), Code::BadOptions);
    }

    #[test]
    fn files_are_written_compared_and_used() {
        let directory = tempfile::tempdir().expect("a directory");
        let generated = directory.path().join("generated");
        fs::write(&generated, "new").expect("a file");
        let file = CheckedIn::new(directory.path(), "counters");
        let absent = file.use_as(&generated).expect_err("there is no file");
        assert!(absent.to_string().contains("SKELGEN_CHECKED_IN=write"), "{absent}");
        let update = |mode| file.update(mode, &generated);
        assert_eq!(update(Mode::Verify).expect_err("there is no file").code(), Code::OutOfDate);
        update(Mode::Ignore).expect("nothing happens");
        assert!(!file.path().exists());
        update(Mode::Write).expect("it is written");
        update(Mode::Verify).expect("it is equal");
        fs::write(&generated, "newer").expect("a file");
        assert_eq!(update(Mode::Verify).expect_err("it differs").code(), Code::OutOfDate);
        file.use_as(&generated).expect("it is copied");
        assert_eq!(read(&generated).expect("it exists"), "new");
    }
}
