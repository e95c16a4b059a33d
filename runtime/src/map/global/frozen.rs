//! Constant global data after the load.

use std::os::fd::OwnedFd;

use super::mapped::whole;
use crate::data::zeroed_box;
use crate::data::{Plain, as_bytes, as_bytes_mut, from_prefix};
use crate::error::{Error, Result};
use crate::map::{FromFd, Info, Opened, Untyped, about, one_cpu};

/// A section of constant global data (`.rodata`): the map, and a copy of its value. The load freezes the map, so the
/// copy stays equal to the map's value.
///
/// A skeleton has a `Frozen` for each such section: `skeleton.rodata` is the map, and `skeleton.rodata()` returns the
/// constants.
///
/// ```
/// use skelgen_runtime::Frozen;
///
/// /// Neither programs nor processes can write to a frozen map, so a reference is sound.
/// fn pid(rodata: &Frozen<u32>) -> &u32 {
///     rodata.get()
/// }
/// ```
pub struct Frozen<T> {
    handle: Untyped,
    value: Box<T>,
    /// The bytes that the skeleton's resize method added.
    tail: Vec<u8>,
}

about!([T: Plain] Frozen<T>);

impl<T: Plain> Frozen<T> {
    /// Returns the value.
    #[must_use]
    pub fn get(&self) -> &T {
        &self.value
    }

    /// Returns the bytes that the skeleton's resize method (such as `rodata_resize`) added before the load, as values
    /// of a plain type.
    ///
    /// # Errors
    /// If the number of added bytes is not a multiple of the size of `U`.
    pub fn tail<U: Plain>(&self) -> Result<Vec<U>> {
        let count = whole::<U>(self.tail.len()).map_err(|why| self.handle.mismatch(why))?;
        Ok(self.tail.chunks_exact(size_of::<U>()).take(count).map(from_prefix).collect())
    }

    /// Creates the handle of a section. Its variables are the first `data_len` bytes of the map's value, or all bytes
    /// if `None`. `known` is the value, except for zeros at its end, if it is known.
    fn check(handle: Untyped, data_len: Option<usize>, known: Option<&[u8]>) -> Result<Self> {
        let handle = handle.expect_section::<T>(data_len)?;
        let len = handle.map().value_len();
        let data_len = data_len.unwrap_or(len);
        let mut value = zeroed_box::<T>();
        let mut tail = Vec::new();
        let found = if let Some(known) = known {
            let (data, rest) = known.split_at(data_len.min(known.len()));
            as_bytes_mut(&mut *value)[..data.len()].copy_from_slice(data);
            tail.extend_from_slice(rest);
            tail.resize(len - data_len, 0);
            true
        } else if data_len == len {
            handle.lookup(as_bytes(&0u32), &mut as_bytes_mut(&mut *value)[..len], 0)?
        } else {
            let mut all = vec![0; len];
            let found = handle.lookup(as_bytes(&0u32), &mut all, 0)?;
            tail = all.split_off(data_len);
            as_bytes_mut(&mut *value)[..data_len].copy_from_slice(&all);
            found
        };
        if found { Ok(Self { handle, value, tail }) } else { Err(handle.invalid("the map has no element")) }
    }
}

impl<T: Plain> FromFd for Frozen<T> {
    fn from_fd(map: Opened, info: &Info<'_>) -> Result<Self> {
        Self::check(Untyped::new(map, info, one_cpu)?, usize::try_from(info.data_size).ok(), info.frozen)
    }
}

/// Reads the map's type and sizes from the kernel and fails if the map's value is not exactly a `T`.
impl<T: Plain> TryFrom<OwnedFd> for Frozen<T> {
    type Error = Error;

    fn try_from(fd: OwnedFd) -> Result<Self> {
        Self::check(Untyped::of_fd(fd)?, None, None)
    }
}
