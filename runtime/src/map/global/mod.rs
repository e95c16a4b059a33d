//! Handles of maps with global data: the variables of a section or of an arena, mapped into memory or read from the kernel.

mod arena;
mod frozen;
mod mapped;
mod percpu;

pub use self::arena::Arena;
pub use self::frozen::Frozen;
pub use self::mapped::{Mapped, MappedArray};
pub use self::percpu::PercpuData;
