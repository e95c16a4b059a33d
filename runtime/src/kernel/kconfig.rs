//! The configuration of the running kernel: its text, the kernel's version, and whether the kernel has attach cookies.
//!
//! This module does not depend on the types of the variables that these values initialize.

use std::fs;
use std::io::ErrorKind;

use crate::error::{Error, Result, Step, Subject};
use crate::kernel::probe::{self, Probe};
use crate::sys::prog;
use crate::sys::uname::Uname;
use crate::uapi::ProgramType;
use crate::{helper, opcode};

/// The configuration file of a kernel with `CONFIG_IKCONFIG_PROC`.
const PROC: &str = "/proc/config.gz";

/// The maximum size of a configuration in bytes, which is more than any kernel has.
const MOST: usize = 16 << 20;

/// Reads the text of the running kernel's configuration; `None` if no file contains it.
pub(crate) fn text() -> Result<Option<Vec<u8>>> {
    let kernel = Uname::running();
    let release = kernel.release();
    // Most distributions install the file in /boot, some recent ones only in the directory of modules.
    let (boot, modules) = (format!("/boot/config-{release}"), format!("/lib/modules/{release}/config"));
    first_of(&[&boot, PROC, &modules])
}

/// Reads the first of these files that exists and can be read; `None` if none of them exists. An unreadable file (in
/// some distributions, only root has permission to read those in /boot) is an error only if no other file can be read.
fn first_of(paths: &[&str]) -> Result<Option<Vec<u8>>> {
    let mut unread = None;
    for &path in paths {
        match fs::read(path) {
            // Some distributions compress the file in /boot as well.
            Ok(bytes) if bytes.starts_with(&[0x1f, 0x8b]) => return decompress(&bytes, path).map(Some),
            Ok(bytes) => return Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                let error = Error::io(format_args!("cannot read the kernel's configuration at {path}"), &error);
                unread.get_or_insert(error.during(Step::ReadKernel).about(Subject::Path(path.as_ref())));
            }
        }
    }
    unread.map_or(Ok(None), Err)
}

/// Iterates over the options that a configuration sets: names and values, as written.
pub(crate) fn options(text: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    text.split(|&byte| byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .filter(|line| line.starts_with("CONFIG_"))
        .filter_map(|line| line.trim_end().split_once('='))
}

/// Returns the upstream version of the running kernel as one number (`KERNEL_VERSION`), also if the distribution has
/// its own version numbers.
pub(crate) fn version() -> Result<u32> {
    let signature = match fs::read_to_string("/proc/version_signature") {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Error::io("cannot read /proc/version_signature", &error).during(Step::ReadKernel)),
    };
    let kernel = Uname::running();
    // Ubuntu has the upstream version as the last word of /proc/version_signature, Debian after the word `Debian` in the
    // version of `uname`.
    let ubuntu = signature.split_whitespace().nth(2);
    let debian = kernel.version().split_once("Debian ").map(|(_, rest)| rest);
    let release = kernel.release();
    [ubuntu, debian, Some(release)].into_iter().flatten().find_map(number).ok_or_else(|| {
        Error::malformed(format_args!("release {release:?} of the running kernel does not begin with a version"))
            .during(Step::ReadKernel)
    })
}

/// Probes whether programs can read their attach cookie (Linux 5.15). A kernel without the helper for it, or without
/// tracepoint programs, returns `EINVAL`.
pub(crate) fn has_bpf_cookie() -> Result<bool> {
    static PROBE: Probe = Probe::new("has attach cookies");
    // r0 = bpf_get_attach_cookie(r1); exit
    let insns = [probe::insn(opcode::CALL, (0, 0), helper::GET_ATTACH_COOKIE), probe::insn(opcode::EXIT, (0, 0), 0)];
    let request = prog::Request::plain("cookie_probe", ProgramType::TRACEPOINT, insns.as_flattened());
    PROBE.run(|| probe::verdict(&probe::load(&request), &[libc::EINVAL]))
}

/// Parses `major.minor.patch` at the beginning of a text. The last parts can be missing.
fn number(text: &str) -> Option<u32> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (major, minor) = (parts.next()?.ok()?, parts.next()?.ok()?);
    let patch = parts.next().and_then(std::result::Result::ok).unwrap_or(0);
    Some((major & 0xffff) << 16 | (minor & 0xff) << 8 | patch.min(255))
}

/// Returns the contents of a gzip file (RFC 1952) with one member.
fn decompress(bytes: &[u8], path: &str) -> Result<Vec<u8>> {
    let bad = || Error::malformed(format_args!("{path} is not a valid gzip file")).during(Step::ReadKernel);
    let body = deflated(bytes).ok_or_else(bad)?;
    miniz_oxide::inflate::decompress_to_vec_with_limit(body, MOST).map_err(|_| bad())
}

/// Returns the data after a gzip file's header.
fn deflated(bytes: &[u8]) -> Option<&[u8]> {
    const HEADER_CRC: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    let header = bytes.first_chunk::<10>()?;
    let mut rest = bytes.get(10..)?;
    // Deflate is the only compression method.
    if header[2] != 8 {
        return None;
    }
    if header[3] & EXTRA != 0 {
        let len = u16::from_le_bytes(*rest.first_chunk()?);
        rest = rest.get(2 + usize::from(len)..)?;
    }
    for text in [NAME, COMMENT] {
        if header[3] & text != 0 {
            let end = rest.iter().position(|&byte| byte == 0)?;
            rest = rest.get(end + 1..)?;
        }
    }
    if header[3] & HEADER_CRC != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(number("6.18.5-cloud"), Some(6 << 16 | 18 << 8 | 5));
        assert_eq!(number("7.3"), Some(7 << 16 | 3 << 8));
        assert_eq!(number("5.10.300-1"), Some(5 << 16 | 10 << 8 | 255));
        assert_eq!(number("next"), None);
    }

    #[test]
    fn set_options() {
        let text = b"# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=\"a=b\"\r\n\nOTHER=1\n";
        assert_eq!(options(text).collect::<Vec<_>>(), [("CONFIG_B", "y"), ("CONFIG_C", "\"a=b\"")]);
    }

    #[test]
    fn gzip() {
        // `printf 'CONFIG_A=y\n' | gzip -n`, and a file with the same contents and a name in the header.
        let plain = [
            0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 11, 0, 0xf4, 0xff, b'C', b'O', b'N', b'F', b'I', b'G', b'_', b'A',
            b'=', b'y', b'\n',
        ];
        assert_eq!(decompress(&plain, "x").unwrap(), b"CONFIG_A=y\n");
        let mut named = plain[..10].to_vec();
        named[3] = 8;
        named.extend(b"config\0");
        named.extend(&plain[10..]);
        assert_eq!(decompress(&named, "x").unwrap(), b"CONFIG_A=y\n");
        assert!(decompress(&plain[..12], "x").is_err());
        assert!(decompress(&[0x1f, 0x8b], "x").is_err());
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads files")]
    fn a_file_that_cannot_be_read_is_skipped() {
        // Reading a directory fails, also as root.
        let (unreadable, missing) = ("/proc", "/proc/there-is-no-such-file");
        assert!(first_of(&[missing, unreadable, "/proc/version"]).unwrap().is_some());
        assert_eq!(first_of(&[missing, missing]).unwrap(), None);
        let error = first_of(&[missing, unreadable, missing]).unwrap_err();
        assert_eq!(error.subject(), Some(Subject::Path("/proc".as_ref())), "{error}");
    }

    #[test]
    fn this_kernel() {
        assert!(version().unwrap() > 4 << 16);
    }
}
