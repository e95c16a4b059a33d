//! Converts between NUL-terminated `char` arrays, such as the name of a command or file, and Rust strings.
//!
//! The functions do not access shared memory: copy the array out of a cell with its `get` first.

use crate::error::{Error, Result};

/// The element type of an array with a C string: `i8` or `u8`.
///
/// clang's `char` is `i8` for BPF; `unsigned char`, `__u8` and the `char` of some architectures' kernels are `u8`.
///
/// ```
/// use skelgen_runtime::{chars_of, string_of};
///
/// let comm: [i8; 16] = chars_of("bash")?;
/// let path: [u8; 8] = chars_of("/tmp")?;
/// assert_eq!(string_of(&comm) + &string_of(&path), "bash/tmp");
/// # Ok::<(), skelgen_runtime::Error>(())
/// ```
pub trait Char: sealed::Sealed + Copy + 'static {
    /// Creates the element from a byte.
    #[doc(hidden)]
    fn from_byte(byte: u8) -> Self;

    /// Returns the element as a byte.
    #[doc(hidden)]
    fn to_byte(self) -> u8;
}

mod sealed {
    #[doc(hidden)]
    pub trait Sealed {}
}

impl sealed::Sealed for i8 {}
impl sealed::Sealed for u8 {}

impl Char for i8 {
    fn from_byte(byte: u8) -> Self {
        Self::from_ne_bytes([byte])
    }

    fn to_byte(self) -> u8 {
        u8::from_ne_bytes(self.to_ne_bytes())
    }
}

impl Char for u8 {
    fn from_byte(byte: u8) -> Self {
        byte
    }

    fn to_byte(self) -> u8 {
        self
    }
}

/// Returns the string in an array of C's `char` or of bytes: up to the first NUL, or all of it. Invalid UTF-8 becomes
/// U+FFFD.
///
/// ```
/// let comm: [i8; 16] = skelgen_runtime::chars_of("bash")?;
/// assert_eq!(skelgen_runtime::string_of(&comm), "bash");
/// assert_eq!(skelgen_runtime::string_of(b"eth0\0\0\0\0"), "eth0");
/// # Ok::<(), skelgen_runtime::Error>(())
/// ```
#[must_use]
pub fn string_of<C: Char>(chars: &[C]) -> String {
    let bytes: Vec<u8> = chars.iter().map(|char| char.to_byte()).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns a string as an array of C's `char` or of bytes, padded with zeros.
///
/// ```
/// let name: [u8; 8] = skelgen_runtime::chars_of("eth0")?;
/// assert_eq!(&name, b"eth0\0\0\0\0");
/// # Ok::<(), skelgen_runtime::Error>(())
/// ```
///
/// # Errors
/// If the string and a NUL after it do not fit, or if it contains a NUL.
pub fn chars_of<C: Char, const N: usize>(text: &str) -> Result<[C; N]> {
    if text.len() >= N || text.contains('\0') {
        return Err(Error::invalid(format_args!(
            "{text:?} does not fit in `char[{N}]`, which has room for at most {} non-NUL bytes and a terminating NUL",
            N.saturating_sub(1)
        )));
    }
    let mut chars = [C::from_byte(0); N];
    for (to, from) in chars.iter_mut().zip(text.bytes()) {
        *to = C::from_byte(from);
    }
    Ok(chars)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_there_and_back() {
        assert_eq!(chars_of::<i8, 4>("abc").unwrap(), [97, 98, 99, 0]);
        assert_eq!(chars_of::<u8, 4>("abc").unwrap(), *b"abc\0");
        assert_eq!(string_of(&chars_of::<i8, 8>("größe").unwrap()), "größe");
        assert_eq!(string_of(&chars_of::<u8, 8>("größe").unwrap()), "größe");
        assert_eq!(string_of(&chars_of::<i8, 1>("").unwrap()), "");
    }

    #[test]
    fn text_ends_at_the_first_nul_or_with_the_array() {
        assert_eq!(string_of(&[97_i8, 0, 98]), "a");
        assert_eq!(string_of(&[97_u8, 98]), "ab");
        assert_eq!(string_of(&[97_i8, -1]), "a\u{fffd}");
        assert_eq!(string_of(&[97_u8, 255]), "a\u{fffd}");
    }

    #[test]
    fn text_that_does_not_fit_is_rejected() {
        for text in ["abcd", "a\0"] {
            assert!(chars_of::<i8, 4>(text).is_err());
        }
        assert!(chars_of::<u8, 0>("").is_err());
        let error = chars_of::<u8, 4>("abcd").unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidInput, "{error}");
    }
}
