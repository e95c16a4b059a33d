//! Memory shared with maps.
