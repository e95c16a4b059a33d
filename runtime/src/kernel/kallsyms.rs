//! `/proc/kallsyms`: its lines, and the addresses of some symbols from one pass over it.
//!
//! The file is generated as it is read and has some hundred thousand lines. It is read through one buffer. [`find`] compares each line with
//! all wanted names; `symbols.rs` keeps all lines. This module does not depend on the users of the addresses.

use std::fs::File;
use std::io::{BufRead, BufReader};

use crate::error::{Error, Result, Step, Subject};

pub(super) const PATH: &str = "/proc/kallsyms";

/// Help for a process to which all addresses appear as zero.
pub(crate) const HIDDEN: &str =
    "reading addresses requires the capability CAP_SYSLOG, and a value below 2 in /proc/sys/kernel/kptr_restrict";

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

/// A line of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Zero if the kernel hides addresses from this process.
    pub(super) address: u64,
    /// The type as a letter, as `nm` prints it.
    pub(super) kind: u8,
    pub(super) name: &'a [u8],
    pub(super) module: Option<&'a [u8]>,
}

impl<'a> Line<'a> {
    /// Parses `ADDRESS KIND NAME`, with ` [MODULE]` if a module has the symbol.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
        let address = std::str::from_utf8(address).ok().and_then(|text| u64::from_str_radix(text, 16).ok())?;
        let module = words.next().and_then(|module| module.strip_prefix(b"[")?.strip_suffix(b"]"));
        Some(Self { address, kind: *kind.first()?, name, module })
    }

    /// Returns whether the symbol is in code: a function or a label.
    pub(super) fn is_code(&self) -> bool {
        matches!(self.kind, b't' | b'T' | b'w' | b'W')
    }
}

/// Opens the file.
pub(super) fn open() -> Result<impl BufRead> {
    let file = File::open(PATH).map_err(|error| unread(&error))?;
    Ok(BufReader::with_capacity(BUFFER, file))
}

/// Passes each line of the file that is valid to `visit`.
pub(super) fn each(visit: impl FnMut(Line<'_>)) -> std::io::Result<()> {
    each_of(BufReader::with_capacity(BUFFER, File::open(PATH)?), visit)
}

pub(super) fn each_of(mut lines: impl BufRead, mut visit: impl FnMut(Line<'_>)) -> std::io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if let Some(line) = Line::parse(&line) {
            visit(line);
        }
    }
}

/// Returns the error of a file that cannot be read.
pub(super) fn unread(error: &std::io::Error) -> Error {
    Error::io(format_args!("cannot read {PATH}"), error)
        .during(Step::ReadKernel)
        .about(Subject::Path(PATH.as_ref()))
        .with_help("the addresses of kernel symbols are read from this file; the kernel needs CONFIG_KALLSYMS")
}

/// Finds the addresses of the names. Returns whether the kernel shows addresses to this process.
pub(crate) fn find(wanted: &mut [Wanted<'_>]) -> Result<bool> {
    let mut shown = false;
    each(|line| shown |= note(line, wanted)).map_err(|error| unread(&error))?;
    Ok(shown)
}

/// Returns whether the file lists any symbols. It can be empty in a sandbox.
pub(crate) fn lists_names() -> bool {
    File::open(PATH)
        .is_ok_and(|file| BufReader::with_capacity(BUFFER, file).lines().next().is_some_and(|line| line.is_ok()))
}

/// Records the line's address in each wanted name that matches the line. Returns whether the line shows an address.
fn note(line: Line<'_>, wanted: &mut [Wanted<'_>]) -> bool {
    for wanted in wanted.iter_mut().filter(|wanted| names(line.name, line.kind, wanted.name)) {
        wanted.found = match wanted.found {
            Some(Found::Address(before)) if before != line.address => Some(Found::Several(before, line.address)),
            Some(found) => Some(found),
            None => Some(Found::Address(line.address)),
        };
    }
    line.address != 0
}

/// Returns whether a line's name is the wanted one. Variables of a kernel that was built with clang's LTO have a suffix.
fn names(name: &[u8], kind: u8, wanted: &str) -> bool {
    match name.strip_prefix(wanted.as_bytes()) {
        Some([]) => true,
        Some(rest) => kind == b'd' && rest.starts_with(b".llvm."),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &[u8], wanted: &mut [Wanted<'_>]) -> bool {
        let mut shown = false;
        each_of(text, |line| shown |= note(line, wanted)).unwrap();
        shown
    }

    #[test]
    fn lines_are_parsed() {
        let line = Line::parse(b"ffffffffc0001000 t nf_hook\t[nf_tables]\n").unwrap();
        assert_eq!((line.address, line.kind, line.name), (0xffff_ffff_c000_1000, b't', &b"nf_hook"[..]));
        assert_eq!((line.module, line.is_code()), (Some(&b"nf_tables"[..]), true));
        for malformed in [&b""[..], b"\n", b"0 t", b"zz t name", b"0 t  ", b"\xff\xff t name"] {
            assert_eq!(Line::parse(malformed), None);
        }
        assert_eq!(Line::parse(b"10 t name [module").unwrap().module, None);
    }

    #[test]
    fn names_and_addresses() {
        let text =
            b"0000000000000000 A fixed_percpu_data\nffffffff81000000 T _text\nffffffff81000010 d some.llvm.123\n\
            ffffffff81000020 t twice\nffffffff81000030 t twice\t[module]\nffffffff81000030 t twice\n";
        let mut wanted = ["_text", "some", "twice", "twic", "fixed_percpu_data"].map(Wanted::new);
        assert!(scan(text, &mut wanted));
        let found = wanted.map(|wanted| wanted.found);
        assert_eq!(found[0], Some(Found::Address(0xffff_ffff_8100_0000)));
        assert_eq!(found[1], Some(Found::Address(0xffff_ffff_8100_0010)));
        assert_eq!(found[2], Some(Found::Several(0xffff_ffff_8100_0020, 0xffff_ffff_8100_0030)));
        assert_eq!(found[3], None);
        assert_eq!(found[4], Some(Found::Address(0)));
    }

    #[test]
    fn hidden_addresses_are_noticed() {
        assert!(!scan(b"0000000000000000 T _text\n", &mut []));
    }
}
