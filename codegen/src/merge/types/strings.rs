//! The strings of all inputs, each with one number.

use std::collections::HashMap;

use crate::btf::{Btf, StringRef};

/// A string that has no number yet.
const NONE: u32 = u32::MAX;

/// The number of the empty string.
pub(super) const EMPTY: u32 = 0;

/// The distinct strings, by the order of their first use. The first is empty.
#[derive(Debug)]
pub(super) struct Strings<'a> {
    numbers: HashMap<&'a str, u32>,
    texts: Vec<&'a str>,
    /// By number: the reference in the result, for the strings that it has.
    references: Vec<Option<StringRef>>,
}

impl<'a> Strings<'a> {
    pub(super) fn new() -> Self {
        let mut this = Self { numbers: HashMap::new(), texts: Vec::new(), references: Vec::new() };
        this.number("");
        this
    }

    fn number(&mut self, text: &'a str) -> u32 {
        let new = u32::try_from(self.texts.len()).unwrap_or(NONE);
        let number = *self.numbers.entry(text).or_insert(new);
        if number == new {
            self.texts.push(text);
            self.references.push(None);
        }
        number
    }

    pub(super) fn text(&self, number: u32) -> &'a str {
        self.texts[number as usize]
    }

    /// Returns the number of strings.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Returns the reference to a string in the result, to which it is added once.
    pub(super) fn add(&mut self, table: &mut Btf, text: &'a str) -> StringRef {
        let number = self.number(text) as usize;
        *self.references[number].get_or_insert_with(|| match text {
            "" => StringRef(0),
            text => table.append_string(text),
        })
    }
}

/// The numbers of the strings of one input, by offset. Looking up the text of every use would take most of the time.
#[derive(Debug)]
pub(super) struct Numbers<'a> {
    input: &'a Btf,
    by_offset: Vec<u32>,
}

impl<'a> Numbers<'a> {
    pub(super) fn new(input: &'a Btf) -> Self {
        Self { input, by_offset: vec![NONE; input.strings_len()] }
    }

    /// Returns the number of a string, which may be new.
    pub(super) fn add(&mut self, string: StringRef, strings: &mut Strings<'a>) -> u32 {
        let number = &mut self.by_offset[string.0 as usize];
        if *number == NONE {
            *number = strings.number(self.input.str(string));
        }
        *number
    }

    /// Returns the number of a string, which has been added.
    pub(super) fn of(&self, string: StringRef) -> u32 {
        self.by_offset[string.0 as usize]
    }
}
