//! The types of kernels: those of the running kernel, and those in raw BTF files, ELF files and compressed kernel
//! images.
//!
//! A kernel image is an ELF file that is compressed in one of many formats. It is decompressed by programs that most
//! systems have, as in the kernel's own `extract-vmlinux`: crates for all formats would be larger than the rest of this
//! crate. This module does not interpret types.

use std::io::{self, Seek, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::read;
use crate::btf::Btf;
use crate::error::{Code, Diagnostic, Error, Result};

/// The file with the types of the running kernel.
pub(crate) const RUNNING: &str = "/sys/kernel/btf/vmlinux";

/// A file with types of a kernel: raw BTF, or an ELF file.
#[derive(Debug)]
pub(crate) struct KernelFile {
    pub(crate) bytes: Vec<u8>,
    /// The release of the kernel, such as `6.1.0-50-amd64`, if the file has it.
    pub(crate) release: Option<String>,
}

impl KernelFile {
    /// Reads a file, and decompresses it if it is a kernel image.
    ///
    /// # Errors
    /// [`Code::Io`] if it cannot be read or decompressed.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let mut bytes = read(path).map_err(|error| match path == Path::new(RUNNING) {
            true => missing(error),
            false => error,
        })?;
        if path == Path::new(RUNNING) {
            return Ok(Self { bytes, release: running_release().ok() });
        }
        let is_elf = |bytes: &[u8]| bytes.starts_with(b"\x7fELF");
        if let Some(payload) = payload(&bytes) {
            bytes = decompress(path, payload)?;
            if !is_elf(&bytes) {
                // Kernels of some architectures are not ELF files: search the image for its BTF.
                if let Some(raw) = Btf::find_raw(&bytes) {
                    return Ok(Self { bytes: raw.to_vec(), release: release(&bytes) });
                }
            }
        }
        let release = is_elf(&bytes).then(|| release(&bytes)).flatten();
        Ok(Self { bytes, release })
    }
}

fn missing(error: Error) -> Error {
    match error.diagnostics() {
        [one] => one
            .clone()
            .with_help("pass the BTF or the image of a kernel (`skelgen header FILE`, `Builder::vmlinux`), or enable CONFIG_DEBUG_INFO_BTF")
            .into(),
        _ => error,
    }
}

/// Returns the release of the running kernel.
pub(crate) fn running_release() -> io::Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(text.trim().to_owned())
}

/// Returns the release in the banner of a kernel image.
fn release(bytes: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"Linux version ";
    let mut rest = bytes;
    loop {
        let at = rest.windows(BANNER.len()).position(|bytes| bytes == BANNER)?;
        rest = &rest[at + BANNER.len()..];
        let end = rest.iter().position(|byte| !byte.is_ascii_graphic())?;
        // The image also contains the format string of the banner, which has no version.
        if rest[0].is_ascii_digit() {
            return String::from_utf8(rest[..end].to_vec()).ok();
        }
    }
}

/// The formats of compressed kernels: their first bytes, the program that reads them, and its package.
const FORMATS: &[(&[u8], &str, &str)] = &[
    (b"\x1f\x8b", "gzip", "gzip"),
    (b"\xfd7zXZ", "xz", "xz-utils"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd"),
    (b"\x02\x21\x4c\x18", "lz4", "lz4"),
    (b"BZh", "bzip2", "bzip2"),
    (b"\x89LZO", "lzop", "lzop"),
    (b"\x5d\0\0", "lzma", "xz-utils"),
];

fn format(bytes: &[u8]) -> Option<&'static (&'static [u8], &'static str, &'static str)> {
    FORMATS.iter().find(|(magic, ..)| bytes.starts_with(magic))
}

/// Returns the compressed kernel in an image: after the boot code of x86 (Documentation/arch/x86/boot.rst), in an EFI
/// application (drivers/firmware/efi/libstub/zboot-header.S), or the whole file.
fn payload(bytes: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word) as usize);
    let within = |begin: usize, len: usize| bytes.get(begin..begin.checked_add(len)?);
    let found = if bytes.get(0x202..0x206) == Some(b"HdrS") {
        let sectors = usize::from(bytes[0x1f1]);
        within((sectors + 1) * 512 + word(0x248)?, word(0x24c)?)
    } else if bytes.get(4..8) == Some(b"zimg") {
        within(word(8)?, word(12)?)
    } else {
        Some(bytes)
    };
    found.filter(|payload| format(payload).is_some())
}

/// Decompresses a kernel by the program for its format.
fn decompress(path: &Path, payload: &[u8]) -> Result<Vec<u8>> {
    let failed =
        |why: &dyn std::fmt::Display| Diagnostic::new(Code::Io, format!("cannot decompress {}: {why}", path.display()));
    let Some((_, program, package)) = format(payload) else { return Ok(payload.to_vec()) };
    let mut input = tempfile::tempfile().map_err(|error| failed(&error))?;
    input.write_all(payload).and_then(|()| input.rewind()).map_err(|error| failed(&error))?;
    let output = Command::new(program).arg("-dc").stdin(Stdio::from(input)).output().map_err(|error| {
        failed(&format_args!("cannot run {program}: {error}")).with_help(format!("install {package}"))
    })?;
    // The size of the kernel follows the compressed data, and some programs report these bytes as an error.
    if output.stdout.is_empty() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(failed(&format_args!("{program} failed ({})", output.status)).output(stderr).into());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::{Kind, Type, TypeId};
    use crate::insn::Endian;

    #[test]
    fn the_types_of_a_kernel_that_is_not_elf_are_found() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("kernel");
        for endian in [Endian::Little, Endian::Big] {
            let word = |number: u32| endian.to_bytes(number);
            let mut btf = Btf::new();
            let name = btf.add_string("only_declared");
            btf.push(Type { name, kind: Kind::Fwd { union: false } });
            let short = btf.write(endian);
            // The header of Linux 7.1 and later has the offset and the length of a kind layout too.
            let (header, body) = short.split_at(24);
            let long = [&header[..4], &word(32), &header[8..], &word(0), &word(0), body].concat();
            for btf in [&short, &long] {
                // An invalid header: its sections extend past the end of the file.
                let other = [&short[..8], &word(0), &word(u32::MAX), &word(0), &word(1)].concat();
                let kernel = [b"MZ\0Linux version 7.3.0-test (gcc)\0", &other[..], btf, b"what follows"].concat();
                std::fs::write(&path, &kernel).expect("the directory can be written");
                let compressed = Command::new("gzip").arg("-c").arg(&path).output().expect("gzip can be run").stdout;
                std::fs::write(&path, compressed).expect("the directory can be written");
                let file = KernelFile::read(&path).expect("it can be read");
                assert_eq!(file.release.as_deref(), Some("7.3.0-test"));
                let read = Btf::parse(&file.bytes, endian).expect("the file begins with BTF");
                assert_eq!(read.name(TypeId(1)), "only_declared");
            }
        }
    }

    #[test]
    fn images_are_decompressed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("vmlinuz");
        let object = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/corpus/objects/typed.bpf.o"))
            .expect("the fixture exists");
        let kernel = [&object[..], b"Linux version %s (%s)\0Linux version 6.1.0-test (gcc)"].concat();
        std::fs::write(directory.path().join("kernel"), &kernel).expect("the directory can be written");
        let compressed = Command::new("gzip").arg("-c").arg(directory.path().join("kernel")).output();
        let compressed = compressed.expect("gzip can be run").stdout;
        let len = u32::try_from(compressed.len()).expect("it is small");
        // One sector of boot code, then 16 bytes, then the kernel and its size.
        let mut image = vec![0; 1024 + 16];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&(len + 4).to_le_bytes());
        image.extend(compressed.iter().chain(&[1, 2, 3, 4]));
        let mut zboot = b"MZ\0\0zimg".to_vec();
        zboot.extend([64, len].map(u32::to_le_bytes).concat());
        zboot.resize(64, 0);
        zboot.extend(&compressed);
        for bytes in [&compressed, &image, &zboot] {
            std::fs::write(&path, bytes).expect("the directory can be written");
            let file = KernelFile::read(&path).expect("it can be read");
            assert!(file.bytes == kernel);
            assert_eq!(file.release.as_deref(), Some("6.1.0-test"));
        }
        std::fs::write(&path, b"\x1f\x8bnot gzip").expect("the directory can be written");
        let error = KernelFile::read(&path).expect_err("it is damaged").to_string();
        assert!(error.contains("cannot decompress") && error.contains("gzip failed"), "{error}");
    }
}
