//! Global data sections in the generated file: the struct of their variables, and the struct of cells if programs write
//! them.

use skelgen_abi::plan::SectionKind;

use super::doc::{Doc, InCode};
use super::text::Text;
use super::types::{Definition, Field, Needs, Types};
use super::{ident, macros, spelled};
use crate::btf::Btf;
use crate::error::Result;
use crate::model::{BpfObject, DataSection, Variable, arena};
use crate::skeleton::{Scope, SectionField, field_name};

/// A section with visible variables.
pub(super) struct Section<'a> {
    pub(super) field: &'a SectionField,
    pub(super) name: &'a str,
    pub(super) data: &'a DataSection,
}

impl<'a> Section<'a> {
    pub(super) fn new(object: &'a BpfObject, field: &'a SectionField) -> Option<Self> {
        let map = object.maps.get(field.map.0 as usize)?;
        let data = map.section.as_ref()?;
        let name = if data.kind == SectionKind::Arena { arena::SECTION } else { &map.def.name };
        Some(Self { field, name, data })
    }

    pub(super) fn ty(&self) -> proc_macro2::Ident {
        ident(&self.field.ty)
    }

    /// Returns the name of the section's accessor with this suffix.
    pub(super) fn with_ending(&self, ending: &str) -> String {
        format!("{}{ending}", self.field.field.trim_start_matches("r#"))
    }

    /// Returns the expression for mutable access to the section's initial value.
    pub(super) fn mutable(&self) -> String {
        self.with_ending("_mut()")
    }

    /// Returns whether the accessors return cells after the load, because programs write the section.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.data.kind, SectionKind::Data | SectionKind::Bss | SectionKind::Arena)
    }

    /// Returns the visible variables.
    fn variables(&self) -> impl Iterator<Item = &'a Variable> {
        self.data.variables.iter().filter(|variable| variable.visible)
    }

    /// Returns the path that names a variable's type if the type is anonymous in C.
    fn path(&self, variable: &Variable) -> String {
        format!("{}__{}", self.field.field.trim_start_matches("r#"), variable.name)
    }

    pub(super) fn needs(&self, needs: &mut Needs<'_>) {
        for variable in self.variables() {
            let path = self.path(variable);
            needs.variable(variable.ty, &path, variable.size.into());
            if self.is_shared() {
                needs.shared(variable.ty, &path);
            }
            if self.data.kind == SectionKind::Arena {
                needs.behind_pointers(variable.ty);
            }
        }
    }

    /// Writes the struct of the variables and, if programs write them, the struct of their cells.
    pub(super) fn write(&self, btf: &Btf, types: &Types<'_>, text: &mut Text<'_>) -> Result<()> {
        let mut scope = Scope::default();
        let mut fields = Vec::new();
        for variable in self.variables() {
            let (rust, size, align) = types.of_variable(variable.ty, &self.path(variable), variable.size.into());
            let declared = InCode(btf.declaration(variable.ty, &variable.name));
            let addresses = match self.data.has_addresses(variable) {
                true => "; addresses in its initial value are not set",
                false => "",
            };
            fields.push(Field {
                name: scope.claim(&field_name(&variable.name)),
                ty: rust,
                offset: variable.offset.into(),
                size,
                align,
                hidden: false,
                doc: Doc::new(format_args!(" `{declared}`{addresses}")),
            });
        }
        // The size of a section ends with its last variable; the size of a struct is a multiple of its alignment.
        let align = fields.iter().map(|field| field.align).max().unwrap_or(1).max(1);
        let size = u64::from(self.data.size).next_multiple_of(align);
        let doc = Doc::new(format_args!(" Section `{}`, {} bytes.", InCode(self.name), self.data.size));
        let mut definition = Definition {
            name: &self.field.ty,
            doc: vec![doc],
            size,
            fields,
            raised: None,
            bits: Vec::new(),
            members: Vec::new(),
            getters: Vec::new(),
        };
        definition.wrap_displaced();
        definition.write(text)?;
        if self.is_shared() { self.write_cells(btf, types, text) } else { Ok(()) }
    }

    fn write_cells(&self, btf: &Btf, types: &Types<'_>, text: &mut Text<'_>) -> Result<()> {
        let ty = &self.field.ty;
        let doc = Doc::new(format_args!(
            " The variables of section `{}`, in memory that is shared with the running programs.",
            InCode(self.name)
        ));
        text.begin_item()?;
        text.open(format_args!("rt::cells! {{"))?;
        macros::docs(text, &[doc])?;
        text.open(format_args!("pub struct {ty}Cells of {ty} {{"))?;
        let (mut fields, mut cells) = (Scope::default(), Scope::default());
        cells.claim("snapshot");
        cells.claim("snapshot_boxed");
        for variable in self.variables() {
            let cell = cells.claim(&fields.claim(&field_name(&variable.name)));
            let (rust, ..) = types.of_variable(variable.ty, &self.path(variable), variable.size.into());
            let doc = Doc::new(format_args!(" `{}`", InCode(btf.declaration(variable.ty, &variable.name))));
            macros::field(text, &doc, variable.offset.into(), &cell, spelled(&rust))?;
        }
        text.close("}")?;
        text.line(format_args!("snapshot snapshot, snapshot_boxed;"))?;
        text.close("}")
    }
}
