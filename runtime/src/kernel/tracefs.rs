//! tracefs: its mount points, and its files.
//!
//! This module does not depend on the events that are traced.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result};

/// The two directories where tracefs can be.
pub(crate) const DIRECTORIES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Opens a file of tracefs to read it: in the first directory or, if it does not exist there, in the second.
pub(crate) fn open(file: &str) -> Result<File> {
    open_with(OpenOptions::new().read(true), file)
}

/// Opens a file of tracefs with options, as [`open`] does. The error is that of the first directory unless the file is missing there.
pub(crate) fn open_with(options: &OpenOptions, file: &str) -> Result<File> {
    let mut missing = Error::from(ErrorKind::NotFound);
    for directory in DIRECTORIES {
        match options.open(format!("{directory}/{file}")) {
            Err(error) if error.kind() == ErrorKind::NotFound => missing = error,
            result => return result,
        }
    }
    Err(missing)
}
