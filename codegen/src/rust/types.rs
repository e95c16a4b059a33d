//! C types as Rust types with the layout that BTF describes.
//!
//! Structs are `repr(C)` with explicit padding, or packed if `repr(C)` would change the offsets of members. Bitfields and
//! members of unions have getters and setters. The generated file asserts the layout of each type.
//!
//! [`collect`] finds the types, [`names`] names them, [`layout`] places their members, and [`write`] writes the items.

mod canon;
mod cells;
mod collect;
mod layout;
mod names;
mod pointees;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeSet;

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

use self::layout::{Layouts, Position};
use self::names::{Names, NeededTypes, NodeId, Origin};
use super::doc::{Doc, InCode};
use super::ident;
use super::text::Text;
use crate::btf::{Btf, Kind, TypeId};
use crate::error::Result;
use crate::skeleton::field_name;

pub(super) use self::write::{Definition, Field};

/// The types that need a Rust type. All must be added before the first lookup, because names depend on all of them.
pub(super) struct Needs<'a> {
    btf: &'a Btf,
    needed: NeededTypes,
}

impl<'a> Needs<'a> {
    pub(super) fn new(btf: &'a Btf) -> Self {
        Self { btf, needed: NeededTypes::default() }
    }

    /// Adds a type. `path` names the type if it is anonymous in C.
    pub(super) fn ty(&mut self, id: TypeId, path: &str) {
        self.needed.roots.push((id, path.to_owned()));
    }

    /// Marks a type as stored in memory that is shared with programs.
    pub(super) fn shared(&mut self, id: TypeId, path: &str) {
        self.needed.shared.push((id, path.to_owned()));
    }

    /// Adds the type of a variable with this size in bytes. The variable is longer than its type if the type ends with
    /// a flexible array that has elements.
    pub(super) fn variable(&mut self, id: TypeId, path: &str, size: u64) {
        let shape = Layouts::new(self.btf).shape(self.btf.resolve(id));
        let flexible = shape.parts.last().is_some_and(|part| {
            matches!(part.position, Position::Field { size: 0, .. })
                && matches!(self.btf.get(self.btf.resolve(part.ty)).kind, Kind::Array { .. })
        });
        if flexible && self.btf.size_of(id).is_some_and(|short| short < size) {
            self.needed.longer.push((id, path.to_owned(), size));
        } else {
            self.ty(id, path);
        }
    }

    /// Adds the types of the targets of pointers in an arena variable, because the targets are in shared memory, too.
    pub(super) fn behind_pointers(&mut self, id: TypeId) {
        for id in pointees::behind_pointers(self.btf, id) {
            self.ty(id, "");
            self.shared(id, "");
        }
    }

    /// Adds every struct, union and enum of the table.
    pub(super) fn everything(&mut self) {
        self.needed.everything = true;
    }

    /// Finds all contained types and assigns names.
    pub(super) fn resolve(self) -> Types<'a> {
        let layouts = Layouts::new(self.btf);
        let names = Names::new(self.btf, &layouts, &self.needed);
        let shared = names.closure(&self.needed.shared);
        Types { btf: self.btf, layouts, names, shared }
    }
}

/// The types in the generated file.
pub(super) struct Types<'a> {
    btf: &'a Btf,
    layouts: Layouts<'a>,
    names: Names<'a>,
    /// The types in memory that is shared with programs.
    shared: BTreeSet<NodeId>,
}

/// The module that refers to a type, which determines the path to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Skeleton,
    Types,
    Cells,
}

impl Types<'_> {
    /// Returns the Rust type for a C type, as the skeleton refers to it. `path` is the path with which the type was
    /// added.
    pub(super) fn of(&self, id: TypeId, path: &str) -> TokenStream {
        self.rust(id, Origin::Path(path), From::Skeleton)
    }

    /// Returns the Rust type for a variable of this size in bytes, with its size and alignment.
    pub(super) fn of_variable(&self, id: TypeId, path: &str, size: u64) -> (TokenStream, u64, u64) {
        let align = self.layouts.align(id);
        if self.names.is_longer(id, path) {
            return (self.of(id, path), size, if size % align == 0 { align } else { 1 });
        }
        match self.btf.size_of(id) {
            Some(own) if own <= size => (self.of(id, path), own, align),
            // The type is unknown, or its size differs from that of the variable.
            _ => {
                let len = Literal::u64_unsuffixed(size);
                (quote!([u8; #len]), size, 1)
            }
        }
    }

    /// Writes the items of the module `types`.
    pub(super) fn write_items(&self, text: &mut Text<'_>) -> Result<()> {
        for (id, node) in self.names.sorted() {
            self.item(id, node, text)?;
        }
        for (alias, name) in self.names.aliases() {
            let doc = Doc::new(format_args!(" `typedef … {}`", InCode(&alias)));
            let (alias, name) = (field_name(&alias), field_name(name));
            text.begin_item()?;
            text.line(format_args!("///{doc}"))?;
            text.line(format_args!("pub type {alias} = {name};"))?;
        }
        Ok(())
    }

    /// Returns whether the module `types` has no items.
    pub(super) fn is_empty(&self) -> bool {
        self.names.sorted().is_empty() && self.names.aliases().is_empty()
    }

    /// Returns whether the module `types::cells` has items.
    pub(super) fn any_cells(&self) -> bool {
        self.names.sorted().into_iter().any(|(id, node)| self.shared.contains(&id) && self.has_cells(node))
    }

    /// Writes the items of the module `types::cells`: the cells of each type in shared memory.
    pub(super) fn write_cells(&self, text: &mut Text<'_>) -> Result<()> {
        let mut shared = self.names.sorted().into_iter().filter(|(id, _)| self.shared.contains(id));
        shared.try_for_each(|(id, node)| self.cells_item(id, node, text))
    }

    /// Returns the number of structs, unions and enums in the table that have a Rust type or are part of one.
    pub(super) fn covered(&self) -> usize {
        self.names.covered().len()
    }

    fn rust(&self, id: TypeId, origin: Origin<'_>, from: From) -> TokenStream {
        let resolved = self.btf.resolve(id);
        match &self.btf.get(resolved).kind {
            Kind::Int(int) if int.bool && int.size == 1 => quote!(rt::Bool),
            Kind::Int(int) => {
                let letter = if int.signed { 'i' } else { 'u' };
                let name = format_ident!("{letter}{}", int.size * 8);
                quote!(#name)
            }
            Kind::Ptr(_) => quote!(rt::Ptr),
            Kind::Float(4) => quote!(f32),
            Kind::Float(8) => quote!(f64),
            Kind::Array { element, len, .. } => {
                let element = self.rust(*element, origin, from);
                let len = Literal::u32_unsuffixed(*len);
                quote!([#element; #len])
            }
            _ => match self.names.of(id, origin) {
                Some(name) => {
                    let name = ident(&field_name(name));
                    match from {
                        From::Skeleton => quote!(types::#name),
                        From::Types => quote!(#name),
                        From::Cells => quote!(super::#name),
                    }
                }
                None => {
                    let size = Literal::u64_unsuffixed(self.btf.size_of(id).unwrap_or(0));
                    quote!([u8; #size])
                }
            },
        }
    }
}
