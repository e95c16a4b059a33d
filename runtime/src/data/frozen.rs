//! Constant global data once it is loaded.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::initial::zeroed_box;
use super::plain::{Plain, as_bytes, as_bytes_mut};
use crate::error::Result;
use crate::map::{FromFd, Handle, Info};
use crate::uapi::MapType;

/// A section of constant global data: the copy that was made when it was loaded.
pub struct Frozen<T> {
    handle: Handle,
    value: Box<T>,
}

impl<T: Plain> Frozen<T> {
    /// The value.
    #[must_use]
    pub fn get(&self) -> &T {
        &self.value
    }
}

impl<T: Plain> FromFd for Frozen<T> {
    fn from_fd(fd: OwnedFd, info: &Info) -> Result<Self> {
        let handle = Handle::new(fd, info)?.expect_section::<T>(MapType::ARRAY)?;
        let mut value = zeroed_box::<T>();
        if handle.lookup(as_bytes(&0u32), &mut as_bytes_mut(&mut *value)[..handle.map().value_len()], 0)? {
            Ok(Self { handle, value })
        } else {
            Err(handle.invalid("it has no element"))
        }
    }
}

impl<T> AsFd for Frozen<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl<T> fmt::Debug for Frozen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Frozen").field(&self.handle).finish()
    }
}
