//! Addresses of kernel symbols, from one pass over `/proc/kallsyms`.
//!
//! The file is generated as it is read and has some hundred thousand lines. It is streamed through one buffer, and the pass compares each
//! line with all wanted names. Knows names and addresses; not who looks them up.

use std::fs::File;
use std::io::{BufRead, BufReader};

use crate::error::{Error, Result, Step, Subject};

const PATH: &str = "/proc/kallsyms";

/// The size of the buffer in bytes. The kernel returns a page at a time, so a larger buffer is not faster.
const BUFFER: usize = 64 << 10;

/// A name to find, and the addresses that were found.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    pub(crate) found: Option<Found>,
}

/// The addresses of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// One address.
    Address(u64),
    /// At least two symbols have the name, at these addresses.
    Several(u64, u64),
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(name: &'a str) -> Self {
        Self { name, found: None }
    }
}

/// Finds the addresses of the names. Returns whether the kernel shows addresses to this process.
pub(crate) fn find(wanted: &mut [Wanted<'_>]) -> Result<bool> {
    let failed = |error: std::io::Error| {
        Error::io(format_args!("cannot read {PATH}"), &error)
            .during(Step::ReadKernel)
            .about(Subject::Path(PATH.as_ref()))
            .with_help("addresses of kernel symbols are looked up in this file; the kernel needs CONFIG_KALLSYMS")
    };
    let file = File::open(PATH).map_err(failed)?;
    scan(BufReader::with_capacity(BUFFER, file), wanted).map_err(failed)
}

/// Returns whether the file lists any names: it can be empty in a sandbox.
pub(crate) fn lists_names() -> bool {
    File::open(PATH)
        .is_ok_and(|file| BufReader::with_capacity(BUFFER, file).lines().next().is_some_and(|line| line.is_ok()))
}

fn scan(mut lines: impl BufRead, wanted: &mut [Wanted<'_>]) -> std::io::Result<bool> {
    let mut line = Vec::new();
    let mut shown = false;
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(shown);
        }
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else { continue };
        shown |= address.iter().any(|&digit| digit != b'0');
        for wanted in wanted.iter_mut().filter(|wanted| names(name, kind, wanted.name)) {
            let Some(address) = std::str::from_utf8(address).ok().and_then(|text| u64::from_str_radix(text, 16).ok())
            else {
                continue;
            };
            wanted.found = match wanted.found {
                Some(Found::Address(before)) if before != address => Some(Found::Several(before, address)),
                Some(found) => Some(found),
                None => Some(Found::Address(address)),
            };
        }
    }
}

/// Returns whether a line's name is the wanted one. Variables of a kernel that was built with clang's LTO have a suffix.
fn names(name: &[u8], kind: &[u8], wanted: &str) -> bool {
    match name.strip_prefix(wanted.as_bytes()) {
        Some([]) => true,
        Some(rest) => kind == b"d" && rest.starts_with(b".llvm."),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        let text =
            b"0000000000000000 A fixed_percpu_data\nffffffff81000000 T _text\nffffffff81000010 d some.llvm.123\n\
            ffffffff81000020 t twice\nffffffff81000030 t twice\t[module]\nffffffff81000030 t twice\n";
        let mut wanted = ["_text", "some", "twice", "twic", "fixed_percpu_data"].map(Wanted::new);
        assert!(scan(&text[..], &mut wanted).unwrap());
        let found = wanted.map(|wanted| wanted.found);
        assert_eq!(found[0], Some(Found::Address(0xffff_ffff_8100_0000)));
        assert_eq!(found[1], Some(Found::Address(0xffff_ffff_8100_0010)));
        assert_eq!(found[2], Some(Found::Several(0xffff_ffff_8100_0020, 0xffff_ffff_8100_0030)));
        assert_eq!(found[3], None);
        assert_eq!(found[4], Some(Found::Address(0)));
    }

    #[test]
    fn hidden_addresses_are_noticed() {
        assert!(!scan(&b"0000000000000000 T _text\n"[..], &mut []).unwrap());
    }
}
