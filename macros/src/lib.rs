//! Derive macros for the data of BPF maps; used through `skelgen_runtime` with its feature `derive`.
#![forbid(unsafe_code)]
