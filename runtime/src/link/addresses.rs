//! Addresses of a file's code in the memory of a process, from `/proc/PID/maps`.
//!
//! Programs on kernels without attach cookies (before 5.15) identify their attach point by its address. This module
//! does not read the code itself. The text of `/proc/PID/maps` comes from the kernel, but contains paths that any user
//! can choose: lines that cannot be parsed are skipped.

use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::{Error, Result, Subject};

/// Returns the addresses at which a process has mapped this offset of a file as code, in ascending order; empty if
/// there are none.
pub(super) fn of_offset(pid: u32, path: &Path, offset: u64) -> Result<Vec<u64>> {
    let maps = format!("/proc/{pid}/maps");
    let file = fs::metadata(path)
        .map_err(|error| Error::io(format_args!("cannot read the metadata of {}", path.display()), &error))?;
    let text = fs::read(&maps).map_err(|error| {
        let error = Error::io(format_args!("cannot read {maps}"), &error);
        match error.errno().map(crate::Errno::raw) {
            Some(libc::ENOENT | libc::ESRCH) => {
                error.about(Subject::Process(pid)).note("the process does not exist, or /proc is not mounted")
            }
            Some(libc::EACCES | libc::EPERM) => error
                .with_help("run with CAP_SYS_PTRACE, or as root, to read the memory maps of other users' processes"),
            _ => error,
        }
    })?;
    let name = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let is_file = |mapping: &Mapping<'_>| is_same(mapping, &file, name.as_os_str().as_bytes());
    Ok(addresses(&text, is_file, offset))
}

/// A mapping of a process.
struct Mapping<'t> {
    start: u64,
    end: u64,
    is_code: bool,
    offset: u64,
    device: (i64, i64),
    inode: u64,
    path: &'t [u8],
}

impl<'t> Mapping<'t> {
    /// Parses `START-END PERMISSIONS OFFSET MAJOR:MINOR INODE PATH`.
    fn parse(line: &'t [u8]) -> Option<Self> {
        let mut parts = line.splitn(6, |&byte| byte == b' ');
        let mut word = || std::str::from_utf8(parts.next()?).ok();
        let hexadecimal = |text: &str| u64::from_str_radix(text, 16).ok();
        let device = |text: &str| i64::from_str_radix(text, 16).ok();
        let (start, end) = word()?.split_once('-')?;
        let permissions = word()?;
        let offset = hexadecimal(word()?)?;
        let (major, minor) = word()?.split_once(':')?;
        let inode = word()?.parse().ok()?;
        Some(Self {
            start: hexadecimal(start)?,
            end: hexadecimal(end)?,
            is_code: permissions.as_bytes().get(2) == Some(&b'x'),
            offset,
            device: (device(major)?, device(minor)?),
            inode,
            path: parts.next().unwrap_or(b"").trim_ascii_start(),
        })
    }
}

/// Returns whether a mapping is of the file. Some file systems (btrfs, overlayfs) report a different device in
/// `/proc/PID/maps` than in the file's metadata: for these, the path is compared instead of the device.
fn is_same(mapping: &Mapping<'_>, file: &Metadata, path: &[u8]) -> bool {
    // `libc::major` and `libc::minor` return signed numbers on Android.
    let device = (i64::from(libc::major(file.dev())), i64::from(libc::minor(file.dev())));
    mapping.inode == file.ino() && (mapping.device == device || mapping.path == path)
}

fn addresses(text: &[u8], is_file: impl Fn(&Mapping<'_>) -> bool, offset: u64) -> Vec<u64> {
    let mappings = text.split(|&byte| byte == b'\n').filter_map(Mapping::parse);
    let mut found: Vec<u64> = mappings
        .filter(|mapping| mapping.is_code && is_file(mapping))
        .filter_map(|mapping| {
            let within = offset.checked_sub(mapping.offset)?;
            mapping.start.checked_add(within).filter(|&address| address < mapping.end)
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel() {
        let text = b"55d0a0000000-55d0a0001000 r--p 00000000 08:01 42                         /bin/a b\n\
            55d0a0001000-55d0a0003000 r-xp 00001000 08:01 42                         /bin/a b\n\
            7f0000000000-7f0000002000 r-xp 00001000 08:01 42                         /bin/a b\n\
            7f0000002000-7f0000003000 r-xp 00001000 08:01 43                         /bin/c\n\
            nonsense\n\n55d0-\n-1 r-xp 0 0:0 0\nffffffffffffffff-ffffffffffffffff r-xp ffffffffffffffff 08:01 42 /bin/a b\n\
            7ffc00000000-7ffc00001000 r-xp 00000000 00:00 0                          [vdso]\n";
        let is_file = |mapping: &Mapping<'_>| mapping.inode == 42 && mapping.path == b"/bin/a b";
        assert_eq!(addresses(text, is_file, 0x1149), [0x55d0_a000_1149, 0x7f00_0000_0149]);
        assert_eq!(addresses(text, is_file, 0x2fff), [0x55d0_a000_2fff, 0x7f00_0000_1fff]);
        assert!(addresses(text, is_file, 0x3000).is_empty() && addresses(text, is_file, 0xfff).is_empty());
        assert!(addresses(text, is_file, u64::MAX).is_empty());
    }

    #[test]
    fn this_process_has_its_own_code() {
        let own = Path::new("/proc/self/exe");
        let address = this_process_has_its_own_code as *const () as usize as u64;
        let maps = fs::read("/proc/self/maps").unwrap();
        let mapping = maps.split(|&byte| byte == b'\n').filter_map(Mapping::parse);
        let mapping = mapping.into_iter().find(|mapping| (mapping.start..mapping.end).contains(&address)).unwrap();
        let offset = address - mapping.start + mapping.offset;
        assert_eq!(of_offset(std::process::id(), own, offset).unwrap(), [address]);
        assert!(of_offset(std::process::id(), Path::new("/proc/version"), offset).unwrap().is_empty());
        let error = of_offset(u32::MAX, own, offset).unwrap_err();
        assert_eq!((error.kind(), error.subject()), (crate::ErrorKind::NotFound, Some(Subject::Process(u32::MAX))));
    }
}
