//! The items that a user of the skeleton sees.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};
use skelgen_abi::plan::{Attach, SectionKind};
use syn::Path;

use super::doc::{Doc, InCode};
use super::section::Section;
use super::struct_ops::Tables;
use super::text::Text;
use super::types::{Needs, Types};
use super::{Layout, Style, blob, ident, image, maps};
use crate::btf::{Btf, TypeId};
use crate::error::Result;
use crate::insn::Endian;
use crate::model::BpfObject;
use crate::plan::LoadPlan;
use crate::skeleton::{ProgramField, Skeleton};

/// What stands above everything: where the file comes from.
pub(super) fn header(what: &str, name: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let name = InCode(name);
    format!("// Made by skelgen {version} from the {what} `{name}`. Do not edit: make it again instead.\n\n")
}

/// Writes the whole file.
pub(super) fn write(
    object: &BpfObject,
    skeleton: &Skeleton,
    plan: &LoadPlan,
    types: &[TypeId],
    style: Style<'_>,
    text: &mut Text<'_>,
) -> Result<()> {
    let (layout, runtime) = (style.layout, style.runtime()?);
    let empty = Btf::new();
    let sections: Vec<Section<'_>> = skeleton.sections.iter().filter_map(|field| Section::new(object, field)).collect();
    let mut needs = Needs::new(object.btf.as_ref().unwrap_or(&empty));
    for section in &sections {
        section.needs(&mut needs);
    }
    for field in &skeleton.maps {
        maps::needs(object, field, &mut needs);
    }
    for table in &skeleton.struct_ops {
        needs.ty(table.ty, &table.field);
    }
    for id in types {
        needs.ty(*id, "");
    }
    let types = needs.resolve();
    text.raw(&header("BPF object", &object.name))?;
    // A file says of itself what a module is told from outside.
    let (mark, inner) = match layout {
        Layout::File => ("//!", "!"),
        Layout::Module => ("///", ""),
    };
    for line in [
        Doc::new(format_args!(" The BPF object `{}`.", InCode(&object.name))),
        Doc::default(),
        Doc::new(
            " [`open`] it, change what may still be changed, [`Open::load`] it, [`Skeleton::attach`] its programs.",
        ),
    ] {
        text.line(format_args!("{mark}{line}"))?;
    }
    text.open(format_args!("#{inner}[allow("))?;
    for lint in LINTS {
        text.line(format_args!("{lint},"))?;
    }
    text.line(format_args!("reason = \"names are the object's own, and not all of them are used\""))?;
    text.close(")]")?;
    text.line(format_args!("#{inner}[allow(unsafe_code, reason = \"one expression, justified where it stands\")]"))?;
    if layout == Layout::Module {
        text.open(format_args!("pub mod {} {{", ident(&skeleton.module)))?;
    }
    items(object, skeleton, plan, (&sections, &types), &runtime, text)?;
    blob::write(&plan.object.blob, text)?;
    if layout == Layout::Module { text.close("}") } else { Ok(()) }
}

/// What the compiler may not complain about in code that nobody has written.
const LINTS: [&str; 13] = [
    "dead_code",
    "missing_docs",
    "non_camel_case_types",
    "non_snake_case",
    "non_upper_case_globals",
    "single_use_lifetimes",
    "trivial_numeric_casts",
    "unreachable_pub",
    "unused_qualifications",
    "clippy::all",
    "clippy::nursery",
    "clippy::pedantic",
    "clippy::restriction",
];

fn items(
    object: &BpfObject,
    skeleton: &Skeleton,
    plan: &LoadPlan,
    (sections, types): (&[Section<'_>], &Types<'_>),
    runtime: &Path,
    text: &mut Text<'_>,
) -> Result<()> {
    let version = Literal::u32_unsuffixed(skelgen_abi::plan::VERSION);
    let (order, other) = match object.endian {
        Endian::Little => ("little", "big"),
        Endian::Big => ("big", "little"),
    };
    let orders = format!("this object was compiled for {order}-endian machines: compile it for {other}-endian ones");
    text.items(quote! {
        use #runtime as rt;
        use rt::generated::*;
        const _: () = assert!(
            rt::abi::VERSION == #version,
            "this file was made for another version of skelgen-runtime: make it again"
        );
        const _: () = assert!(cfg!(target_endian = #order), #orders);
    })?;
    let struct_ops = Tables::new(object, skeleton, types);
    open(sections, skeleton, plan, &struct_ops, text)?;
    maps::write_open(object, skeleton, text)?;
    text.items(loaded(object, sections, skeleton, &struct_ops))?;
    maps::write_loaded(object, skeleton, types, text)?;
    text.items(struct_ops.items.clone())?;
    programs(object, skeleton, &struct_ops, text)?;
    let empty = Btf::new();
    let btf = object.btf.as_ref().unwrap_or(&empty);
    for section in sections {
        section.write(btf, types, text)?;
    }
    text.line(format_args!("/// The object's own types."))?;
    text.open(format_args!("pub mod types {{"))?;
    text.items(quote! {
        #[allow(unused_imports, reason = "an object may have no types of its own")]
        use super::rt::{self, generated::*};
    })?;
    types.write_items(text)?;
    if types.any_cells() {
        text.line(format_args!(
            "/// The members of types in memory that programs share with us: what [`rt::Cell::fields`] gives."
        ))?;
        text.open(format_args!("pub mod cells {{"))?;
        text.items(quote!(
            use super::rt::{self, generated::*};
        ))?;
        types.write_cells(text)?;
        text.close("}")?;
    }
    text.close("}")?;
    image::write(&plan.object, text)
}

fn open(
    sections: &[Section<'_>],
    skeleton: &Skeleton,
    plan: &LoadPlan,
    struct_ops: &Tables,
    text: &mut Text<'_>,
) -> Result<()> {
    // What the running kernel says is not there to change; `LoadOptions::set_kconfig` is.
    let initial = || sections.iter().filter(|section| section.data.kind != SectionKind::Kconfig);
    let fields = initial().map(|section| {
        let (field, ty) = (section.field(), section.ty());
        let doc = Doc::new(format_args!(" The initial value of section `{}`, to change.", InCode(section.name)));
        quote!(#[doc = #doc] pub #field: rt::Initial<#ty>)
    });
    let made = initial().map(|section| {
        let (field, index) = (section.field(), section.index());
        quote!(#field: rt::Initial::new(&tables::OBJECT, #index))
    });
    let accessors = initial().map(|section| {
        let (field, ty) = (section.field(), section.ty());
        let change = format_ident!("{}_mut", section.field.field.trim_start_matches("r#"));
        let what = match section.data.kind {
            SectionKind::Percpu => "one value, from which every CPU starts",
            _ => "from which it starts",
        };
        let doc = Doc::new(format_args!(" The initial value of section `{}`: {what}.", InCode(section.name)));
        let doc_mut = " The same, to change.";
        let resize = (section.data.kind != SectionKind::Arena).then(|| {
            let name = format_ident!("{}_resize", section.field.field.trim_start_matches("r#"));
            let what = match section.data.kind {
                SectionKind::Percpu => format!("every CPU's copy of section `{}`", InCode(section.name)),
                _ => format!("section `{}`", InCode(section.name)),
            };
            let doc = Doc::new(format_args!(
                " Makes {what} longer than its variables: so many bytes in all. What is added is zero, and the section's `tail`."
            ));
            quote! {
                #[doc = #doc]
                pub fn #name(&mut self, bytes: u32) { self.#field.resize(bytes); }
            }
        });
        quote! {
            #resize
            #[doc = #doc]
            #[must_use]
            pub fn #field(&self) -> &#ty { self.#field.get() }
            #[doc = #doc_mut]
            #[must_use]
            pub fn #change(&mut self) -> &mut #ty { self.#field.get_mut() }
        }
    });
    let by_index = plan.object.maps.iter().enumerate().map(|(index, _)| {
        let number = Literal::usize_unsuffixed(index);
        let map = skeleton.maps.iter().find(|map| map.map.0 as usize == index);
        if let Some(section) = initial().find(|section| section.field.map.0 as usize == index) {
            let field = section.field();
            if let Some(map) = map.map(|map| ident(&map.field)) {
                return quote!(self.maps.#map.with_initial(self.#field.into_bytes()));
            }
            return quote!(rt::OpenMap::section(&tables::OBJECT, #number, self.#field.len(), self.#field.into_bytes()));
        }
        if let Some(table) = skeleton.struct_ops.iter().find(|table| table.map.0 as usize == index) {
            let field = ident(&table.field);
            return quote!(self.struct_ops.#field.into_map());
        }
        match map {
            Some(map) => {
                let field = ident(&map.field);
                quote!(self.maps.#field)
            }
            None => quote!(rt::OpenMap::new(&tables::OBJECT, #number)),
        }
    });
    let programs = skeleton.programs.iter().map(|program| {
        let field = ident(&program.field);
        quote!(self.programs.#field)
    });
    let taken = sections.iter().filter(|section| section.holder().is_some()).map(|section| {
        let (field, index) = (section.field(), section.index());
        quote!(#field: loaded.take_map(#index)?)
    });
    let taken_maps = skeleton.maps.iter().map(|map| {
        let (field, index) = (ident(&map.field), Literal::u32_unsuffixed(map.map.0));
        match (map.handle.name == "Arena", map.optional) {
            (true, false) => quote!(#field: loaded.take_arena(#index)?),
            (true, true) => quote!(#field: loaded.take_arena_if_created(#index)?),
            (false, false) => quote!(#field: loaded.take_map(#index)?),
            (false, true) => quote!(#field: loaded.take_map_if_created(#index)?),
        }
    });
    let taken_programs = skeleton.programs.iter().map(|program| {
        let (field, index) = (ident(&program.field), Literal::u32_unsuffixed(program.program.0));
        quote!(#field: loaded.take_program(#index))
    });
    let new_maps = skeleton.maps.iter().map(|map| {
        let (field, index) = (ident(&map.field), Literal::u32_unsuffixed(map.map.0));
        quote!(#field: rt::OpenMap::new(&tables::OBJECT, #index))
    });
    let new_programs = skeleton.programs.iter().map(|program| {
        let (field, index) = (ident(&program.field), Literal::u32_unsuffixed(program.program.0));
        quote!(#field: rt::OpenProgram::new(&tables::OBJECT, #index))
    });
    // What has neither maps nor programs is loaded all the same, for its BTF to be checked, but nothing is taken from it.
    let taken_any = !(sections.is_empty()
        && skeleton.maps.is_empty()
        && skeleton.struct_ops.is_empty()
        && skeleton.programs.is_empty());
    let Tables { open: table_field, opened: tables_opened, taken: tables_taken, .. } = struct_ops;
    let loaded = if taken_any { quote!(let mut loaded =) } else { quote!() };
    text.items(quote! {
        /// Opens the object: nothing is in the kernel yet.
        #[must_use]
        pub fn open() -> Open {
            Open {
                maps: OpenMaps { #(#new_maps),* },
                programs: OpenPrograms { #(#new_programs),* },
                options: rt::LoadOptions::new(),
                #tables_opened
                #(#made),*
            }
        }
    })?;
    text.items(quote! {
        /// The object before it is loaded: all that may still be changed.
        #[derive(Debug)]
        pub struct Open {
            /// The maps.
            pub maps: OpenMaps,
            /// The programs.
            pub programs: OpenPrograms,
            /// What is not about a single map or program.
            pub options: rt::LoadOptions,
            #table_field
            #(#fields),*
        }
    })?;
    text.items(quote! {
        impl Open {
            #(#accessors)*

            /// Loads every map and program.
            ///
            /// # Errors
            /// The step that failed, what it was about, and why; nothing stays in the kernel then.
            pub fn load(self) -> rt::Result<Skeleton> {
                #loaded rt::load(&OBJECT, self.options, Vec::from([#(#by_index),*]), Vec::from([#(#programs),*]))?;
                Ok(Skeleton {
                    maps: Maps { #(#taken_maps),* },
                    programs: Programs { #(#taken_programs),* },
                    #tables_taken
                    #(#taken),*
                })
            }
        }
    })
}

fn programs(object: &BpfObject, skeleton: &Skeleton, struct_ops: &Tables, text: &mut Text<'_>) -> Result<()> {
    let fields: Vec<_> = skeleton
        .programs
        .iter()
        .map(|field| {
            let program = &object.programs[field.program.0 as usize];
            let attaches = match (&program.def.attach, program.def.attach.needs()) {
                (_, Some(what)) => format!("; attaching it needs {what}"),
                (Attach::Never(how), None) => format!("; it runs {how}"),
                _ => String::new(),
            };
            let section = InCode(&program.def.section);
            let doc = Doc::new(format_args!(" `SEC(\"{section}\")`, type {}{attaches}.", program.def.program_type));
            (ident(&field.field), doc)
        })
        .collect();
    let mut of = |name: &str, doc: &str, ty: &TokenStream| {
        let name = ident(name);
        let fields = fields.iter().map(|(name, doc)| quote!(#[doc = #doc] pub #name: #ty));
        text.item_of_parts(
            &[Doc::new(doc)],
            fields,
            |fields| quote!(#[derive(Debug)] pub struct #name { #(#fields),* }),
        )
    };
    of("OpenPrograms", " The programs before they are loaded.", &quote!(rt::OpenProgram))?;
    of("Programs", " The programs.", &quote!(rt::Program))?;
    let attached = skeleton.programs.iter().zip(&fields).filter(|(field, _)| is_attached(object, field));
    let links = attached.map(|(_, (name, doc))| quote!(#[doc = #doc] pub #name: Option<rt::Link>,));
    let tables = Some(&struct_ops.links).filter(|links| !links.is_empty()).cloned();
    let left = left_field(object, skeleton);
    let left_behind = quote!(#left: Vec<rt::link::Left>);
    let doc = [
        " What is attached; `None` for a program that is not loaded, that needs something given, or that is not to attach by itself.",
        " Dropping it detaches.",
    ];
    text.item_of_parts(&doc.map(Doc::new), links.chain(tables).chain([left_behind]), |fields| {
        quote! {
            #[must_use = "dropping the links detaches the programs: keep them, as `let _links = skeleton.attach()?` does, not `let _ = …`"]
            #[derive(Debug)]
            pub struct Links { #(#fields)* }
        }
    })?;
    let names = skeleton.programs.iter().filter(|field| is_attached(object, field)).map(|field| field.field.as_str());
    let named: Vec<_> = names
        .chain(skeleton.struct_ops.iter().map(|table| table.link.as_str()))
        .map(|name| {
            let field = ident(name);
            quote!((#name, &self.#field))
        })
        .collect();
    let count = Literal::usize_unsuffixed(named.len());
    text.items(quote! {
        impl Links {
            /// What is attached, by the names of programs and tables of functions.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &rt::Link)> {
                let links: [(&'static str, &Option<rt::Link>); #count] = [#(#named),*];
                links.into_iter().filter_map(|(name, link)| Some((name, link.as_ref()?)))
            }

            /// The programs that were not attached because they need something given, and what. One whose link is put into its field here
            /// is not among them any more.
            pub fn left(&self) -> impl Iterator<Item = &rt::link::Left> {
                self.#left.iter().filter(|left| self.iter().all(|(name, _)| name != left.field()))
            }

            /// Returns the links if no program is left that needs something given.
            ///
            /// # Errors
            /// If there is one: all of them are named, and the others are detached.
            pub fn complete(self) -> rt::Result<Self> {
                rt::link::nothing_left(self.left())?;
                Ok(self)
            }

            /// Pins each to the file of its name in a folder of a bpffs, which is made if it is not there.
            ///
            /// # Errors
            /// The first that cannot be pinned; none stays pinned then.
            pub fn pin(&self, folder: impl AsRef<rt::generated::Path>) -> rt::Result<()> {
                rt::link::pin_all(&self.iter().collect::<Vec<_>>(), folder.as_ref())
            }
        }
    })
}

/// The name of the field of `Links` for what is left, which no program or struct_ops map has.
fn left_field(object: &BpfObject, skeleton: &Skeleton) -> Ident {
    let programs = skeleton.programs.iter().filter(|field| is_attached(object, field)).map(|field| &field.field);
    let names: Vec<&String> = programs.chain(skeleton.struct_ops.iter().map(|table| &table.link)).collect();
    let mut name = "left".to_owned();
    while names.contains(&&name) {
        name.push('_');
    }
    ident(&name)
}

/// Whether there is a way to attach the program at all.
fn is_attached(object: &BpfObject, field: &ProgramField) -> bool {
    !matches!(object.programs[field.program.0 as usize].def.attach, Attach::Never(_))
}

fn loaded(object: &BpfObject, sections: &[Section<'_>], skeleton: &Skeleton, struct_ops: &Tables) -> TokenStream {
    let fields = sections.iter().filter_map(|section| {
        let (field, holder) = (section.field(), section.holder()?);
        let doc = Doc::new(format_args!(" The map that holds section `{}`.", InCode(section.name)));
        Some(quote!(#[doc = #doc] pub #field: #holder))
    });
    let accessors = sections.iter().map(|section| {
        let (field, ty) = (section.field(), section.ty());
        let doc = Doc::new(format_args!(" Section `{}`.", InCode(section.name)));
        match section.data.kind {
            SectionKind::Data | SectionKind::Bss => {
                let cells = format_ident!("{}Cells", ty);
                quote! {
                    #[doc = #doc]
                    #[must_use]
                    pub fn #field(&self) -> #cells<'_> { #cells(self.#field.cells()) }
                }
            }
            SectionKind::Rodata | SectionKind::Kconfig => quote! {
                #[doc = #doc]
                #[must_use]
                pub fn #field(&self) -> &#ty { self.#field.get() }
            },
            SectionKind::Percpu => quote! {
                #[doc = #doc]
                #[must_use]
                pub fn #field(&self) -> &rt::PercpuData<#ty> { &self.#field }
            },
            SectionKind::Arena => {
                let cells = format_ident!("{}Cells", ty);
                let map = skeleton.maps.iter().find(|map| map.map == section.field.map).map(|map| ident(&map.field));
                quote! {
                    #[doc = #doc]
                    #[must_use]
                    pub fn #field(&self) -> #cells<'_> { #cells(self.maps.#map.globals()) }
                }
            }
            // The skeleton has them apart from sections, or not at all.
            SectionKind::StructOps | SectionKind::JumpTable => TokenStream::new(),
        }
    });
    let attached = || skeleton.programs.iter().filter(|program| is_attached(object, program));
    let links = attached().map(|program| {
        let field = ident(&program.field);
        let name = &program.field;
        quote!(#field: attaching.program(#name, &self.programs.#field)?,)
    });
    let Tables { loaded: table_field, attached: tables_attached, .. } = struct_ops;
    let attach_doc = match skeleton.struct_ops.len() {
        0 => {
            " Attaches every program that is loaded and can attach by itself, unless `set_autoattach(false)` leaves it out."
        }
        _ => {
            " Attaches every program that is loaded and can attach by itself, and every struct_ops map that was created, unless \
             `set_autoattach(false)` leaves it out."
        }
    };
    let needs_doc: &[&str] =
        match attached().any(|program| object.programs[program.program.0 as usize].def.attach.needs().is_some()) {
            true => &[
                "",
                " Programs that need something given are not attached: [`Links::left`] lists those and what they need,",
                " [`Links::complete`] makes them an error.",
            ],
            false => &[],
        };
    let left = left_field(object, skeleton);
    // Without anything to attach there is nothing to change.
    let attaching = match attached().next().is_some() || !skeleton.struct_ops.is_empty() {
        true => quote!(let mut attaching =),
        false => quote!(let attaching =),
    };
    quote! {
        /// The object, loaded. Dropping it closes its maps and programs.
        #[derive(Debug)]
        pub struct Skeleton {
            /// The maps.
            pub maps: Maps,
            /// The programs.
            pub programs: Programs,
            #table_field
            #(#fields),*
        }

        impl Skeleton {
            #(#accessors)*

            #[doc = #attach_doc]
            #(#[doc = #needs_doc])*
            ///
            /// # Errors
            /// If the kernel refuses one, or if none can attach by itself and there are some that need something given: they are named, and
            /// nothing stays attached.
            pub fn attach(&self) -> rt::Result<Links> {
                #attaching rt::link::Attaching::new();
                Ok(Links { #(#links)* #tables_attached #left: attaching.finish()? })
            }
        }
    }
}
