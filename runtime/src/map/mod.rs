//! Typed handles of maps.
