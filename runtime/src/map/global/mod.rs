//! Handles of the maps that contain global data: variables of a section or of an arena, as memory.

mod arena;
mod frozen;
mod mapped;
mod percpu;

pub use self::arena::Arena;
pub use self::frozen::Frozen;
pub use self::mapped::{Mapped, MappedArray};
pub use self::percpu::PercpuData;
