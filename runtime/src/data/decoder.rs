//! Values read one after another from the bytes of a record.
//!
//! A decoder works on a copy of the record, and does not depend on its source. To read another kind of value, add a
//! method that gets its bytes from `rest` and checks their number.

use std::ffi::CStr;
use std::fmt;

use super::plain::{Plain, from_bytes, label};
use crate::error::{Error, Result};

/// A reader of the bytes of a record that checks every length.
///
/// Use it for records that are not values of one type: records of several kinds, each with a header and a body, or
/// records that end with a string or an array of variable length. Values need no alignment. A read that fails consumes
/// no bytes, so another read can follow.
///
/// ```
/// use skelgen_runtime::{Decoder, Result, string_of};
///
/// const EXEC: u32 = 1;
/// const EXIT: u32 = 2;
///
/// /// Describes a record: `u32 kind, pid`, then a path for `EXEC`, or `char comm[16]` and `s32 code` for `EXIT`.
/// fn show(record: &[u8]) -> Result<String> {
///     let mut record = Decoder::new(record);
///     let [kind, pid] = record.read::<[u32; 2]>()?;
///     Ok(match kind {
///         EXEC => format!("{pid} executes {:?}", record.c_str(4096)?),
///         EXIT => format!("{pid} {} exits: {}", string_of(&record.read::<[i8; 16]>()?), record.read::<i32>()?),
///         _ => format!("{pid}: {} bytes of unknown kind {kind}", record.rest().len()),
///     })
/// }
///
/// let exec = [&1_u32.to_ne_bytes()[..], &77_u32.to_ne_bytes(), b"/bin/true\0"].concat();
/// assert_eq!(show(&exec)?, "77 executes \"/bin/true\"");
/// let exit = [&2_u32.to_ne_bytes()[..], &77_u32.to_ne_bytes(), b"true"].concat();
/// assert_eq!(show(&exit).unwrap_err().to_string(), "cannot decode `[i8; 16]` at offset 8: it needs 16 bytes, but only 4 remain");
/// # Ok::<(), skelgen_runtime::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    /// The number of bytes that were read.
    offset: usize,
}

impl<'a> Decoder<'a> {
    /// Creates a reader at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Reads a value.
    ///
    /// # Errors
    /// If fewer bytes remain than the value has. The error states both numbers.
    ///
    /// ```
    /// let mut record = skelgen_runtime::Decoder::new(&[1, 2, 3]);
    /// assert_eq!((record.read::<u8>()?, record.read::<[u8; 2]>()?), (1, [2, 3]));
    /// assert!(record.read::<u8>().is_err());
    /// # Ok::<(), skelgen_runtime::Error>(())
    /// ```
    pub fn read<T: Plain>(&mut self) -> Result<T> {
        let value = self.peek()?;
        self.offset += size_of::<T>();
        Ok(value)
    }

    /// Returns the next value without reading it: a later read begins at the same byte.
    ///
    /// # Errors
    /// Those of [`Self::read`].
    ///
    /// ```
    /// let mut record = skelgen_runtime::Decoder::new(&[7, 2]);
    /// // The kind is the first byte of each body.
    /// let body = match record.peek::<u8>()? {
    ///     7 => u16::from_be_bytes(record.read()?),
    ///     _ => 0,
    /// };
    /// assert_eq!(body, 0x0702);
    /// # Ok::<(), skelgen_runtime::Error>(())
    /// ```
    pub fn peek<T: Plain>(&self) -> Result<T> {
        let bytes = self.rest().get(..size_of::<T>());
        bytes.and_then(from_bytes).ok_or_else(|| {
            let (name, needed) = (name_of::<T>(), size_of::<T>());
            self.failed(
                format_args!("`{name}`"),
                format_args!("it needs {needed} bytes, but only {} remain", self.rest().len()),
            )
        })
    }

    /// Reads `len` bytes, such as an array whose length is in the header.
    ///
    /// # Errors
    /// If fewer bytes remain. The error states both numbers.
    ///
    /// ```
    /// let mut record = skelgen_runtime::Decoder::new(b"\x03abcde");
    /// let len = record.read::<u8>()?;
    /// assert_eq!((record.bytes(len.into())?, record.rest()), (&b"abc"[..], &b"de"[..]));
    /// # Ok::<(), skelgen_runtime::Error>(())
    /// ```
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        let taken = self.rest().get(..len).ok_or_else(|| {
            self.failed(format_args!("{len} bytes"), format_args!("only {} remain", self.rest().len()))
        })?;
        self.offset += len;
        Ok(taken)
    }

    /// Reads a C string and the NUL after it, together at most `max` bytes.
    ///
    /// # Errors
    /// If there is no NUL in the next `max` bytes, or in the remaining bytes if these are fewer.
    ///
    /// ```
    /// let mut record = skelgen_runtime::Decoder::new(b"eth0\0up\0");
    /// assert_eq!((record.c_str(16)?, record.c_str(16)?), (c"eth0", c"up"));
    /// # Ok::<(), skelgen_runtime::Error>(())
    /// ```
    pub fn c_str(&mut self, max: usize) -> Result<&'a CStr> {
        let rest = self.rest();
        let searched = rest.get(..max).unwrap_or(rest);
        let Ok(text) = CStr::from_bytes_until_nul(searched) else {
            let what = format!("no NUL in the next {} bytes ({} remain)", searched.len(), rest.len());
            return Err(self.failed("a C string", what));
        };
        self.offset += text.to_bytes_with_nul().len();
        Ok(text)
    }

    /// Returns the bytes that have not been read, without reading them.
    ///
    /// The last bytes of a record of a perf buffer are padding, at most 7: see [`PerfBuffer`](crate::map::PerfBuffer).
    ///
    /// ```
    /// let mut record = skelgen_runtime::Decoder::new(b"\x01payload");
    /// assert_eq!((record.read::<u8>()?, record.rest()), (1, &b"payload"[..]));
    /// # Ok::<(), skelgen_runtime::Error>(())
    /// ```
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }

    fn failed(&self, what: impl fmt::Display, why: impl fmt::Display) -> Error {
        Error::malformed(format_args!("cannot decode {what} at offset {}: {why}", self.offset))
    }
}

/// Returns the name of a type without paths: `[event; 4]`.
fn name_of<T: Plain>() -> String {
    let name = T::LAYOUT.map_or(std::any::type_name::<T>(), |layout| label(layout.name));
    let is_path = |c: char| c.is_alphanumeric() || "_:".contains(c);
    let mut short = String::new();
    for part in name.split_inclusive(|c| !is_path(c)) {
        short.push_str(part.rsplit("::").next().unwrap_or(part));
    }
    short
}

#[cfg(test)]
#[allow(unreachable_pub, unsafe_code, reason = "the struct is as generated files have it")]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::data::{Bool, as_bytes};
    use crate::error::golden;

    crate::c_struct! {
        pub struct header: size 8, align 4 {
            0 => kind: u32,
            4 => len: u32,
        }
    }

    #[test]
    fn values_at_any_offset() {
        let bytes = [&[9][..], as_bytes(&header { kind: 3, len: 2 }), &[1, 0xff], b"name\0\0tail"].concat();
        let mut record = Decoder::new(&bytes);
        assert_eq!(record.read::<u8>().unwrap(), 9);
        assert_eq!(record.peek::<u32>().unwrap(), 3);
        assert_eq!(record.read::<header>().unwrap(), header { kind: 3, len: 2 });
        assert_eq!(record.read::<[u8; 0]>().unwrap(), []);
        assert!(record.read::<Bool>().unwrap().get());
        assert_eq!(record.bytes(1).unwrap(), [0xff]);
        assert_eq!((record.c_str(5).unwrap(), record.c_str(1).unwrap(), record.rest()), (c"name", c"", &b"tail"[..]));
        assert_eq!(
            (record.bytes(4).unwrap(), record.rest(), record.bytes(0).unwrap()),
            (&b"tail"[..], &[][..], &[][..])
        );
    }

    #[test]
    fn what_is_missing_is_an_error_and_not_read() {
        let mut record = Decoder::new(b"\x01abc");
        record.read::<u8>().unwrap();
        let check = |name, result: Result<()>| golden::check(name, ErrorKind::Malformed, &result.unwrap_err());
        check("record that ends before a struct", record.read::<header>().map(drop));
        check("record that ends before an array", record.read::<[Bool; 4]>().map(drop));
        check("record that ends before its bytes", record.bytes(100).map(drop));
        check("record that ends before the NUL of a string", record.c_str(99).map(drop));
        check("record with a string that is too long", record.c_str(2).map(drop));
        assert!(record.peek::<u32>().is_err() && record.c_str(0).is_err());
        assert_eq!(record.rest(), b"abc");
        assert!(Decoder::new(&[]).read::<Bool>().unwrap_err().to_string().contains("`Bool`"));
    }
}
