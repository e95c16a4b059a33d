//! Members of structs in shared memory.

use super::cell::Cell;
use super::plain::Plain;

/// Structs and unions whose members can be reached in shared memory. Generated code implements it.
///
/// ```
/// use skelgen_runtime::{Cell, data::Fields};
///
/// #[derive(Clone, Copy)]
/// #[repr(C)]
/// struct Point { x: u32, y: u32 }
/// skelgen_runtime::layout! { Point: size 8, align 4; 0 => x: u32, 4 => y: u32 }
///
/// struct PointCells<'a>(Cell<'a, Point>);
/// impl<'a> PointCells<'a> {
///     fn y(self) -> Cell<'a, u32> { self.0.field(4) }
/// }
/// impl Fields for Point {
///     type Cells<'a> = PointCells<'a>;
///     fn fields(cell: Cell<'_, Self>) -> PointCells<'_> { PointCells(cell) }
/// }
///
/// fn lower(point: Cell<'_, Point>) {
///     point.fields().y().fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
/// }
/// ```
pub trait Fields: Plain {
    /// A cell for each member.
    type Cells<'a>;

    /// The members of the struct at this place.
    fn fields(cell: Cell<'_, Self>) -> Self::Cells<'_>;
}

impl<'a, T: Fields> Cell<'a, T> {
    /// The members, each a cell of its own: to change one and leave alone what programs do with the others.
    #[must_use]
    pub fn fields(self) -> T::Cells<'a> {
        T::fields(self)
    }
}
