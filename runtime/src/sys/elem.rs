//! Element operations of maps.
