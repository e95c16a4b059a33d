//! The types that records of ring buffers and perf buffers can have: bytes, or a plain type.
//!
//! This module converts bytes to records. It does not depend on the buffers, `ringbuf` and `perf_buffer`.

use crate::data::{Plain, as_bytes, from_bytes};

/// The type of a buffer's records: `[u8]` for bytes of any length, or a [`Plain`] type.
///
/// It is the type parameter of [`RingBuf`](super::RingBuf), [`UserRingBuf`](super::UserRingBuf),
/// [`PerfEventArray`](super::PerfEventArray) and [`PerfBuffer`](super::PerfBuffer).
///
/// ```
/// use skelgen_runtime::map::{Record, RingBuf};
///
/// fn pending<T: Record + ?Sized>(events: &RingBuf<T>) -> skelgen_runtime::Result<u64> {
///     let positions = events.positions()?;
///     Ok(positions.producer.wrapping_sub(positions.consumer))
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of records",
    label = "neither `[u8]` nor plain data",
    note = "records are `[u8]` or plain data: numbers, `Bool`, `Ptr`, arrays of plain data, structs with `#[derive(MapData)]`, and \
            enumerations that `open_enum!` defines"
)]
pub trait Record: sealed::Sealed + 'static {
    /// A record that is returned: a `Vec<u8>`, or the value.
    type Owned;

    /// A record that is passed to a closure: a `&[u8]`, or the value.
    type Passed<'r>;

    /// The size of a record in bytes, or `None` if records vary in size.
    #[doc(hidden)]
    const SIZE: Option<usize>;

    /// Converts bytes to a record. Returns `None` if the type has a different size.
    #[doc(hidden)]
    fn own(bytes: Vec<u8>) -> Option<Self::Owned>;

    /// Converts bytes to a record. Returns `None` if the type has a different size.
    #[doc(hidden)]
    fn pass(bytes: &[u8]) -> Option<Self::Passed<'_>>;

    /// Returns the bytes of a record.
    #[doc(hidden)]
    fn bytes(&self) -> &[u8];
}

mod sealed {
    #[doc(hidden)]
    pub trait Sealed {}
}

impl sealed::Sealed for [u8] {}
impl<T: Plain> sealed::Sealed for T {}

impl Record for [u8] {
    type Owned = Vec<u8>;
    type Passed<'r> = &'r [u8];
    const SIZE: Option<usize> = None;

    fn own(bytes: Vec<u8>) -> Option<Vec<u8>> {
        Some(bytes)
    }

    fn pass(bytes: &[u8]) -> Option<&[u8]> {
        Some(bytes)
    }

    fn bytes(&self) -> &[u8] {
        self
    }
}

impl<T: Plain> Record for T {
    type Owned = T;
    type Passed<'r> = T;
    const SIZE: Option<usize> = Some(size_of::<T>());

    fn own(bytes: Vec<u8>) -> Option<T> {
        from_bytes(&bytes)
    }

    fn pass(bytes: &[u8]) -> Option<T> {
        from_bytes(bytes)
    }

    fn bytes(&self) -> &[u8] {
        as_bytes(self)
    }
}

/// Describes a record whose size does not match its type.
pub(super) fn other_size<T: Record + ?Sized>(len: usize) -> String {
    format!("a record has {len} bytes, but its Rust type has {} bytes", T::SIZE.unwrap_or(len))
}
