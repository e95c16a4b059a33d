//! The layout of a data section or a C type: the variable or member to which each byte belongs, as text or as a drawing
//! (SVG).

use std::fmt::Write as _;

use serde::Serialize;

use crate::btf::{Btf, Kind, TypeId};
use skelgen_abi::escape::Line;

/// The maximum nesting of items.
const MAX_DEPTH: usize = 8;
/// The maximum number of items that are drawn. A damaged object can describe very many items.
const MAX_ITEMS: usize = 5_000;

/// A section or a type with its items.
#[derive(Debug, Serialize)]
pub(super) struct Layout {
    /// The name of the section, or the type in C.
    pub(super) name: String,
    /// The size of the section or type in bytes.
    pub(super) size: u64,
    /// The alignment of the section or type in bytes, if known.
    pub(super) align: Option<u32>,
    /// The items in the order of their offsets; nested items follow the one that contains them.
    pub(super) items: Vec<Item>,
}

/// A variable, a member, or padding.
#[derive(Debug, Serialize)]
pub(super) struct Item {
    /// The number of items that contain this one.
    pub(super) depth: usize,
    /// The item's offset in bytes.
    pub(super) offset: u64,
    /// The item's size in bytes.
    pub(super) size: u64,
    /// For a bitfield, its offset in bits from the beginning of the section or type, and its size in bits.
    pub(super) bits: Option<(u64, u8)>,
    /// The item's C declaration; `None` for padding.
    pub(super) declaration: Option<String>,
    /// Whether the items after this one are nested in it.
    pub(super) nested: bool,
}

/// Returns the layout of the data section or type with this name as text and as SVG; `None` if none has this name.
#[must_use]
pub fn draw(btf: &Btf, name: &str) -> Option<[String; 2]> {
    Layout::find(btf, name).map(|layout| [layout.to_string(), layout.svg()])
}

impl Layout {
    /// Returns the layout of the data section or type with this name; `None` if none has this name. Types are named as
    /// in C: `struct event` or `event`.
    pub(super) fn find(btf: &Btf, name: &str) -> Option<Self> {
        if let Some(id) = btf.datasec(name) {
            return Some(section(btf, id));
        }
        let (keyword, plain) = match name.split_once(' ') {
            Some((keyword @ ("struct" | "union"), plain)) => (Some(keyword), plain.trim()),
            _ => (None, name),
        };
        let wanted = |kind: &Kind| match kind {
            Kind::Struct(_) => keyword != Some("union"),
            Kind::Union(_) => keyword != Some("struct"),
            Kind::Typedef(_) => keyword.is_none(),
            _ => false,
        };
        let id = btf.find(wanted, plain).filter(|id| btf.size_of(*id).is_some())?;
        let size = btf.size_of(id)?;
        let mut layout = Self { name: btf.declaration(id, ""), size, align: btf.align_of(id), items: Vec::new() };
        layout.members(btf, id, 0, 0);
        Some(layout)
    }

    /// Adds the members of a struct or union, and the padding between them.
    fn members(&mut self, btf: &Btf, ty: TypeId, start: u64, depth: usize) {
        let ty = btf.resolve(ty);
        let (composite, is_union) = match &btf.get(ty).kind {
            Kind::Struct(composite) => (composite, false),
            Kind::Union(composite) => (composite, true),
            _ => return,
        };
        // The end of the previous member, in bits from the beginning of the type.
        let mut end = 0;
        for member in &composite.members {
            let offset = u64::from(member.bit_offset);
            let bits = match member.bit_size {
                0 => btf.size_of(member.ty).unwrap_or(0).saturating_mul(8),
                bits => bits.into(),
            };
            if !is_union {
                self.padding(start, end, offset, depth);
            }
            end = end.max(offset.saturating_add(bits));
            let is_bitfield = member.bit_size > 0;
            let name = btf.str(member.name);
            let declaration = btf.declaration(member.ty, name);
            let declaration = match is_bitfield {
                true => format!("{declaration} : {}", member.bit_size),
                false => declaration,
            };
            self.item(
                btf,
                member.ty,
                depth,
                Item {
                    depth,
                    offset: start + offset / 8,
                    size: if is_bitfield { (offset % 8 + bits).div_ceil(8) } else { bits / 8 },
                    bits: is_bitfield.then_some((start * 8 + offset, member.bit_size)),
                    declaration: Some(declaration),
                    nested: false,
                },
            );
        }
        if !is_union {
            self.padding(start, end, u64::from(composite.size) * 8, depth);
        }
    }

    /// Adds an item, followed by the items nested in it.
    fn item(&mut self, btf: &Btf, ty: TypeId, depth: usize, mut item: Item) {
        if self.items.len() >= MAX_ITEMS {
            return;
        }
        let inner = btf.resolve(ty);
        let is_composite =
            matches!(&btf.get(inner).kind, Kind::Struct(all) | Kind::Union(all) if !all.members.is_empty());
        item.nested = is_composite && depth < MAX_DEPTH && item.bits.is_none();
        let (nested, offset) = (item.nested, item.offset);
        self.items.push(item);
        if nested {
            self.members(btf, inner, offset, depth + 1);
        }
    }

    /// Adds the whole bytes between two offsets, in bits, as padding.
    fn padding(&mut self, start: u64, from: u64, to: u64, depth: usize) {
        let (from, to) = (from.div_ceil(8), to / 8);
        if from < to && self.items.len() < MAX_ITEMS {
            let item =
                Item { depth, offset: start + from, size: to - from, bits: None, declaration: None, nested: false };
            self.items.push(item);
        }
    }

    /// Returns the number of bytes of padding.
    pub(super) fn padding_bytes(&self) -> u64 {
        self.items.iter().filter(|item| item.declaration.is_none()).map(|item| item.size).sum()
    }
}

fn section(btf: &Btf, id: TypeId) -> Layout {
    let Kind::Datasec(section) = &btf.get(id).kind else {
        return Layout { name: String::new(), size: 0, align: None, items: Vec::new() };
    };
    let mut layout =
        Layout { name: btf.name(id).to_owned(), size: section.size.into(), align: None, items: Vec::new() };
    let mut end = 0;
    for var in &section.vars {
        let offset = u64::from(var.offset);
        layout.padding(0, end * 8, offset * 8, 0);
        end = end.max(offset + u64::from(var.size));
        let Kind::Var { ty, .. } = btf.get(var.ty).kind else { continue };
        layout.item(
            btf,
            ty,
            0,
            Item {
                depth: 0,
                offset,
                size: var.size.into(),
                bits: None,
                declaration: Some(btf.declaration(ty, btf.name(var.ty))),
                nested: false,
            },
        );
    }
    layout.padding(0, end * 8, layout.size * 8, 0);
    layout
}

impl std::fmt::Display for Layout {
    /// Writes a line for each item, with a picture of the eight aligned bytes in which it begins.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} bytes", Line(&self.name), self.size)?;
        if let Some(align) = self.align {
            write!(f, ", alignment {align}")?;
        }
        writeln!(f, ", {} bytes of padding\n", self.padding_bytes())?;
        let digits = self.size.to_string().len().max(6);
        writeln!(f, "{:>digits$} {:>digits$}  BYTES     DECLARATION", "OFFSET", "SIZE")?;
        for item in &self.items {
            let indent = "  ".repeat(item.depth);
            let declaration =
                item.declaration.as_deref().map_or_else(|| "(padding)".into(), |text| Line(text).to_string());
            let bits = item.bits.map_or(String::new(), |(first, _)| format!(" (bit {})", first - item.offset * 8));
            writeln!(
                f,
                "{:>digits$} {:>digits$}  {}  {indent}{declaration}{bits}",
                item.offset,
                item.size,
                cells(item)
            )?;
        }
        Ok(())
    }
}

/// Returns a picture of the eight aligned bytes in which an item begins: `..####..`, with `#` for bytes of the item. A
/// final `>` means that more bytes follow.
fn cells(item: &Item) -> String {
    let first = usize::try_from(item.offset % 8).unwrap_or(0);
    let len = usize::try_from(item.size).unwrap_or(usize::MAX);
    let mark = if item.declaration.is_some() { '#' } else { '-' };
    let mut cells = ['.'; 8];
    cells.iter_mut().skip(first).take(len).for_each(|cell| *cell = mark);
    if len > 8 - first {
        cells[7] = '>';
    }
    cells.iter().collect()
}

/// The width of a byte and the height of a row in the drawing, in pixels.
const BYTE: u64 = 72;
const ROW: u64 = 34;
/// The width of the column of offsets, in pixels.
const MARGIN: u64 = 70;
/// The maximum number of rows of eight bytes in a drawing.
const MAX_ROWS: u64 = 4096;
/// The maximum number of boxes in a drawing. Each member of a union can have a box in every row.
const MAX_BOXES: usize = 4 * 4096;
const COLORS: [&str; 6] = ["#cfe8ff", "#d8f3dc", "#fff1c9", "#ffd9d6", "#e6dcff", "#d9f4f4"];

impl Layout {
    /// Returns a drawing with a row for every eight bytes and a box in each row for each item that has no nested items.
    /// Items that extend past the last row are cut off, and those after the last box are left out.
    pub(super) fn svg(&self) -> String {
        let rows = self.size.div_ceil(8).clamp(1, MAX_ROWS);
        let (width, height) = (MARGIN + 8 * BYTE + 10, (rows + 2) * ROW);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             font-family=\"monospace\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"8\" y=\"20\">{}: {} bytes</text>\n",
            escaped(&self.name),
            self.size
        );
        for column in 0..8 {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "<text x=\"{}\" y=\"{}\">+{column}</text>", MARGIN + column * BYTE + 4, ROW + 26);
        }
        for row in 0..rows {
            let _ = writeln!(out, "<text x=\"8\" y=\"{}\">{:#06x}</text>", (row + 2) * ROW + 21, row * 8);
        }
        let mut boxes = MAX_BOXES;
        for (number, item) in self.items.iter().filter(|item| !item.nested && item.size > 0).enumerate() {
            let fill = if item.declaration.is_some() { COLORS[number % COLORS.len()] } else { "#eeeeee" };
            let text = escaped(item.declaration.as_deref().unwrap_or("padding"));
            let end = item.offset + item.size;
            let mut from = item.offset;
            if boxes == 0 || from / 8 >= rows {
                continue;
            }
            let _ = writeln!(out, "<g><title>{text}, offset {}, {} bytes</title>", item.offset, item.size);
            while from < end && from / 8 < rows && boxes > 0 {
                boxes -= 1;
                let to = end.min((from / 8 + 1) * 8);
                let (x, y) = (MARGIN + from % 8 * BYTE, (from / 8 + 2) * ROW);
                let _ = writeln!(
                    out,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" \
                     height=\"{ROW}\" fill=\"{fill}\" stroke=\"#555\"/><svg x=\"{x}\" y=\"{y}\" width=\"{}\" \
                     height=\"{ROW}\"><text x=\"4\" y=\"21\">{}</text></svg>",
                    (to - from) * BYTE,
                    (to - from) * BYTE,
                    if from == item.offset { &text } else { "…" }
                );
                from = to;
            }
            out.push_str("</g>\n");
        }
        out + "</svg>\n"
    }
}

/// Escapes text for XML, and characters that are not visible.
fn escaped(text: &str) -> String {
    let text = Line(text).to_string();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf::{Composite, Int, Member, Type};

    #[test]
    fn drawings_have_a_limit() {
        let mut btf = Btf::new();
        let name = btf.add_string("char");
        let int = Int { size: 1, bits: 8, bit_offset: 0, signed: true, char: true, bool: false };
        let element = btf.push(Type { name, kind: Kind::Int(int) });
        let name = btf.add_string("");
        let ty = btf.push(Type { name, kind: Kind::Array { element, index: element, len: 32768 } });
        let name = btf.add_string("same");
        let members = vec![Member { name, ty, bit_offset: 0, bit_size: 0 }; 1000];
        let union = Composite { size: 32768, members, bitfields: false };
        btf.push(Type { name, kind: Kind::Union(union) });
        let [text, svg] = draw(&btf, "same").expect("the union exists");
        assert_eq!(text.matches("same[32768]").count(), 1000);
        // Each of the first four members has a box in each row.
        assert_eq!((svg.matches("<title>").count(), svg.matches("fill=\"#").count()), (4, MAX_BOXES));
        assert!(svg.len() < 4 << 20 && svg.ends_with("</g>\n</svg>\n"));
    }
}
