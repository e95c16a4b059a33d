//! The limits of a header. Types can repeat other types many times, and C sets no limit to their nesting, so without
//! limits a small table could require a header of any size.
//!
//! A definition is limited by the number of types that it spells, and a header by the size of its table: the text of a
//! kernel's header is half as long as its BTF. This module does not know what is written.

use crate::btf::Btf;

/// The maximum number of types that one definition spells. A compiler writes a few thousand.
const DEFINITION: u32 = 1 << 18;

/// The maximum nesting of types without a name and of parameter lists.
const DEPTH: usize = 128;

/// The maximum number of pointers, arrays and parameter lists around one name. C requires 12 of a compiler.
const DERIVED: usize = 64;

/// The remaining amounts of each limit.
#[derive(Debug)]
pub(super) struct Budget {
    /// The number of types that the definition can still spell.
    types: u32,
    /// The number of bytes that can still be added to the header.
    bytes: u64,
    /// The current nesting.
    depth: usize,
    exceeded: bool,
}

impl Budget {
    /// Returns the budget of a header.
    pub(super) fn new(btf: &Btf) -> Self {
        Self { types: DEFINITION, bytes: most(btf), depth: 0, exceeded: false }
    }

    /// Begins a definition or a declaration.
    pub(super) fn begin(&mut self) {
        self.types = DEFINITION;
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.exceeded
    }

    /// Returns the current nesting.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Takes one type from the budget, which is inside this many pointers, arrays and parameter lists. Returns `false` if
    /// a limit is exceeded.
    pub(super) fn spell(&mut self, derived: usize) -> bool {
        self.exceeded |= self.types == 0 || derived > DERIVED;
        self.types = self.types.saturating_sub(1);
        !self.exceeded
    }

    /// Takes the bytes of a text from the budget, and returns the text.
    pub(super) fn text(&mut self, text: String) -> String {
        self.bytes(text.len());
        text
    }

    /// Takes this many bytes from the budget.
    pub(super) fn bytes(&mut self, count: usize) {
        let left = self.bytes.checked_sub(count as u64);
        self.exceeded |= left.is_none();
        self.bytes = left.unwrap_or(0);
    }

    /// Begins a line of a nested type.
    pub(super) fn line(&mut self) {
        self.bytes(self.depth + 1);
    }

    /// Enters a nested type or parameter list. Returns `false` if a limit is exceeded.
    pub(super) fn enter(&mut self) -> bool {
        self.depth += 1;
        self.exceeded |= self.depth > DEPTH;
        !self.exceeded
    }

    /// Leaves the nested type or parameter list that [`Budget::enter`] entered.
    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }
}

/// Returns the maximum number of bytes of a header, and of types that finding its order visits.
pub(super) fn most(btf: &Btf) -> u64 {
    (1 << 20) + 8 * btf.weight()
}
