//! The loader program: the requests of a load as a step table that one BPF program executes in the kernel.
//!
//! [`TableBuilder`] writes a table, whose format is in [`skelgen_abi::loader`]. The program is the same for every table
//! except for the size of the value. [`lower`] writes the table of a plan; only it, and what it uses, knows plans.

#[cfg(test)]
mod assemble;
mod attr;
mod check;
mod host;
mod lower;
mod object;
mod program;
mod refused;
mod table;

pub use check::compare;
pub use lower::{Lowered, lower};
pub use object::with_loader;
pub use program::{HASH_SIZE, LoopProgram, loader_program, loop_program, map_check};
pub use table::{Copied, HeaderField, Label, Place, Slot, Source, StepIndex, Table, TableBuilder, TableError};
