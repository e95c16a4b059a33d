//! What a pass over an object returns: the value that it found, with what it reported and refused on the way.
//!
//! A pass takes what earlier passes returned and nothing that is still growing. One function (`build.rs`) joins them, so the order of
//! its lines is the order of the passes and of their diagnostics.

use super::refused::Refused;
use crate::error::{Diagnostic, Reporter};

/// The value of a pass with its notes.
pub(super) struct Pass<T> {
    value: T,
    notes: Notes,
}

/// What was reported about an object, and what of it was refused for that.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) refused: Refused,
    pub(super) reporter: Reporter,
}

impl<T> Pass<T> {
    /// Whether something was reported.
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

    /// Adds the notes of a later pass, and returns its value.
    pub(super) fn join<T>(&mut self, pass: Pass<T>) -> T {
        self.refused.extend(pass.notes.refused);
        self.reporter.take(pass.notes.reporter.finish(()));
        pass.value
    }
}
