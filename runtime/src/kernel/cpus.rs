//! The possible CPUs of the running kernel.
