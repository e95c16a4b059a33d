//! Members of structs in shared memory.

use super::cell::Cell;
use super::plain::Plain;

/// Structs and unions whose members can be accessed in shared memory. Generated files and `#[derive(MapData)]`
/// implement it.
pub trait Fields: Plain {
    /// The struct of cells, one for each member.
    type Cells<'a>;

    /// Returns the members of the struct in `cell`.
    fn fields(cell: Cell<'_, Self>) -> Self::Cells<'_>;
}

impl<'a, T: Fields> Cell<'a, T> {
    /// Returns the members, each as a cell of its own. Writing one member does not write the others, which programs may
    /// change at the same time.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "derive")]
    /// # mod example {
    /// use skelgen_runtime::{Cell, MapData};
    ///
    /// #[derive(Clone, Copy, MapData)]
    /// #[repr(C)]
    /// struct Point { x: u32, y: u32 }
    ///
    /// fn lower(point: Cell<'_, Point>) {
    ///     point.fields().y().fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn fields(self) -> T::Cells<'a> {
        T::fields(self)
    }
}
