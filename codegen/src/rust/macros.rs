//! Calls of the runtime's macros that define types: `c_struct!`, `cells!` and `open_enum!`, with a line for each
//! member.
//!
//! The calls are written as text, because tokens would take most of the memory of a large type. This module knows the
//! macros' grammar (`runtime/src/skeleton/types.rs`), not the layout of types.

use std::fmt::Display;

use super::doc::Doc;
use super::text::Text;
use crate::error::Result;

/// The maximum number of columns of lines with several items.
const COLUMNS: usize = 100;

/// A member with accessors instead of a field: a bitfield, or a member of a union.
pub(super) struct Accessed {
    pub(super) doc: Doc,
    /// The names of the getter and the setter.
    pub(super) names: (String, String),
    pub(super) ty: String,
}

/// A bitfield: its first bit, its number of bits, and its accessors.
pub(super) type Bits = (u64, u8, Accessed);

/// Writes the documentation of a struct.
pub(super) fn docs(text: &mut Text<'_>, docs: &[Doc]) -> Result<()> {
    docs.iter().try_for_each(|line| text.line(format_args!("///{line}")))
}

/// Writes a field of a struct or a cell.
pub(super) fn field(text: &mut Text<'_>, doc: &Doc, offset: u64, name: &str, ty: impl Display) -> Result<()> {
    text.line(format_args!("///{doc}"))?;
    text.line(format_args!("{offset} => {name}: {ty},"))
}

/// Writes a padding field, which the documentation hides.
pub(super) fn hidden(text: &mut Text<'_>, offset: u64, name: &str, ty: impl Display) -> Result<()> {
    text.line(format_args!("#[doc(hidden)] {offset} => {name}: {ty},"))
}

/// Writes the block `bits { … }`; nothing if there are no bitfields.
pub(super) fn bits(text: &mut Text<'_>, bits: impl Iterator<Item = Bits>) -> Result<()> {
    block(text, "bits", bits, |text, (first, count, member)| accessed(text, format_args!("{first}, {count}"), &member))
}

/// Writes the block `members { … }` with the offsets; nothing if there are no members.
pub(super) fn members(text: &mut Text<'_>, members: impl Iterator<Item = (u64, Accessed)>) -> Result<()> {
    block(text, "members", members, |text, (offset, member)| accessed(text, offset, &member))
}

fn accessed(text: &mut Text<'_>, position: impl Display, member: &Accessed) -> Result<()> {
    let Accessed { doc, names: (get, set), ty } = member;
    text.line(format_args!("///{doc}"))?;
    text.line(format_args!("{position} => {get}, {set}: {ty},"))
}

fn block<T>(
    text: &mut Text<'_>,
    name: &str,
    members: impl Iterator<Item = T>,
    mut member: impl FnMut(&mut Text<'_>, T) -> Result<()>,
) -> Result<()> {
    let mut members = members.peekable();
    if members.peek().is_none() {
        return Ok(());
    }
    text.open(format_args!("{name} {{"))?;
    for one in members {
        member(text, one)?;
    }
    text.close("}")
}

/// Writes the block `debug { … }`: the fields and getters that `Debug` shows, as many as fit on a line.
pub(super) fn debug(text: &mut Text<'_>, shown: impl Iterator<Item = String>) -> Result<()> {
    text.open(format_args!("debug {{"))?;
    let mut line = String::new();
    let mut shown = shown.peekable();
    while let Some(one) = shown.next() {
        if !line.is_empty() && line.len() + one.len() + 6 > COLUMNS {
            text.line(format_args!("{}", line.trim_end()))?;
            line.clear();
        }
        line.push_str(&one);
        line.push_str(if shown.peek().is_some() { ", " } else { "" });
    }
    text.line(format_args!("{line}"))?;
    text.close("}")
}

/// Writes `open_enum!` with a line for each value.
pub(super) fn open_enum(
    text: &mut Text<'_>,
    doc: &[Doc],
    (name, number): (impl Display, impl Display),
    values: impl Iterator<Item = (String, impl Display)>,
) -> Result<()> {
    text.begin_item()?;
    text.open(format_args!("rt::open_enum! {{"))?;
    docs(text, doc)?;
    text.open(format_args!("{name}: {number} {{"))?;
    for (value, literal) in values {
        text.line(format_args!("{value} = {literal},"))?;
    }
    text.close("}")?;
    text.close("}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Text<'_>) -> Result<()>) -> String {
        let mut out = String::new();
        write(&mut Text::new(&mut out)).expect("a string accepts all text");
        out
    }

    #[test]
    fn one_item_per_line() {
        let member = |name: &str| Accessed {
            doc: Doc::new(format_args!(" `u32 {name}`")),
            names: (name.to_owned(), format!("set_{name}")),
            ty: "u32".to_owned(),
        };
        let text = written(|text| {
            bits(text, [(3, 2, member("odd"))].into_iter())?;
            members(text, [(8, member("even"))].into_iter())?;
            members(text, std::iter::empty())?;
            debug(text, ["r#type", "odd()"].map(str::to_owned).into_iter())?;
            open_enum(
                text,
                &[Doc::new(" `enum a : b`")],
                ("mode", "i32"),
                [("BELOW".to_owned(), -1), ("ABOVE".to_owned(), 1)].into_iter(),
            )
        });
        let expected = "\
bits {
    /// `u32 odd`
    3, 2 => odd, set_odd: u32,
}
members {
    /// `u32 even`
    8 => even, set_even: u32,
}
debug {
    r#type, odd()
}

rt::open_enum! {
    /// `enum a : b`
    mode: i32 {
        BELOW = -1,
        ABOVE = 1,
    }
}
";
        assert_eq!(text, expected);
    }

    #[test]
    fn long_lines_are_broken() {
        let fields: Vec<String> = (0..40).map(|number| format!("field_{number}")).collect();
        let text = written(|text| debug(text, fields.iter().cloned()));
        assert!(text.lines().count() > 5 && text.lines().all(|line| line.len() <= 100), "{text}");
        assert!(fields.iter().all(|field| text.contains(field.as_str())));
    }
}
