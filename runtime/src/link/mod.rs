//! Attached programs.
