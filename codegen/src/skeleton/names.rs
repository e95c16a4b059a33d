//! Rust names from C names and section names.

use std::collections::BTreeSet;

/// Words that are no identifiers in edition 2024, strict and reserved.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else", "enum",
    "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move",
    "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Words that not even a raw identifier can be.
const NEVER: &[&str] = &["self", "Self", "super", "crate", "_", ""];

/// The names that are taken in one place.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    taken: BTreeSet<String>,
}

impl Scope {
    /// Takes the name, or the first free one with a number at the end.
    pub fn claim(&mut self, name: &str) -> String {
        let name = (1u32..)
            .map(|number| if number == 1 { name.to_owned() } else { format!("{name}_{number}") })
            .find(|name| !self.taken.contains(name))
            .unwrap_or_default();
        self.taken.insert(name.clone());
        name
    }
}

/// An identifier that keeps the name: what an identifier may not hold becomes `_`, keywords become raw.
///
/// ```
/// use skelgen::skeleton::field_name;
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

/// A type's name in Rust's own style, for what has no name in C.
///
/// ```
/// assert_eq!(skelgen::skeleton::type_name("data.my_part"), "DataMyPart");
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
