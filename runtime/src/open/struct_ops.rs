//! struct_ops maps before they are created.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::{OpenMap, OpenProgram};
use crate::abi;
use crate::data::{Initial, Plain};

/// A struct_ops map before it is created. It dereferences to the struct that the object declares, so that its values
/// can be changed.
///
/// Function members are not part of the struct: [`Self::set_program`] sets their program.
///
/// ```
/// use skelgen_runtime::{OpenProgram, OpenStructOps, Plain};
///
/// fn choose<T: Plain>(ops: &mut OpenStructOps<T>, select_cpu: &OpenProgram) {
///     ops.set_program("select_cpu", select_cpu).clear_program("dump");
/// }
/// ```
pub struct OpenStructOps<T: Plain> {
    map: OpenMap,
    value: Initial<T>,
}

impl<T: Plain> OpenStructOps<T> {
    /// Creates the struct_ops map with this index in `object`, with the object's settings.
    ///
    /// # Panics
    /// If the object has no map with this index or its value is not a `T`, because the generated code is inconsistent.
    #[doc(hidden)]
    #[must_use]
    pub fn new(object: &'static abi::Object, index: u32) -> Self {
        Self { map: OpenMap::new(object, index), value: Initial::new(object, index) }
    }

    /// Returns the name in the source.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.map.name()
    }

    /// Sets the program of a function member. The program must be in the same object, in a `struct_ops` section. The
    /// previous program of the member is not loaded, unless another struct_ops map uses that program. The load fails if
    /// the member does not exist.
    pub fn set_program(&mut self, member: impl Into<String>, program: &OpenProgram) -> &mut Self {
        self.map.programs.push((member.into(), Some(program.name())));
        self
    }

    /// Clears a function member, so that the kernel uses its default.
    pub fn clear_program(&mut self, member: impl Into<String>) -> &mut Self {
        self.map.programs.push((member.into(), None));
        self
    }

    /// Sets whether the map is created. If the map is not created, its programs are not loaded, except those that another
    /// struct_ops map uses.
    pub fn set_autocreate(&mut self, autocreate: bool) -> &mut Self {
        self.map.autocreate = autocreate;
        self
    }

    /// Sets whether the skeleton's `attach` registers the map.
    pub fn set_autoattach(&mut self, autoattach: bool) -> &mut Self {
        self.map.autoattach = autoattach;
        self
    }

    /// Returns the settings that all maps have.
    #[must_use]
    pub fn map(&self) -> &OpenMap {
        &self.map
    }

    /// Returns a mutable reference to the settings that all maps have.
    pub fn map_mut(&mut self) -> &mut OpenMap {
        &mut self.map
    }

    /// Returns the map with all settings.
    pub(crate) fn into_map(self) -> OpenMap {
        let Self { mut map, value } = self;
        map.value = value.into_bytes().map(|value| Box::new(value) as super::Value);
        map
    }
}

impl<T: Plain> Deref for OpenStructOps<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.get()
    }
}

impl<T: Plain> DerefMut for OpenStructOps<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Plain> fmt::Debug for OpenStructOps<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenStructOps")
            .field("map", &self.map)
            .field("programs", &self.map.programs)
            .finish_non_exhaustive()
    }
}
