//! What prettyplease leaves undone: the bodies of our own macros, in which a reader of the generated file looks things up and of
//! which it makes one run of words, and empty lines between items.
//!
//! Knows how prettyplease writes tokens and nothing else; text that looks otherwise stays as it is.

use std::fmt::Write as _;

/// Where lines end that hold several things.
const COLUMNS: usize = 100;

/// What an item begins with that stands apart from the one before; the layout of a type stays with it.
const ITEMS: [&str; 8] = ["///", "#[", "pub ", "impl", "fn ", "static ", "const ", "rt::open_enum!"];

/// The text with the bodies of `layout!`, `show!` and `open_enum!` one thing a line, and its items apart.
pub(super) fn lay_out(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut lines = text.lines();
    let mut after_item = false;
    while let Some(line) = lines.next() {
        let start = line.trim_start();
        if after_item && ITEMS.iter().any(|item| start.starts_with(item)) {
            out.push('\n');
        }
        after_item = start == "}";
        out.push_str(line);
        out.push('\n');
        let indent = &line[..line.len() - start.len()];
        let Some(name) = start.strip_prefix("rt::").and_then(|rest| rest.strip_suffix("! {")) else { continue };
        let inside: Vec<&str> = lines.by_ref().take_while(|line| line.trim_start() != "}").map(str::trim).collect();
        let before = out.len();
        if (Body { out: &mut out, indent }).write(name, &spaced(&inside.join(" "))).is_none() {
            out.truncate(before);
            inside.iter().for_each(|line| Body { out: &mut out, indent }.line(1, line));
        }
        out.push_str(indent);
        out.push_str("}\n");
        after_item = true;
    }
    out
}

/// Tokens with the spaces that people write, but for what is in quotes.
fn spaced(tokens: &str) -> String {
    let part = |(index, part): (usize, &str)| {
        let spaced = || {
            let part = part.replace(" : ", ": ").replace(" < ", "<").replace(" >", ">").replace("= - ", "= -");
            // A macro's last colon has nothing behind it.
            part.strip_suffix(" :").map(|start| format!("{start}:")).unwrap_or(part)
        };
        if index % 2 == 0 { spaced() } else { format!("\"{part}\"") }
    };
    tokens.split('"').enumerate().map(part).collect()
}

struct Body<'o> {
    out: &'o mut String,
    indent: &'o str,
}

impl Body<'_> {
    /// The body of the macro of this name; `None` if it is not of its form.
    fn write(&mut self, name: &str, text: &str) -> Option<()> {
        match name {
            "layout" => self.layout(text),
            "show" => self.show(text),
            "open_enum" => self.open_enum(text),
            _ => None,
        }
    }

    fn line(&mut self, depth: usize, text: &str) {
        let _ = writeln!(self.out, "{}{:width$}{text}", self.indent, "", width = 4 * depth);
    }

    /// `NAME: size 8, align 8; 0 => FIELD: TYPE, …`
    fn layout(&mut self, text: &str) -> Option<()> {
        let (head, fields) = text.split_once(';')?;
        self.line(1, &format!("{head};"));
        parts(fields).for_each(|field| self.line(1, &format!("{field},")));
        Some(())
    }

    /// `NAME: FIELD, GETTER(), …`
    fn show(&mut self, text: &str) -> Option<()> {
        let (head, fields) = text.split_once(':')?;
        let mut line = format!("{head}:");
        for field in parts(fields) {
            if self.indent.len() + line.len() + field.len() + 6 > COLUMNS {
                self.line(1, &line);
                line = String::from("   ");
            }
            let _ = write!(line, " {field},");
        }
        self.line(1, line.trim_end_matches(','));
        Some(())
    }

    /// `#[doc = " …"] NAME: u32 { VALUE = 1, … }`
    fn open_enum(&mut self, text: &str) -> Option<()> {
        let (doc, rest) = text.strip_prefix("#[doc = \"")?.split_once("\"] ")?;
        let (head, values) = rest.split_once('{')?;
        if doc.contains('\\') {
            return None;
        }
        self.line(1, &format!("///{doc}"));
        self.line(1, &format!("{head}{{"));
        parts(values.strip_suffix('}')?).for_each(|value| self.line(2, &format!("{value},")));
        self.line(1, "}");
        Some(())
    }
}

/// What stands between commas, those in brackets left out.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let (mut depth, mut before) = (0_u32, ' ');
    let parts = text.split(move |c| {
        match c {
            '[' | '(' | '<' => depth += 1,
            ']' | ')' => depth = depth.saturating_sub(1),
            '>' if before != '=' => depth = depth.saturating_sub(1),
            _ => {}
        }
        before = c;
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::lay_out;

    #[test]
    fn one_thing_a_line() {
        let text = "\
fn before() {}
    rt::layout! {
        Pair : size 16, align 8; 0 => r#type : [[u8; 4]; 2], 8 => odd : rt::Unaligned <
        types::pair >
    }
    rt::show! {
        packed Pair : r#type, odd()
    }
rt::open_enum! {
    #[doc = \" `enum a : b`, 4 bytes\"] mode : i32 { BELOW = - 1, ABOVE = 1 }
}
rt::layout! {
    Nothing : size 0, align 1;
}
rt::show! {
    Nothing :
}
";
        let expected = "\
fn before() {}
    rt::layout! {
        Pair: size 16, align 8;
        0 => r#type: [[u8; 4]; 2],
        8 => odd: rt::Unaligned<types::pair>,
    }
    rt::show! {
        packed Pair: r#type, odd()
    }

rt::open_enum! {
    /// `enum a : b`, 4 bytes
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
        assert_eq!(lay_out(text), expected);
    }

    #[test]
    fn long_lines_are_broken() {
        let fields: Vec<String> = (0..40).map(|number| format!("field_{number}")).collect();
        let text = lay_out(&format!("rt::show! {{\n    Long : {}\n}}\n", fields.join(", ")));
        assert!(text.lines().count() > 5 && text.lines().all(|line| line.len() <= 100), "{text}");
        assert!(fields.iter().all(|field| text.contains(field.as_str())));
    }
}
