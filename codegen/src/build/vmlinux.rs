//! The header `vmlinux.h` of a build: the types of a kernel, for sources that include it.
//!
//! Includes can be nested, so only the compiler knows whether a source needs the header: if a first run reports the
//! header as missing, the header is written and the run is repeated. This module does not format types or run a
//! compiler.

use std::path::Path;

use super::cargo::Directives;
use super::kernel::{KernelFile, RUNNING};
use crate::error::{Code, Error, Result};
use crate::generate;
use crate::output;

/// The name of the header.
const NAME: &str = "vmlinux.h";

/// Returns whether this is the error of a compiler that does not find the header.
pub(super) fn is_missing(error: &Error) -> bool {
    error.code() == Code::Compiler && error.to_string().contains(&format!("'{NAME}' file not found"))
}

/// Writes the header, unless the output directory already has the header of the same types.
pub(super) fn write(kernel: Option<&Path>, out_dir: &Path, cargo: &mut Directives) -> Result<()> {
    let path = out_dir.join(NAME);
    // Files of sysfs have no modification time for cargo to watch.
    if let Some(kernel) = kernel {
        cargo.watch(kernel)?;
    }
    let kernel = kernel.unwrap_or(Path::new(RUNNING));
    let file = KernelFile::read(kernel)?;
    let in_file = |error: Error| error.in_file(kernel);
    let line = generate::header_line(&file.bytes, file.release.as_deref()).map_err(in_file)?;
    if std::fs::read_to_string(&path).is_ok_and(|text| text.lines().next() == Some(&line)) {
        return Ok(());
    }
    let text = generate::header(&file.bytes, None, &[], file.release.as_deref()).map_err(in_file)?;
    output::to_file(&path, |out| output::put(out, &text))
}
