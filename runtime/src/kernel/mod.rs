//! What the running kernel is: its BTF, its CPUs, its features.

pub(crate) mod arena;
pub(crate) mod btf;
pub(crate) mod causes;
pub(crate) mod features;
pub(crate) mod jit;
pub(crate) mod kallsyms;
pub(crate) mod kconfig;
pub(crate) mod percpu;
pub(crate) mod probe;
pub mod token;
pub(crate) mod types;

pub use crate::sys::cpus;
