//! The loader program: the requests of a load as a step table that one BPF program executes in the kernel.
//!
//! [`TableBuilder`] writes a table, whose format is in [`skelgen_abi::loader`]. The program is the same for every table
//! except for the size of the value. This module does not know plans or objects.

#[cfg(test)]
mod assemble;
mod program;
mod table;

pub use program::{HASH_SIZE, loader_program, map_check};
pub use table::{Copied, HeaderField, Label, Place, Slot, Source, StepIndex, Table, TableBuilder, TableError};
