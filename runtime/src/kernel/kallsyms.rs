//! Addresses of kernel symbols by name, from one pass over /proc/kallsyms.
//!
//! For symbols of which programs only want the address (`__ksym` of type void). The list is long (some megabytes), so it is read
//! through one small buffer and nothing of it is kept.

use std::io::{BufRead, BufReader};

use crate::error::{Errno, Error, Result};

const PATH: &str = "/proc/kallsyms";

/// The addresses of these names; `None` where there is no such symbol.
///
/// # Errors
/// If the list cannot be read, the kernel hides its addresses from this process, or a name stands for several.
pub(crate) fn find(names: &[&str]) -> Result<Vec<Option<u64>>> {
    let file = std::fs::File::open(PATH).map_err(|error| unreadable(&error))?;
    find_in(BufReader::with_capacity(1 << 16, file), names)
}

fn unreadable(error: &std::io::Error) -> Error {
    match error.raw_os_error() {
        Some(number) => Error::refused(format_args!("reading {PATH}"), Errno::from_raw(number)),
        None => Error::invalid(format_args!("reading {PATH}: {error}")),
    }
}

fn find_in(mut list: impl BufRead, names: &[&str]) -> Result<Vec<Option<u64>>> {
    let mut found = vec![None; names.len()];
    let mut line = Vec::new();
    loop {
        line.clear();
        if list.read_until(b'\n', &mut line).map_err(|error| unreadable(&error))? == 0 {
            return Ok(found);
        }
        // `ffffffff81000000 T name`, and for modules a tab and `[module]` behind it.
        let mut words = line.split(u8::is_ascii_whitespace);
        let (Some(address), Some(_), Some(name)) = (words.next(), words.next(), words.next()) else { continue };
        let Some(index) = names.iter().position(|wanted| wanted.as_bytes() == name) else { continue };
        let address = std::str::from_utf8(address).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
        let name = names[index];
        match (address, found[index]) {
            (Some(0), _) => {
                return Err(Error::invalid(format_args!("the kernel hides the address of `{name}` from this process"))
                    .note("reading addresses needs CAP_SYSLOG, and /proc/sys/kernel/kptr_restrict below 2"));
            }
            (Some(address), Some(other)) if address != other => {
                return Err(Error::invalid(format_args!(
                    "the kernel has several symbols `{name}`: at {other:#x} and {address:#x}"
                )));
            }
            (address, _) => found[index] = address,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = b"ffffffff81000000 T first\nffffffff81000010 t twice\nffffffffc0000020 t third\t[module]\n\
        ffffffff81000030 t twice\n0000000000000000 T hidden\n";

    #[test]
    fn names_are_whole() {
        let found = find_in(LIST, &["third", "fir", "first"]).unwrap();
        assert_eq!(found, [Some(0xffff_ffff_c000_0020), None, Some(0xffff_ffff_8100_0000)]);
    }

    #[test]
    fn what_is_not_clear_is_an_error() {
        assert!(find_in(LIST, &["twice"]).unwrap_err().to_string().contains("several"));
        assert!(find_in(LIST, &["hidden"]).unwrap_err().to_string().contains("kptr_restrict"));
    }
}
