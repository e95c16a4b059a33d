//! The release and the version of the running kernel (`uname`).

use std::ffi::CStr;

/// What the kernel reports about itself. Texts that are not UTF-8 count as empty.
pub(crate) struct Uname {
    /// The release, such as `6.12.117+deb13-amd64`.
    release: [u8; LEN],
    /// The build, such as `#1 SMP Debian 6.12.117-1`.
    version: [u8; LEN],
}

/// The size of a text in `struct utsname`, with its NUL.
const LEN: usize = 65;

impl Uname {
    /// Returns the texts of the running kernel.
    pub(crate) fn running() -> Self {
        // SAFETY: the struct consists of arrays of integers, for which zeros are valid values.
        let mut found: libc::utsname = unsafe { std::mem::zeroed() };
        // SAFETY: `uname` writes one `struct utsname` to this live value. It fails only for an invalid address.
        unsafe { libc::uname(&raw mut found) };
        let bytes = |text: [libc::c_char; LEN]| text.map(|byte| u8::from_ne_bytes(byte.to_ne_bytes()));
        Self { release: bytes(found.release), version: bytes(found.version) }
    }

    /// Returns the release.
    pub(crate) fn release(&self) -> &str {
        text(&self.release)
    }

    /// Returns the version of the build, which is not that of the kernel.
    pub(crate) fn version(&self) -> &str {
        text(&self.version)
    }
}

fn text(bytes: &[u8]) -> &str {
    CStr::from_bytes_until_nul(bytes).ok().and_then(|text| text.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_as_in_proc() {
        let read = |path: &str| std::fs::read_to_string(path).unwrap();
        let running = Uname::running();
        assert_eq!(running.release(), read("/proc/sys/kernel/osrelease").trim_end());
        assert_eq!(running.version(), read("/proc/sys/kernel/version").trim_end());
    }
}
