//! The parts of several objects in one.

pub mod types;
