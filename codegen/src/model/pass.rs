//! The result of a pass over an object: a value, the diagnostics, and the refused items.
//!
//! A pass receives the complete results of earlier passes. One function (`build.rs`) calls the passes, and its order is
//! the order of the diagnostics.

use super::refused::Refused;
use crate::error::{Diagnostic, Reporter};

/// The value of a pass with its diagnostics and refused items.
pub(super) struct Pass<T> {
    value: T,
    notes: Notes,
}

/// The diagnostics of an object, and the items that are refused because of them.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) refused: Refused,
    pub(super) reporter: Reporter,
}

impl<T> Pass<T> {
    /// Returns whether a diagnostic was reported.
    pub(super) fn reported(&self) -> bool {
        !self.notes.reporter.is_empty()
    }
}

impl Notes {
    /// Adds a diagnostic.
    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.reporter.report(diagnostic);
    }

    /// Ends a pass with its value.
    pub(super) fn with<T>(self, value: T) -> Pass<T> {
        Pass { value, notes: self }
    }

    /// Adds the diagnostics and refused items of a later pass, and returns its value.
    pub(super) fn join<T>(&mut self, pass: Pass<T>) -> T {
        self.refused.extend(pass.notes.refused);
        self.reporter.take(pass.notes.reporter.finish(()));
        pass.value
    }
}
