//! An object before it is loaded: what may still be changed.
