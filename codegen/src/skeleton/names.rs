//! Conversion of C names and section names to Rust names.

use std::collections::BTreeMap;

/// Strict and reserved keywords of edition 2024.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else", "enum",
    "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move",
    "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Keywords that cannot be raw identifiers.
const NEVER: &[&str] = &["self", "Self", "super", "crate", "_", ""];

/// Type names that Rust or the generated file uses.
const TYPES: &[&str] = &[
    "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "rt", "str", "u8", "u16", "u32", "u64",
    "u128", "usize", "Default", "cells",
    // The parameters of methods that the runtime's macros define: a tuple struct with one of these names would shadow
    // them.
    "__value", "__other", "__state", "__f", "__cell", "__bits", "__count",
];

/// The names that one scope uses.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The used names, each with the next suffix to try.
    taken: BTreeMap<String, u32>,
}

impl Scope {
    /// Reserves the name, or the name with the first number as suffix that makes it free.
    pub fn claim(&mut self, name: &str) -> String {
        self.claim_with(name, |_| Vec::new()).0
    }

    /// Reserves a name and the name that `other` derives from it, with the first number as suffix for which both are
    /// free.
    pub fn claim_pair(&mut self, name: &str, other: impl Fn(&str) -> String) -> (String, String) {
        let (name, others) = self.claim_with(name, |name| vec![other(name)]);
        (name, others.into_iter().next().unwrap_or_default())
    }

    /// Reserves a name and its variants with these endings, with the first number as suffix for which all are free.
    pub fn claim_with_endings(&mut self, name: &str, endings: &[&str]) -> String {
        let others =
            |name: &str| endings.iter().map(|ending| format!("{}{ending}", name.trim_start_matches("r#"))).collect();
        self.claim_with(name, others).0
    }

    fn claim_with(&mut self, name: &str, others: impl Fn(&str) -> Vec<String>) -> (String, Vec<String>) {
        let mut number = self.taken.get(name).copied().unwrap_or(1);
        let (found, others) = loop {
            let wanted = if number == 1 { name.to_owned() } else { format!("{name}_{number}") };
            let others = others(&wanted);
            let is_free = |name: &String| !self.taken.contains_key(name);
            if std::iter::once(&wanted).chain(&others).all(is_free) {
                break (wanted, others);
            }
            number = number.saturating_add(1);
        };
        self.taken.insert(name.to_owned(), number.saturating_add(1));
        for name in std::iter::once(&found).chain(&others) {
            self.taken.entry(name.clone()).or_insert(1);
        }
        (found, others)
    }
}

/// Returns an identifier for a name: replaces invalid characters by `_`, and makes keywords raw.
///
/// ```
/// use skelgen::unstable::skeleton::field_name;
/// assert_eq!(field_name("data.custom"), "data_custom");
/// assert_eq!(field_name("type"), "r#type");
/// assert_eq!(field_name("self"), "self_");
/// assert_eq!(field_name("2nd"), "_2nd");
/// ```
#[must_use]
pub fn field_name(name: &str) -> String {
    let mut text: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        text.insert(0, '_');
    }
    if NEVER.contains(&text.as_str()) {
        text.push('_');
        if text == "_" {
            text.push('_');
        }
    }
    if KEYWORDS.contains(&text.as_str()) { format!("r#{text}") } else { text }
}

/// Returns an identifier for a C type: replaces invalid characters by `_`, and appends `_` to names that Rust uses.
/// Does not add `r#` to keywords, so that the name can be part of a longer name.
///
/// ```
/// use skelgen::unstable::skeleton::type_ident;
/// assert_eq!(type_ident("task_struct"), "task_struct");
/// assert_eq!(type_ident("u32"), "u32_");
/// assert_eq!(type_ident("loop"), "loop");
/// assert_eq!(type_ident("Key_3C__5B_u8_3B__20_4_5D__3E_"), "Key_u8_4", "`Key<[u8; 4]>`, as bpf-linker writes it");
/// ```
#[must_use]
pub fn type_ident(name: &str) -> String {
    let mut text = field_name(&without_escapes(name));
    if TYPES.contains(&text.as_str()) {
        text.push('_');
    }
    text.trim_start_matches("r#").to_owned()
}

/// Removes bpf-linker's escapes from the name of a generic Rust type: `_3C_` for `<`, and likewise for other characters
/// that C names cannot contain. A sequence of escapes becomes one `_`.
fn without_escapes(name: &str) -> String {
    if !(name.contains("_3C_") && name.ends_with("_3E_")) {
        return name.to_owned();
    }
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let number = match rest.as_bytes() {
            [b'_', _, _, b'_', ..] => rest.get(1..3).and_then(|number| u8::from_str_radix(number, 16).ok()),
            _ => None,
        };
        match number {
            Some(number) if number.is_ascii() && !number.is_ascii_alphanumeric() => {
                if !text.ends_with('_') {
                    text.push('_');
                }
                rest = &rest[4..];
            }
            _ => {
                text.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    text.trim_end_matches('_').to_owned()
}

/// Returns a type name in Rust's style, for items without a C type name.
///
/// ```
/// assert_eq!(skelgen::unstable::skeleton::type_name("data.my_part"), "DataMyPart");
/// ```
#[must_use]
pub fn type_name(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let text: String = words
        .map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_ascii_uppercase() + rest
        })
        .collect();
    if text.starts_with(|c: char| c.is_ascii_digit()) || NEVER.contains(&text.as_str()) {
        format!("Section{text}")
    } else {
        text
    }
}
