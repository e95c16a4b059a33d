//! BTF from its bytes.
