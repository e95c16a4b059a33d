//! The public API of a crate as text: one sorted line per item, with its full path.
//!
//! The list contains modules, types with their public fields and variants, traits with their items, functions,
//! constants, macros, inherent public methods, and the traits that a listed type implements. It omits items that are
//! `#[doc(hidden)]` or compiled for tests.

use std::collections::{BTreeMap, BTreeSet};

use quote::ToTokens;
use syn::{Fields, ImplItem, Item, TraitItem};

use super::names::{Crate, Definition, Module, Target, as_use, attributes, imports, is_hidden, is_public, name_of};

/// Lists a crate.
pub(crate) fn list(krate: &Crate) -> Vec<String> {
    let mut listing = Listing::of_items(krate);
    let types = std::mem::take(&mut listing.types);
    listing.impls(&krate.root, &mut Vec::new(), &types);
    listing.lines.into_iter().map(|(path, line)| line.replacen(HERE, &path, 1)).collect()
}

/// Returns the public types and traits of a crate: the paths of each, with its definition.
pub(crate) fn types(krate: &Crate) -> BTreeMap<Definition, Vec<String>> {
    Listing::of_items(krate).types
}

/// The placeholder for the item's path in a line.
const HERE: &str = "\u{1}";

struct Listing<'a> {
    krate: &'a Crate,
    /// The lines, sorted by the item's path.
    lines: BTreeSet<(String, String)>,
    /// The public paths of types by their definitions.
    types: BTreeMap<Definition, Vec<String>>,
    /// The listed modules, by both paths.
    seen: BTreeSet<(Vec<String>, String)>,
}

impl<'a> Listing<'a> {
    /// Lists the items of a crate, without methods and implementations.
    fn of_items(krate: &'a Crate) -> Self {
        let mut listing = Self { krate, lines: BTreeSet::new(), types: BTreeMap::new(), seen: BTreeSet::new() };
        listing.macros(&krate.root);
        listing.module(&[], &krate.name);
        listing
    }

    fn line(&mut self, path: &str, line: impl AsRef<str>) {
        let line = line.as_ref().split_whitespace().collect::<Vec<_>>().join(" ");
        let line = line.replace("( ", "(").replace(", )", ")").replace(" )", ")").replace(", >", ">");
        self.lines.insert((path.to_owned(), line.trim_end_matches(';').to_owned()));
    }

    /// Lists the exported macros, which are at the crate's root even if a module defines them.
    fn macros(&mut self, module: &Module) {
        for item in &module.items {
            let exported = attributes(item).iter().any(|attribute| attribute.path().is_ident("macro_export"));
            if let (Item::Macro(_), true, Some(name)) = (item, exported && !is_hidden(attributes(item)), name_of(item))
            {
                self.line(&format!("{}::{name}", self.krate.name), format!("macro {HERE}!"));
            }
        }
        module.children.values().for_each(|child| self.macros(child));
    }

    /// Lists the public items of the module `at`, whose public path is `path`.
    fn module(&mut self, at: &[String], path: &str) {
        if !self.seen.insert((at.to_vec(), path.to_owned())) {
            return;
        }
        let krate = self.krate;
        let Some(module) = krate.module(at) else { return };
        for item in module.items.iter().filter(|item| !is_hidden(attributes(item))) {
            if let Some(import) = as_use(item) {
                if is_public(&import.vis) {
                    imports(&import.tree).iter().for_each(|import| self.import(at, path, import));
                }
            } else if let Item::Mod(inner) = item {
                if is_public(&inner.vis) {
                    let name = inner.ident.to_string();
                    let inner = format!("{path}::{name}");
                    self.line(&inner, format!("pub mod {HERE}"));
                    self.module(&[at, &[name]].concat(), &inner);
                }
            } else if let Some(name) = name_of(item) {
                self.item(item, at, &format!("{path}::{name}"));
            }
        }
    }

    fn import(&mut self, at: &[String], path: &str, import: &super::names::Import) {
        let target = self.krate.resolve(at, &import.path);
        let Some(target) = target else { panic!("`{}` is not defined in the sources", import.path.join("::")) };
        match (target, &import.name) {
            (Target::Module(module), None) => self.module(&module, path),
            (Target::Module(module), Some(name)) => {
                let path = format!("{path}::{name}");
                self.line(&path, format!("pub mod {HERE}"));
                self.module(&module, &path);
            }
            (Target::Items((module, own)), Some(name)) => {
                let krate = self.krate;
                let items = krate.module(&module).map(|module| module.items.as_slice()).unwrap_or_default();
                for item in items.iter().filter(|item| name_of(item).is_some_and(|it| it == own)) {
                    self.item(item, &module, &format!("{path}::{name}"));
                }
            }
            (Target::Items((_, own)), None) => panic!("`{own}::*` is not supported here"),
            (Target::External(external), Some(name)) => {
                self.line(&format!("{path}::{name}"), format!("pub use {} as {HERE}", external.join("::")));
            }
            (Target::External(external), None) => {
                self.line(&format!("{path}::*"), format!("pub use {}::*", external.join("::")));
            }
        }
    }

    /// Lists an item with this path, if it is public.
    fn item(&mut self, item: &Item, at: &[String], path: &str) {
        let mut note_type = |name: &dyn ToString| {
            self.types.entry((at.to_vec(), name.to_string())).or_default().push(path.to_owned());
        };
        match item {
            Item::Struct(item) if is_public(&item.vis) => {
                note_type(&item.ident);
                self.line(path, format!("{}pub struct {HERE}{}", non_exhaustive(&item.attrs), tokens(&item.generics)));
                self.derives(&item.attrs, path);
                self.fields(&item.fields, path, true);
            }
            Item::Union(item) if is_public(&item.vis) => {
                note_type(&item.ident);
                self.line(path, format!("pub union {HERE}{}", tokens(&item.generics)));
            }
            Item::Enum(item) if is_public(&item.vis) => {
                note_type(&item.ident);
                self.line(path, format!("{}pub enum {HERE}{}", non_exhaustive(&item.attrs), tokens(&item.generics)));
                self.derives(&item.attrs, path);
                for variant in item.variants.iter().filter(|variant| !is_hidden(&variant.attrs)) {
                    let path = format!("{path}::{}", variant.ident);
                    let unnamed = match &variant.fields {
                        Fields::Unnamed(fields) => tokens(fields),
                        _ => String::new(),
                    };
                    self.line(&path, format!("{}variant {HERE}{unnamed}", non_exhaustive(&variant.attrs)));
                    if let Fields::Named(_) = variant.fields {
                        self.fields(&variant.fields, &path, false);
                    }
                }
            }
            Item::Trait(item) if is_public(&item.vis) => {
                note_type(&item.ident);
                let bounds = if item.supertraits.is_empty() { "" } else { ": " };
                let bounds = format!("{bounds}{}", tokens(&item.supertraits));
                self.line(path, format!("pub trait {HERE}{}{bounds}", tokens(&item.generics)));
                item.items.iter().for_each(|item| self.trait_item(item, path));
            }
            Item::Type(item) if is_public(&item.vis) => {
                self.line(path, format!("pub type {HERE}{} = {}", tokens(&item.generics), ty(&item.ty)));
            }
            Item::Fn(item) if is_public(&item.vis) => self.function(&item.sig, "pub ", path),
            Item::Const(item) if is_public(&item.vis) => {
                self.line(path, format!("pub const {HERE}: {}", ty(&item.ty)));
            }
            Item::Static(item) if is_public(&item.vis) => {
                self.line(path, format!("pub static {HERE}: {}", ty(&item.ty)));
            }
            _ => {}
        }
    }

    fn fields(&mut self, fields: &Fields, path: &str, own_visibility: bool) {
        for (number, field) in fields.iter().enumerate() {
            if (is_public(&field.vis) || !own_visibility) && !is_hidden(&field.attrs) {
                let name = field.ident.as_ref().map_or_else(|| number.to_string(), ToString::to_string);
                self.line(&format!("{path}::{name}"), format!("field {HERE}: {}", ty(&field.ty)));
            }
        }
    }

    fn trait_item(&mut self, item: &TraitItem, path: &str) {
        match item {
            TraitItem::Fn(item) if !is_hidden(&item.attrs) => {
                let kind = if item.default.is_some() { "provided " } else { "" };
                self.function(&item.sig, kind, &format!("{path}::{}", item.sig.ident));
            }
            TraitItem::Const(item) if !is_hidden(&item.attrs) => {
                self.line(&format!("{path}::{}", item.ident), format!("const {HERE}: {}", ty(&item.ty)));
            }
            TraitItem::Type(item) if !is_hidden(&item.attrs) => {
                self.line(&format!("{path}::{}", item.ident), format!("type {HERE}: {}", tokens(&item.bounds)));
            }
            _ => {}
        }
    }

    fn function(&mut self, signature: &syn::Signature, visibility: &str, path: &str) {
        let name = format!("fn {}", signature.ident);
        let text = unparsed(syn::parse_quote!(#signature {}));
        // Whether a method takes `mut self` is not part of the API.
        let text = text.replacen("mut self", "self", usize::from(!text.contains("&mut self")));
        let text = text.trim_end().trim_end_matches("{}").trim_end();
        self.line(path, format!("{visibility}{}", text.replacen(&name, &format!("fn {HERE}"), 1)));
    }

    fn derives(&mut self, attributes: &[syn::Attribute], path: &str) {
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("derive")) {
            let syn::Meta::List(list) = &attribute.meta else { continue };
            for name in list.tokens.to_string().split(',').map(str::trim).filter(|name| !name.is_empty()) {
                let name = name.rsplit("::").next().unwrap_or(name).trim();
                self.line(&format!("{path} impl {name}"), format!("impl {name} for {path}"));
            }
        }
    }

    /// Lists the public methods and trait implementations of listed types, from all modules.
    fn impls(&mut self, module: &Module, at: &mut Vec<String>, types: &BTreeMap<Definition, Vec<String>>) {
        for item in &module.items {
            let Item::Impl(item) = item else { continue };
            let syn::Type::Path(named) = &*item.self_ty else { continue };
            let path: Vec<_> = named.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            let Some(Target::Items(place)) = self.krate.resolve(at, &path) else { continue };
            if item.trait_.as_ref().is_some_and(|(of, _)| self.is_hidden_trait(of, at)) {
                continue;
            }
            for path in types.get(&place).into_iter().flatten() {
                self.implementation(item, path);
            }
        }
        for (name, child) in &module.children {
            at.push(name.clone());
            self.impls(child, at, types);
            at.pop();
        }
    }

    /// Returns whether a path names a hidden trait of the crate, whose implementations are not part of the API.
    fn is_hidden_trait(&self, path: &syn::Path, at: &[String]) -> bool {
        let path: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let Some(Target::Items((module, own))) = self.krate.resolve(at, &path) else { return false };
        let items = self.krate.module(&module).map(|module| module.items.as_slice()).unwrap_or_default();
        items.iter().any(|item| matches!(item, Item::Trait(it) if it.ident == own && is_hidden(&it.attrs)))
    }

    fn implementation(&mut self, item: &syn::ItemImpl, path: &str) {
        if is_hidden(&item.attrs) {
            return;
        }
        if let Some((of, _)) = &item.trait_ {
            let last = of.segments.last().map(tokens).unwrap_or_default();
            let of_type = match &*item.self_ty {
                syn::Type::Path(path) => path.path.segments.last().map(|last| tokens(&last.arguments)),
                _ => None,
            };
            let line = format!("impl{} {last} for {path}{}", tokens(&item.generics), of_type.unwrap_or_default());
            self.line(&format!("{path} impl {last}"), line);
            return;
        }
        for inner in &item.items {
            match inner {
                ImplItem::Fn(method) if is_public(&method.vis) && !is_hidden(&method.attrs) => {
                    self.function(&method.sig, "pub ", &format!("{path}::{}", method.sig.ident));
                }
                ImplItem::Const(item) if is_public(&item.vis) && !is_hidden(&item.attrs) => {
                    self.line(&format!("{path}::{}", item.ident), format!("pub const {HERE}: {}", ty(&item.ty)));
                }
                _ => {}
            }
        }
    }
}

/// Returns `#[non_exhaustive]` if it is among the attributes.
fn non_exhaustive(attributes: &[syn::Attribute]) -> &'static str {
    let grows = attributes.iter().any(|attribute| attribute.path().is_ident("non_exhaustive"));
    if grows { "#[non_exhaustive] " } else { "" }
}

/// Returns a type as text in the usual spacing.
fn ty(ty: &syn::Type) -> String {
    let text = unparsed(syn::parse_quote!(type T = #ty;));
    text.trim_start_matches("type T =").trim().trim_end_matches(';').to_owned()
}

/// Returns tokens as text in the usual spacing.
fn tokens(of: &impl ToTokens) -> String {
    let text = of.to_token_stream().to_string();
    let text =
        text.replace(" :: ", "::").replace(":: ", "::").replace(" < ", "<").replace("< ", "<").replace(" >", ">");
    text.replace(" ,", ",").replace(" :", ":").replace("& ", "&").replace("( ", "(").replace(" )", ")")
}

fn unparsed(item: Item) -> String {
    let mut file: syn::File = syn::parse_quote!();
    file.items.push(item);
    prettyplease::unparse(&file)
}
