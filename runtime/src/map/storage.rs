//! Local storage of tasks, cgroups, inodes and sockets.

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};

use super::handle::handle;
use super::supports::Supports;
use super::untyped::Untyped;
use crate::data::Plain;
use crate::data::{as_bytes, as_bytes_mut, zeroed};
use crate::error::Result;
use crate::uapi::{ElemFlags, MapType};

/// A local storage map: a value for each task (by pidfd), cgroup, inode or socket (by file descriptor).
///
/// ```
/// use skelgen_runtime::map::Storage;
///
/// fn bytes_of(sent: &Storage<u64>, socket: &std::net::TcpStream) -> skelgen_runtime::Result<u64> {
///     Ok(sent.get(socket)?.unwrap_or(0))
/// }
/// ```
pub struct Storage<V> {
    handle: Untyped,
    value: PhantomData<fn() -> V>,
}

handle!([V: Plain] Storage<V>);

impl<V: Plain> Storage<V> {
    const SUPPORTS: Supports = Supports::new(
        &[MapType::TASK_STORAGE, MapType::CGRP_STORAGE, MapType::INODE_STORAGE, MapType::SK_STORAGE],
        Some(4),
        Some(size_of::<V>()),
    );

    fn check(handle: Untyped) -> Result<Self> {
        Ok(Self { handle: handle.expect(&Self::SUPPORTS)?, value: PhantomData })
    }

    /// Returns the value of an object, or `None` if the object has no value.
    ///
    /// # Errors
    /// If the object is not of the map's kind, or the process has no permission to read the map.
    pub fn get(&self, object: impl AsFd) -> Result<Option<V>> {
        let mut value = zeroed();
        let found = self.handle.lookup(as_bytes(&object.as_fd().as_raw_fd()), as_bytes_mut(&mut value), 0)?;
        Ok(found.then_some(value))
    }

    /// Sets the value of an object.
    ///
    /// # Errors
    /// If the object is not of the map's kind, or the process has no permission to write to the map.
    pub fn insert(&self, object: impl AsFd, value: &V) -> Result<()> {
        self.insert_with(object, value, ElemFlags::ANY)
    }

    /// Sets the value of an object, with flags: `NOEXIST` only sets a value if the object has none, `EXIST` only
    /// replaces a value.
    ///
    /// # Errors
    /// Those of [`Self::insert`]. Also if the condition of the flags does not hold.
    pub fn insert_with(&self, object: impl AsFd, value: &V, flags: ElemFlags) -> Result<()> {
        self.handle.update(as_bytes(&object.as_fd().as_raw_fd()), as_bytes(value), flags.bits())
    }

    /// Removes the value of an object and returns whether the object had one.
    ///
    /// # Errors
    /// If the object is not of the map's kind, or the process has no permission to write to the map.
    pub fn remove(&self, object: impl AsFd) -> Result<bool> {
        self.handle.delete(as_bytes(&object.as_fd().as_raw_fd()))
    }

    /// Removes the value of an object and returns it. The kernel cannot do both at once: a value that is written
    /// between the two requests is lost.
    ///
    /// # Errors
    /// If the object is not of the map's kind, or the process has no permission to read and write the map.
    pub fn take(&self, object: impl AsFd) -> Result<Option<V>> {
        let mut value = zeroed();
        Ok(self.handle.take_keyed(as_bytes(&object.as_fd().as_raw_fd()), as_bytes_mut(&mut value))?.then_some(value))
    }
}
