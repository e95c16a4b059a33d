//! Plain data, and memory that is shared with programs.
