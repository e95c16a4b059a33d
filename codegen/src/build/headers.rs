//! The headers that BPF programs include: `bpf/bpf_helpers.h` and the others with the names of libbpf's.
//!
//! They are files of this crate, written to the output directory so that a compiler finds them. This module does not
//! know compilers. To add a header, add a file in `headers/bpf/` and its name to [`HEADERS`].

use std::path::{Path, PathBuf};

use crate::error::{Code, Error, Result};
use crate::output;

/// Lists headers: the name and the text of each.
macro_rules! headers {
    ($($name:literal)*) => { &[$(($name, include_str!(concat!("headers/bpf/", $name)))),*] };
}
const HEADERS: &[(&str, &str)] = headers! {
    "bpf_core_read.h" "bpf_endian.h" "bpf_helper_defs.h" "bpf_helpers.h" "bpf_tracing.h" "skelgen_macros.h" "usdt.bpf.h"
};

/// Writes the headers to the directory `bpf/` below an include directory of the output directory, and returns that
/// include directory. A file that already has the same text is not written.
///
/// # Errors
/// [`Code::Io`].
pub(super) fn write(out_dir: &Path) -> Result<PathBuf> {
    let include = out_dir.join("include");
    let directory = include.join("bpf");
    std::fs::create_dir_all(&directory)
        .map_err(|error| Error::new(Code::Io, format!("cannot create {}: {error}", directory.display())))?;
    for (name, text) in HEADERS {
        output::to_file(&directory.join(name), |out| output::put(out, text))?;
    }
    Ok(include)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Returns the text of a header.
    fn header(name: &str) -> &'static str {
        HEADERS.iter().find(|(header, _)| *header == name).expect("it is a header").1
    }

    #[test]
    fn every_file_is_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let include = write(directory.path()).expect("it can be written");
        let names = |path: PathBuf| {
            let entries = std::fs::read_dir(path).expect("the directory exists");
            let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
            names.sort();
            names
        };
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/build/headers/bpf");
        assert_eq!(names(include.join("bpf")), names(sources));
    }

    #[test]
    fn helpers_have_the_numbers_and_arguments_of_the_kernel() {
        let mut helpers = BTreeMap::new();
        for declaration in header("bpf_helper_defs.h").split(';') {
            let Some((signature, number)) = declaration.split_once(") = (void *)") else { continue };
            let (_, parameters) = signature.split_once(")(").expect("a pointer to a function");
            let count = match parameters {
                "void" => 0,
                // A variadic helper can have five arguments.
                _ if parameters.ends_with("...") => 5,
                _ => parameters.split(',').count(),
            };
            let number: i32 = number.parse().expect("a number");
            assert_eq!(usize::from(skelgen_abi::helper::arguments(number)), count, "{declaration}");
            assert_eq!(helpers.insert(number, declaration), None);
        }
        assert!(helpers.keys().copied().eq(1..=211), "{:?}", helpers.keys());
    }

    #[test]
    fn macros_end_on_their_last_line() {
        for (name, text) in HEADERS {
            assert!(text.starts_with("/* SPDX-License-Identifier: MIT OR Apache-2.0 */\n"), "{name}");
            assert!(text.lines().all(|line| line.len() <= 120 && line.trim_end() == line), "{name}");
            assert!(!text.contains("\\\n\n"), "{name}");
        }
    }
}
