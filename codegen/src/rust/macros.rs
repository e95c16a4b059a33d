//! What prettyplease leaves undone: the bodies of our own macros, in which a reader of the generated file looks things up, and empty
//! lines between items.
//!
//! The macros are text from the beginning, a line at a time: as tokens they would take most of the memory of a large type.

use std::fmt::Display;

use super::doc::Doc;
use super::text::Text;
use crate::error::Result;

/// Where lines end that hold several things.
const COLUMNS: usize = 100;

/// What an item begins with that stands apart from the one before; the layout of a type stays with it.
const ITEMS: [&str; 8] = ["///", "#[", "pub ", "impl", "fn ", "static ", "const ", "rt::open_enum!"];

/// The text with its items apart.
pub(super) fn lay_out(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut before = "";
    for line in text.lines() {
        if is_apart(before, line) {
            out.push('\n');
        }
        out.push_str(line);
        out.push('\n');
        before = line;
    }
    out
}

/// Whether an empty line stands between these two.
pub(super) fn is_apart(before: &str, line: &str) -> bool {
    before.trim_start() == "}" && ITEMS.iter().any(|item| line.trim_start().starts_with(item))
}

/// `layout!`: a line for each field, of its offset, name and type.
pub(super) fn layout(
    text: &mut Text<'_>,
    (name, size, align): (impl Display, u64, u64),
    fields: impl Iterator<Item = (u64, impl Display, impl Display)>,
) -> Result<()> {
    text.open(format_args!("rt::layout! {{"))?;
    text.line(format_args!("{name}: size {size}, align {align};"))?;
    for (offset, field, ty) in fields {
        text.line(format_args!("{offset} => {field}: {ty},"))?;
    }
    text.close("}")
}

/// `show!`: fields and calls of getters, as many as there is room for in a line.
pub(super) fn show(text: &mut Text<'_>, name: impl Display, shown: impl Iterator<Item = String>) -> Result<()> {
    text.open(format_args!("rt::show! {{"))?;
    let mut line = format!("{name}:");
    let mut shown = shown.peekable();
    while let Some(one) = shown.next() {
        if line.len() + one.len() + 6 > COLUMNS {
            text.line(format_args!("{line}"))?;
            line = String::from("   ");
        }
        line.push(' ');
        line.push_str(&one);
        if shown.peek().is_some() {
            line.push(',');
        }
    }
    text.line(format_args!("{line}"))?;
    text.close("}")
}

/// `open_enum!`: a line for each value.
pub(super) fn open_enum(
    text: &mut Text<'_>,
    doc: &[Doc],
    (name, number): (impl Display, impl Display),
    values: impl Iterator<Item = (String, impl Display)>,
) -> Result<()> {
    text.item_begins()?;
    text.open(format_args!("rt::open_enum! {{"))?;
    for line in doc {
        text.line(format_args!("///{line}"))?;
    }
    text.open(format_args!("{name}: {number} {{"))?;
    for (value, literal) in values {
        text.line(format_args!("{value} = {literal},"))?;
    }
    text.close("}")?;
    text.close("}")
}

#[cfg(test)]
mod tests {
    use quote::{format_ident, quote};

    use super::*;

    fn written(write: impl FnOnce(&mut Text<'_>) -> Result<()>) -> String {
        let mut out = String::new();
        write(&mut Text::new(&mut out)).expect("a string takes all");
        out
    }

    #[test]
    fn one_thing_a_line() {
        let text = written(|text| {
            layout(text, ("Pair", 16, 8), [(0, "r#type", "[[u8; 4]; 2]"), (8, "odd", "u64")].into_iter())?;
            show(text, "packed Pair", ["r#type", "odd()"].map(str::to_owned).into_iter())?;
            open_enum(
                text,
                &[Doc::new(" `enum a : b`")],
                ("mode", "i32"),
                [("BELOW".to_owned(), -1), ("ABOVE".to_owned(), 1)].into_iter(),
            )?;
            layout(text, ("Nothing", 0, 1), std::iter::empty::<(u64, &str, &str)>())?;
            show(text, "Nothing", std::iter::empty())
        });
        let expected = "\
rt::layout! {
    Pair: size 16, align 8;
    0 => r#type: [[u8; 4]; 2],
    8 => odd: u64,
}
rt::show! {
    packed Pair: r#type, odd()
}

rt::open_enum! {
    /// `enum a : b`
    mode: i32 {
        BELOW = -1,
        ABOVE = 1,
    }
}
rt::layout! {
    Nothing: size 0, align 1;
}
rt::show! {
    Nothing:
}
";
        assert_eq!(text, expected);
    }

    #[test]
    fn long_lines_are_broken() {
        let fields: Vec<String> = (0..40).map(|number| format!("field_{number}")).collect();
        let text = written(|text| show(text, "Long", fields.iter().cloned()));
        assert!(text.lines().count() > 5 && text.lines().all(|line| line.len() <= 100), "{text}");
        assert!(fields.iter().all(|field| text.contains(field.as_str())));
    }

    #[test]
    fn items_in_parts_are_as_those_at_once() {
        let methods = |count: usize| {
            (0..count).map(|number| {
                let name = format_ident!("method_{number}");
                quote!(#[doc = " One."] #[must_use] pub fn #name(&self) -> u32 { call(self, #number) as u32 })
            })
        };
        let fields = |count: usize| {
            (0..count).map(|number| {
                let name = format_ident!("field_{number}");
                quote!(#[doc = " One."] pub #name: [u8; #number])
            })
        };
        let doc = [" Doc.", " More."].map(Doc::new);
        for count in [0, 1, 7, 8, 9, 16, 17, 100] {
            for depth in 0..2 {
                let write = |parts: bool| {
                    written(|text| {
                        if depth > 0 {
                            text.open(format_args!("mod deeper {{"))?;
                        }
                        let item = |all: &[proc_macro2::TokenStream]| quote!(impl<'a> Some<'a> { #(#all)* });
                        let other = |all: &[proc_macro2::TokenStream]| quote!(pub struct It { #(#all),* });
                        if parts {
                            text.item_of_parts(&doc, methods(count), item)?;
                            text.item_of_parts(&doc, fields(count), other)
                        } else {
                            let (item, other) =
                                (item(&methods(count).collect::<Vec<_>>()), other(&fields(count).collect::<Vec<_>>()));
                            text.items(quote!(#[doc = " Doc."] #[doc = " More."] #item))?;
                            text.items(quote!(#[doc = " Doc."] #[doc = " More."] #other))
                        }
                    })
                };
                assert_eq!(write(true), write(false), "{count}");
            }
        }
    }
}
