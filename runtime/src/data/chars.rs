//! Conversion between C strings in arrays of `char` and Rust strings, such as names of commands and files.
//!
//! It works on values; values in shared memory are copied first.

use crate::error::{Error, Result};

/// Returns the string in an array of C's `char`: up to the first NUL, or all of it. Invalid UTF-8 becomes U+FFFD.
///
/// ```
/// let comm: [i8; 16] = skelgen_runtime::chars_of("bash")?;
/// assert_eq!(skelgen_runtime::string_of(&comm), "bash");
/// # Ok::<(), skelgen_runtime::Error>(())
/// ```
#[must_use]
pub fn string_of(chars: &[i8]) -> String {
    let bytes: Vec<u8> =
        chars.iter().take_while(|&&char| char != 0).map(|char| u8::from_ne_bytes(char.to_ne_bytes())).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns a string as an array of C's `char`, filled up with zeros.
///
/// # Errors
/// If the string and a NUL after it do not fit, or if it contains a NUL.
pub fn chars_of<const N: usize>(text: &str) -> Result<[i8; N]> {
    if text.len() >= N || text.contains('\0') {
        return Err(Error::invalid(format_args!(
            "{text:?} does not fit in `char[{N}]`, which has room for {} bytes other than NUL and a NUL after them",
            N.saturating_sub(1)
        )));
    }
    let mut chars = [0; N];
    for (to, from) in chars.iter_mut().zip(text.bytes()) {
        *to = i8::from_ne_bytes([from]);
    }
    Ok(chars)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_there_and_back() {
        assert_eq!(chars_of::<4>("abc").unwrap(), [97, 98, 99, 0]);
        assert_eq!(string_of(&chars_of::<8>("größe").unwrap()), "größe");
        assert_eq!(string_of(&chars_of::<1>("").unwrap()), "");
    }

    #[test]
    fn text_ends_at_the_first_nul_or_with_the_array() {
        assert_eq!(string_of(&[97, 0, 98]), "a");
        assert_eq!(string_of(&[97, 98]), "ab");
        assert_eq!(string_of(&[97, -1]), "a\u{fffd}");
    }

    #[test]
    fn text_that_does_not_fit_is_rejected() {
        for text in ["abcd", "a\0"] {
            assert!(chars_of::<4>(text).is_err());
        }
        assert!(chars_of::<0>("").is_err());
        let error = chars_of::<4>("abcd").unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidInput, "{error}");
    }
}
