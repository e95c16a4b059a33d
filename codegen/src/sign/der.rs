//! DER: the elements of a PKCS#7 message, read and written.
//!
//! This module knows tags and lengths, not what the elements are for.

use std::fmt;

/// The tags that occur in signatures.
pub(super) mod tag {
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const OCTETS: u8 = 0x04;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;
    /// `[0]` of a primitive type.
    pub(crate) const CONTEXT_0: u8 = 0x80;
    /// `[0]` and `[1]` of constructed types.
    pub(crate) const CONSTRUCTED_0: u8 = 0xa0;
    pub(crate) const CONSTRUCTED_1: u8 = 0xa1;
}

/// Writes an element with these parts as its contents.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let mut bytes = vec![tag];
    match u8::try_from(contents.len()) {
        Ok(len) if len < 0x80 => bytes.push(len),
        _ => {
            let len = contents.len().to_be_bytes();
            let len = &len[len.iter().take_while(|&&byte| byte == 0).count()..];
            // A length has at most eight bytes.
            bytes.push(0x80 | u8::try_from(len.len()).unwrap_or(8));
            bytes.extend_from_slice(len);
        }
    }
    bytes.extend_from_slice(&contents);
    bytes
}

/// Why bytes are not DER, or not the expected element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    /// The bytes end in an element.
    Truncated,
    /// A length is not definite, or not in its shortest form.
    Length,
    /// The tag of an element is different from the expected one.
    Tag { expected: u8, found: u8 },
    /// There are elements, or bytes, after the last expected one.
    Trailing(usize),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("it is truncated"),
            Self::Length => f.write_str("a length is not in the form that DER requires"),
            Self::Tag { expected, found } => write!(f, "tag {found:#04x} found instead of {expected:#04x}"),
            Self::Trailing(count) => write!(f, "{count} bytes follow its end"),
        }
    }
}

/// Reads elements one after another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Reads the contents of an element that must have this tag.
    pub(super) fn bytes(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        match *self.rest {
            [] => Err(Malformed::Truncated),
            [found, ..] if found != tag => Err(Malformed::Tag { expected: tag, found }),
            [_, ..] => self.any().map(|(_, contents)| contents),
        }
    }

    /// Reads an element that must have this tag, to read its parts.
    pub(super) fn parts(&mut self, tag: u8) -> Result<Self, Malformed> {
        self.bytes(tag).map(Self::new)
    }

    /// Reads the contents of the next element if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Malformed> {
        if self.rest.first() == Some(&tag) { self.bytes(tag).map(Some) } else { Ok(None) }
    }

    /// Reads an element of any type.
    pub(super) fn any(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let [tag, first, rest @ ..] = self.rest else { return Err(Malformed::Truncated) };
        let (len, rest) = match *first {
            len @ 0..=0x7f => (usize::from(len), rest),
            // Longer lengths cannot be those of elements in memory.
            count @ 0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(count & 0x7f)).ok_or(Malformed::Truncated)?;
                let len = bytes.iter().fold(0_u32, |len, byte| len << 8 | u32::from(*byte));
                if bytes.first() == Some(&0) || len < 0x80 {
                    return Err(Malformed::Length);
                }
                (usize::try_from(len).unwrap_or(usize::MAX), rest)
            }
            _ => return Err(Malformed::Length),
        };
        let (contents, rest) = rest.split_at_checked(len).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok((*tag, contents))
    }

    /// Returns whether there are no more elements.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns an error if there are more elements.
    pub(super) fn finish(self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed::Trailing(self.rest.len())) }
    }
}

/// An object identifier that is displayed in dotted form.
pub(super) struct Oid<'a>(pub(super) &'a [u8]);

impl fmt::Display for Oid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut arc = 0_u64;
        let mut is_first = true;
        for byte in self.0 {
            arc = arc << 7 | u64::from(byte & 0x7f);
            if byte & 0x80 != 0 {
                continue;
            }
            if is_first {
                let root = (arc / 40).min(2);
                write!(f, "{root}.{}", arc - 40 * root)?;
            } else {
                write!(f, ".{arc}")?;
            }
            (arc, is_first) = (0, false);
        }
        Ok(())
    }
}
