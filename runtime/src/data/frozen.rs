//! Constant global data once it is loaded.

use super::initial::zeroed_box;
use super::plain::{Plain, as_bytes, as_bytes_mut};
use crate::error::Result;
use crate::map::{Handle, handle};
use crate::uapi::MapType;

/// A section of constant global data: the copy that was made when it was loaded, which nobody changes any more.
///
/// A skeleton has one for each section: `skeleton.rodata` is the map, `skeleton.rodata()` the constants.
///
/// ```
/// use skelgen_runtime::Frozen;
///
/// /// The kernel lets nobody write it, so a reference is sound.
/// fn pid(rodata: &Frozen<u32>) -> &u32 {
///     rodata.get()
/// }
/// ```
pub struct Frozen<T> {
    handle: Handle,
    value: Box<T>,
}

handle!([T: Plain] Frozen<T>);

impl<T: Plain> Frozen<T> {
    /// The value.
    #[must_use]
    pub fn get(&self) -> &T {
        &self.value
    }

    fn check(handle: Handle) -> Result<Self> {
        let handle = handle.expect_section::<T>(MapType::ARRAY)?;
        let mut value = zeroed_box::<T>();
        if handle.lookup(as_bytes(&0u32), &mut as_bytes_mut(&mut *value)[..handle.map().value_len()], 0)? {
            Ok(Self { handle, value })
        } else {
            Err(handle.invalid("it has no element"))
        }
    }
}
