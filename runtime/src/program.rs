//! Handles of loaded programs.
