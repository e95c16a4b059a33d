//! A section of global data before it is loaded.
//!
//! Before the load, the section is ordinary memory of this process, accessed by plain references. The object's bytes
//! are copied on the first access.
//!
//! # Safety
//! A value is created from zeroed memory of its own layout and then partly overwritten: every bit pattern is a value of
//! a plain type.
#![allow(unsafe_code, reason = "values in zeroed memory; see `# Safety`")]

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use super::plain::{Plain, as_bytes, as_bytes_mut, holds};
use crate::abi;

/// The initial value of a section of global data, read and changed before the object is loaded. It dereferences to the
/// section's struct.
///
/// ```
/// use skelgen_runtime::Initial;
///
/// /// Sets the second of two variables of a section. In a skeleton they have names: `open.rodata_mut().pid = 42`.
/// fn choose(rodata: &mut Initial<[u32; 2]>, pid: u32) {
///     rodata[1] = pid;
/// }
/// ```
pub struct Initial<T: Plain> {
    object: &'static abi::Object,
    map: u32,
    value: OnceLock<Box<T>>,
    changed: bool,
}

impl<T: Plain> Initial<T> {
    /// Creates the initial value of the map with this index.
    ///
    /// # Panics
    /// If the object has no such map or its value has a different size than `T`: the generated code is inconsistent.
    #[doc(hidden)]
    #[must_use]
    pub fn new(object: &'static abi::Object, map_index: u32) -> Self {
        let map = map(object, map_index);
        assert!(
            map.is_some_and(|map| usize::try_from(map.value_size).is_ok_and(holds::<T>)),
            "the value of map {map_index} of object `{}` does not have {} bytes",
            object.name,
            size_of::<T>()
        );
        Self { object, map: map_index, value: OnceLock::new(), changed: false }
    }

    /// Returns a reference to the value.
    #[must_use]
    pub fn get(&self) -> &T {
        self.value.get_or_init(|| self.read())
    }

    /// Returns a mutable reference to the value.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut T {
        self.changed = true;
        let value = self.value.take().unwrap_or_else(|| self.read());
        self.value = OnceLock::from(value);
        match self.value.get_mut() {
            Some(value) => value,
            None => unreachable!("the value was just set"),
        }
    }

    /// Returns whether the value was borrowed mutably.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// Returns the bytes to initialize the map with, or `None` if they are the bytes that the object defines.
    pub(crate) fn into_bytes(self) -> Option<InitialBytes> {
        let len = map(self.object, self.map).and_then(|map| usize::try_from(map.value_size).ok())?;
        let value = self.value.into_inner().filter(|_| self.changed)?;
        Some(InitialBytes { value: Box::new(Value(value)), len })
    }

    fn read(&self) -> Box<T> {
        initial(self.object, self.map)
    }
}

impl<T: Plain> Deref for Initial<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.get()
    }
}

impl<T: Plain> DerefMut for Initial<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.get_mut()
    }
}

impl<T: Plain> fmt::Debug for Initial<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = map(self.object, self.map).map_or("", |map| &map.name);
        f.debug_struct("Initial").field("section", &name).field("changed", &self.changed).finish_non_exhaustive()
    }
}

/// The bytes of a changed section.
pub(crate) struct InitialBytes {
    value: Box<dyn AsRef<[u8]> + Send + Sync>,
    /// The size of the map's value in bytes. The Rust struct can be larger: it ends with padding to its alignment, the
    /// section does not.
    len: usize,
}

impl AsRef<[u8]> for InitialBytes {
    fn as_ref(&self) -> &[u8] {
        let bytes = (*self.value).as_ref();
        &bytes[..self.len.min(bytes.len())]
    }
}

impl fmt::Debug for InitialBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InitialBytes({} bytes)", self.as_ref().len())
    }
}

/// A value of an erased type.
struct Value<T>(Box<T>);

impl<T: Plain> AsRef<[u8]> for Value<T> {
    fn as_ref(&self) -> &[u8] {
        as_bytes(&*self.0)
    }
}

fn map(object: &'static abi::Object, index: u32) -> Option<&'static abi::Map> {
    object.maps.get(usize::try_from(index).ok()?)
}

/// Creates the section's initial value from the object: the bytes in the blob, then zeros.
fn initial<T: Plain>(object: &'static abi::Object, index: u32) -> Box<T> {
    let mut value = zeroed_box::<T>();
    let span = map(object, index).and_then(|map| map.section).map_or(abi::Span::EMPTY, |section| section.initial);
    let bytes = object.bytes(span).unwrap_or_default();
    if let Some(into) = as_bytes_mut(&mut *value).get_mut(..bytes.len()) {
        into.copy_from_slice(bytes);
    }
    value
}

/// Returns a value of zeros on the heap. A large value consists of fresh pages, which use no memory until they are
/// accessed.
pub(crate) fn zeroed_box<T: Plain>() -> Box<T> {
    let layout = Layout::new::<T>();
    if layout.size() == 0 {
        // SAFETY: a box of a zero-sized type owns no memory, and a value of the type has no bytes.
        return unsafe { Box::from_raw(std::ptr::NonNull::<T>::dangling().as_ptr()) };
    }
    // SAFETY: the layout is not of size zero.
    let memory = unsafe { alloc_zeroed(layout) };
    if memory.is_null() {
        handle_alloc_error(layout);
    }
    // SAFETY: allocated by the global allocator with the layout of a `T`, and zero bytes are a value of it.
    unsafe { Box::from_raw(memory.cast()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uapi::MapType;

    const fn section(value_size: u32, len: u32) -> abi::Map {
        let section = abi::Section { kind: abi::SectionKind::Data, initial: abi::Span::new(1, len), align: 8 };
        let map = abi::Map::new(".data", MapType::ARRAY).kernel_name("x.data").section(Some(section));
        map.key_size(4).value_size(value_size).max_entries(1)
    }

    static BLOB: abi::Blob<[u8; 5]> = abi::Blob([9, 1, 2, 3, 4]);
    static MAPS: [abi::Map; 2] = [section(8, 4), section(16 << 20, 0)];
    static OBJECT: abi::Object = abi::Object::new("x", c"GPL", &BLOB.0).maps(&MAPS);

    #[test]
    fn reads_and_changes() {
        let mut data = Initial::<[u8; 8]>::new(&OBJECT, 0);
        assert_eq!(data.get(), &[1, 2, 3, 4, 0, 0, 0, 0]);
        assert!(!data.is_changed());
        data.get_mut()[7] = 5;
        assert!(data.is_changed());
        assert_eq!(data.get(), &[1, 2, 3, 4, 0, 0, 0, 5]);
        assert_eq!(data.into_bytes().unwrap().as_ref(), [1, 2, 3, 4, 0, 0, 0, 5]);
    }

    #[test]
    fn what_is_not_changed_is_not_copied() {
        let data = Initial::<[u8; 8]>::new(&OBJECT, 0);
        let _ = data.get();
        assert!(data.into_bytes().is_none());
    }

    #[test]
    fn large_values_never_pass_through_the_stack() {
        std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(|| {
                let mut bss = Initial::<[u64; 2 << 20]>::new(&OBJECT, 1);
                bss.get_mut()[1 << 20] = 1;
                assert_eq!(bss.into_bytes().unwrap().as_ref().len(), 16 << 20);
            })
            .unwrap()
            .join()
            .unwrap();
    }

    #[test]
    #[should_panic(expected = "does not have 4 bytes")]
    fn sizes_must_agree() {
        let _ = Initial::<u32>::new(&OBJECT, 0);
    }
}
