//! The structs of cells: access to the members of types in memory that is shared with programs.

use super::layout::{Part, Position};
use super::names::{Node, NodeId, Origin};
use super::write::{accessor_names, wanted_name};
use super::{From, Types};
use crate::btf::Kind;
use crate::error::Result;
use crate::rust::doc::{Doc, InCode};
use crate::rust::macros::{self, Accessed};
use crate::rust::spelled;
use crate::rust::text::Text;
use crate::skeleton::{Scope, field_name};

impl Types<'_> {
    /// Writes the struct of cells of a struct or union.
    pub(super) fn cells_item(&self, id: NodeId, node: &Node, text: &mut Text<'_>) -> Result<()> {
        if !self.has_cells(node) {
            return Ok(());
        }
        let name = field_name(&node.name);
        let mut scope = Scope::default();
        let mut bits = Vec::new();
        let shape = self.layouts.shape(node.id);
        let last = shape.parts.len().saturating_sub(1);
        let declared = InCode(self.btf.declaration(node.id, ""));
        text.begin_item()?;
        text.open(format_args!("rt::cells! {{"))?;
        macros::docs(text, &[Doc::new(format_args!(" The members of `{declared}` in shared memory."))])?;
        text.open(format_args!("pub struct {name} of super::{name} {{"))?;
        for (index, part) in shape.parts.iter().enumerate() {
            let origin = Origin::Member(id, &part.name);
            match part.position {
                Position::Field { offset, .. } | Position::Shared { offset, .. } => {
                    let longer = node.longer.filter(|_| index == last);
                    let cell = scope.claim(&wanted_name(part));
                    macros::field(text, &self.doc(part), offset, &cell, self.cell_type(part, longer, origin))?;
                }
                Position::Bits { first, count } => {
                    let names = accessor_names(&mut scope, &wanted_name(part));
                    let ty = self.bits_type(part, origin, From::Cells);
                    bits.push((first, count, Accessed { doc: self.doc(part), names, ty }));
                }
                Position::Omitted => {}
            }
        }
        text.close("}")?;
        macros::bits(text, bits.into_iter())?;
        text.close("}")
    }

    /// Returns whether a type has members with cells.
    pub(super) fn has_cells(&self, node: &Node) -> bool {
        matches!(self.btf.get(node.id).kind, Kind::Struct(_) | Kind::Union(_))
    }

    /// Returns the type of a member's cell. If the member is a flexible array with elements, `longer` is the size of
    /// the whole type with these elements.
    fn cell_type(&self, part: &Part, longer: Option<u64>, origin: Origin<'_>) -> String {
        let longer = match (part.position, longer) {
            (Position::Field { offset, .. }, Some(size)) => self.lengthened(part, offset, size, origin, From::Cells),
            _ => None,
        };
        spelled(&longer.map_or_else(|| self.rust(part.ty, origin, From::Cells), |(ty, _)| ty))
    }
}
