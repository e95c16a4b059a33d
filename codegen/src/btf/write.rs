//! BTF to its bytes.
